"""Pictures of any size in tiles: reflection padding, overlapping windows, and a blend in which no
seam shows. Pure NumPy; the whole picture is never held as float."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from mspfn_tf.sizes import MULTIPLE_OF, round_up


def balanced_tile(length: int, limit: int, overlap: int, multiple_of: int = MULTIPLE_OF) -> int:
    """The length of equal tiles, at most `limit`, that cover `length` with least waste.

    All of `length`, `limit` and `overlap` are multiples of `multiple_of`, and `overlap` < `limit`.
    """
    if length <= limit:
        return length
    count = math.ceil((length - overlap) / (limit - overlap))
    return round_up(math.ceil((length + (count - 1) * overlap) / count), multiple_of)


def spans(
    length: int, tile: int, overlap: int, multiple_of: int = MULTIPLE_OF
) -> list[tuple[int, np.ndarray]]:
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
        cover it sum to one. Over the middle half of the overlap they fall off as a squared sine;
        what lies nearer to the edge of a tile counts for nothing, because the network sees least
        of the surroundings there.
    """
    if tile == length:
        return [(0, np.ones(tile, np.float32))]
    stride = tile - overlap
    stride = stride // multiple_of * multiple_of or stride
    starts = [*range(0, length - tile, stride), length - tile]
    across = (np.arange(overlap) + 0.5) / max(overlap, 1)
    ramp = np.sin(0.5 * np.pi * np.clip(2 * across - 0.5, 0, 1)) ** 2
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


def reflected(start: int, stop: int, length: int) -> np.ndarray:
    """The places ``start .. stop - 1`` of an axis of `length` that goes on by reflection.

    The reflection repeats as often as needed, so that a single pixel can fill any size.
    """
    period = max(2 * (length - 1), 1)
    places = np.arange(start, stop) % period
    return np.minimum(places, period - places)


def window(image: np.ndarray, top: int, left: int, size: tuple[int, int]) -> np.ndarray:
    """The part of ``image [H, W, C]`` of `size` at (top, left), continued by reflection."""
    height, width = image.shape[:2]
    bottom, right = top + size[0], left + size[1]
    if bottom <= height and right <= width:
        return image[top:bottom, left:right]
    rows, columns = reflected(top, bottom, height), reflected(left, right, width)
    return image[rows[:, None], columns]


def blended_rows(
    function: Callable[[Sequence[tuple[int, int]]], np.ndarray],
    shape: tuple[int, int, int],
    tile: tuple[int, int],
    overlap: int,
    multiple_of: int = MULTIPLE_OF,
    batch: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[int, np.ndarray]]:
    """Cuts a picture into overlapping tiles and blends what `function` makes of them.

    Only one row of tiles is held at a time.

    Args:
        function: maps the (top, left) of b tiles, at most `batch`, to what is to stand in them,
            ``float32 [b, tile height, tile width, C]``. It gets at their pixels by `window`.
        shape: (H, W, C) of the picture, any H and W from 1 up.
        tile: (height, width) of every tile. A picture that is smaller is continued.
        overlap: pixels that neighbouring tiles share at least, less than the side of a tile along
            which there are several.
        multiple_of: pictures are padded to a multiple of this, and tiles start at multiples of it.
        batch: tiles per call.
        progress: called with (tiles done, tiles in all) after every call of `function`.

    Yields:
        (top, rows ``float32 [n, W, C]``), from the top down. If one tile holds the picture, exactly
        what `function` returned.
    """
    height, width, channels = shape
    size = [
        max(round_up(length, multiple_of), side)
        for length, side in zip((height, width), tile, strict=True)
    ]
    rows, columns = (
        spans(length, side, overlap, multiple_of) for length, side in zip(size, tile, strict=True)
    )
    total, done = len(rows) * len(columns), 0
    if total == 1:
        (output,) = function([(0, 0)])
        if progress is not None:
            progress(1, 1)
        yield 0, output[:height, :width]
        return
    band = np.zeros((tile[0], size[1], channels), np.float32)
    for index, (top, down) in enumerate(rows):
        for first in range(0, len(columns), batch):
            part = columns[first : first + batch]
            outputs = function([(top, left) for left, _ in part])
            for (left, across), output in zip(part, outputs, strict=True):
                weight = down[:, None, None] * across[None, :, None]
                band[:, left : left + tile[1]] += weight * output
            done += len(part)
            if progress is not None:
                progress(done, total)
        # What the next row of tiles does not reach is finished.
        below = rows[index + 1][0] if index + 1 < len(rows) else size[0]
        finished = min(below, height) - top
        if finished > 0:
            yield top, band[:finished, :width]
        rest = band[below - top :]
        band = np.zeros_like(band)
        band[: len(rest)] = rest


Part = tuple[int, int, int]
"""(start, length, weight) of a part of an axis; all weights sum to the length of the axis."""


def mean_over_parts(
    function: Callable[[np.ndarray], np.ndarray],
    image: np.ndarray,
    rows: Sequence[Part],
    columns: Sequence[Part],
) -> np.ndarray:
    """The weighted mean of what `function` measures of parts of a picture.

    Args:
        function: maps ``[1, height, width, C]`` of a part to an array.
        image: ``[H, W, C]``; what lies outside is filled by reflection.
        rows: the parts along the height, from `touching_parts` or `seamless_parts`.
        columns: those along the width.
    """
    total, area = 0.0, 0
    # Parts of one size follow one another: a runtime prepares itself anew for every size.
    pairs = sorted(itertools.product(rows, columns), key=lambda pair: (pair[0][1], pair[1][1]))
    for (top, height, tall), (left, width, wide) in pairs:
        found = function(window(image, top, left, (height, width))[None])
        total = total + (tall * wide) * np.asarray(found, np.float64)
        area += tall * wide
    return (total / area).astype(np.float32)


def touching_parts(length: int, tile: int) -> list[Part]:
    """Parts of `tile` that cover `length` and overlap as little as that allows; each counts by what
    it alone covers."""
    starts = [*range(0, length - tile, tile), length - tile]
    return [
        (start, tile, start + tile - (starts[index - 1] + tile if index else 0))
        for index, start in enumerate(starts)
    ]


def seamless_parts(length: int, limit: int, seam: int, multiple_of: int) -> list[Part]:
    """Parts of at most `limit` that overlap by `seam` at least, and the overlaps, to be subtracted.

    At its edges a network sees padding instead of the picture. The edges of an overlap are those
    of the two parts that share it, so that in a mean over sums the error of every inner edge stands
    once with each sign, and what remains is the mean over the whole: exactly, if what is measured
    sees less than half of `seam` far.

    Parts start at multiples of `multiple_of`. What their length is beyond one is what that of the
    whole is: layers with strides begin elsewhere in it otherwise.
    """
    beyond = length % multiple_of
    most = (limit - beyond) // multiple_of * multiple_of
    length -= beyond
    if length <= most:
        return [(0, length + beyond, length + beyond)]
    part = balanced_tile(length, most, seam, multiple_of)
    starts = [*range(0, length - part, part - seam), length - part]
    parts = [(start, part + beyond, part + beyond) for start in starts]
    for before, start in itertools.pairwise(starts):
        shared = before + part + beyond - start
        parts.append((start, shared, -shared))
    return parts
