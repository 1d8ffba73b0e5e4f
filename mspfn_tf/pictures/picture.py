"""A picture as the package holds it, with what its file held besides."""

from dataclasses import dataclass, field

import numpy as np

from mspfn_tf.pictures.metadata import Metadata


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture and what its file held besides.

    Attributes:
        rgb: ``uint8`` or ``uint16 [H, W, 3]``, upright (the EXIF orientation is applied).
        alpha: ``[H, W]`` of the same dtype, upright, or None.
        gray: whether the file held one gray channel (then the three channels of ``rgb`` are equal).
        metadata: EXIF, colour profile and the like.
        duration: milliseconds for which this frame of an animation is shown; None for pages and
            still pictures.
    """

    rgb: np.ndarray
    alpha: np.ndarray | None = None
    gray: bool = False
    metadata: Metadata = field(default_factory=Metadata)
    duration: float | None = None


def to_uint8(samples: np.ndarray) -> np.ndarray:
    """``uint16`` samples rounded to ``uint8``; others as they are."""
    if samples.dtype != np.uint16:
        return samples
    narrow = np.empty(samples.shape, np.uint8)
    for rows in row_slices(*samples.shape[:2]):
        narrow[rows] = (samples[rows].astype(np.uint32) + 128) // 257
    return narrow


def row_slices(height: int, width: int) -> list[slice]:
    """Slices of rows, of about a million pixels each."""
    step = max(1, 2**20 // max(1, width))
    return [slice(top, min(height, top + step)) for top in range(0, height, step)]
