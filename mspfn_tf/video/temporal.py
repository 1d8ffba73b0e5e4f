"""Time helps: rain differs from frame to frame, the scene does not.

A network that derains frame by frame flickers, because what it leaves of the rain is elsewhere in
each frame. Here the frames around each one are laid over it and averaged, where they show the same:

1. *Where has the scene moved?* `motion` tells it.
2. *Does a neighbour show the same here?* It is left out where it differs by more than the rain that
   was taken out of both frames explains. Where there was no rain, only what is nearly equal counts,
   so that dry videos stay as they are, and nothing is mixed over a cut.
3. *Who saw it best?* Frames count less at pixels where much rain was taken out of them: what stood
   behind a streak is seen better in the frames in which the streak is elsewhere.

On video of two cores this takes a small part of the network's time.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np

from mspfn_tf.extras import require
from mspfn_tf.video.motion import Motion, motion, spectra

cv2 = require("cv2", "video")

RADIUS = 3
"""Frames looked at before and after each one."""
_FINE = 1280  # frames with a longer side are compared at a quarter of their resolution, not half
# Energies are squares of levels of 255.
_NOISE = 16.0  # by which derained frames differ where there was no rain
_TOLERANCE = 4.0  # share of the removed rain's energy by which they may differ where there was
_LIMIT = 800.0  # by which the luma of a single pixel may differ
_MEAN_LIMIT = 100.0  # and the mean luma around it, where there was no rain
_MEAN_TOLERANCE = 0.5  # as `_TOLERANCE`, for that mean: most of what is left of streaks evens out
_REACH = 5  # of that mean, in pixels to each side
_COLOUR_LIMIT = 200.0  # by which the colour of a single pixel may differ
_FLOOR = 9.0  # error of a pixel that was not changed
_DISTRUST = 0.5  # share of the removed rain's energy that is left as an error
_MISPLACED = 0.003  # share of the slopes' energy that is an error of what was moved
_DRY = 0.8  # energy of smoothed rain that differs between frames, below which it does not rain


@dataclass(eq=False)
class _Frame:
    """A frame, and what is needed again each time it is a neighbour; in levels of 255."""

    derained: np.ndarray  # as pushed
    luma: np.ndarray  # float32 [H, W]
    spectra: np.ndarray | None  # of the windows, None for small frames
    colours: np.ndarray  # float32 [h, w, 3], reduced by `_factor`
    rain: np.ndarray  # luma of what was taken out, float32 [h, w], as are the following
    energy: np.ndarray  # of the rain around each pixel
    trust: np.ndarray


class TemporalBlend:
    """Averages derained frames with their neighbours in time, along the motion of the scene.

    Frames go in one by one and come out in the same order, `radius` frames later. No more than
    ``2 * radius + 1`` frames are held. Needs the extra `video`.

    Args:
        radius: int from 1 up, frames looked at before and after each one.
        strength: the share of the rain layer, in (0, 1], that was taken out of the frames, and that
            is to be taken out of the result.

    Raises:
        ValueError: `radius` is less than 1, `strength` not in (0, 1]; frames of different sizes or
            types are pushed.

    Example:

        blend = TemporalBlend()
        for rainy in frames:
            for clean in blend.push(rainy, restorer(rainy)):
                show(clean)
        for clean in blend.flush():
            show(clean)
    """

    def __init__(self, radius: int = RADIUS, strength: float = 1.0):
        if radius < 1:
            raise ValueError(f"`radius` must be at least 1. Received: {radius!r}")
        if not 0 < strength <= 1:
            raise ValueError(f"`strength` must lie in (0, 1]. Received: {strength!r}")
        self.radius = radius
        self.strength = strength
        self._frames: deque[_Frame] = deque(maxlen=2 * radius + 1)
        self._motions: dict[tuple[int, int], Motion] = {}
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
        if self._frames and self._frames[-1].derained.shape != derained.shape:
            raise ValueError(
                "frames must have one size. Received: "
                f"{list(derained.shape)} after {list(self._frames[-1].derained.shape)}"
            )
        self._frames.append(_prepared(rainy, derained, self.strength))
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
        size = middle.luma.shape
        # Luma is averaged as it is, colour at a lower resolution, as videos have it: rain is gray.
        total = middle.trust.copy()
        luma = _enlarged(total, size) * middle.luma
        colours = total[..., None] * middle.colours
        for other in range(
            max(first, number - self.radius), min(self._pushed, number + self.radius + 1)
        ):
            if other == number:
                continue
            neighbour = self._frames[other - first]
            moved = self._displacements(number, other, middle, neighbour)
            their_colours, share = _seen(middle, neighbour, moved)
            total += share
            cv2.accumulateProduct(their_colours, cv2.merge([share] * 3), colours)
            their_luma = neighbour.luma
            if moved is not None:
                their_luma = _moved(their_luma, _enlarged(moved, size))
            cv2.accumulateProduct(their_luma, _enlarged(share, size), luma)
        for pair in [pair for pair in self._motions if min(pair) <= number - self.radius]:
            del self._motions[pair]
        luma /= _enlarged(total, size)
        colours /= total[..., None]
        changes = (self.strength * (luma - middle.luma), self.strength * (colours - middle.colours))
        return _changed(middle, *changes)

    def _displacements(self, number, other, middle, neighbour):
        """Of a frame's points in a neighbour; None where nothing moved, or none can be told."""
        if middle.spectra is None:
            return None
        size = middle.luma.shape
        key = (min(number, other), max(number, other))
        if key not in self._motions:
            earlier, later = (middle, neighbour) if number < other else (neighbour, middle)
            self._motions[key] = motion(earlier.spectra, later.spectra, size)
        found = self._motions[key]
        return (found if number < other else found.inverse()).displacements(size, _factor(size))


