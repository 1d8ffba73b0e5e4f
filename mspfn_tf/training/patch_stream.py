"""Training patches as a pure function of (seed, step).

A pair set is read by random access; which pair, which crop, which of the 8 flips and rotations and
which rain make row r of batch s follows from the seed and from s and r alone. So a run continues at
any step without replaying what came before, every worker or replica takes its own rows of the same
global batch, and the same code feeds every backend.
Nothing here needs TensorFlow when the set was prepared as array_record.
"""

import collections
import functools
import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from mspfn_tf.errors import UsageError
from mspfn_tf.quiet import absl_quiet
from mspfn_tf.sets.pairs import Pairs
from mspfn_tf.symmetries import turned
from mspfn_tf.tiling import window
from mspfn_tf.training.bars import draw_bars
from mspfn_tf.training.fresh_rain import FreshRain
from mspfn_tf.training.moved_rain import is_added, move_rain
from mspfn_tf.training.near_drops import draw_near_drops
from mspfn_tf.training.pair_source import VOID, PairSource, check_mixture
from mspfn_tf.training.tone_curves import draw_tone_curves, toned

# Examples over which a mixture keeps its exact shares (to one example).
_MIXTURE_BLOCK = 1024
# Pairs that are decoded, then cropped several times, before the stream moves on to others.
_WINDOW = 64
# What a random number is for, so that no two uses share a stream.
_MIXTURE, _ORDER, _CROPS, _RAIN, _CLEAN, _BARS, _MOVED, _TONES, _SIZES, _NEAR = range(10)


def _random(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))


class DecodedCache:
    """Decoded pairs of several sources, the least recently used dropped beyond `budget` bytes."""

    def __init__(self, budget: int):
        self.budget = budget
        self.used = 0
        self._pairs: collections.OrderedDict[tuple[int, int], tuple] = collections.OrderedDict()
        self._lock = threading.Lock()

    def get(self, source: Pairs, index: int) -> tuple[np.ndarray, ...]:
        """`source[index]`, decoded now or before."""
        key = (id(source), index)
        with self._lock:
            if key in self._pairs:
                self._pairs.move_to_end(key)
                return self._pairs[key]
        pair = source[index]  # outside the lock: decoding is what the threads share
        size = sum(image.nbytes for image in pair)
        with self._lock:
            if key not in self._pairs and size <= self.budget:
                self._pairs[key] = pair
                self.used += size
                while self.used > self.budget:
                    _, dropped = self._pairs.popitem(last=False)
                    self.used -= sum(image.nbytes for image in dropped)
        return pair


class Row(NamedTuple):
    """Where one patch comes from: indices, corner as fractions in [0, 1), transform 0..7."""

    source: int
    pair: int
    top: float
    left: float
    transform: int


