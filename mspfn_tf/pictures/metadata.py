"""What a picture file holds besides its pixels, and how much of it each format can keep.

Kept are EXIF, the ICC profile, XMP, IPTC, comments, the texts and the gamma of PNG files, and the
resolution. Left behind is what would go on showing the rain (thumbnails, the layers of Photoshop)
or describes the old file's layout rather than the picture.
"""

import re
import struct
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from PIL import ExifTags, Image, PngImagePlugin

from mspfn_tf.pictures.profiles import SRGB_PRIMARIES, SRGB_TRANSFERS, profile_of_tags

DECODER_ERRORS = (
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
"""What Pillow and its like raise on damaged files."""

PROFILE_FORMATS = ("AVIF", "HEIF", "JPEG", "PNG", "TIFF", "WEBP")
"""Formats (Pillow's names) that are written with an ICC profile."""

# The first EXIF directory mixes what describes the picture with what describes its layout in the
# file it came from. Tags up to 1000 are kept only if they are among these.
_DESCRIPTIVE_TAGS = (
    ExifTags.Base.DocumentName,
    ExifTags.Base.ImageDescription,
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.XResolution,
    ExifTags.Base.YResolution,
    ExifTags.Base.ResolutionUnit,
    ExifTags.Base.PageName,
    ExifTags.Base.Software,
    ExifTags.Base.DateTime,
    ExifTags.Base.Artist,
    ExifTags.Base.HostComputer,
)
_XMP_TAG, _IPTC_TAG, _PHOTOSHOP_TAG, _LAYERS_TAG = 700, 33723, 34377, 37724
_OTHERWISE_KEPT_TAGS = (ExifTags.Base.InterColorProfile, _IPTC_TAG, _PHOTOSHOP_TAG, _LAYERS_TAG)
_SWAPPING_ORIENTATIONS = (5, 6, 7, 8)
_IPTC_RESOURCE = 0x0404
_INCH, _CENTIMETRE = 2, 3  # units of a resolution
_JPEG_MARKER_BYTES = 65_533
_XMP_HEADER = b"http://ns.adobe.com/xap/1.0/\0"
_HEIF_HEAD = 65_536  # bytes in which HEIC and AVIF files describe their pictures
_GAIN_MAP = (b'hdrgm:Version="', b"urn:iso:std:iso:ts:21496:-1")
_MOTION_PHOTO = re.compile(rb"""\b(?:MotionPhoto|MicroVideo)(?:\s*=\s*["']|>)\s*1""")


@dataclass(frozen=True, eq=False)
class Metadata:
    """What stands beside the pixels in a file.

    Attributes:
        exif: EXIF block without orientation and thumbnail, starting with ``Exif\\0\\0``, or None.
        icc_profile: ICC profile that the pixels are meant in, or None.
        xmp: XMP packet, its orientation set to upright, or None.
        iptc: IPTC records, or None.
        comment: comment of a JPEG or GIF file, or None.
        text: texts of a PNG file by keyword.
        dpi: resolution in dots per inch, horizontal and vertical, or None.
        gamma: the gAMA chunk of a PNG file, or None.
        chromaticities: the cHRM chunk of a PNG file, x and y of white, red, green, blue, or None.
        dropped: what the file holds and no output will, in words.
    """

    exif: bytes | None = None
    icc_profile: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    comment: bytes | None = None
    text: dict[str, str] = field(default_factory=dict)
    dpi: tuple[float, float] | None = None
    gamma: float | None = None
    chromaticities: tuple[float, ...] | None = None
    dropped: tuple[str, ...] = ()


def read_metadata(image: Image.Image, path: Path) -> tuple[int, Metadata]:
    """Returns (the EXIF orientation, 1 to 8, the `Metadata`) of an image that Pillow opened.

    A damaged part is left out with a warning that names `path`.
    """
    orientation, exif = _read_exif(image, path)
    info = image.info
    xmp, dropped = _bytes(info.get("xmp")), ()
    # XMP that describes where something else stands in the file points to what is no longer there.
    if xmp and _MOTION_PHOTO.search(xmp):
        xmp, dropped = None, ("the video of its motion photo, and the XMP that points to it",)
    if any(mark in segment for _, segment in getattr(image, "applist", ()) for mark in _GAIN_MAP):
        xmp, dropped = None, (*dropped, "its Ultra HDR gain map, and the XMP that points to it")
    elif image.format == "MPO":
        others = getattr(image, "n_frames", 1) - 1
        dropped += (f"{others} more picture{'s' * (others > 1)} (a preview, depth or stereo)",)
    elif image.format == "HEIF":
        dropped += _beside_in_heic(image)
    profile = info.get("icc_profile") or None
    if image.format in ("AVIF", "HEIF") and not profile:
        profile, unread = _tagged_colours(path)
        dropped += unread
    return orientation, Metadata(
        exif=exif,
        icc_profile=profile,
        xmp=_upright(xmp),
        iptc=_read_iptc(image),
        comment=_bytes(info.get("comment")),
        text=_read_text(image),
        dpi=_read_dpi(image),
        gamma=info.get("gamma") if image.format == "PNG" else None,
        chromaticities=info.get("chromaticity") if image.format == "PNG" else None,
        dropped=dropped,
    )


def kept_exif(exif: Image.Exif) -> tuple[int, bytes | None]:
    """Returns (orientation, the EXIF block to keep or None); changes `exif`."""
    orientation = exif.pop(ExifTags.Base.Orientation, 1)
    orientation = orientation if orientation in range(1, 9) else 1
    for tag in list(exif):
        if tag in _OTHERWISE_KEPT_TAGS or (tag <= 1000 and tag not in _DESCRIPTIVE_TAGS):
            del exif[tag]
    exposure = exif.get_ifd(ExifTags.IFD.Exif)
    width, height = ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight
    if orientation in _SWAPPING_ORIENTATIONS and width in exposure and height in exposure:
        exposure[width], exposure[height] = exposure[height], exposure[width]
    if not len(exif):
        return orientation, None
    # A fresh block is always a plain TIFF, also where the old one is a BigTIFF. It has no
    # thumbnail, which would go on showing the rainy picture.
    fresh = Image.Exif()
    fresh.endian = exif.endian
    for tag in exif:
        fresh[tag] = (
            exif.get_ifd(tag) if tag in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo) else exif[tag]
        )
    if exposure:
        interop = exif.get_ifd(ExifTags.IFD.Interop)
        fresh[ExifTags.IFD.Exif] = {
            **exposure,
            **({ExifTags.IFD.Interop: interop} if interop else {}),
        }
    return orientation, fresh.tobytes()


