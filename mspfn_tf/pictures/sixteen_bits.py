"""PNG and TIFF files of 16 bits per channel, which Pillow cannot hold in colour.

PNG goes through libpng (package imagecodecs), TIFF is read by tifffile, which also takes the TIFF
files of 8 bits that Pillow cannot read; what stands beside the pixels is written by Pillow's own
writers of tags and chunks.
"""

import contextlib
import logging
import struct
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, TiffImagePlugin

from mspfn_tf.pictures.metadata import (
    DECODER_ERRORS,
    Metadata,
    kept_exif,
    resolution,
    saving_options,
    tiff_tags,
)

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_DEPTH = 24  # where a PNG file says how many bits a channel has
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2  # photometric interpretations of TIFF
_UNSIGNED = 1  # the sample format of whole numbers from 0 up
_WEBP = 50_001  # a compression that Pillow names, but its builds cannot read
_RAW = (32_803, 34_892)  # photometric interpretations of what a camera's sensor gives
# Kinds of extra channels: not told, and alpha that the colours are already multiplied with.
_UNSPECIFIED, _ASSOCIATED = 0, 1


_reading = threading.local()


class UnsupportedSamples(ValueError):
    """Samples that are neither 8 nor 16 bits, or no gray or RGB; the message says which."""


@dataclass(frozen=True, eq=False)
class Page:
    """Pixels as stored: ``uint8`` or ``uint16 [H, W, C]``, C from 1 (gray) to 4 (RGB and alpha)."""

    samples: np.ndarray
    orientation: int
    metadata: Metadata


def png_depth(path: Path) -> int:
    """Bits per channel that the header of a PNG file declares; 0 where it has none."""
    with open(path, "rb") as file:
        header = file.read(_PNG_DEPTH + 1)
    return header[_PNG_DEPTH] if len(header) > _PNG_DEPTH else 0


def read_png(path: Path) -> np.ndarray:
    """The samples of a PNG file of 16 bits, ``uint16 [H, W, C]``.

    Raises:
        ValueError, RuntimeError: the file is damaged.
    """
    import imagecodecs

    samples = imagecodecs.png_decode(Path(path).read_bytes())
    return samples[..., None] if samples.ndim == 2 else samples


def write_png(file: BinaryIO, samples: np.ndarray, metadata: Metadata, path: Path) -> None:
    """Writes ``uint16 [H, W, C]`` as PNG.

    Args:
        file: what to write to.
        samples: gray, gray and alpha, RGB, or RGB and alpha.
        metadata: what is written beside the pixels.
        path: the file's name, for warnings.
    """
    import imagecodecs

    small = BytesIO()
    Image.new("L", (1, 1)).save(small, "PNG", **saving_options(metadata, "PNG", path))
    beside = [
        chunk
        for kind, chunk in _chunks(small.getvalue())
        if kind not in (b"IHDR", b"IDAT", b"IEND")
    ]
    samples = samples[..., 0] if samples.shape[2] == 1 else samples
    encoded = imagecodecs.png_encode(np.ascontiguousarray(samples))
    header = len(_SIGNATURE) + 25
    file.write(encoded[:header])
    file.writelines(beside)
    file.write(memoryview(encoded)[header:])


def tiff_pages(path: Path) -> tuple[bool, list[tuple[int, int]]]:
    """Returns (whether `read_tiff` is to read the file, (width, height) of each picture page).

    It is where a page has more than 8 bits, or what else Pillow cannot read.

    Reduced-size copies and masks are no pictures of their own.

    Raises:
        ValueError and others of `mspfn_tf.pictures.metadata.DECODER_ERRORS`: the file is damaged.
    """
    with _opened(path) as tiff:
        pages = _picture_pages(tiff)
        beyond = any(_is_beyond_pillow(page) for page in pages)
        return beyond, [(page.imagewidth, page.imagelength) for page in pages]


