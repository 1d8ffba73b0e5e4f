"""Writing picture files."""

import contextlib
import itertools
import os
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, TiffImagePlugin

from mspfn_tf.errors import UsageError
from mspfn_tf.files import atomic_write
from mspfn_tf.pictures import sixteen_bits
from mspfn_tf.pictures.formats import FORMATS, ImageError, check_writable
from mspfn_tf.pictures.metadata import PROFILE_FORMATS, saving_options
from mspfn_tf.pictures.picture import Picture, row_slices, to_uint8
from mspfn_tf.pictures.profiles import is_srgb, profile_space, to_srgb

_PAGE = 1000  # milliseconds for which a page is shown where it becomes a frame
_LARGE = 24_000_000  # pixels from which saving memory is worth a larger file


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
            them as pages, which may differ in size. Pages, which have no duration, become frames of
            a second.
        frames: how many there are.
        loop: how often they are played, 0 for ever.
        default_image: whether the first is shown only by readers that know nothing of animated PNG;
            in other formats it is left out.
        overwrite: whether an existing file may be replaced.

    Raises:
        ImageError, UsageError: as `write_picture`; also what reading `pictures` raises.
    """
    path = Path(path)
    check_writable(path, frames=frames)
    form = FORMATS[path.suffix.lower()]
    pictures = _checked_pictures(path, pictures)
    first = next(pictures)
    if default_image and form.name != "PNG":
        first, frames, default_image = next(pictures), frames - 1, False
    with atomic_write(path, overwrite) as temporary, _opened(temporary, path, form) as file:
        if frames > 1 and form.name == "TIFF":
            _write_pages(file, path, first, pictures)
        elif frames > 1:
            _write_animation(file, path, form, first, pictures, loop, default_image)
        else:
            with _naming_output(path, form):
                _write_one(file, path, form, first)


class _Numberless:
    """A file that does not tell its descriptor.

    Pillow writes straight to a descriptor, and takes no notice where the system writes less than
    all, as on a disk that is just full: the end of the picture would be missing.
    """

    def __init__(self, file):
        self._file = file

    def __getattr__(self, name):
        if name == "fileno":
            raise AttributeError(name)
        return getattr(self._file, name)


@contextlib.contextmanager
def _opened(temporary, path, form) -> Iterator[Any]:
    with _naming_output(path, form):
        file = open(temporary, "w+b")  # noqa: SIM115 closed below
    try:
        yield _Numberless(file)
    except BaseException:
        # On a full disk this fails once more, and would tell less than the first error did.
        with contextlib.suppress(OSError):
            file.close()
        raise
    with _naming_output(path, form):
        file.close()


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
        fits = rgb.ndim == 3 and rgb.shape[2] == 3 and 0 not in rgb.shape
        if rgb.dtype not in (np.uint8, np.uint16) or not fits:
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
    if first.duration is not None:
        warnings.warn(
            f"{path}: '{path.suffix}' files hold pages without times; choose .png, .webp or .gif "
            "for an animation",
            stacklevel=2,
        )
    writer = TiffImagePlugin.AppendingTiffWriter(file)
    for number, page in enumerate(itertools.chain([first], rest)):
        if number:
            # Pillow's writer does not move the folders within EXIF to where further pages stand.
            page = replace(page, metadata=replace(page.metadata, exif=None))
        with _naming_output(path, FORMATS[".tif"]):
            _write_one(writer, path, FORMATS[".tif"], page)
            writer.newFrame()


def _write_animation(file, path, form, first, rest, loop, default_image):
    size = first.rgb.shape[:2]
    with_alpha, durations, images = False, [], []
    for picture in itertools.chain([first], rest):
        check_writable(path, same_size=picture.rgb.shape[:2] == size)
        image, metadata = _to_image(picture, form, path, rgb=True)
        with_alpha = with_alpha or image.mode == "RGBA"
        durations.append(_PAGE if picture.duration is None else picture.duration)
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
    if form.name == "PNG":
        options["duration"] = durations[default_image:]
    elif form.name == "GIF":
        options["duration"] = durations
    else:
        options["duration"] = [round(duration) for duration in durations]
    if form.name == "GIF":
        if loop != 1:  # it counts the repetitions after the first time
            options["loop"] = loop - 1 if loop else 0
    elif form.name != "AVIF":
        options["loop"] = loop or 0
    elif loop:
        warnings.warn(f"{path}: '.avif' files are played for ever, not {loop} times", stacklevel=2)
    if form.name == "PNG":
        options["default_image"] = default_image
    with _naming_output(path, form):
        images[0].save(file, form.name, save_all=True, append_images=list(images[1:]), **options)


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


def _luma(rgb):
    """One gray channel ``[H, W]``, weighted as Pillow does; exact for equal channels."""
    height, width = rgb.shape[:2]
    gray = np.empty((height, width), rgb.dtype)
    weights = np.array([19_595, 38_470, 7_471], np.uint32)
    for rows in row_slices(height, width):
        gray[rows] = (rgb[rows].astype(np.uint32) @ weights + 0x8000) >> 16
    return gray


def _without_profile(metadata):
    return replace(metadata, icc_profile=None)
