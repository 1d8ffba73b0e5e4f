"""Pictures in files: read with everything that must survive restoring, written without surprises.

Inside the package a picture is ``uint8 [H, W, 3]``, RGB, upright. What a file holds besides (alpha
channel, EXIF, ICC profile, being gray) travels next to it in a `Picture`, so that `write_picture`
can put it back.
"""

import os
import re
import struct
import warnings
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from mspfn_tf.errors import UsageError
from mspfn_tf.files import atomic_write

# Suffix -> (Pillow's format, what it is saved with).
# TIFF stays uncompressed: only then can Pillow write EXIF beside the pixels.
_SAVING = {
    ".bmp": ("BMP", {}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": 0, "optimize": True}),
    ".jpg": ("JPEG", {"quality": 95, "subsampling": 0, "optimize": True}),
    ".png": ("PNG", {}),
    ".tif": ("TIFF", {}),
    ".tiff": ("TIFF", {}),
    ".webp": ("WEBP", {"quality": 95, "exact": True}),
}
IMAGE_SUFFIXES = frozenset(_SAVING)
_ALPHA_FORMATS = ("PNG", "TIFF", "WEBP")
_METADATA_FORMATS = ("JPEG", "PNG", "TIFF", "WEBP")

# Only these decoders are ever given a file: Pillow knows many more, and some start other programs.
_READABLE_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
_DECODER_ERRORS = (
    OSError,
    EOFError,
    IndexError,
    KeyError,
    OverflowError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)

# The first EXIF directory mixes what describes the picture with what describes its layout in the
# file it came from. Tags up to 1000 are kept only if they are among these.
_DESCRIPTIVE_TAGS = (
    ExifTags.Base.ImageDescription,
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.XResolution,
    ExifTags.Base.YResolution,
    ExifTags.Base.ResolutionUnit,
    ExifTags.Base.Software,
    ExifTags.Base.DateTime,
    ExifTags.Base.Artist,
    ExifTags.Base.HostComputer,
)
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SWAPPING_TURNS = tuple(_TURNS[orientation] for orientation in (5, 6, 7, 8))


class ImageError(UsageError):
    """A picture that cannot be read or written; the message names the file."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture and what its file held besides.

    Attributes:
        rgb: ``uint8 [H, W, 3]``, upright (the EXIF orientation is applied).
        alpha: ``uint8 [H, W]``, upright, or None.
        gray: whether the file held one gray channel (then the three channels of ``rgb`` are equal).
        exif: EXIF block without orientation and thumbnail, or None.
        icc_profile: ICC profile that ``rgb`` (or its gray) is meant in, or None.
    """

    rgb: np.ndarray
    alpha: np.ndarray | None = None
    gray: bool = False
    exif: bytes | None = None
    icc_profile: bytes | None = None


def read_rgb(path):
    """Returns the picture in `path` as ``uint8 [H, W, 3]``, RGB, upright. Raises `ImageError`."""
    return read_picture(path).rgb


def read_picture(path):
    """Reads a picture file.

    BMP, GIF, JPEG, PNG, TIFF and WebP are told by their content, not by the suffix. Palettes become
    RGB, CMYK becomes RGB through its ICC profile where it has one.

    Returns:
        A `Picture`.

    Raises:
        ImageError: the file is missing, no picture, damaged, larger than Pillow's limit against
            decompression bombs (about 89 million pixels), animated, or holds more than 8 bits per
            channel.
    """
    path = Path(path)
    if not path.exists():
        raise ImageError(f"{path}: no such file")
    if path.is_dir():
        raise ImageError(f"{path}: a folder, expected a picture file")
    try:
        with Image.open(path, formats=_READABLE_FORMATS) as image:
            if Image.MAX_IMAGE_PIXELS and image.width * image.height > Image.MAX_IMAGE_PIXELS:
                raise Image.DecompressionBombError(f"{image.width}x{image.height} pixels")
            _refuse_what_would_lose(image, path)
            return _to_picture(image, path)
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(
            f"{path}: too large, the limit is {Image.MAX_IMAGE_PIXELS} pixels ({error})"
        ) from error
    except UnidentifiedImageError as error:
        kinds = ", ".join(_READABLE_FORMATS)
        raise ImageError(f"{path}: not a picture that can be read (expected {kinds})") from error
    except PermissionError as error:
        raise ImageError(f"{path}: no permission to read it") from error
    except _DECODER_ERRORS as error:
        raise ImageError(f"{path}: damaged or truncated picture ({error})") from error


def _refuse_what_would_lose(image, path):
    """Raises on what 8-bit gray or RGB could hold only a part of."""
    # MPO is the stereo or preview JPEG of cameras: its first picture is the photograph.
    frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    if frames > 1:
        raise ImageError(
            f"{path}: {frames} frames or pages, expected a still picture; extract them first"
        )
    raw_modes = [
        tile.args if isinstance(tile.args, str) else tile.args[0]
        for tile in image.tile
        if tile.args
    ]
    deep = any(
        re.search(r";(16[BLNS]|16$|32)", str(raw))
        for raw in raw_modes
        if not str(raw).startswith("BGR")
    )
    if deep or image.mode.startswith(("I", "F")):
        raise ImageError(f"{path}: more than 8 bits per channel; convert it to 8 bits first")


def _to_picture(image, path):
    if image.format != "TIFF":  # loading a TIFF closes the file, and with it the EXIF
        image.load()
    turn, exif = _read_exif(image, path)
    image.load()
    icc_profile = image.info.get("icc_profile")
    if turn is not None:
        image = image.transpose(turn)
    if image.mode == "CMYK":
        image, icc_profile = _cmyk_to_rgb(image, icc_profile), None
    gray = image.mode in ("1", "L", "LA")
    alpha = None
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        image = image.convert("RGBA")
        alpha = np.array(image.getchannel("A"))
    # From RGBA this only drops alpha: the colours under it stay.
    return Picture(np.array(image.convert("RGB")), alpha, gray, exif, icc_profile)


def _read_exif(image, path):
    """Returns (the `Image.Transpose` towards upright or None, the EXIF to keep or None)."""
    try:
        exif = image.getexif()
        turn = _TURNS.get(exif.pop(ExifTags.Base.Orientation, 1))
        for tag in list(exif):
            if tag == ExifTags.Base.InterColorProfile or (
                tag <= 1000 and tag not in _DESCRIPTIVE_TAGS
            ):
                del exif[tag]
        exposure = exif.get_ifd(ExifTags.IFD.Exif)
        width, height = ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight
        if turn in _SWAPPING_TURNS and width in exposure and height in exposure:
            exposure[width], exposure[height] = exposure[height], exposure[width]
        # Leaves out the thumbnail, which would go on showing the rainy picture.
        return turn, exif.tobytes() if len(exif) else None
    except _DECODER_ERRORS as error:
        warnings.warn(f"{path}: its EXIF block is damaged and is not kept ({error})", stacklevel=2)
        return None, None


def _cmyk_to_rgb(image, icc_profile):
    if icc_profile is not None:
        try:
            profile = ImageCms.getOpenProfile(BytesIO(icc_profile))
            return ImageCms.profileToProfile(
                image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
        except (OSError, ImageCms.PyCMSError) as error:
            warnings.warn(
                f"its ICC profile cannot be used ({error}); plain conversion", stacklevel=2
            )
    return image.convert("RGB")


def check_writable(path, alpha=False):
    """Raises `ImageError` if the suffix of `path` allows no picture (where `alpha`: with alpha)."""
    path = Path(path)
    if path.suffix.lower() not in _SAVING:
        raise ImageError(
            f"{path}: cannot write '{path.suffix}' files, only {', '.join(sorted(_SAVING))}"
        )
    if alpha and _SAVING[path.suffix.lower()][0] not in _ALPHA_FORMATS:
        raise ImageError(
            f"{path}: '{path.suffix}' files cannot hold alpha; choose .png, .tif or .webp"
        )


def write_picture(path, rgb, like=None, overwrite=False):
    """Writes a picture; the suffix of `path` decides the format.

    JPEG and WebP are written at quality 95, JPEG without chroma subsampling.

    Args:
        path: the file to write. It appears under its name only when it is complete.
        rgb: ``uint8 [H, W, 3]``.
        like: the `Picture` of the same size whose alpha channel, grayness, EXIF and ICC profile are
            written too.
        overwrite: whether an existing file may be replaced.

    Raises:
        ImageError: the format is unknown or cannot hold the alpha channel.
        UsageError: `path` exists and `overwrite` is false, its folder cannot be written, or `rgb`
            is no picture.
    """
    path = Path(path)
    like = like or Picture(rgb)
    rgb = np.asarray(rgb)
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or 0 in rgb.shape:
        raise UsageError(
            f"{path}: expected a picture uint8 [H, W, 3], received {rgb.dtype} {list(rgb.shape)}"
        )
    check_writable(path, alpha=like.alpha is not None)
    image = Image.fromarray(rgb)
    if like.gray:
        image = image.convert("L")
    if like.alpha is not None:
        if like.alpha.shape != rgb.shape[:2]:
            raise UsageError(
                f"{path}: alpha is {like.alpha.shape}, the picture {rgb.shape[:2]}: not one size"
            )
        image.putalpha(Image.fromarray(like.alpha))
    kind, options = _SAVING[path.suffix.lower()]
    if kind in _METADATA_FORMATS:
        options = {**options, "icc_profile": like.icc_profile}
        if like.exif:
            options["exif"] = like.exif
    with atomic_write(path, overwrite) as temporary:
        try:
            image.save(temporary, kind, **options)
        except (OSError, ValueError) as error:
            raise ImageError(f"{path}: cannot be written as {kind} ({error})") from error


def find_images(folder):
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