def _prepared(rainy, derained, strength=1.0):
    rainy, levels = _levels(rainy), _levels(derained)
    if strength < 1:  # frames are compared as they would be without rain
        levels = np.clip(rainy + (levels - rainy) / np.float32(strength), 0, 255)
    luma, colours = _gray(levels), _reduced(levels)
    rain = _gray(_reduced(rainy) - colours)
    square = rain**2
    return _Frame(derained, luma, spectra(luma), colours, rain, _mean(square, 2), _trust(square))


def _levels(frame):
    levels = frame.astype(np.float32)
    return levels if frame.dtype == np.uint8 else 255 * levels


def _factor(size):
    """By how much frames are reduced where they are compared."""
    return 2 if max(size) <= _FINE else 4


def _reduced(plane):
    size, factor = plane.shape[:2], _factor(plane.shape[:2])
    below, right = (-side % factor for side in size)
    full = cv2.copyMakeBorder(plane, 0, below, 0, right, cv2.BORDER_REPLICATE)
    return cv2.resize(full, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)


def _gray(colours):
    """The luma, by the weights of ITU-R BT.601."""
    return cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY)


def _moved(plane, displacements):
    """What lies so far (x, y) from each pixel: cubic between pixels, with the border repeated."""
    how = cv2.INTER_CUBIC | cv2.WARP_RELATIVE_MAP
    return cv2.remap(plane, displacements, None, how, borderMode=cv2.BORDER_REPLICATE)


def _enlarged(plane, size):
    """From what `_reduced` returns to ``[H, W, ...]``, linear between pixels."""
    factor = _factor(size)
    full = cv2.resize(plane, (factor * plane.shape[1], factor * plane.shape[0]))
    return full[: size[0], : size[1]]


def _seen(middle, neighbour, displacements):
    """What a neighbour shows of the scene in a frame.

    Returns:
        Its colours ``[h, w, 3]``, and how much they count, before normalising.
    """
    colours, rain, misplaced, inside = neighbour.colours, neighbour.rain, 0, 1
    if displacements is not None:
        steps = displacements / _factor(middle.luma.shape)
        colours, rain = _moved(colours, steps), _moved(rain, steps)
        misplaced = _MISPLACED / _DISTRUST * _slopes(_gray(middle.colours))
        nearest = cv2.INTER_NEAREST | cv2.WARP_RELATIVE_MAP  # 0 beyond the border
        inside = cv2.remap(np.ones_like(rain), steps, None, nearest)
    changed = colours - middle.colours
    difference = _gray(changed)
    energy = rain**2
    square, both = difference**2, energy + middle.rain**2
    apart = _mean(square, 2) / (_NOISE + _TOLERANCE * (middle.energy + _mean(energy, 2)))
    # What passes by in front of the scene differs much in places, and all over.
    apart += (_mean(square, 1) / (_LIMIT + _TOLERANCE * _mean(both, 1))) ** 2
    apart += _mean(difference, _REACH) ** 2 / (_MEAN_LIMIT + _MEAN_TOLERANCE * _mean(both, _REACH))
    # Rain is gray: other colours are other things.
    apart += _mean(((changed[..., 0] - changed[..., 2]) / 2) ** 2, 1) / _COLOUR_LIMIT
    similarity = cv2.exp(-apart)
    similarity *= inside
    # Texture that is taken for rain is the same in both frames, rain is not. What is moved by parts
    # of pixels errs where it is finest, and is smoothed.
    amount = cv2.mean(similarity * _mean(rain - middle.rain, 2) ** 2)[0] / 2
    similarity *= amount**2 / (amount**2 + _DRY**2)
    energy += misplaced
    return colours, similarity * _trust(energy)


def _slopes(plane):
    """Energy of the differences between pixels that lie side by side, ``float32 [H, W]``."""
    total = cv2.Sobel(plane, cv2.CV_32F, 1, 0, ksize=1) ** 2
    total += cv2.Sobel(plane, cv2.CV_32F, 0, 1, ksize=1) ** 2
    return _mean(total, 1)


def _trust(error):
    return 1 / (_FLOOR + _DISTRUST * error)


def _mean(plane, radius):
    """Mean over ``2 * radius + 1`` by as many pixels, with the border repeated."""
    return cv2.blur(plane, (2 * radius + 1,) * 2, borderType=cv2.BORDER_REPLICATE)


def _changed(frame, luma, colours):
    """A frame whose luma ``[H, W]`` and whose colours ``[h, w, 3]`` change by so much."""
    luma = luma - _enlarged(_gray(colours), luma.shape)
    change = cv2.add(_enlarged(colours, luma.shape), cv2.merge([luma] * 3))
    if frame.derained.dtype == np.uint8:
        # Rounded, and no less than 0 nor more than 255.
        return cv2.add(frame.derained, change, dtype=cv2.CV_8U)
    return np.clip(frame.derained + change / 255, 0, 1)
