"""Pictures in files: read with everything that must survive restoring, written without surprises.

Inside the package a picture is ``uint8 [H, W, 3]`` (``uint16`` where the file has 16 bits per
channel), RGB, upright. What a file holds besides (alpha channel, being gray, metadata) travels next
to it in a `Picture`, so that `write_picture` can put it back.
"""

import contextlib
import os
import stat
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from mspfn_tf import sixteen_bits
from mspfn_tf.errors import UsageError
from mspfn_tf.files import atomic_write
from mspfn_tf.jpeg_xl import read_jpeg_xl_header
from mspfn_tf.metadata import (
    DECODER_ERRORS,
    PROFILE_FORMATS,
    Metadata,
    is_srgb,
    profile_space,
    read_metadata,
    saving_options,
    to_srgb,
)

_LARGE = 24_000_000  # pixels from which saving memory is worth a larger file


@dataclass(frozen=True)
class _Format:
    """What a format can hold; `side` is the longest side that its encoder takes."""

    name: str
    options: dict = field(default_factory=dict)
    alpha: bool = True
    gray: bool = False
    deep: bool = False  # 16 bits per channel
    frames: bool = False
    side: int | None = None


_JPEG = _Format("JPEG", {"quality": 95, "subsampling": 0}, alpha=False, gray=True, side=65_500)
_PNG = _Format("PNG", gray=True, deep=True, frames=True)
# TIFF stays uncompressed: only then can Pillow write EXIF beside the pixels.
_TIFF = _Format("TIFF", gray=True, deep=True, frames=True)
_HEIF = _Format("HEIF", {"quality": 90})
_FORMATS = {
    ".apng": _PNG,
    ".avif": _Format("AVIF", {"quality": 90, "subsampling": "4:4:4"}, frames=True, side=65_536),
    ".bmp": _Format("BMP", alpha=False, gray=True),
    ".gif": _Format("GIF", gray=True, frames=True, side=65_535),
    ".heic": _HEIF,
    ".heif": _HEIF,
    ".hif": _HEIF,
    ".jfif": _JPEG,
    ".jpe": _JPEG,
    ".jpeg": _JPEG,
    ".jpg": _JPEG,
    ".jxl": _Format("JXL", {"quality": 95, "use_container": True}, gray=True, side=2**18),
    ".png": _PNG,
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".webp": _Format("WEBP", {"quality": 95, "exact": True}, frames=True, side=16_383),
}
PICTURE_SUFFIXES = frozenset(_FORMATS)
"""Suffixes of the picture files that are read and written."""
IMAGE_SUFFIXES = frozenset((".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"))
"""Suffixes of still pictures, as data sets use them."""
_SUFFIX_OF = {  # of a file whose content alone tells what it is
    "AVIF": ".avif",
    "BMP": ".bmp",
    "GIF": ".gif",
    "HEIF": ".heic",
    "JPEG": ".jpg",
    "JXL": ".jxl",
    "PNG": ".png",
    "TIFF": ".tif",
    "WEBP": ".webp",
}

# Only these decoders are ever given a file: Pillow knows many more, and some start other programs.
_READABLE = "AVIF, BMP, GIF, HEIC, JPEG, JPEG XL, PNG, TIFF, WebP"
_HEAD_BYTES = 64
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)
_ANIMATION_PIXELS = 4  # times the limit of one picture is the limit of all frames together


# Decoders in Rust raise a panic (module pyo3_runtime), which is no Exception, besides.
_DAMAGE = (*DECODER_ERRORS, RuntimeError, AttributeError, AssertionError, ArithmeticError)


class ImageError(UsageError):
    """A picture that cannot be read or written; the message names the file."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture and what its file held besides.

    Attributes:
        rgb: ``uint8`` or ``uint16 [H, W, 3]``, upright (the EXIF orientation is applied).
        alpha: ``[H, W]`` of the same dtype, upright, or None.
        gray: whether the file held one gray channel (then the three channels of ``rgb`` are equal).
        metadata: EXIF, colour profile and the like.
        duration: milliseconds for which this frame of an animation is shown, or None.
    """

    rgb: np.ndarray
    alpha: np.ndarray | None = None
    gray: bool = False
    metadata: Metadata = field(default_factory=Metadata)
    duration: float | None = None


