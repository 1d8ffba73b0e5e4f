"""Time helps: rain differs from frame to frame, the scene does not.

A network that derains frame by frame flickers, because what it leaves of the rain is elsewhere in
each frame. Here the frames around each one are laid over it and averaged, where they show the same:

1. *Where has the scene moved?* Phase correlation (Kuglin and Hines 1975) of windows of the derained
   luma, smoothed over the frame; the mean over all windows backs up those without texture.
2. *Does a neighbour show the same here?* It is left out where it differs by more than the rain that
   was taken out of both frames explains. Where there was no rain, only what is nearly equal counts,
   so that dry videos stay as they are, and nothing is mixed over a cut.
3. *Who saw it best?* Frames count less at pixels where much rain was taken out of them: what stood
   behind a streak is seen better in the frames in which the streak is elsewhere.

NumPy and Pillow alone. On video of two cores this takes a small part of the network's time.
"""

import functools
import math
from collections import deque
from dataclasses import dataclass

import numpy as np
from PIL import Image

RADIUS = 2
"""Frames looked at before and after each one."""
_WINDOW = 64  # side of the windows whose motion is told, in pixels of the reduced luma
_LONGEST = 960  # the luma is halved until its longer side is no longer than this
_LOW_PASS = 0.12  # cycles per pixel: streaks are finer, and must not be what is followed
_COMMON = 0.3  # share of the frame's mean correlation in that of each window
_SMALLEST = 16  # below this side of the reduced luma no motion is told
_BLOCK = 8  # side of the pieces that are moved, in pixels
_NO_RAIN = 128
_RED_LESS_BLUE = (0.5, 0.0, -0.5, 128.0)
# Energies are squares of levels of 255.
_NOISE = 9.0  # by which derained frames differ where there was no rain
_TOLERANCE = 4.0  # share of the removed rain's energy by which they may differ where there was
_LIMIT = 800.0  # by which the luma of a single pixel may differ
_COLOUR_LIMIT = 200.0  # and its colour
_FLOOR = 9.0  # error of a pixel that was not changed
_DISTRUST = 0.5  # share of the removed rain's energy that is left as an error
_MISPLACED = 0.01  # share of the slopes' energy that is an error of what was moved
_DRY = 4.0  # energy of rain that differs between frames, below which it does not rain
_STRIP = 64  # rows worked on at a time, few enough to stay in the processor's cache


class _Halfway:
    """A plane ``[H, W, ...]``, and what lies half a pixel beside it, made when it is asked for."""

    def __init__(self, plane):
        self.plane = plane
        self._planes = None

    @property
    def planes(self):
        """The plane, half a pixel further along x, along y, and along both, each as `_roomy`."""
        if self._planes is None:
            height = len(self.plane)
            border = [(0, 0), (1, 2), *[(0, 0)] * (self.plane.ndim - 2)]
            self._planes = planes = np.stack([_roomy(self.plane)] * 4)
            for top in range(0, height, _STRIP):
                rows = slice(top, min(top + _STRIP, height))
                around = np.clip(np.arange(rows.start - 1, rows.stop + 2), 0, height - 1)
                strip = self.plane[around]
                along = _between(np.pad(strip, border, "edge"), 1)
                planes[1, rows] = along[1:-2]
                planes[2, rows] = _between(strip, 0)
                planes[3, rows] = _between(along, 0)
        return self._planes


def _roomy(plane):
    """``[H + 1, W, ...]``, contiguous: the last row is for blocks that go on beyond the frame."""
    roomy = np.empty((len(plane) + 1, *plane.shape[1:]), plane.dtype)
    roomy[:-1] = plane
    roomy[-1] = plane[-1]
    return roomy


def _between(padded, axis):
    """What lies between each pixel and the next: a cubic through four, (-1, 9, 9, -1) / 16.

    The side along `axis` has one pixel more in front, and two more behind, than what is returned.
    """
    side = padded.shape[axis] - 3
    wide = padded.astype(np.int16) if padded.dtype == np.uint8 else padded
    first, second, third, fourth = (
        wide[start : start + side] if axis == 0 else wide[:, start : start + side]
        for start in range(4)
    )
    total = second + third
    total *= 9
    total -= first
    total -= fourth
    if padded.dtype != np.uint8:
        return np.clip(total / 16, 0, 1)
    total += 8
    total >>= 4
    return np.clip(total, 0, 255, out=total).astype(np.uint8)


@dataclass(eq=False)
class _Frame:
    """A frame, and what is needed again each time it is a neighbour."""

    derained: "_Halfway"  # as pushed
    rain: np.ndarray  # uint8 [H, W], by how much the luma was changed, plus _NO_RAIN
    spectra: np.ndarray | None  # of the windows, None for small frames
    luma_reduced: np.ndarray  # float32 [H / 2, W / 2], as are the following
    colour: np.ndarray  # red less blue, halved
    rain_layer: np.ndarray
    energy: np.ndarray  # of the rain around each pixel
    trust: np.ndarray