def saving_options(metadata: Metadata, kind: str, path: Path) -> dict:
    """The arguments of Pillow's `save` that put `metadata` into a file of the format `kind`.

    What the format cannot hold is left out; what would be too long for it, with a warning. The ICC
    profile is written by those in `PROFILE_FORMATS`.
    """
    options = {}
    if kind in PROFILE_FORMATS:
        options["icc_profile"] = metadata.icc_profile
    if kind in ("AVIF", "HEIF", "JPEG", "JXL", "PNG", "WEBP"):
        options |= {"exif": metadata.exif} if metadata.exif else {}
    if kind in ("AVIF", "HEIF", "JPEG", "JXL", "WEBP") and metadata.xmp:
        options["xmp"] = metadata.xmp
    if kind in ("BMP", "JPEG", "PNG", "TIFF") and metadata.dpi:
        options["dpi"] = metadata.dpi
    if kind in ("GIF", "JPEG") and metadata.comment:
        options["comment"] = metadata.comment[:_JPEG_MARKER_BYTES]
    if kind == "JPEG":
        _fit_markers(options, metadata, path)
    elif kind == "PNG":
        options["pnginfo"] = _png_chunks(metadata)
    elif kind == "TIFF":
        options["exif"] = tiff_tags(metadata)
    return options


def tiff_tags(metadata: Metadata) -> Image.Exif:
    """EXIF, XMP and IPTC as the tags of a TIFF file."""
    tags = Image.Exif()
    if metadata.exif:
        tags.load(metadata.exif)
    if metadata.xmp:
        tags[_XMP_TAG] = metadata.xmp
    if metadata.iptc:
        tags[_IPTC_TAG] = metadata.iptc
    return tags


def resolution(tags: Mapping) -> tuple[float, float] | None:
    """The dots per inch, horizontal and vertical, that EXIF or TIFF tags tell; None if none."""
    unit = tags.get(ExifTags.Base.ResolutionUnit, _INCH)
    dpi = _checked_dpi((tags.get(ExifTags.Base.XResolution), tags.get(ExifTags.Base.YResolution)))
    if dpi is None or unit not in (_INCH, _CENTIMETRE):
        return None
    return dpi if unit == _INCH else (dpi[0] * 2.54, dpi[1] * 2.54)


def _read_exif(image, path):
    try:
        return kept_exif(image.getexif())
    except DECODER_ERRORS as error:
        warnings.warn(f"{path}: its EXIF block is damaged and is not kept ({error})", stacklevel=2)
        return 1, None


def _beside_in_heic(image):
    """In words, what a HEIC file holds besides its main picture."""
    others = image.n_frames - 1
    auxiliary = [*image.info.get("depth_images", ()), *image.info.get("aux", ())]
    words = (
        (others, f"{others} more picture{'s' * (others > 1)} of the HEIC file"),
        (auxiliary, "what belongs to it (an HDR gain map, depth or masks)"),
    )
    return tuple(text for is_there, text in words if is_there)