@dataclass(frozen=True)
class Header:
    """What a picture file says of itself, read without decoding its pixels.

    Attributes:
        kind: the format, by Pillow's name for it.
        size: (width, height) of the first frame or page as it is stored, before it is turned
            upright.
        frames: how many frames or pages will be read.
        loop: how often an animation is repeated, 0 for ever; None where the file does not say.
        default_image: whether the first frame of a PNG file is shown only by readers that know
            nothing of animations.
    """

    kind: str
    size: tuple[int, int]
    frames: int = 1
    loop: int | None = None
    default_image: bool = False


def limit_pixels(pixels: int | None) -> None:
    """Sets how many pixels a picture may have, for this process; None for no limit.

    It is Pillow's limit against decompression bombs, about 89 million pixels at the start. All
    frames of an animation together may have 4 times as many.
    """
    Image.MAX_IMAGE_PIXELS = pixels


def kind_of(path: str | os.PathLike) -> str | None:
    """Tells by its first bytes which picture format a file has (Pillow's name), None for none.

    Raises:
        OSError: the file cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        return None
    with open(path, "rb") as file:
        head = file.read(_HEAD_BYTES)
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "TIFF"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WEBP"
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    if head.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")):
        return "JXL"
    if head[4:8] == b"ftyp":
        brands = [head[8:12], *(head[start : start + 4] for start in range(16, len(head), 4))]
        if b"avif" in brands or b"avis" in brands:
            return "AVIF"
        return "HEIF" if any(brand in _HEIF_BRANDS for brand in brands) else None
    return None


def suffix_of(kind: str) -> str | None:
    """The suffix that files of a format (Pillow's name) are written with, None for unknown ones."""
    return _SUFFIX_OF.get(kind)


def read_rgb(path: str | os.PathLike) -> np.ndarray:
    """Returns the picture in `path` as ``uint8 [H, W, 3]``, RGB, upright.

    16 bits are rounded to 8. Raises `ImageError`.
    """
    return to_uint8(read_picture(path).rgb)


def to_uint8(samples: np.ndarray) -> np.ndarray:
    """``uint16`` samples rounded to ``uint8``; others as they are."""
    if samples.dtype != np.uint16:
        return samples
    narrow = np.empty(samples.shape, np.uint8)
    for rows in _strips(*samples.shape[:2]):
        narrow[rows] = (samples[rows].astype(np.uint32) + 128) // 257
    return narrow


def read_header(path: str | os.PathLike) -> Header:
    """Reads what a picture file says of itself. Raises `ImageError` as `read_picture` does."""
    path = Path(path)
    kind = _checked_kind(path)
    with _naming(path):
        if kind == "TIFF":
            _, sizes = sixteen_bits.tiff_pages(path)
            for size in sizes:
                _check_pixels(path, size)
            return Header(kind, sizes[0], len(sizes))
        if kind == "JXL":
            header = read_jpeg_xl_header(path)
            _check_pixels(path, header.size)
            if header.animated:
                raise ImageError(f"{path}: an animation of JPEG XL; convert it to APNG first")
            return Header(kind, header.size)
        with Image.open(path, formats=(kind,)) as image:
            _check_pixels(path, image.size)
            frames = image.n_frames if kind in ("AVIF", "GIF", "PNG", "WEBP") else 1
            _check_pixels(path, image.size, frames)
            return Header(
                kind,
                image.size,
                frames,
                image.info.get("loop") if frames > 1 else None,
                bool(getattr(image, "default_image", False)),
            )


def read_picture(path: str | os.PathLike) -> Picture:
    """Reads a picture file.

    AVIF, BMP, GIF, HEIC (with the extra "heif"), JPEG, JPEG XL (with the extra "jxl"), PNG, TIFF
    and WebP are told by their content, not by the suffix. Palettes become RGB; CMYK and LAB become
    sRGB, through the file's ICC profile where it has one. Of an MPO or HEIC file with several
    pictures the main one is read.

    Returns:
        A `Picture`.

    Raises:
        ImageError: the file is missing, no picture, damaged, larger than the limit against
            decompression bombs (`limit_pixels`), animated or of several pages, or holds numbers
            other than up to 16 bits per channel.
    """
    header = read_header(path)
    if header.frames > 1:
        raise ImageError(
            f"{path}: {header.frames} frames or pages, expected a still picture; extract them first"
        )
    return next(iter(read_pictures(path)))


def read_pictures(path: str | os.PathLike) -> Iterator[Picture]:
    """Yields the frames or pages of a picture file, one after the other; a still picture once.

    Thumbnails and masks of TIFF files are left out. Raises `ImageError` as `read_picture` does.
    """
    path = Path(path)
    header = read_header(path)
    with _naming(path):
        if header.kind == "TIFF" and sixteen_bits.tiff_pages(path)[0]:
            for page in sixteen_bits.read_tiff(path):
                yield _from_samples(page.samples, page.orientation, page.metadata)
            return
        with Image.open(path, formats=(header.kind,)) as image:
            if header.kind == "PNG" and sixteen_bits.png_depth(path) == 16:
                yield _deep_png(image, path)
                return
            for number in _frame_numbers(image, header):
                if header.frames > 1:
                    image.seek(number)
                picture = _to_picture(image, path, header.frames > 1)
                if header.kind == "JXL" and read_jpeg_xl_header(path).depth > 8:
                    picture = _with_dropped(picture, "all but 8 bits of each channel")
                yield picture


def _frame_numbers(image, header):
    if header.kind != "TIFF":
        return range(header.frames)
    numbers = []
    for number in range(image.n_frames):
        image.seek(number)
        if number == 0 or not int(image.tag_v2.get(254, 0)) & 5:
            numbers.append(number)
    image.seek(0)
    return numbers


def _checked_kind(path):
    """The format of a file that can be read; raises on all others, and never waits for one."""
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise ImageError(f"{path}: a folder, expected a picture file")
        if not stat.S_ISREG(mode):
            raise ImageError(f"{path}: a pipe or device, expected a picture file")
        kind = kind_of(path)
    except FileNotFoundError as error:
        raise ImageError(f"{path}: no such file") from error
    except PermissionError as error:
        raise ImageError(f"{path}: no permission to read it") from error
    except (OSError, ValueError) as error:
        raise ImageError(f"{path}: cannot be read ({error})") from error
    if kind is None:
        raise ImageError(f"{path}: not a picture that can be read (expected {_READABLE})")
    _register(kind, path)
    return kind


def _register(kind, path):
    """Makes Pillow know a format that needs another package. Raises `ImageError` without it."""
    try:
        if kind == "HEIF":
            import pillow_heif

            if kind not in Image.OPEN:
                pillow_heif.register_heif_opener(thumbnails=False)
        elif kind == "JXL":
            import pillow_jxl  # noqa: F401 it registers itself
    except ImportError as error:
        name, package = {"HEIF": ("HEIC", "pillow-heif"), "JXL": ("JPEG XL", "pillow-jxl-plugin")}[
            kind
        ]
        raise ImageError(
            f'{path}: {name} files need {package}: pip install "mspfn_tf[{kind.lower()}]"'
        ) from error


@contextlib.contextmanager
def _naming(path):
    """Turns what decoders raise into an `ImageError` that names the file."""
    try:
        yield
    except (ImageError, GeneratorExit):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(_too_large(path, str(error))) from error
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{path}: damaged, or not a picture that can be read (expected {_READABLE})"
        ) from error
    except PermissionError as error:
        raise ImageError(f"{path}: no permission to read it") from error
    except sixteen_bits.UnsupportedSamples as error:
        raise ImageError(f"{path}: {error}; convert it first") from error
    except MemoryError:
        raise
    except BaseException as error:
        if not isinstance(error, _DAMAGE) and type(error).__module__ != "pyo3_runtime":
            raise
        raise ImageError(f"{path}: damaged or truncated picture ({error})") from error


