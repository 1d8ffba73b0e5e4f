"""The one inference path: pictures of any size through a model of any kind.

The `mspfn` command, evaluation, the checks of exported files, video, serving and user code all
restore through `Restorer`.
"""

import contextlib
import math
import numbers
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from mspfn_tf import symmetries
from mspfn_tf.checks import check_int
from mspfn_tf.errors import UsageError
from mspfn_tf.presets import FULL_STRENGTH_SIDE, PRESETS
from mspfn_tf.runtimes import Runtime, is_out_of_memory, open_runtime
from mspfn_tf.sizes import LEAST_SIDE, MULTIPLE_OF, Sizes, round_up
from mspfn_tf.source import ModelSource
from mspfn_tf.tiling import (
    balanced_tile,
    blended_rows,
    mean_over_parts,
    seamless_parts,
    touching_parts,
    window,
)

WHOLE_BYTES = 2.4e9
"""A picture goes through in one piece if that takes no more memory, by the estimate of the runtime
(`bytes_per_pixel`): 3.4 megapixels with `mspfn_mobile`, 6.0 with `mspfn_nano`."""
TILE_BYTES = 4e8
"""The memory that a tile of a larger picture may take, by the same estimate."""
COARSE_FIRST_TILE_BYTES = 3e8
"""The same where the coarser scales are run first, whose features the estimate leaves out: 648x648
pixels with `mspfn_mobile`."""
SUFFICIENT_TILE = 640
"""Smaller tiles show at their borders: up to this they may take what a whole picture may."""
OVERLAP = 288
"""Pixels that neighbouring tiles share by default: so far `mspfn_mobile` looks around."""
COARSE_FIRST_OVERLAP = 88
"""The same where the coarser scales, which look around furthest, are run first."""
_MARGIN = 3 / 2
"""Beyond a tile, on each side, the coarser scales see so many times the overlap then."""
MOST_OVERLAP = 3 / 8
"""The share of a tile's side that this is at most."""
FIXED_OVERLAP = 1 / 4
"""The same for models of one size, whose tiles are small: more would double their number."""
GRAY_LEVELS = 2
"""A picture whose channels differ by at most so many levels of 255 anywhere is gray."""
_COARSEST_MEANS = 2 * MULTIPLE_OF
"""Pixels from one to the next of the coarsest features whose means are statistics."""
_SEAM = 128
"""Pixels that parts share whose statistics are measured: more than twice as far as features see
that do not depend on the attention."""
_BATCH_PIXELS = 256 * 256  # small tiles go through several at a time
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


