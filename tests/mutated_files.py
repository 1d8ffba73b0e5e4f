"""Damaged copies of small picture files of every kind, the same ones for a seed."""

import importlib.util
from io import BytesIO

import imagecodecs
import numpy as np
import tifffile
from PIL import ExifTags, Image

from mspfn_tf.pictures import Picture, write_picture
from mspfn_tf.pictures.metadata import Metadata
from tests.color_profiles import icc_profile


def whole_files(folder):
    """Returns [(suffix, bytes)] of whole files; `folder` is where they are made."""
    levels = np.random.default_rng(1).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    deep = levels.astype(np.uint16) * 257
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.IFD.Exif] = {ExifTags.Base.ExposureTime: 0.5}
    metadata = Metadata(exif.tobytes(), icc_profile("RGB"), b"<x:xmpmeta/>", b"\x1c\x02\x78\0\1a")
    whole = []
    for suffix in (".jpg", ".png", ".tif", ".webp", ".bmp", ".gif", ".avif", ".heic", ".jxl"):
        package = {".heic": "pillow_heif", ".jxl": "pillow_jxl"}.get(suffix)
        if package and importlib.util.find_spec(package) is None:
            continue
        write_picture(folder / f"a{suffix}", levels, Picture(levels, metadata=metadata))
        whole.append((suffix, (folder / f"a{suffix}").read_bytes()))
    for suffix in (".png", ".tif"):
        write_picture(folder / f"deep{suffix}", deep, Picture(deep, metadata=metadata))
        whole.append((suffix, (folder / f"deep{suffix}").read_bytes()))
    whole.append((".png", imagecodecs.png_encode(deep[..., 0].copy())))
    for options in (
        {"compression": "lzw", "predictor": True},
        {"planarconfig": "separate", "compression": "deflate", "bigtiff": True},
    ):
        file = BytesIO()
        planes = np.moveaxis(deep, -1, 0) if "planarconfig" in options else deep
        tifffile.imwrite(file, planes, photometric="rgb", **options)
        whole.append((".tif", file.getvalue()))
    frames = [Image.fromarray(np.roll(levels, shift, axis=1)) for shift in (0, 5, 9)]
    for suffix, kind in ((".gif", "GIF"), (".webp", "WEBP"), (".png", "PNG"), (".tif", "TIFF")):
        file = BytesIO()
        frames[0].save(file, kind, save_all=True, append_images=frames[1:])
        whole.append((suffix, file.getvalue()))
    for suffix, kind, mode in (
        (".jpg", "JPEG", "CMYK"),
        (".tif", "TIFF", "LAB"),
        (".png", "PNG", "P"),
    ):
        file = BytesIO()
        image = Image.fromarray(levels)
        image = Image.merge("LAB", image.split()) if mode == "LAB" else image.convert(mode)
        image.save(file, kind)
        whole.append((suffix, file.getvalue()))
    return whole


def mutated(data, random):
    """One damaged copy: bits flipped, bytes replaced, a piece cut, doubled, zeroed or moved."""
    data = bytearray(data)
    # Most of what a decoder can stumble over stands in front.
    reach = len(data) if random.random() < 0.5 else min(len(data), 200)
    for _ in range(int(random.integers(1, 5))):
        start = int(random.integers(0, reach))
        length = int(random.integers(1, 40))
        kind = random.integers(0, 7)
        if kind == 0:
            data[start % len(data)] ^= 1 << int(random.integers(0, 8))
        elif kind == 1:
            data[start : start + 4] = random.bytes(4)
        elif kind == 2:
            data[start : start + length] = b""
        elif kind == 3:
            data[start:start] = data[start : start + length]
        elif kind == 4:
            data[start : start + length] = bytes(length)
        elif kind == 5:
            data[start : start + 4] = b"\xff\xff\xff\xff"
        else:
            del data[max(1, int(random.integers(0, len(data)))) :]
        if not data:
            data = bytearray(b"\0")
        reach = min(reach, len(data))
    return bytes(data)
