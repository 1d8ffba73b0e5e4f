"""The formats of picture files: how they are told, what they hold, what they need."""

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from mspfn_tf.errors import UsageError
from mspfn_tf.files import is_hidden


class ImageError(UsageError):
    """A picture that cannot be read or written; the message names the file."""


@dataclass(frozen=True)
class Format:
    """What a format can hold.

    Attributes:
        name: Pillow's name.
        options: the arguments of Pillow's `save`.
        alpha: an alpha channel.
        gray: one gray channel.
        deep: 16 bits per channel.
        frames: several frames or pages.
        side: the longest side that its encoder takes and its decoder reads, None for any.
        thin_side: the same where the other side has less than 32 pixels, None for `side`.
    """

    name: str
    options: dict = field(default_factory=dict)
    alpha: bool = True
    gray: bool = False
    deep: bool = False
    frames: bool = False
    side: int | None = None
    thin_side: int | None = None


_JPEG = Format("JPEG", {"quality": 95, "subsampling": 0}, alpha=False, gray=True, side=65_500)
# zlib-ng, in Pillow's wheels, makes photographs no larger at level 3 than at 6, in 0.4 of the time.
_PNG = Format("PNG", {"compress_level": 3}, gray=True, deep=True, frames=True)
# TIFF stays uncompressed: only then can Pillow write EXIF beside the pixels.
_TIFF = Format("TIFF", gray=True, deep=True, frames=True)
# x265 refuses the small blocks that it takes for thin pictures from HEVC's level 5 on.
_HEIF = Format("HEIF", {"quality": 90}, side=65_528, thin_side=4216)
FORMATS = {
    ".apng": _PNG,
    # libavif writes sides of up to 65,536 pixels, but reads none of more than 32,768.
    ".avif": Format("AVIF", {"quality": 90, "subsampling": "4:4:4"}, frames=True, side=32_768),
    ".bmp": Format("BMP", alpha=False, gray=True),
    ".gif": Format("GIF", gray=True, frames=True, side=65_535),
    ".heic": _HEIF,
    ".heif": _HEIF,
    ".hif": _HEIF,
    ".jfif": _JPEG,
    ".jpe": _JPEG,
    ".jpeg": _JPEG,
    ".jpg": _JPEG,
    ".jxl": Format("JXL", {"quality": 95, "use_container": True}, gray=True, side=2**18),
    ".png": _PNG,
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".webp": Format("WEBP", {"quality": 95, "exact": True}, frames=True, side=16_383),
}
"""Suffix of a file -> the format it is written in."""
PICTURE_SUFFIXES = frozenset(FORMATS)
"""Suffixes of the picture files that are read and written."""
IMAGE_SUFFIXES = frozenset((".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"))
"""Suffixes of still pictures, as data sets use them."""
_MOST_LINKS = 16  # ways to reach one folder through links
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
_HEAD_BYTES = 64
_THIN = 32  # pixels of a side
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)


def kind_of(path: str | os.PathLike) -> str | None:
    """Tells by its first bytes which picture format a file has (Pillow's name), None for none.

    Raises:
        OSError: the file cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        return None
    with open(path, "rb") as file:
        return kind_of_bytes(file.read(_HEAD_BYTES))


def kind_of_bytes(head: bytes) -> str | None:
    """Tells by the first 64 bytes of a file which picture format it has, as `kind_of`."""
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


def suffix_of(kind: str | None) -> str | None:
    """The suffix that files of a format (Pillow's name) are written with, None for unknown ones."""
    return None if kind is None else _SUFFIX_OF.get(kind)


def register(kind: str, path: str | os.PathLike) -> None:
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
            f'{path}: {name} files need {package}: pip install "mspfn_tf[{kind.lower()}]" ({error})'
        ) from error


def check_writable(
    path: str | os.PathLike,
    alpha: bool = False,
    size: tuple[int, int] | None = None,
    frames: int = 1,
    same_size: bool = True,
) -> None:
    """Checks that the format which the suffix of `path` stands for can hold a picture.

    Args:
        path: the file to be written.
        alpha: whether the picture has an alpha channel.
        size: its two sides in pixels, in any order; None if not yet known.
        frames: how many frames or pages it has.
        same_size: whether these are all of one size.

    Raises:
        ImageError: it cannot; the message says what would.
    """
    path = Path(path)
    form = FORMATS.get(path.suffix.lower())
    if form is None:
        raise ImageError(
            f"{path}: cannot write '{path.suffix}' files, only {', '.join(sorted(FORMATS))}"
        )
    register(form.name, path)
    if alpha and not form.alpha:
        raise ImageError(
            f"{path}: '{path.suffix}' files cannot hold alpha; choose .png, .tif or .webp"
        )
    if size is not None and form.side is not None and max(size) > form.side:
        raise ImageError(
            f"{path}: '{path.suffix}' files hold at most {form.side} pixels a side, this picture "
            f"has {max(size)}; choose .png or .tif"
        )
    thin_side = form.thin_side
    if size is not None and thin_side is not None and min(size) < _THIN and max(size) > thin_side:
        raise ImageError(
            f"{path}: '{path.suffix}' files whose short side has less than {_THIN} pixels hold at "
            f"most {thin_side} on the other, this picture has {max(size)}; choose .png or .tif"
        )
    if frames > 1 and not form.frames:
        raise ImageError(
            f"{path}: '{path.suffix}' files hold one picture, this one has {frames} frames or "
            "pages; choose .png, .tif, .webp or .gif"
        )
    if not same_size and form.name != "TIFF":
        raise ImageError(
            f"{path}: pages of different sizes, which '{path.suffix}' files cannot hold; "
            "choose .tif"
        )


def find_images(folder: str | os.PathLike) -> list[Path]:
    """Returns the picture files (by suffix) in `folder` and below, sorted, without hidden ones.

    The forks and thumbnails that macOS and the disks of Synology put into folders of their own
    (`__MACOSX`, `@eaDir`) are left out, too. Links to folders are followed, but not round in
    circles.

    Raises:
        ImageError: `folder` is no folder, one below it cannot be read, or links lead to one in more
            than 16 ways.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ImageError(f"{folder}: not a folder")

    def unreadable(error):
        raise ImageError(f"{error.filename}: cannot be read ({error.strerror})") from error

    found, visits = [], Counter()
    for root, folders, files in os.walk(folder, onerror=unreadable, followlinks=True):
        real = os.path.realpath(root)
        visits[real] += 1
        if visits[real] > _MOST_LINKS:
            raise ImageError(
                f"{folder}: links lead to {real} in more than {_MOST_LINKS} ways; remove some"
            )
        folders[:] = [
            name for name in folders if not is_hidden(name) and not _leads_back(Path(root, name))
        ]
        found += [
            Path(root, name)
            for name in files
            if not is_hidden(name) and Path(name).suffix.lower() in IMAGE_SUFFIXES
        ]
    return sorted(found)


def _leads_back(path: Path) -> bool:
    """Whether a folder is a link to one of those that it lies in."""
    if not path.is_symlink():
        return False
    real = os.path.realpath(path)
    return any(os.path.realpath(above) == real for above in path.parents)
