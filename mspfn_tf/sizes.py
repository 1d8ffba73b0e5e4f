"""The picture sizes that a network takes."""

import dataclasses
import numbers
from typing import Any

from mspfn_tf.errors import UsageError

MULTIPLE_OF = 8
"""Height and width of what MSPFN takes are multiples of this: 4 of the pyramid times 2 of the
fusion blocks."""

LEAST_SIDE = 32
"""Smaller pictures are continued by reflection to so many pixels. Below that the coarse scales of
the network consist of little but their zero padding."""
LEAST_LOSS_SIDE = 16
"""Sides of the smallest patches of which a loss can measure SSIM or the brightness of regions."""


@dataclasses.dataclass(frozen=True)
class Sizes:
    """The picture sizes that a model takes.

    Attributes:
        multiple_of: height and width must be multiples of this.
        minimum: smallest height and width.
        fixed: the only size taken, as (height, width); None if any multiple will do.
    """

    multiple_of: int = MULTIPLE_OF
    minimum: int = MULTIPLE_OF
    fixed: tuple[int, int] | None = None

    def fit(self, size: tuple[int, int]) -> tuple[int, int]:
        """The smallest (height, width) in which a picture of `size` goes through in one piece."""
        if self.fixed is not None:
            return self.fixed
        height, width = (max(round_up(side, self.multiple_of), self.minimum) for side in size)
        return height, width


def round_up(length: int, multiple: int) -> int:
    """The smallest multiple of `multiple` that is at least `length`."""
    return -(-length // multiple) * multiple


def check_image_size(image_size: Any) -> tuple[int, int]:
    """`image_size` as a tuple (height, width).

    Raises:
        UsageError: not two positive multiples of `MULTIPLE_OF`.
    """
    ok = isinstance(image_size, list | tuple) and len(image_size) == 2
    if not ok or any(
        isinstance(side, bool)
        or not isinstance(side, numbers.Integral)
        or side < MULTIPLE_OF
        or side % MULTIPLE_OF
        for side in image_size
    ):
        raise UsageError(
            f"image_size must be (height, width), positive multiples of {MULTIPLE_OF}; received "
            f"{image_size!r}. mspfn_tf.Restorer takes pictures of any size"
        )
    return int(image_size[0]), int(image_size[1])
