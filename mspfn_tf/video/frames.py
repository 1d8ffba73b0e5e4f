"""A frame of a video, PyAV, and what FFmpeg is told about colours and times.

Here a frame is a picture as any other: ``[H, W, 3]``, RGB, upright; ``uint8``, or ``float32`` in
[0, 1] where the file has more than 8 bits.
"""

import os
from dataclasses import dataclass
from fractions import Fraction
from types import ModuleType
from typing import Any

import numpy as np

from mspfn_tf.errors import UsageError

# Numbers of ITU-T H.273, which FFmpeg uses too.
RGB, BT709, UNSPECIFIED, BT601 = 0, 1, 2, 6
LIMITED_RANGE, FULL_RANGE = 1, 2  # FFmpeg's
MICROSECOND = Fraction(1, 1_000_000)  # FFmpeg's unit where a stream has none of its own
HIGH_DEFINITION = 720  # rows from which players take BT.709 where nothing is said


@dataclass(frozen=True, eq=False)
class VideoFrame:
    """A frame.

    Attributes:
        picture: ``uint8 [H, W, 3]`` or ``float32`` in [0, 1]; RGB, upright.
        time: when it is shown, in units of the file's time base.
    """

    picture: np.ndarray
    time: int


def load_av() -> ModuleType:
    """Returns the module `av`. Raises `UsageError` where the extra is not installed."""
    os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 tells errors only
    try:
        import av
    except ImportError as error:
        raise UsageError(f'videos need PyAV: pip install "mspfn_tf[video]" ({error})') from error
    return av


def matrix_of(colorspace: int, height: int) -> int:
    """swscale's number of the matrix between RGB and YUV, for H.273's number of it."""
    if colorspace in (UNSPECIFIED, RGB, 3):
        colorspace = BT709 if height >= HIGH_DEFINITION else BT601
    # BT.601 has two numbers in H.273; constant luminance is treated as its plain sibling.
    return {BT709: 1, 4: 4, 5: 5, BT601: 5, 7: 7, 9: 9, 10: 9}.get(colorspace, 5)


def white(pixels: Any, full_range: bool, reads: bool) -> int:
    """What swscale takes for white among the 16 bits of RGB.

    It shifts the levels of YUV and gray up, rather than to stretch them: 255 is 255 * 256.

    Args:
        pixels: PyAV's `VideoFormat` of the other side.
        full_range: whether its levels are of full range; those of gray always are to swscale.
        reads: whether RGB is made of them, or they of RGB.
    """
    if pixels.is_rgb:
        return 65_535
    gray = pixels.name.startswith(("gray", "ya", "mono"))
    if reads and (full_range or gray):
        bits = min(16, pixels.components[0].bits)
        return (2**bits - 1) << (16 - bits)
    return 255 << 8


def is_cover(av: ModuleType, stream: Any) -> bool:
    """Whether a stream is the picture on the cover rather than a video."""
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def interpolation(av: ModuleType) -> Any:
    """How swscale converts between RGB and YUV: as exactly as it can."""
    flags = av.video.reformatter.Interpolation
    accurate = flags.ACCURATE_RND | flags.FULL_CHR_H_INT | flags.FULL_CHR_H_INP
    return flags.BICUBIC | accurate