class TemporalBlend:
    """Averages derained frames with their neighbours in time, along the motion of the scene.

    Frames go in one by one and come out in the same order, `radius` frames later. No more than
    ``2 * radius + 1`` frames are held.

    Args:
        radius: int from 1 up, frames looked at before and after each one.

    Raises:
        ValueError: `radius` is less than 1; frames of different sizes or types are pushed.

    Example:

        blend = TemporalBlend()
        for rainy in frames:
            for clean in blend.push(rainy, restorer(rainy)):
                show(clean)
        for clean in blend.flush():
            show(clean)
    """

    def __init__(self, radius: int = RADIUS):
        if radius < 1:
            raise ValueError(f"`radius` must be at least 1. Received: {radius!r}")
        self.radius = radius
        self._frames: deque[_Frame] = deque(maxlen=2 * radius + 1)
        self._motions: dict[tuple[int, int], np.ndarray] = {}
        self._pushed = 0
        self._done = 0

    def push(self, rainy: np.ndarray, derained: np.ndarray) -> list[np.ndarray]:
        """Takes the next frame; returns the frames that are finished by it (none or one).

        Args:
            rainy: ``uint8 [H, W, 3]``, or ``float32`` in [0, 1]: the frame as it was.
            derained: the same frame restored, of the same shape and dtype.
        """
        if rainy.shape != derained.shape or rainy.dtype != derained.dtype:
            raise ValueError(
                "`rainy` and `derained` must be alike. Received: "
                f"{rainy.dtype} {list(rainy.shape)} and {derained.dtype} {list(derained.shape)}"
            )
        if self._frames and self._frames[-1].derained.plane.shape != derained.shape:
            raise ValueError(
                "frames must have one size. Received: "
                f"{list(derained.shape)} after {list(self._frames[-1].derained.plane.shape)}"
            )
        self._frames.append(_prepared(rainy, derained))
        self._pushed += 1
        if self._pushed - self._done <= self.radius:
            return []
        return [self._finish()]

    def flush(self) -> list[np.ndarray]:
        """Returns the frames that were still waiting for later ones, and starts anew."""
        rest = [self._finish() for _ in range(self._pushed - self._done)]
        self._frames.clear()
        self._motions.clear()
        self._pushed = self._done = 0
        return rest

    def _finish(self):
        number = self._done
        self._done += 1
        first = self._pushed - len(self._frames)  # the number of the oldest frame that is held
        middle = self._frames[number - first]
        total, moved, shares = middle.trust.copy(), [], []
        last = min(self._pushed, number + self.radius + 1)
        for other in range(max(first, number - self.radius), last):
            if other == number:
                continue
            neighbour = self._frames[other - first]
            motion = self._motion(number, other, middle, neighbour)
            moved.append(_moved(neighbour.derained, motion))
            shares.append(_share(middle, neighbour, moved[-1], motion))
            total += shares[-1]
        for pair in [pair for pair in self._motions if min(pair) <= number - self.radius]:
            del self._motions[pair]
        return _blended(middle.derained.plane, moved, [share / total for share in shares])

    def _motion(self, number, other, middle, neighbour):
        """Half pixels ``[rows, columns, 2]`` (y, x) from each block of a frame to the other's."""
        if middle.spectra is None:
            return np.zeros((*_blocks(middle.rain.shape), 2), np.int64)
        key = (min(number, other), max(number, other))
        if key not in self._motions:
            earlier, later = (middle, neighbour) if number < other else (neighbour, middle)
            self._motions[key] = _displacements(earlier.spectra, later.spectra)
        sign = 1 if number < other else -1
        return _per_block(sign * self._motions[key], middle.rain.shape)


def _prepared(rainy, derained):
    luma, before = _levels(derained), _levels(rainy)
    rain = before.astype(np.int16)
    rain -= luma
    rain += _NO_RAIN
    rain = np.clip(rain, 0, 255).astype(np.uint8)
    layer = _halved(rain).astype(np.float32) - _NO_RAIN
    square = layer**2
    return _Frame(
        _Halfway(derained),
        rain,
        _spectra(luma),
        _halved(luma).astype(np.float32),
        _halved(_levels(derained, _RED_LESS_BLUE)).astype(np.float32),
        layer,
        _box(square, 2),
        _trust(square),
    )