def _is_beyond_pillow(page):
    known = int(page.compression) in TiffImagePlugin.COMPRESSION_INFO
    planar, inverted = int(page.planarconfig) == 2, int(page.photometric) == _WHITE_IS_ZERO
    return (
        page.bitspersample > 8
        or int(page.sampleformat) != _UNSIGNED
        or not known
        or int(page.compression) == _WEBP
        or (page.samplesperpixel == 2 and (planar or inverted))
        or (page.parent.is_bigtiff and page.parent.byteorder == ">")
    )


def read_tiff(path: Path) -> Iterator[Page]:
    """Yields the picture pages of a TIFF file of 8 or 16 bits, gray or RGB, in any layout.

    Raises:
        UnsupportedSamples: other numbers or colours.
        ValueError and others of `mspfn_tf.pictures.metadata.DECODER_ERRORS`: the file is damaged.
    """
    with _opened(path) as tiff:
        for page in _picture_pages(tiff):
            yield _read_page(page, path)


@contextlib.contextmanager
def _opened(path):
    """The file; what tifffile logs of each damaged tag meanwhile is dropped, since what matters of
    it ends in an exception."""
    import tifffile

    logger = logging.getLogger("tifffile")
    if _is_not_reading not in logger.filters:
        logger.addFilter(_is_not_reading)
    before = getattr(_reading, "now", False)
    _reading.now = True
    try:
        with tifffile.TiffFile(path) as tiff:
            yield tiff
    finally:
        _reading.now = before


def _is_not_reading(record):
    return not getattr(_reading, "now", False)


def _picture_pages(tiff):
    _refuse_raw(tiff)
    pages = []
    for number in range(len(tiff.pages)):
        page = tiff.pages[number]
        reduced_or_mask = int(page.subfiletype) & 5
        if number == 0 or not reduced_or_mask:
            pages.append(page)
    return pages


def _refuse_raw(tiff):
    """Camera makers put what the sensor gives into TIFF files, and previews before it."""
    first = tiff.pages[0]
    hidden = first.pages if int(first.subfiletype) & 1 else None  # pages that belong to a preview
    tiff.filehandle.seek(8)
    is_canon = tiff.filehandle.read(2) == b"CR"
    if is_canon or any(int(page.photometric) in _RAW for page in (first, *(hidden or ()))):
        raise UnsupportedSamples("a camera's raw file")


def _read_page(page, path):
    photometric, samples = int(page.photometric), page.samplesperpixel
    colours = 3 if photometric == _RGB else 1
    known = photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB)
    if not known or not colours <= samples <= colours + 1:
        raise UnsupportedSamples(
            f"{page.photometric.name} with {samples} channels of {page.bitspersample} bits; "
            "expected gray or RGB"
        )
    if page.bitspersample not in (8, 16) or page.sampleformat != _UNSIGNED:
        raise UnsupportedSamples(
            f"{page.bitspersample} bits per channel as {page.dtype}; expected 8 or 16, unsigned"
        )
    array = page.asarray()
    array = array.reshape(page.shape)
    if samples > 1 and int(page.planarconfig) == 2:
        array = np.moveaxis(array, 0, -1)
    array = array.reshape(page.imagelength, page.imagewidth, samples)
    if photometric == _WHITE_IS_ZERO:
        array[..., 0] = ~array[..., 0]
    orientation, metadata = _page_metadata(page, path)
    if samples > colours:
        kind = int(page.extrasamples[0]) if page.extrasamples else _UNSPECIFIED
        if kind == _UNSPECIFIED:  # as Pillow takes it in files of 8 bits
            array = array[..., :colours]
            metadata = replace(metadata, dropped=("extra channels besides the colours and alpha",))
        elif kind == _ASSOCIATED:
            array = _divided(array)
    return Page(np.ascontiguousarray(array), orientation, metadata)


def _divided(array):
    """Takes the alpha out of colours that were multiplied with it."""
    largest = np.iinfo(array.dtype).max
    alpha = array[..., -1:].astype(np.float32) / largest
    colours = array[..., :-1] / np.maximum(alpha, 1 / largest)
    colours = np.rint(np.minimum(colours, largest)).astype(array.dtype)
    return np.concatenate([colours, array[..., -1:]], axis=-1)