def _tagged_colours(path):
    """What AVIF and HEIC files tell of their colours by numbers of ITU-T H.273, where it is not
    what sRGB is: decoders go by the matrix, and leave the rest to whoever shows the picture.

    Returns (the ICC profile of these colours, or None; in words, what is not kept of them).
    """
    with open(path, "rb") as file:
        head = file.read(_HEIF_HEAD)
    place = head.find(b"colrnclx")
    if place < 0 or len(head) < place + 12:
        return None, ()
    primaries, transfer = struct.unpack_from(">HH", head, place + 8)
    if primaries in SRGB_PRIMARIES and transfer in SRGB_TRANSFERS:
        return None, ()
    profile = profile_of_tags(primaries, transfer)
    words = f"its colour tags (primaries {primaries}, transfer {transfer}), taken for sRGB"
    return profile, () if profile else (words,)


def _read_iptc(image):
    if image.format == "TIFF":
        value = image.tag_v2.get(_IPTC_TAG)
        return _bytes(value[0] if isinstance(value, tuple) and len(value) == 1 else value)
    photoshop = image.info.get("photoshop")
    return _bytes(photoshop.get(_IPTC_RESOURCE)) if isinstance(photoshop, dict) else None


def _read_text(image):
    """The texts of a PNG file, without those that are kept in another way."""
    texts = getattr(image, "text", {}) if image.format == "PNG" else {}
    return {
        key: value
        for key, value in texts.items()
        if key != "XML:com.adobe.xmp" and not key.startswith("Raw profile type")
    }


def _read_dpi(image):
    # Pillow makes up a resolution for TIFF, and for JPEG files with EXIF, that tell none.
    has_own = image.format not in ("JPEG", "MPO", "TIFF") or image.info.get("jfif_unit") in (1, 2)
    if has_own:
        return _checked_dpi(image.info.get("dpi", ()))
    try:
        return resolution(image.getexif())
    except DECODER_ERRORS:  # told by `_read_exif`
        return None


def _checked_dpi(values):
    try:
        horizontal, vertical = (float(value) for value in values)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return (horizontal, vertical) if 0 < min(horizontal, vertical) < 1e6 else None


def _bytes(value):
    if isinstance(value, str):
        value = value.encode()
    return value or None if isinstance(value, bytes) else None


def _upright(xmp):
    """The packet with the orientation that the pixels have from now on."""
    if xmp is None:
        return None
    xmp = re.sub(rb'(tiff:Orientation\s*=\s*["\'])\d(["\'])', rb"\g<1>1\g<2>", xmp)
    return re.sub(rb"(<tiff:Orientation>)\d(</tiff:Orientation>)", rb"\g<1>1\g<2>", xmp)


def _fit_markers(options, metadata, path):
    """A JPEG marker holds 64 KB; Pillow would refuse the whole picture over a longer one."""
    for name, room in (("exif", 0), ("xmp", len(_XMP_HEADER))):
        if name in options and len(options[name]) + room > _JPEG_MARKER_BYTES:
            warnings.warn(f"{path}: its {name.upper()} is too long for a JPEG file", stacklevel=2)
            del options[name]
    if metadata.iptc:
        records = metadata.iptc + b"\0" * (len(metadata.iptc) % 2)
        block = (
            b"Photoshop 3.0\0"
            + b"8BIM"
            + struct.pack(">HHI", _IPTC_RESOURCE, 0, len(metadata.iptc))
            + records
        )
        if len(block) <= _JPEG_MARKER_BYTES:
            options["extra"] = b"\xff\xed" + struct.pack(">H", len(block) + 2) + block
        else:
            warnings.warn(f"{path}: its IPTC is too long for a JPEG file", stacklevel=2)


def _png_chunks(metadata):
    chunks = PngImagePlugin.PngInfo()
    if metadata.gamma and not metadata.icc_profile:
        chunks.add(b"gAMA", struct.pack(">I", round(metadata.gamma * 100_000)))
    if metadata.chromaticities and not metadata.icc_profile:
        numbers = [round(number * 100_000) for number in metadata.chromaticities]
        chunks.add(b"cHRM", struct.pack(f">{len(numbers)}I", *numbers))
    texts = dict(metadata.text)
    if metadata.comment and "Comment" not in texts:
        texts["Comment"] = metadata.comment.decode("utf-8", "replace")
    if metadata.xmp:
        texts["XML:com.adobe.xmp"] = metadata.xmp.decode("utf-8", "replace")
    for key, value in texts.items():
        if key.isascii() and value.isascii() and key != "XML:com.adobe.xmp":
            chunks.add_text(key, value)
        else:
            chunks.add_itxt(key, value)
    return chunks