class PatchStream:
    """The training batches of a mixture, by step number.

    Every 1,024 examples hold each source in its exact share, shuffled. Within a source every pair
    comes once per epoch, in a new order each epoch; or, with `crops_per_pair` > 1, that often,
    in passes over windows of 64 pairs, so that a set that does not fit into the cache is decoded
    once per so many patches.

    Args:
        sources: list of `PairSource`, or of anything that reads like it. Where all of them have an
            attribute `labelling` that is not None, labels `int16 [H, W, 1]` follow their pairs.
        shares: their shares, summing to 1.
        batch_size: examples of a (global) batch.
        seed: int.
        cache_bytes: budget of the decoded pairs kept in memory (uint8).
        crops_per_pair: patches taken from a pair before it may leave the cache.
        fresh_rain: `FreshRain`, which rains anew on some of the patches, or None. It rains on the
            turned patch, so that rain falls from above in any case.
        clean_share: share of the patches, 0..1, whose rainy half is their clean one, so that the
            network learns to leave alone what has no rain.
        bars: share, 0..1, of the patches that stay clean, are rained on anew or get moved rain,
            into whose clean half bars are drawn first (`draw_bars`), so that the network leaves
            fences alone.
        moved_rain: for each source the share, 0..1, of its patches that are left, whose rain falls
            on a patch of any pair of the mixture instead (`move_rain`); empty: none. Labels are
            those of that pair.
        tone_curves: share of the patches, 0..1, both halves of which are made darker, paler or of
            another colour (`draw_tone_curves`). There is no haze in those with the rain of a pair
            unless its set has moved rain and that rain was added (`is_added`), because other rain
            may be what makes them pale.
        enlarged: share of the patches, 0..1, that are cut 1.25 to 2.5 times smaller and enlarged
            in the end, both halves alike: in pictures of many pixels rain is as wide.
        near_drops: share, 0..1, of the patches that are not to stay clean, in front of whose rainy
            half drops fall close to the camera (`draw_near_drops`).
        upright: whether patches are only mirrored, not turned by 90 degrees, so that the rain of
            the pairs falls from above (or from below), too.

    Attributes:
        counts: examples of each source among every 1,024.
    """

    def __init__(
        self,
        sources: Sequence[Pairs],
        shares: Sequence[float],
        batch_size: int,
        seed: int,
        cache_bytes: int = 2**31,
        crops_per_pair: int = 1,
        fresh_rain: FreshRain | None = None,
        clean_share: float = 0.0,
        bars: float = 0.0,
        moved_rain: Sequence[float] = (),
        tone_curves: float = 0.0,
        enlarged: float = 0.0,
        near_drops: float = 0.0,
        upright: bool = False,
    ):
        self.sources = list(sources)
        self.batch_size = batch_size
        self.seed = seed
        self.crops_per_pair = crops_per_pair
        self.fresh_rain = fresh_rain
        self.clean_share = clean_share
        self.bars = bars
        self.moved_rain = moved_rain or [0.0] * len(self.sources)
        self.tone_curves = tone_curves
        self.enlarged = enlarged
        self.near_drops = near_drops
        self.upright = upright
        self.cache = DecodedCache(cache_bytes)
        self.labelled = all(getattr(source, "labelling", None) for source in self.sources)
        self.counts = _largest_remainder(np.asarray(shares) * _MIXTURE_BLOCK)
        self._block = functools.lru_cache(maxsize=16)(self._draw_block)
        self._order = functools.lru_cache(maxsize=4 * len(self.sources))(self._draw_order)

    def _draw_block(self, block):
        """The source of each example of a mixture block, and its rank within that source."""
        of = np.repeat(np.arange(len(self.sources)), self.counts)
        of = _random(self.seed, _MIXTURE, block).permutation(of)
        rank = np.empty(_MIXTURE_BLOCK, np.int64)
        for source, count in enumerate(self.counts):
            rank[of == source] = np.arange(count)
        return of, rank

    def _draw_order(self, source, epoch):
        return _random(self.seed, _ORDER, source, epoch).permutation(len(self.sources[source]))

    def _pair(self, source, visit):
        """Index of the pair that the `visit`-th visit to a source (0, 1, ...) sees."""
        pairs = len(self.sources[source])
        epoch, visit = divmod(visit, pairs * self.crops_per_pair)
        window, visit = divmod(visit, _WINDOW * self.crops_per_pair)
        width = min(_WINDOW, pairs - window * _WINDOW)  # the last window may be smaller
        return int(self._order(source, epoch)[window * _WINDOW + visit % width])

    def rows(self, step: int, rows: slice = slice(None)) -> list[Row]:
        """Where the patches of batch `step`, or of a slice of it, come from: a list of `Row`."""
        # Drawn for the whole batch, so that a slice of it sees the same numbers.
        random = _random(self.seed, _CROPS, step)
        corners = random.random((self.batch_size, 2))
        transforms = random.integers(8, size=self.batch_size)
        if self.upright:
            transforms &= ~1  # 0, 2, 4, 6: without the quarter turns
        result = []
        for row in range(self.batch_size)[rows]:
            block, slot = divmod(step * self.batch_size + row, _MIXTURE_BLOCK)
            of, rank = self._block(block)
            source = int(of[slot])
            pair = self._pair(source, block * int(self.counts[source]) + int(rank[slot]))
            top, left = corners[row]
            result.append(Row(source, pair, top, left, int(transforms[row])))
        return result

    def _drawn(self, own, row, step, number, size):
        """The patches of one row, `own` being those of its pair: (rainy, clean), and labels; and
        whether it is known that the rain has not changed the tones of the picture."""
        rainy, *shown = own
        scene, *labels = self._with_bars(shown, step, number)
        if self._chosen(self.clean_share, _CLEAN, step, number):
            return (scene, scene, *labels), True
        if self.fresh_rain is not None:
            wet = self.fresh_rain.draw(scene, _random(self.seed, _RAIN, step, number))
            if wet is not None:
                return (wet, scene, *labels), True
        moves = self.moved_rain[row.source]
        added = moves > 0 and is_added(rainy, shown[0])
        random = self._chosen(moves, _MOVED, step, number)
        if random is None:
            return own, added
        _, *elsewhere = self._cut(self._anywhere(random), size)
        scene, *labels = self._with_bars(elsewhere, step, number)
        moved = move_rain(rainy, shown[0], scene, random)
        return own if moved is None else (moved, scene, *labels), added

    def _chosen(self, share, use, step, number):
        """Its random numbers if a row is among this share of the rows, else None."""
        if not share:  # most runs: nothing is drawn
            return None
        random = _random(self.seed, use, step, number)
        return random if random.random() < share else None

    def _with_bars(self, shown, step, number):
        """A clean patch and its labels, with bars in some rows; what those show has no labels."""
        if not self._chosen(self.bars, _BARS, step, number):
            return shown
        clean, *labels = shown
        drawn = draw_bars(clean, _random(self.seed, _BARS, step, number, 1))
        return drawn, *(np.full_like(each, VOID) for each in labels)

    def _anywhere(self, random):
        """A `Row` of any pair of the mixture."""
        source = int(random.choice(len(self.sources), p=self.counts / _MIXTURE_BLOCK))
        pair = int(random.integers(len(self.sources[source])))
        transform = int(random.integers(8))
        if self.upright:
            transform &= ~1
        return Row(source, pair, random.random(), random.random(), transform)

    def _behind_drops(self, patches, step, number):
        rainy, clean, *labels = patches
        # What is to stay clean is the same twice.
        random = None if rainy is clean else self._chosen(self.near_drops, _NEAR, step, number)
        return patches if random is None else (draw_near_drops(rainy, random), clean, *labels)

    def _toned(self, patches, step, number, haze):
        random = self._chosen(self.tone_curves, _TONES, step, number)
        if random is None:
            return patches
        rainy, clean, *labels = patches
        curves = draw_tone_curves(random, haze)
        return toned(rainy, curves), toned(clean, curves), *labels

    def _cut_size(self, patch_size, step, number):
        """Side of what is cut for a patch of that size."""
        random = self._chosen(self.enlarged, _SIZES, step, number)
        return patch_size if random is None else round(patch_size / random.uniform(1.25, 2.5))

    def _cut(self, row, size):
        """The patches that a `Row` names: (rainy, clean), and labels."""
        pair = self.cache.get(self.sources[row.source], row.pair)
        height, width = (max(side, size) for side in pair[0].shape[:2])
        top = int(row.top * (height - size + 1))
        left = int(row.left * (width - size + 1))
        patches = []
        for image in pair:
            crop = window(image, top, left, (size, size))
            patches.append(turned(crop, row.transform))
        return tuple(patches)

    def fingerprint(self) -> str:
        """SHA-256 over the contents of all sources; see `PairSource.fingerprint`."""
        facts = [source.fingerprint() for source in self.sources]
        return hashlib.sha256(repr(facts).encode()).hexdigest()

    def names(self, step: int) -> list[str]:
        """The pairs of batch `step`, by name."""
        return [self.sources[row.source].name(row.pair) for row in self.rows(step)]

    def batch(
        self, step: int, patch_size: int, rows: slice = slice(None)
    ) -> tuple[np.ndarray, ...]:
        """Batch `step`, or a slice of its rows.

        Returns:
            (rainy, clean): two float32 arrays [rows, patch_size, patch_size, 3] in [0, 1]. If all
            sources have labels, these follow, int32 [rows, patch_size, patch_size, 1].

        A pair smaller than the patch is continued by reflection.
        """
        chosen = self.rows(step, rows)
        numbers = range(self.batch_size)[rows]
        patches = np.empty((2, len(chosen), patch_size, patch_size, 3), np.uint8)
        outputs: list[np.ndarray] = [*patches]
        if self.labelled:
            outputs.append(np.empty((len(chosen), patch_size, patch_size, 1), np.int32))
        for index, (number, row) in enumerate(zip(numbers, chosen, strict=True)):
            size = self._cut_size(patch_size, step, number)
            own = self._cut(row, size)
            drawn, haze = self._drawn(own, row, step, number, size)
            drawn = self._toned(self._behind_drops(drawn, step, number), step, number, haze)
            for patch, out in zip(drawn, outputs, strict=True):
                out[index] = _resized(patch, patch_size)
        rainy, clean = np.multiply(patches, np.float32(1 / 255), dtype=np.float32)
        return rainy, clean, *outputs[2:]


