"""Any size of picture through a network that takes only some sizes: reflection padding, overlapping
tiles, and a blend in which no seam shows. Pure NumPy."""

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Sizes:
    """The picture sizes that a network takes.

    Attributes:
        multiple_of: height and width must be multiples of this.
        minimum: smallest height and width.
        fixed: the only size taken, as (height, width); None if any multiple will do.
    """

    multiple_of: int = 8
    minimum: int = 8
    fixed: tuple[int, int] | None = None

    def fit(self, size):
        """Returns the smallest (height, width) that this network takes `size` in."""
        if self.fixed is not None:
            return self.fixed
        return tuple(max(round_up(length, self.multiple_of), self.minimum) for length in size)


def round_up(length, multiple):
    """Returns the smallest multiple of `multiple` that is at least `length`."""
    return -(-length // multiple) * multiple


def pad(image, size):
    """Pads ``[h, w, C]`` at the bottom and the right to `size` by reflection.

    The reflection repeats as often as needed, so that a single pixel can fill any size.
    """
    missing = [max(0, wanted - length) for wanted, length in zip(size, image.shape, strict=False)]
    if not any(missing):
        return image
    return np.pad(image, [(0, missing[0]), (0, missing[1]), (0, 0)], mode="reflect")


def balanced_tile(length, limit, overlap, multiple_of=8):
    """Returns the length of equal tiles, at most `limit`, that cover `length` with least waste.

    All of `length`, `limit` and `overlap` are multiples of `multiple_of`, and `overlap` < `limit`.
    """
    if length <= limit:
        return length
    count = math.ceil((length - overlap) / (limit - overlap))
    return round_up(math.ceil((length + (count - 1) * overlap) / count), multiple_of)


def spans(length, tile, overlap, multiple_of=8):
    """Places tiles along one axis.

    Args:
        length: pixels to cover, at least `tile`.
        tile: pixels of one tile.
        overlap: pixels that neighbours share at least, less than `tile` if that is less than
            `length`.
        multiple_of: tiles start at multiples of this, where `length` and `tile` are such, so that
            the network's strided layers see the same grid in a tile as in the whole picture.

    Returns:
        A list of (start, weights ``float32 [tile]``). At every pixel the weights of the tiles that
        cover it sum to one; towards a neighbour they fall off as a squared sine, because the
        network knows least at the edge of a tile.
    """
    if tile == length:
        return [(0, np.ones(tile, np.float32))]
    stride = tile - overlap
    stride = stride // multiple_of * multiple_of or stride
    starts = [*range(0, length - tile, stride), length - tile]
    ramp = np.sin(0.5 * np.pi * (np.arange(overlap) + 0.5) / max(overlap, 1)) ** 2
    weights = np.ones((len(starts), tile))
    weights[1:, :overlap] *= ramp
    weights[:-1, tile - overlap :] *= ramp[::-1]
    total = np.zeros(length)
    for start, weight in zip(starts, weights, strict=True):
        total[start : start + tile] += weight
    return [
        (start, (weight / total[start : start + tile]).astype(np.float32))
        for start, weight in zip(starts, weights, strict=True)
    ]


def map_tiles(function, image, tile, overlap, multiple_of=8, batch=1):
    """Applies `function` to overlapping tiles of a picture and blends what comes back.

    Args:
        function: maps ``[b, tile height, tile width, C]``, of the dtype of `image` and with b at
            most `batch`, to ``float32`` of the same shape.
        image: ``[H, W, C]``, any H and W from 1 up.
        tile: (height, width) of every tile. A picture that is smaller is padded by reflection.
        overlap: pixels that neighbouring tiles share at least, less than the side of a tile along
            which there are several.
        multiple_of: pictures are padded to a multiple of this, and tiles start at multiples of it.
        batch: tiles per call.

    Returns:
        ``float32 [H, W, C]``. If one tile holds the picture, exactly what `function` returned.
    """
    height, width, channels = image.shape
    size = [
        max(round_up(length, multiple_of), side)
        for length, side in zip((height, width), tile, strict=True)
    ]
    image = pad(image, size)
    rows, columns = (
        spans(length, side, overlap, multiple_of) for length, side in zip(size, tile, strict=True)
    )
    places = [(row, column) for row in rows for column in columns]
    result = np.zeros((*size, channels), np.float32)
    for first in range(0, len(places), batch):
        windows, weights = [], []
        for (top, down), (left, across) in places[first : first + batch]:
            windows.append(np.s_[top : top + tile[0], left : left + tile[1]])
            weights.append(down[:, None, None] * across[None, :, None])
        outputs = function(np.stack([image[window] for window in windows]))
        for window, weight, output in zip(windows, weights, outputs, strict=True):
            result[window] += weight * output
    return result[:height, :width]