class Restorer:
    """Takes rain out of pictures of any size.

    A picture goes through the model in one piece where memory allows (see `WHOLE_BYTES`), else in
    overlapping tiles that are blended. The channel attention of every tile uses the statistics of
    the whole picture, so that tiles agree with it; a model that cannot be given them (`.tflite`
    files and SavedModels of others) falls back to the tiles' own, with a warning. A gray picture
    stays gray. The shipped presets change a picture with a side of less than 32 pixels less, see
    `mspfn_tf.presets.FULL_STRENGTH_SIDE`.

    One `Restorer` may be used from several threads: interpreters of LiteRT, which do not allow
    it, are behind a lock that lets in one at a time. It pickles by its source, so that it can be
    given to processes that are spawned; after a fork, one that runs on LiteRT opens its file anew,
    and all others refuse. A child of a process that has opened one on Keras or a SavedModel cannot
    open such ones itself.

    Args:
        source: the model: a preset name, a `keras.Model`, a `.keras` or `.weights.h5` file, the
            directory of a model, a SavedModel directory (its `serving_default` signature is used),
            a `.tflite` file (which needs neither TensorFlow nor Keras), or a `Runtime`.
        tile: int, largest height and width of a piece that goes through the model at once, a
            multiple of 8 (statistics are measured of pieces of at least 256). Default None: whole
            pictures as long as memory allows, then tiles. A model of fixed size always works in
            tiles of its own size. The coarser scales of the shipped presets see more than the tile.
        overlap: int, pixels that neighbouring tiles share at least, less than the tile. They are
            blended over the middle half of it. Rounded up to a multiple of 8. Default None: 88 for
            the shipped presets, 64 for one that sees less far; 288 for models whose scales all see
            the same pixels. At most three eighths of the largest tile, a quarter where the model
            has a fixed size.
        ensemble: 1, or 8 to average over the rotations of the picture and of its mirror image,
            which takes 8 times as long.
        runtime: what runs a preset: "litert" (the default, which starts in a fraction of a second),
            "keras", "openvino", or what takes down to half the time on processors with
            instructions for it and differs by its rounding: "litert-int8" (8 bits; 39 dB and
            more) and "openvino-bfloat16" (52 dB and more).
        strength: float in [0, 1], share of the rain layer that is taken away. Default 1.

    Attributes:
        runtime: the `mspfn_tf.runtimes.Runtime`.
        sizes: the `mspfn_tf.sizes.Sizes` that the model takes.
        name: what to call the model in results.
        digest: SHA-256 of its weights, see `mspfn_tf.source.Source.digest`.

    Raises:
        UsageError (a ValueError): an argument breaks its rule, `source` cannot be loaded, or is not
            a model from pictures ``[batch, H, W, 3]`` to pictures of the same shape.

    Example:

        restorer = mspfn_tf.Restorer("mspfn_mobile")
        clean = restorer(rainy)  # uint8 [H, W, 3] in, uint8 [H, W, 3] out
    """

    def __init__(
        self,
        source: ModelSource,
        tile: int | None = None,
        overlap: int | None = None,
        ensemble: int = 1,
        runtime: str | None = None,
        strength: float = 1.0,
    ):
        self._given = source, runtime
        if overlap is not None:
            overlap = check_int("overlap", overlap, minimum=0)
        if tile is not None:
            tile = check_int("tile", tile, minimum=MULTIPLE_OF)
            if tile % MULTIPLE_OF:
                raise UsageError(f"tile must be a multiple of {MULTIPLE_OF}; received {tile}")
        if ensemble not in (1, symmetries.COUNT):
            raise UsageError(f"ensemble must be 1 or {symmetries.COUNT}; received {ensemble!r}")
        if isinstance(strength, bool) or not isinstance(strength, numbers.Real):
            raise UsageError(f"strength must be a number in [0, 1]; received {strength!r}")
        if not 0 <= strength <= 1:
            raise UsageError(f"strength must lie in [0, 1]; received {strength!r}")
        self.runtime: Runtime = open_runtime(source, runtime)
        if self.runtime.source.model is None:
            _ = self.digest  # of the files that were opened, which training may replace meanwhile
        self.sizes: Sizes = self.runtime.sizes
        fixed = self.sizes.fixed
        if tile is not None and fixed not in (None, (tile, tile)):
            raise UsageError(
                f"tile={tile}, but {self.name} takes pieces of {fixed[0]}x{fixed[1]} only: leave "
                "tile out"
            )
        self.tile = tile
        self.ensemble = int(ensemble)
        self.strength = float(strength)
        limit = min(fixed) if fixed else self._limit()
        shipped = self.runtime.source.kind == "preset"
        if overlap is None:
            overlap = COARSE_FIRST_OVERLAP if self.runtime.coarse_first else OVERLAP
            overlap = min(overlap, int(limit * (FIXED_OVERLAP if fixed else MOST_OVERLAP)))
            if shipped:
                overlap = min(overlap, PRESETS[self.name].get("overlap", overlap))
            overlap = min(overlap, limit - self.sizes.multiple_of)
        self.overlap = round_up(overlap, self.sizes.multiple_of)
        if self.overlap >= limit:
            raise UsageError(
                f"overlap must be less than the tile of {limit} pixels, after rounding up to a "
                f"multiple of {self.sizes.multiple_of}; received {overlap}"
            )
        self._full_strength_side = FULL_STRENGTH_SIDE if shipped else 1
        self._warned = False

    @property
    def name(self) -> str:
        return self.runtime.source.name

    @property
    def digest(self) -> str | None:
        return self.runtime.source.digest

    @property
    def whole_pixels(self) -> int:
        """Pixels of the largest picture that goes through in one piece."""
        return int(WHOLE_BYTES / self.runtime.bytes_per_pixel)

    def __repr__(self) -> str:
        sizes = self.sizes.fixed
        if sizes:
            sizes = f"tiles of {sizes[0]}x{sizes[1]}"
        elif self.tile:
            sizes = f"tiles of up to {self.tile}x{self.tile}"
        else:
            sizes = f"whole up to {self.whole_pixels / 1e6:.1f} megapixels"
        return f"Restorer({self.name!r}, runtime={self.runtime.kind!r}, {sizes})"

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        source, runtime = self._given
        if isinstance(source, Runtime):
            raise TypeError("a Restorer of a Runtime cannot be pickled: make it from its source")
        settings = (self.tile, self.overlap, self.ensemble, runtime, self.strength)
        return Restorer, (source, *settings)

    def __call__(
        self, image: np.ndarray, progress: Callable[[int, int], None] | None = None
    ) -> np.ndarray:
        """Restores one picture.

        Args:
            image: ``uint8 [H, W, 3]``, or ``float32 [H, W, 3]`` in [0, 1]; RGB, H and W from 1 up.
            progress: called with (pieces done, pieces in all) as the picture goes through.

        Returns:
            An array of the same shape and dtype: clipped, and for uint8 rounded.

        Raises:
            UsageError: `image` is not as described, or the model returned values that are not
                finite.
            MemoryError: not enough memory; a smaller `tile` needs less. (OpenVINO has one kind of
                error only: with it, this is a UsageError.)
        """
        image = _checked(image)
        result = np.empty_like(image)
        gray = _is_gray(image)
        strength = self.strength * min(1.0, (min(image.shape[:2]) / self._full_strength_side) ** 2)
        for top, rows in self._derained_rows(image, progress):
            place = np.s_[top : top + len(rows)]
            result[place] = _finished(image[place], rows, gray, strength)
        return result

    def _derained_rows(self, image, progress) -> Iterator[tuple[int, np.ndarray]]:
        if self.ensemble == 1:
            yield from self._rows(image, progress)
            return
        total = np.zeros(image.shape, np.float32)
        for symmetry in range(self.ensemble):
            view = np.ascontiguousarray(symmetries.turned(image, symmetry))
            derained = np.empty(view.shape, np.float32)
            for top, rows in self._rows(view, None):
                derained[top : top + len(rows)] = rows
            total += symmetries.turned_back(derained, symmetry)
            if progress is not None:
                progress(symmetry + 1, self.ensemble)
        yield 0, total / self.ensemble

    def _rows(self, image, progress):
        multiple_of = self.sizes.multiple_of
        tile = self._tile(image.shape[:2])
        several = any(
            round_up(side, multiple_of) > part
            for side, part in zip(image.shape[:2], tile, strict=True)
        )
        statistics = None
        if several and self.runtime.statistics is not None:
            with _memory_errors(tile):
                statistics = self._statistics(image)
        elif several:
            self._warn()
        coarse_first = statistics is not None and self.runtime.coarse_first
        batch = 1
        if self.runtime.batches and not coarse_first:
            batch = max(1, _BATCH_PIXELS // (tile[0] * tile[1]))

        def derained(places):
            with _memory_errors(tile):
                if coarse_first:
                    return self._coarse_to_fine(image, places[0], tile, statistics)
                tiles = np.stack([window(image, top, left, tile) for top, left in places])
                if statistics is None:
                    outputs = self.runtime.run(_as_float(tiles))
                else:
                    outputs, _ = self.runtime.run_guided(_as_float(tiles), statistics)
                return _checked_output(outputs, tiles.shape)

        yield from blended_rows(
            derained, image.shape, tile, self.overlap, multiple_of, batch, progress
        )

    def _coarse_to_fine(self, image, place, tile, statistics):
        """The derained tile at `place`, of which the coarser scales have seen more."""
        sides = [
            max(round_up(length, self.sizes.multiple_of), side)
            for length, side in zip(image.shape[:2], tile, strict=True)
        ]
        margin = round_up(int(_MARGIN * self.overlap), self.sizes.multiple_of)
        # As large beside the edge of a picture: a runtime prepares itself anew for every size.
        height, width = (
            min(side + 2 * margin, whole) for side, whole in zip(tile, sides, strict=True)
        )
        top, left = (
            min(max(start - margin, 0), whole - side)
            for start, whole, side in zip(place, sides, (height, width), strict=True)
        )
        surroundings = _as_float(window(image, top, left, (height, width))[None])
        box = (place[0] - top, place[1] - left, *tile)
        derained = self.runtime.run_tile(surroundings, statistics, box)
        return _checked_output(derained, (1, *tile, image.shape[2]))

    def _statistics(self, image):
        """Those of the whole picture; see `mspfn_tf.whole_picture`."""
        rows, columns = self._parts(image.shape[:2])

        def over_parts(measure):
            return mean_over_parts(lambda part: measure(_as_float(part)), image, rows, columns)

        statistics = over_parts(self.runtime.measure)
        if self.runtime.statistics == "iterated":
            # Measured while the averages are in use, they come closer to those of the whole.
            given = statistics
            statistics = over_parts(lambda part: self.runtime.run_guided(part, given)[1])
        return statistics

    def _parts(self, size):
        """The parts along height and width whose statistics make up those of the whole."""
        multiple_of = self.sizes.multiple_of
        sides = [round_up(max(side, LEAST_SIDE), multiple_of) for side in size]
        if self.runtime.statistics == "given" and self.sizes.fixed is None:
            limit = max(self._limit(), 2 * _SEAM)
            return [seamless_parts(side, limit, _SEAM, _COARSEST_MEANS) for side in sides]
        # A fixed size allows no narrow parts, and the means of a narrow part would mislead the
        # attention of a network whose statistics depend on those in use.
        tile = self.sizes.fixed or [
            balanced_tile(side, self._limit(), 0, multiple_of) for side in sides
        ]
        return [
            touching_parts(max(side, part), part) for side, part in zip(sides, tile, strict=True)
        ]

    def _tile(self, size):
        height, width = (max(side, LEAST_SIDE) for side in size)
        fitting = self.sizes.fit((height, width))
        if self.sizes.fixed is not None:
            return fitting
        if self.tile is None and fitting[0] * fitting[1] <= self.whole_pixels:
            return fitting
        limit, multiple_of = self._limit(), self.sizes.multiple_of
        height, width = (balanced_tile(side, limit, self.overlap, multiple_of) for side in fitting)
        return height, width

    def _limit(self):
        """Height and width of the largest tile that larger pictures are cut into."""
        if self.tile:
            return self.tile
        most = COARSE_FIRST_TILE_BYTES if self.runtime.coarse_first else TILE_BYTES
        pixels = max(
            most / self.runtime.bytes_per_pixel, min(SUFFICIENT_TILE**2, self.whole_pixels)
        )
        side = int(math.sqrt(pixels)) // MULTIPLE_OF * MULTIPLE_OF
        return max(128, side)

    def _warn(self):
        if self.runtime.needs_statistics and not self._warned:
            self._warned = True
            warnings.warn(
                f"{self.name} cannot be given the statistics of a whole picture: its tiles may "
                "differ in brightness",
                stacklevel=4,
            )


@contextlib.contextmanager
def _memory_errors(tile):
    """Within it, what backends of Keras say where there is not enough memory is a `MemoryError`."""
    try:
        yield
    except Exception as error:
        if isinstance(error, MemoryError) or not is_out_of_memory(error):
            raise
        raise MemoryError(f"not enough memory for pieces of {tile[0]}x{tile[1]}") from error


def _finished(rainy, derained, gray, strength):
    """What of the network's output is kept, in the dtype of the picture."""
    derained = np.clip(derained, 0, 1)
    if gray or strength < 1:
        before = _as_float(rainy)
        rain = before - derained
        if gray:
            rain = (rain @ _LUMA)[..., None]
        derained = np.clip(before - np.float32(strength) * rain, 0, 1)
    if rainy.dtype == np.uint8:
        derained *= np.float32(255)
        return np.rint(derained, out=derained).astype(np.uint8)
    return derained


def _as_float(tiles):
    if tiles.dtype == np.uint8:
        return np.divide(tiles, np.float32(255), dtype=np.float32)
    return tiles


def _checked_output(outputs, shape):
    if outputs.shape != shape:
        raise UsageError(
            f"the model made {list(outputs.shape)} of pictures {list(shape)}; expected the same "
            "shape"
        )
    if not np.isfinite(outputs).all():
        raise UsageError(
            "the model returned values that are not finite: its weights are damaged, or its "
            "number format is too narrow"
        )
    return outputs


def _is_gray(image):
    """Whether the channels differ by no more than rounding."""
    # Of some levels the quotients by 255 lie further apart than those of others, by rounding.
    limit = GRAY_LEVELS if image.dtype == np.uint8 else GRAY_LEVELS / 255 + 1e-6
    step = max(1, len(image) // 32)
    for rows in (image[::step], *np.array_split(image, max(1, image.size // 3_000_000))):
        if (rows.max(axis=-1) - rows.min(axis=-1)).max() > limit:
            return False
    return True


def _checked(image):
    mode = getattr(image, "mode", "RGB")  # of a picture of Pillow
    if mode in ("HSV", "LAB", "YCbCr"):  # as an array it looks like RGB
        raise UsageError(f"expected a picture in RGB; received one of mode {mode}: convert it")
    image = np.asarray(image)
    if image.dtype not in (np.uint8, np.float32):
        raise UsageError(
            f"expected a picture of dtype uint8, or float32 in [0, 1]; received {image.dtype}"
        )
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise UsageError(f"expected one picture [H, W, 3]; received the shape {list(image.shape)}")
    if image.dtype == np.float32 and not (image.min() >= 0 and image.max() <= 1):  # also for NaN
        # All digits: with six, 1.0000001 looks like 1, which would be no fault.
        raise UsageError(
            "expected float32 values in [0, 1] without NaN; received values in "
            f"[{image.min():.9g}, {image.max():.9g}]: clip or scale them"
        )
    return image