def _check_pixels(path, size, frames=1):
    limit = Image.MAX_IMAGE_PIXELS
    if not limit:
        return
    pixels = size[0] * size[1]
    if pixels > limit:
        raise ImageError(_too_large(path, f"{size[0]}x{size[1]} pixels"))
    if pixels * frames > _ANIMATION_PIXELS * limit:
        raise ImageError(
            f"{path}: too large, {frames} frames of {size[0]}x{size[1]}; the limit for all "
            f"together is {_ANIMATION_PIXELS * limit} pixels (--limit_pixels sets a quarter of it)"
        )


def _too_large(path, what):
    return (
        f"{path}: too large, the limit is {Image.MAX_IMAGE_PIXELS} pixels ({what}); "
        "--limit_pixels sets another"
    )


def _to_picture(image, path, is_frame):
    if image.format != "TIFF":  # loading a TIFF closes the file, and with it the EXIF
        image.load()
    orientation, metadata = read_metadata(image, path)
    image.load()
    if image.mode.startswith(("I", "F")):
        raise sixteen_bits.UnsupportedSamples(f"numbers of the kind {image.mode}; expected 8 bits")
    duration = image.info.get("duration") if is_frame else None
    if image.mode in ("CMYK", "LAB"):
        image = to_srgb(image, metadata.icc_profile, path)
        metadata = _without_profile(metadata)
    gray = image.mode in ("1", "L", "LA", "La")
    with_alpha = image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
    alpha = _array(image, 3, with_alpha) if with_alpha else None
    rgb = _array(image, slice(3), with_alpha)
    return Picture(
        _turned(rgb, orientation),
        None if alpha is None else _turned(alpha, orientation),
        gray,
        metadata,
        duration,
    )