def _resized(patch, size):
    """A square picture (bicubic) or square of labels (nearest), `[size, size, channels]`."""
    if patch.shape[0] == size:
        return patch
    if patch.dtype != np.uint8:
        nearest = (np.arange(size) + 0.5) * patch.shape[0] / size
        return patch[nearest.astype(int)][:, nearest.astype(int)]
    image = Image.fromarray(np.ascontiguousarray(patch))
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC))


def _largest_remainder(shares):
    """Rounds shares to whole numbers of the same sum."""
    counts = np.floor(shares).astype(int)
    missing = round(shares.sum()) - counts.sum()
    counts[np.argsort(counts - shares, kind="stable")[:missing]] += 1
    return counts


def open_stream(
    dataset: str | Mapping[str, float],
    data_dir: str | os.PathLike,
    crops_per_pair: int = 0,
    cache_bytes: int = 2**31,
    labelling: Callable[[np.ndarray, str], np.ndarray] | None = None,
    moved_rain: Mapping[str, float] | None = None,
    **arguments: Any,
) -> PatchStream:
    """The `PatchStream` of the training pairs of prepared sets.

    Args:
        dataset: name of a set, or names with their weights.
        data_dir: folder that `mspfn prepare` filled.
        crops_per_pair: as in `PatchStream`; 0: 1 if the decoded pairs fit the cache, else 4.
        cache_bytes: as in `PatchStream`.
        labelling: as in `PairSource`.
        moved_rain: as in `PatchStream`, by the names of the sets; 0 for those it does not name.
        **arguments: further ones of `PatchStream`.

    Raises:
        UsageError: a set is not prepared, has no such split, or a share so small that none of its
            pairs would be taken.
    """
    mixture = check_mixture(dataset)
    sources = [PairSource(name, "train", data_dir, labelling) for name in mixture]
    if not crops_per_pair:
        pixels = sum(source.sizes().prod(axis=1).mean() * len(source) for source in sources)
        crops_per_pair = 1 if 6 * pixels <= cache_bytes else 4  # rainy and clean, 3 bytes each
    total = sum(mixture.values())
    shares = [weight / total for weight in mixture.values()]
    stream = PatchStream(
        sources,
        shares,
        cache_bytes=cache_bytes,
        crops_per_pair=crops_per_pair,
        moved_rain=[(moved_rain or {}).get(name, 0.0) for name in mixture],
        **arguments,
    )
    for name, count, share in zip(mixture, stream.counts, shares, strict=True):
        if not count:
            raise UsageError(
                f"dataset {name!r}: its share is {share:.2g}, too small for one in every "
                f"{_MIXTURE_BLOCK:,} patches, so that none would be taken: give it a larger "
                "weight, or leave it out"
            )
    return stream