def _levels(frame, weights=None):
    """``uint8 [H, W]``: the luma, or the sum of the channels by `weights`, and a constant."""
    if frame.dtype != np.uint8:
        frame = np.rint(frame * 255).astype(np.uint8)
    return np.asarray(Image.fromarray(frame).convert("L", weights))


def _halved(plane, factor=2):
    return np.asarray(Image.fromarray(plane).reduce(factor))


def _reduction(size):
    factor = 2
    while max(size) > factor * _LONGEST:
        factor *= 2
    return factor


def _window(side):
    return min(_WINDOW, side // 2 * 2)


def _starts(side):
    """Where windows start that overlap by half and cover a side of so many pixels."""
    window = _window(side)
    count = 1 + -(-(side - window) // (window // 2))
    return np.rint(np.linspace(0, side - window, count)).astype(int)


def _spectra(luma):
    """Fourier transforms of the windows, ``complex64 [rows, columns, h, w // 2 + 1]``."""
    small = _halved(luma, _reduction(luma.shape))
    if min(small.shape) < _SMALLEST:
        return None
    height, width = (_window(side) for side in small.shape)
    taper = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1]).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(small, (height, width))
    rows, columns = (_starts(side) for side in small.shape)
    windows = windows[rows[:, None], columns].astype(np.float32)
    mean = np.einsum("rchw,hw->rc", windows, taper / taper.sum())[..., None, None]
    return np.fft.rfft2((windows - mean) * taper)