def _page_metadata(page, path):
    exif = Image.Exif()
    orientation, block = 1, None
    try:
        with open(path, "rb") as file:
            if page.parent.is_bigtiff:
                exif.bigtiff, exif.endian = True, page.parent.byteorder
                exif.load_from_fp(file, page.parent.pages.first.offset)
            else:
                exif.load_from_fp(file)
            orientation, block = kept_exif(exif)
    except DECODER_ERRORS as error:  # of BigTIFF, Pillow reads the tags of little-endian files only
        warnings.warn(
            f"{path}: its EXIF tags cannot be read and are not kept ({error})", stacklevel=2
        )
    if "Orientation" in page.tags:
        orientation = int(page.tags["Orientation"].value)

    def raw(code):
        tag = page.tags.get(code)
        if tag is None:
            return None
        value = tag.value
        if isinstance(value, tuple):
            value = np.asarray(value, f">u{4 if tag.dtype in (4, 9) else 1}").tobytes()
        return value.encode() if isinstance(value, str) else bytes(value)

    return orientation if orientation in range(1, 9) else 1, Metadata(
        exif=block, icc_profile=raw(34675), xmp=raw(700), iptc=raw(33723), dpi=resolution(exif)
    )


def write_tiff_page(file: BinaryIO, samples: np.ndarray, metadata: Metadata) -> None:
    """Appends one uncompressed page ``uint16 [H, W, C]`` to a TIFF file that Pillow is writing.

    Args:
        file: the file, or Pillow's `AppendingTiffWriter` where there are several pages.
        samples: gray, gray and alpha, RGB, or RGB and alpha.
        metadata: what is written beside the pixels.
    """
    height, width, channels = samples.shape
    colours = 3 if channels >= 3 else 1
    tags = TiffImagePlugin.ImageFileDirectory_v2(prefix=b"II")
    described = tiff_tags(metadata)
    for tag in described:
        is_folder = tag in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
        tags[tag] = described.get_ifd(tag) if is_folder else described[tag]
    if metadata.icc_profile:
        tags[TiffImagePlugin.ICCPROFILE] = metadata.icc_profile
    if metadata.dpi:
        tags[TiffImagePlugin.RESOLUTION_UNIT] = 2
        tags[TiffImagePlugin.X_RESOLUTION], tags[TiffImagePlugin.Y_RESOLUTION] = metadata.dpi
    tags[TiffImagePlugin.IMAGEWIDTH], tags[TiffImagePlugin.IMAGELENGTH] = width, height
    tags[TiffImagePlugin.BITSPERSAMPLE] = (16,) * channels
    tags[TiffImagePlugin.SAMPLESPERPIXEL] = channels
    tags[TiffImagePlugin.COMPRESSION] = 1
    tags[TiffImagePlugin.PLANAR_CONFIGURATION] = 1
    tags[TiffImagePlugin.PHOTOMETRIC_INTERPRETATION] = _RGB if colours == 3 else _BLACK_IS_ZERO
    if channels > colours:
        tags[TiffImagePlugin.EXTRASAMPLES] = (2,)  # alpha that the colours are not multiplied with
    tags[TiffImagePlugin.ROWSPERSTRIP] = height
    tags[TiffImagePlugin.STRIPBYTECOUNTS] = (samples.size * 2,)
    tags[TiffImagePlugin.STRIPOFFSETS] = (0,)  # the writer moves it to behind the tags
    start = tags.save(file)
    file.seek(start)
    rows = max(1, 2**20 // (width * channels))
    for top in range(0, height, rows):
        file.write(samples[top : top + rows].astype("<u2").tobytes())


def _chunks(png):
    """Yields (kind, the whole chunk) of a PNG file."""
    position = len(_SIGNATURE)
    while position < len(png):
        (length,) = struct.unpack_from(">I", png, position)
        end = position + 12 + length
        yield png[position + 4 : position + 8], png[position:end]
        position = end