def read_ahead(
    stream: PatchStream,
    start: int,
    stop: int,
    patch_size: int,
    rows: slice = slice(None),
    threads: int = 2,
) -> Iterator[tuple[np.ndarray, ...]]:
    """The batches `start` .. `stop` - 1 of a `PatchStream` in order, computed ahead by threads.

    What training reads, on every backend. Grain carries it: its threads may be dropped at any step,
    which those of `tf.data` do not survive (see `tf_dataset`).

    Args:
        stream: `PatchStream`.
        start, stop: step numbers.
        patch_size: side of the patches.
        rows: slice of the rows of each batch.
        threads: batches computed at the same time.

    Returns:
        An iterator of what `PatchStream.batch` returns.

    Raises:
        UsageError: Grain is not installed (it has no package for Windows).
    """
    try:
        with absl_quiet():  # it would warn wherever JAX, for whose profiler it looks, is missing
            import grain
    except ImportError as error:
        raise UsageError(f"training needs Grain: pip install grain ({error})") from error
    steps = grain.MapDataset.range(start, stop)
    batches = steps.map(lambda step: stream.batch(int(step), patch_size, rows))
    ahead = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=4 * threads)
    return iter(batches.to_iter_dataset(ahead))


def tf_dataset(
    stream: PatchStream,
    start: int,
    stop: int,
    patch_size: int,
    pipeline: int = 0,
    pipelines: int = 1,
    replicas: int = 1,
    threads: int = 2,
) -> Any:
    """A `tf.data.Dataset` of the batches `start` .. `stop` - 1, in order.

    For `fit` and loops of your own, with the numbers of a `tf.distribute.InputContext` as
    `pipeline` and `pipelines`. Take its iterator to the end: TensorFlow (2.21) may hang when one is
    dropped while it computes ahead, because its destructor holds the interpreter lock that the
    Python code of the pipeline waits for.

    Args:
        stream: `PatchStream`.
        start, stop: step numbers.
        patch_size: side of the patches.
        pipeline, pipelines: which of how many input pipelines (hosts) this one is.
        replicas: replicas that this pipeline feeds. A batch then comes as that many elements.
        threads: batches computed at the same time.

    Returns:
        A dataset of (rainy, clean), float32 [batch_size / (pipelines * replicas), S, S, 3].
    """
    import tensorflow as tf

    parts = pipelines * replicas
    size = stream.batch_size // parts
    shape = (size, patch_size, patch_size, 3)

    def load(step, replica):
        first = (pipeline * replicas + int(replica)) * size
        return stream.batch(int(step), patch_size, slice(first, first + size))

    def element(index):
        batch = tf.numpy_function(
            load,
            (index // replicas, index % replicas),
            (tf.float32, tf.float32, tf.int32)[: 2 + stream.labelled],
            stateful=False,
        )
        shapes = (shape, shape, (*shape[:3], 1))
        return tuple(map(tf.ensure_shape, batch, shapes[: len(batch)]))

    dataset = tf.data.Dataset.range(start * replicas, stop * replicas)
    dataset = dataset.map(element, num_parallel_calls=threads, deterministic=True)
    return dataset.prefetch(4 * replicas)
