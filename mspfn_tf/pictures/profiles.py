"""ICC profiles: what the numbers of a picture mean as colours."""

import struct
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

SRGB_TRANSFERS = (1, 2, 6, 13, 14, 15)
"""Numbers of ITU-T H.273 that are shown as sRGB's: of BT.709, not told, BT.601, sRGB, BT.2020."""
SRGB_PRIMARIES = (1, 2)
"""The same: BT.709, and not told."""

# x and y of red, green and blue by their number in ITU-T H.273; all with the white D65.
_PRIMARIES = {
    5: ("BT.601 (625 lines)", (0.64, 0.33, 0.29, 0.60, 0.15, 0.06)),
    6: ("BT.601 (525 lines)", (0.63, 0.34, 0.31, 0.595, 0.155, 0.07)),
    9: ("BT.2020", (0.708, 0.292, 0.17, 0.797, 0.131, 0.046)),
    12: ("Display P3", (0.68, 0.32, 0.265, 0.69, 0.15, 0.06)),
}
_D65 = (0.3127, 0.3290)
_D50 = np.array([0.9642, 1.0, 0.8249])  # of ICC's profile connection space
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
_SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def profile_space(profile: bytes) -> str | None:
    """The colour space of an ICC profile, as "RGB", "GRAY", "CMYK" or "Lab"; None if damaged."""
    try:
        return ImageCms.getOpenProfile(BytesIO(profile)).profile.xcolor_space.strip()
    except (OSError, ImageCms.PyCMSError, AttributeError):
        return None


def is_srgb(profile: bytes) -> bool:
    """Whether a profile means by RGB what sRGB does, to two levels of 255.

    Its name does not tell: there are "linear sRGB" profiles, and others by which cameras mean it.
    """
    ramp = np.arange(256, dtype=np.uint8)
    colours = np.zeros((4, 256, 3), np.uint8)
    colours[3] = ramp[:, None]
    for channel in range(3):
        colours[channel, :, channel] = ramp
    try:
        target = ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(BytesIO(profile), target, "RGB", "RGB")
    except (OSError, ImageCms.PyCMSError):
        return False
    shown = np.asarray(transform.apply(Image.fromarray(colours)))
    return int(np.abs(shown.astype(int) - colours).max()) <= 2


def to_srgb(image: Image.Image, profile: bytes | None, path: Path) -> Image.Image:
    """Converts an image of any colour space to sRGB pixels (mode RGB) through its profile.

    Without a profile, or where it cannot be used (then with a warning), Pillow's plain conversion
    is taken.
    """
    if image.mode == "LAB":
        source = ImageCms.createProfile("LAB")
    elif profile is None:
        return image.convert("RGB")
    else:
        source = BytesIO(profile)
    try:
        target = ImageCms.createProfile("sRGB")
        return ImageCms.buildTransform(source, target, image.mode, "RGB").apply(image)
    except (OSError, ValueError, ImageCms.PyCMSError) as error:
        warnings.warn(
            f"{path}: its ICC profile cannot be used ({error}); plain conversion", stacklevel=2
        )
    return image.convert("RGB")


def profile_of_tags(primaries: int, transfer: int) -> bytes | None:
    """The ICC profile (version 4) that means what numbers of ITU-T H.273 do, by which AVIF and HEIC
    files tell their colours; None for those of HDR, and others that no profile here describes.
    """
    if primaries not in _PRIMARIES or transfer not in SRGB_TRANSFERS:
        return None
    name, chromaticities = _PRIMARIES[primaries]
    corners = np.array([_xyz(*chromaticities[n : n + 2]) for n in (0, 2, 4)]).T
    white = _xyz(*_D65)
    scales = (_BRADFORD @ _D50) / (_BRADFORD @ white)
    adaptation = np.linalg.inv(_BRADFORD) @ np.diag(scales) @ _BRADFORD
    colorants = adaptation @ corners * np.linalg.solve(corners, white)
    curve = b"para" + struct.pack(">IHH", 0, 3, 0) + _fixed(*_SRGB_CURVE)
    tags = {
        b"desc": _text(name),
        b"cprt": _text("no copyright"),
        b"wtpt": b"XYZ \0\0\0\0" + _fixed(*_D50),
        b"chad": b"sf32\0\0\0\0" + _fixed(*adaptation.ravel()),
    }
    for channel, colorant in zip((b"r", b"g", b"b"), colorants.T, strict=True):
        tags[channel + b"XYZ"] = b"XYZ \0\0\0\0" + _fixed(*colorant)
        tags[channel + b"TRC"] = curve
    table, data = b"", b""
    for tag, content in tags.items():
        place = 128 + 4 + 12 * len(tags) + len(data)
        table += tag + struct.pack(">II", place, len(content))
        data += content + b"\0" * (-len(content) % 4)
    size = 128 + 4 + len(table) + len(data)
    head = struct.pack(">I4xI", size, 0x04200000) + b"mntrRGB XYZ "
    head += struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _fixed(*_D50)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data


def _xyz(x, y):
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _fixed(*numbers):
    """ICC's s15Fixed16Number."""
    return struct.pack(f">{len(numbers)}i", *(round(number * 65_536) for number in numbers))


def _text(text):
    """ICC's multiLocalizedUnicodeType with one text, in English."""
    encoded = text.encode("utf-16-be")
    return b"mluc" + struct.pack(">III4sII", 0, 1, 12, b"enUS", len(encoded), 28) + encoded