def _displacements(earlier, later):
    """How far the content of each window moves between two frames.

    Args:
        earlier, later: `_spectra` of two frames.

    Returns:
        ``float32 [rows, columns, 2]`` (y, x), in pixels of the reduced luma.
    """
    height, width = earlier.shape[2], 2 * (earlier.shape[3] - 1)
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)
    low_pass = np.exp(-(fy**2 + fx**2) / (2 * _LOW_PASS**2)).astype(np.float32)
    cross = np.conj(earlier) * later
    cross *= low_pass / (np.abs(cross) + np.float32(1e-3))
    surface = np.fft.irfft2(cross, (height, width))
    surface += _COMMON * surface.mean((0, 1))
    peak = surface.reshape(*surface.shape[:2], -1).argmax(-1)
    y, x = np.divmod(peak, width)
    row, column = np.indices(peak.shape, sparse=True)

    def near(dy, dx):
        return surface[row, column, (y + dy) % height, (x + dx) % width]

    def vertex(before, after):  # of the parabola through the peak and what is beside it
        curvature = np.minimum(before + after - 2 * near(0, 0), -1e-9)
        return np.clip(0.5 * (before - after) / curvature, -0.5, 0.5)

    down = (y + height // 2) % height - height // 2 + vertex(near(-1, 0), near(1, 0))
    right = (x + width // 2) % width - width // 2 + vertex(near(0, -1), near(0, 1))
    return np.stack([down, right], -1)


def _blocks(size):
    return tuple(-(-side // _BLOCK) for side in size)


def _per_block(displacements, size):
    """Interpolates between the windows.

    Returns:
        ``int [rows, columns, 2]``, half pixels of the frame, for each of its blocks; none leads
        out of the frame.
    """
    factor = _reduction(size)
    field = displacements * factor
    for axis, side in enumerate(size):
        reduced = -(-side // factor)
        centres = (_starts(reduced) + _window(reduced) / 2) * factor
        places = (np.arange(-(-side // _BLOCK)) + 0.5) * _BLOCK
        after = np.clip(np.searchsorted(centres, places), 1, max(1, len(centres) - 1))
        after = np.minimum(after, len(centres) - 1)
        before = np.maximum(after - 1, 0)
        span = np.maximum(centres[after] - centres[before], 1)
        part = np.clip((places - centres[before]) / span, 0, 1)
        part = part.reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        field = np.take(field, before, axis) * (1 - part) + np.take(field, after, axis) * part
    return _inside(np.rint(2 * field).astype(np.int64), size, _BLOCK)


def _inside(motion, size, block):
    """Half pixels, changed so that no block is taken from outside of the frame."""
    for axis, side in enumerate(size):
        start = np.arange(motion.shape[axis]) * block
        end = np.minimum(start + block, side)
        start, end = (x[:, None] if axis == 0 else x for x in (start, end))
        motion[..., axis] = np.clip(motion[..., axis], -2 * start, 2 * (side - end))
    return motion


def _moved(plane, motion, block=_BLOCK):
    """Brings a neighbour, a `_Halfway` or an array, into the place of a frame, block by block.

    Args:
        plane: ``[H, W, ...]``; an array is moved by whole pixels.
        motion: half pixels ``int [rows, columns, 2]`` (y, x) for each block; none leads out of the
            plane.
    """
    halfway = isinstance(plane, _Halfway)
    whole = plane.plane if halfway else plane
    if not motion.any():
        return whole
    (rows, columns), (height, width) = motion.shape[:2], whole.shape[:2]
    down, along = motion[..., 0], motion[..., 1]
    top, left = np.ogrid[0 : rows * block : block, 0 : columns * block : block]
    first = (top + (down >> 1)) * width + left + (along >> 1)
    if halfway and (motion & 1).any():
        planes = plane.planes
        first += (2 * (down & 1) + (along & 1)) * (height + 1) * width
    else:
        planes = _roomy(whole)
    # A block is `block` runs of as many pixels each; all of them are read at once. What is read of
    # blocks that go on beyond the bottom and the right is cut off in the end.
    pixel = planes.itemsize * math.prod(whole.shape[2:])
    run = np.dtype((np.void, block * pixel))
    runs = np.ndarray(planes.nbytes // pixel - block + 1, run, planes, strides=(pixel,))
    index = first[:, None] + width * np.arange(block)[:, None]
    moved = runs[np.minimum(index, len(runs) - 1)].view(planes.dtype)
    return moved.reshape(rows * block, columns * block, *whole.shape[2:])[:height, :width]


def _share(middle, neighbour, moved, motion):
    """How much a neighbour counts, before normalising, ``float32 [H / 2, W / 2]``.

    `moved` is its derained frame in the place of the middle one.
    """
    luma = _halved(_levels(moved)).astype(np.float32)
    rain = _halved(_moved(neighbour.rain, motion)).astype(np.float32) - _NO_RAIN
    rain_differs = (rain - middle.rain_layer) ** 2
    rain *= rain
    difference = (luma - middle.luma_reduced) ** 2
    apart = _box(difference, 2) / (_NOISE + _TOLERANCE * (middle.energy + _box(rain, 2)))
    # What passes by in front of the scene differs much in places.
    near = _box(rain + middle.rain_layer**2, 1)
    apart += (_box(difference, 1) / (_LIMIT + _TOLERANCE * near)) ** 2
    # Rain is gray: other colours are other things.
    whole = _inside(np.rint(motion / 4).astype(np.int64) * 2, luma.shape, _BLOCK // 2)
    colour = _moved(neighbour.colour, whole, _BLOCK // 2) - middle.colour
    apart += _box(colour**2, 1) / _COLOUR_LIMIT
    similarity = np.exp(-apart)
    # Texture that is taken for rain is the same in both frames, rain is not.
    amount = float(np.mean(similarity * rain_differs)) / 2
    rains = amount**2 / (amount**2 + _DRY**2)
    moving = (motion != 0).any(-1)
    for axis, side in enumerate(luma.shape):
        moving = np.repeat(moving, _BLOCK // 2, axis).take(range(side), axis)
    misplaced = _MISPLACED * _slopes(luma) * moving
    return rains * similarity * _trust(rain + misplaced / _DISTRUST)


def _slopes(plane):
    """Energy of the differences between pixels that lie side by side, ``float32 [H, W]``."""
    total = np.zeros_like(plane)
    total[:, 1:-1] = (plane[:, 2:] - plane[:, :-2]) ** 2
    total[1:-1] += (plane[2:] - plane[:-2]) ** 2
    return _box(total, 1)


def _trust(error):
    return 1 / (_FLOOR + _DISTRUST * error)


def _box(plane: np.ndarray, radius: int) -> np.ndarray:
    """Mean over ``2 * radius + 1`` by as many pixels, with the border repeated."""
    for axis in (0, 1):
        padding = [(radius, radius) if a == axis else (0, 0) for a in (0, 1)]
        padded = np.pad(plane, padding, "edge")
        side = plane.shape[axis]
        parts = (
            padded[start : start + side] if axis == 0 else padded[:, start : start + side]
            for start in range(2 * radius + 1)
        )
        plane = functools.reduce(np.add, parts) * np.float32(1 / (2 * radius + 1))
    return plane


def _blended(middle, neighbours, shares):
    """Moves `middle` towards each neighbour by its share ``[H / 2, W / 2]``."""
    height, width = middle.shape[:2]
    result = np.empty_like(middle)
    for top in range(0, height, _STRIP):
        bottom = min(top + _STRIP, height)
        total = middle[top:bottom].astype(np.float32)
        own = total.copy()
        for neighbour, share in zip(neighbours, shares, strict=True):
            part = np.repeat(share[top // 2 : -(-bottom // 2)], 6, axis=1)[:, : 3 * width]
            part = np.repeat(part, 2, axis=0)[: bottom - top].reshape(total.shape)
            total += (neighbour[top:bottom] - own) * part
        if middle.dtype == np.uint8:
            np.rint(total, out=total)
        result[top:bottom] = total
    return result