def _deep_png(image, path):
    image.load()  # texts and EXIF may stand behind the pixels
    orientation, metadata = read_metadata(image, path)
    transparent = image.info.get("transparency")
    samples = sixteen_bits.read_png(path)
    if transparent is not None and samples.shape[2] in (1, 3):
        seen = (samples != np.asarray(transparent, np.uint16)).any(axis=-1, keepdims=True)
        samples = np.concatenate([samples, seen.astype(np.uint16) * 65_535], axis=-1)
    return _from_samples(samples, orientation, metadata)


def _from_samples(samples, orientation, metadata):
    samples = _turned(samples, orientation)
    channels = samples.shape[2]
    colours = np.repeat(samples[..., :1], 3, axis=-1) if channels < 3 else samples[..., :3]
    return Picture(
        np.ascontiguousarray(colours),
        np.ascontiguousarray(samples[..., -1]) if channels in (2, 4) else None,
        channels < 3,
        metadata,
    )


def _array(image, channels, with_alpha):
    """Channels of an image as RGB or RGBA, without a second whole copy of them on the way.

    The colours under an alpha channel stay as they are.
    """
    # A TIFF that is not upright gives its upright size, whether its pixels were turned or not.
    width, height = image.im.size
    array = np.empty((height, width) if isinstance(channels, int) else (height, width, 3), np.uint8)
    for rows in _strips(height, width):
        strip = image.crop((0, rows.start, width, rows.stop))
        if strip.mode in ("La", "RGBa"):
            strip = strip.convert({"La": "LA", "RGBa": "RGBA"}[strip.mode])
        strip = strip.convert("RGBA" if with_alpha else "RGB")
        array[rows] = np.asarray(strip)[..., channels]
    return array


def _luma(rgb):
    """One gray channel ``[H, W]``, weighted as Pillow does; exact for equal channels."""
    gray = np.empty(rgb.shape[:2], rgb.dtype)
    weights = np.array([19_595, 38_470, 7_471], np.uint32)
    for rows in _strips(*gray.shape):
        gray[rows] = (rgb[rows].astype(np.uint32) @ weights + 0x8000) >> 16
    return gray


