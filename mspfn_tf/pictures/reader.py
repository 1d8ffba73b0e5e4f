"""Reading picture files."""

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from mspfn_tf.pictures import sixteen_bits
from mspfn_tf.pictures.formats import ImageError, kind_of, register
from mspfn_tf.pictures.jpeg_xl import read_jpeg_xl_header
from mspfn_tf.pictures.metadata import DECODER_ERRORS, read_metadata
from mspfn_tf.pictures.picture import Picture, row_slices, to_uint8
from mspfn_tf.pictures.profiles import to_srgb

# Only these decoders are ever given a file: Pillow knows many more, and some start other programs.
_READABLE = "AVIF, BMP, GIF, HEIC, JPEG, JPEG XL, PNG, TIFF, WebP"
_ANIMATION_PIXELS = 4  # times the limit of one picture is the limit of all frames together
# Decoders in Rust raise a panic (module pyo3_runtime), which is no Exception, besides.
_DAMAGE = (*DECODER_ERRORS, RuntimeError, AttributeError, AssertionError, ArithmeticError)


@dataclass(frozen=True)
class Header:
    """What a picture file says of itself, read without decoding its pixels.

    Attributes:
        kind: the format, by Pillow's name for it.
        size: (width, height) of the first frame or page as it is stored, before it is turned
            upright.
        frames: how many frames or pages will be read.
        loop: how often an animation is played, 0 for ever; None where the format does not say.
        default_image: whether the first frame of a PNG file is shown only by readers that know
            nothing of animations.
        same_size: whether all frames or pages have the size of the first.
    """

    kind: str
    size: tuple[int, int]
    frames: int = 1
    loop: int | None = None
    default_image: bool = False
    same_size: bool = True


def limit_pixels(pixels: int | None) -> None:
    """Sets how many pixels a picture may have, for this process; None for no limit.

    It is Pillow's limit against decompression bombs, about 89 million pixels at the start. All
    frames of an animation together may have 4 times as many.
    """
    Image.MAX_IMAGE_PIXELS = pixels


def read_rgb(path: str | os.PathLike) -> np.ndarray:
    """Returns the picture in `path` as ``uint8 [H, W, 3]``, RGB, upright.

    16 bits are rounded to 8. Raises `ImageError`.
    """
    return to_uint8(read_picture(path).rgb)


def read_header(path: str | os.PathLike) -> Header:
    """Reads what a picture file says of itself. Raises `ImageError` as `read_picture` does."""
    path = Path(path)
    kind = _checked_kind(path)
    with _naming(path):
        if kind == "TIFF":
            _, sizes = sixteen_bits.tiff_pages(path)
            for size in sizes:
                _check_pixels(path, size)
            return Header(kind, sizes[0], len(sizes), same_size=len(set(sizes)) == 1)
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
                _plays(kind, image.info.get("loop")) if frames > 1 else None,
                bool(getattr(image, "default_image", False)),
            )


def _plays(kind, loop):
    """GIF files count the repetitions after the first time, and play once where they count none."""
    if kind == "GIF":
        return 1 if loop is None else loop + 1 if loop else 0
    return loop


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
            deep = header.kind == "PNG" and sixteen_bits.png_depth(path) == 16
            if deep and header.frames == 1:  # libpng reads no animations
                yield _deep_png(image, path)
                return
            for number in _frame_numbers(image, header):
                if header.frames > 1:
                    image.seek(number)
                is_frame = header.frames > 1 and header.kind != "TIFF"
                picture = _to_picture(image, path, is_frame)
                if header.kind == "TIFF" and _has_extra_channels(image):
                    picture = _with_dropped(picture, "extra channels besides the colours and alpha")
                if deep or (header.kind == "JXL" and read_jpeg_xl_header(path).depth > 8):
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


def _has_extra_channels(image):
    samples = image.tag_v2.get(TiffImagePlugin.SAMPLESPERPIXEL, 1)
    return samples > len(image.getbands())


def _checked_kind(path):
    """The format of a file that can be read; raises on all others, and never waits for one."""
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise ImageError(f"{path}: a folder, expected a picture file")
        if not stat.S_ISREG(mode):
            raise ImageError(f"{path}: a pipe or device, expected a picture file")
        kind = kind_of(path)
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageError(f"{path}: no such file") from error
    except PermissionError as error:
        raise ImageError(f"{path}: no permission to read it") from error
    except (OSError, ValueError) as error:
        raise ImageError(f"{path}: cannot be read ({error})") from error
    if kind is None:
        raise ImageError(f"{path}: not a picture that can be read (expected {_READABLE})")
    register(kind, path)
    return kind


@contextlib.contextmanager
def _naming(path):
    """Turns what decoders raise into an `ImageError` that names the file."""
    try:
        yield
    except (ImageError, GeneratorExit):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        _, _, pixels = str(error).partition("(")
        raise ImageError(_too_large(path, pixels.partition(")")[0])) from error
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
        reason = " ".join(str(error).split())  # some decoders tell it in several lines
        raise ImageError(f"{path}: damaged or truncated picture ({reason})") from error


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
            f"together is {_ANIMATION_PIXELS * limit} pixels (limit_pixels sets a quarter of it)"
        )


def _too_large(path, what):
    return (
        f"{path}: too large, the limit is {Image.MAX_IMAGE_PIXELS} pixels ({what}); "
        "limit_pixels sets another"
    )


def _to_picture(image, path, is_frame):
    if image.format != "TIFF":  # loading a TIFF closes the file, and with it the EXIF
        image.load()
    orientation, metadata = read_metadata(image, path)
    image.load()
    if image.mode.startswith(("I", "F")):
        raise sixteen_bits.UnsupportedSamples(f"numbers of the kind {image.mode}; expected 8 bits")
    duration = image.info.get("duration", 0) if is_frame else None
    if image.mode in ("CMYK", "LAB"):
        image = to_srgb(image, metadata.icc_profile, path)
        metadata = replace(metadata, icc_profile=None)
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
    for rows in row_slices(height, width):
        strip = image.crop((0, rows.start, width, rows.stop))
        if strip.mode in ("La", "RGBa"):
            strip = strip.convert({"La": "LA", "RGBa": "RGBA"}[strip.mode])
        strip = strip.convert("RGBA" if with_alpha else "RGB")
        array[rows] = np.asarray(strip)[..., channels]
    return array


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