def _strips(height, width):
    """Slices of rows, of about a million pixels each."""
    step = max(1, 2**20 // max(1, width))
    return [slice(top, min(height, top + step)) for top in range(0, height, step)]


def _turned(array, orientation):
    """An array ``[H, W, ...]`` as its EXIF orientation wants it to be seen."""
    if orientation in (2, 3, 7):
        array = array[:, ::-1]
    if orientation in (3, 4, 7):
        array = array[::-1]
    if orientation in (5, 7):
        array = array.swapaxes(0, 1)
    elif orientation in (6, 8):
        array = np.rot90(array, -1 if orientation == 6 else 1)
    return np.ascontiguousarray(array)


def _with_dropped(picture, what):
    metadata = replace(picture.metadata, dropped=(*picture.metadata.dropped, what))
    return replace(picture, metadata=metadata)


def _without_profile(metadata):
    return replace(metadata, icc_profile=None)


def check_writable(
    path: str | os.PathLike,
    alpha: bool = False,
    size: tuple[int, int] | None = None,
    frames: int = 1,
) -> None:
    """Checks that the format which the suffix of `path` stands for can hold a picture.

    Args:
        path: the file to be written.
        alpha: whether the picture has an alpha channel.
        size: its two sides in pixels, in any order; None if not yet known.
        frames: how many frames or pages it has.

    Raises:
        ImageError: it cannot; the message says what would.
    """
    path = Path(path)
    form = _FORMATS.get(path.suffix.lower())
    if form is None:
        raise ImageError(
            f"{path}: cannot write '{path.suffix}' files, only {', '.join(sorted(_FORMATS))}"
        )
    _register(form.name, path)
    if alpha and not form.alpha:
        raise ImageError(
            f"{path}: '{path.suffix}' files cannot hold alpha; choose .png, .tif or .webp"
        )
    if size is not None and form.side is not None and max(size) > form.side:
        raise ImageError(
            f"{path}: '{path.suffix}' files hold at most {form.side} pixels a side, this picture "
            f"has {max(size)}; choose .png or .tif"
        )
    if frames > 1 and not form.frames:
        raise ImageError(
            f"{path}: '{path.suffix}' files hold one picture, this one has {frames} frames or "
            "pages; choose .png, .tif, .webp or .gif"
        )


def write_picture(
    path: str | os.PathLike,
    rgb: np.ndarray,
    like: Picture | None = None,
    overwrite: bool = False,
) -> None:
    """Writes a picture; the suffix of `path` decides the format.

    JPEG, JPEG XL and WebP are written at quality 95, JPEG without chroma subsampling, AVIF and HEIC
    at quality 90. Only PNG and TIFF hold 16 bits per channel; for others they are rounded to 8. A
    format that is written without a colour profile (BMP, GIF, JPEG XL) gets sRGB pixels.

    Args:
        path: the file to write. It appears under its name only when it is complete.
        rgb: ``uint8`` or ``uint16 [H, W, 3]``.
        like: the `Picture` of the same size whose alpha channel, grayness and metadata are written
            too.
        overwrite: whether an existing file may be replaced.

    Raises:
        ImageError: the format is unknown or cannot hold the picture.
        UsageError: `path` exists and `overwrite` is false, its folder cannot be written, or `rgb`
            is no picture.
    """
    like = like or Picture(rgb)
    picture = Picture(np.asarray(rgb), like.alpha, like.gray, like.metadata)
    write_pictures(path, [picture], overwrite=overwrite)


def write_pictures(
    path: str | os.PathLike,
    pictures: Iterable[Picture],
    frames: int = 1,
    loop: int | None = None,
    default_image: bool = False,
    overwrite: bool = False,
) -> None:
    """Writes the frames of an animation, or the pages of a TIFF file, as `write_picture` would.

    Args:
        path: the file to write.
        pictures: the frames, each with its duration; they are taken one by one. A TIFF file gets
            them as pages, which may differ in size.
        frames: how many there are.
        loop: how often they are repeated, 0 for ever.
        default_image: whether the first is shown only by readers that know nothing of animated PNG.
        overwrite: whether an existing file may be replaced.

    Raises:
        ImageError, UsageError: as `write_picture`; also what reading `pictures` raises.
    """
    path = Path(path)
    check_writable(path, frames=frames)
    form = _FORMATS[path.suffix.lower()]
    pictures = _checked_pictures(path, pictures)
    first = next(pictures)
    with atomic_write(path, overwrite) as temporary, open(temporary, "w+b") as file:
        if frames > 1 and form.name == "TIFF":
            _write_pages(file, path, first, pictures)
        elif frames > 1:
            _write_animation(file, path, form, first, pictures, loop, default_image)
        else:
            with _naming_output(path, form):
                _write_one(file, path, form, first)


@contextlib.contextmanager
def _naming_output(path, form):
    try:
        yield
    except UsageError:
        raise
    except (OSError, ValueError, RuntimeError, OverflowError) as error:
        raise ImageError(f"{path}: cannot be written as {form.name} ({error})") from error


def _checked_pictures(path, pictures):
    for picture in pictures:
        rgb, alpha = picture.rgb, picture.alpha
        if rgb.dtype not in (np.uint8, np.uint16) or rgb.ndim != 3 or rgb.shape[2] != 3:
            wrong = True
        else:
            wrong = 0 in rgb.shape
        if wrong:
            raise UsageError(
                f"{path}: expected a picture uint8 or uint16 [H, W, 3], received {rgb.dtype} "
                f"{list(rgb.shape)}"
            )
        check_writable(path, alpha is not None, rgb.shape[:2])
        if alpha is not None and alpha.shape != rgb.shape[:2]:
            raise UsageError(
                f"{path}: alpha is {alpha.shape}, the picture {rgb.shape[:2]}: not one size"
            )
        yield picture


def _write_one(file: BinaryIO, path, form, picture):
    if form.deep and picture.rgb.dtype == np.uint16:
        samples, metadata = _samples(picture, path)
        if form.name == "PNG":
            sixteen_bits.write_png(file, samples, metadata, path)
        else:
            sixteen_bits.write_tiff_page(file, samples, metadata)
        return
    image, metadata = _to_image(picture, form, path)
    options = {**form.options, **saving_options(metadata, form.name, path)}
    if form.name == "JPEG":
        # Optimal Huffman tables take 6 bytes a pixel more while the file is written.
        options["optimize"] = image.width * image.height <= _LARGE
    if form.name == "GIF":
        image, transparency = _with_palette(image)
        options |= {"transparency": transparency} if transparency is not None else {}
    image.save(file, form.name, **options)


def _write_pages(file, path, first, rest):
    writer = TiffImagePlugin.AppendingTiffWriter(file)
    for number, page in enumerate(_chained(first, rest)):
        if number:
            # Pillow's writer does not move the folders within EXIF to where further pages stand.
            page = replace(page, metadata=replace(page.metadata, exif=None))
        with _naming_output(path, _TIFF):
            _write_one(writer, path, _TIFF, page)
            writer.newFrame()


def _write_animation(file, path, form, first, rest, loop, default_image):
    size = first.rgb.shape[:2]
    with_alpha, durations, images = False, [], []
    for picture in _chained(first, rest):
        if picture.rgb.shape[:2] != size:
            raise ImageError(
                f"{path}: pages of different sizes, which '{path.suffix}' files cannot hold; "
                "choose .tif"
            )
        image, metadata = _to_image(picture, form, path, rgb=True)
        with_alpha = with_alpha or image.mode == "RGBA"
        durations.append(picture.duration)
        images.append(image)
    options = {**form.options, **saving_options(first.metadata, form.name, path)}
    if form.name in PROFILE_FORMATS:
        options["icc_profile"] = metadata.icc_profile
    if with_alpha:
        images = [image.convert("RGBA") for image in images]
    if form.name == "GIF":
        images, seen_through = zip(*(_with_palette(image) for image in images), strict=True)
        if with_alpha:
            options |= {"transparency": seen_through[0], "disposal": 2}
    if all(duration is not None for duration in durations[default_image:]):
        shown = [duration or 0 for duration in durations]
        if form.name == "GIF" or form.name == "PNG":
            options["duration"] = shown[1:] if default_image and form.name == "PNG" else shown
        else:
            options["duration"] = [round(duration) for duration in shown]
    if loop is not None and form.name != "AVIF":
        options["loop"] = loop
    if form.name == "PNG":
        options["default_image"] = default_image
    with _naming_output(path, form):
        images[0].save(file, form.name, save_all=True, append_images=list(images[1:]), **options)


def _chained(first, rest):
    yield first
    yield from rest


def _samples(picture, path):
    """The samples ``uint16 [H, W, C]`` of a picture, and its metadata with a fitting profile."""
    gray, metadata = _fitting_profile(picture, True)
    profile = metadata.icc_profile
    if profile is not None and profile_space(profile) != ("GRAY" if gray else "RGB"):
        warnings.warn(f"{path}: the ICC profile does not fit and is not kept", stacklevel=2)
        metadata = _without_profile(metadata)
    channels = [_luma(picture.rgb)[..., None] if gray else picture.rgb]
    if picture.alpha is not None:
        alpha = picture.alpha
        if alpha.dtype == np.uint8:
            alpha = alpha.astype(np.uint16) * 257
        channels.append(alpha[..., None])
    return np.concatenate(channels, axis=-1) if len(channels) > 1 else channels[0], metadata


def _to_image(picture, form, path, rgb=False):
    """Returns (Pillow's image of 8 bits for a format, the metadata with a profile that fits it)."""
    gray, metadata = _fitting_profile(picture, form.gray and not rgb)
    samples = to_uint8(picture.rgb)
    image = Image.fromarray(_luma(samples) if gray else samples)
    profile = metadata.icc_profile
    if profile is not None:
        space = profile_space(profile)
        if space is None:
            warnings.warn(f"{path}: the ICC profile is damaged and is not kept", stacklevel=2)
            metadata = _without_profile(metadata)
        elif space != ("GRAY" if gray else "RGB") or form.name not in PROFILE_FORMATS:
            if not is_srgb(profile):
                if space == "GRAY" and not gray:
                    image = Image.fromarray(_luma(samples))
                converted = to_srgb(image, profile, path)
                image = converted.convert("L") if gray else converted
            metadata = _without_profile(metadata)
    if picture.alpha is not None:
        image.putalpha(Image.fromarray(to_uint8(picture.alpha)))
    return image, metadata


def _fitting_profile(picture, gray_fits):
    """Returns (whether to write one gray channel, the metadata with a profile that fits).

    A gray picture in an RGB profile other than sRGB is written as RGB, where the profile is right.
    """
    profile = picture.metadata.icc_profile
    gray = picture.gray and gray_fits
    if not gray or profile is None or profile_space(profile) != "RGB":
        return gray, picture.metadata
    if is_srgb(profile):
        return True, _without_profile(picture.metadata)
    return False, picture.metadata


def _with_palette(image):
    """Returns (the image in at most 256 colours, the colour seen through or None)."""
    if image.mode == "L":
        return image, None
    if image.mode in ("LA", "RGBA"):
        hidden = image.getchannel("A").point(lambda value: 255 if value < 128 else 0)
        colours = image.convert("RGB").quantize(255, Image.Quantize.MEDIANCUT)
        colours.paste(255, mask=hidden)
        return colours, 255
    return image.quantize(256, Image.Quantize.MEDIANCUT), None


def find_images(folder: str | os.PathLike) -> list[Path]:
    """Returns the picture files (by suffix) in `folder` and below, sorted, without hidden ones.

    Raises:
        ImageError: `folder` is no folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ImageError(f"{folder}: not a folder")
    found = []
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            Path(root, name)
            for name in files
            if not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES
        ]
    return sorted(found)
