import collections
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mspfn_tf.errors import UsageError
from mspfn_tf.symmetries import turned
from mspfn_tf.training.pair_source import PairSource, check_mixture
from mspfn_tf.training.patch_stream import (
    DecodedCache,
    PatchStream,
    open_stream,
    read_ahead,
    tf_dataset,
)
from tests.pair_sets import pair, prepare


class Pairs:
    """A source in memory that counts how often it decodes."""

    def __init__(self, count, first=0, **size):
        self.pairs = [pair(first + index, **size) for index in range(count)]
        self.decoded = 0

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, index):
        self.decoded += 1
        return self.pairs[index]

    def name(self, index):
        return f"pairs/{index}"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    prepare(folder, "tiny")
    prepare(folder, "tiny_tfrecord", file_format="tfrecord")
    prepare(folder, "grouped", count=2, config="heavy")
    return folder


def stream(count=5, batch_size=4, seed=1, **arguments):
    return PatchStream([Pairs(count)], [1.0], batch_size, seed, **arguments)


def test_mixtures():
    assert check_mixture("rain800") == {"rain800": 1.0}
    assert check_mixture({"a": 1, "b/heavy-2.0": 3}) == {"a": 1.0, "b/heavy-2.0": 3.0}
    mixed = PatchStream([Pairs(3), Pairs(3)], [0.25, 0.75], 4, 0)
    sources = [row.source for step in range(256) for row in mixed.rows(step)]
    assert collections.Counter(sources) == {0: 256, 1: 768}


def test_crops_per_pair_follow_from_what_fits_the_cache(data_dir):
    decoded = 6 * 10 * 24 * 32
    for cache, crops in ((decoded, 1), (decoded - 1, 4)):
        opened = open_stream("tiny", data_dir, cache_bytes=cache, batch_size=4, seed=0)
        assert opened.crops_per_pair == crops and opened.cache.budget == cache
    assert open_stream("tiny", data_dir, crops_per_pair=9, batch_size=4, seed=0).crops_per_pair == 9


def test_reads_back_what_was_prepared_in_both_formats(data_dir):
    for name in ("tiny", "tiny_tfrecord"):
        source = PairSource(name, "train", data_dir)
        assert len(source) == 10
        np.testing.assert_array_equal(source[7], pair(7))
        assert source.name(7) == f"{name}/train/train7"
        assert source.sizes().tolist() == [[24, 32]] * 10
        assert len(source.sizes(most=3)) == 3
    assert len(PairSource("grouped/heavy", "validation", data_dir)) == 3


def test_missing_sets_say_what_to_do(data_dir):
    with pytest.raises(UsageError, match="run mspfn prepare rain999"):
        PairSource("rain999", "train", data_dir)
    with pytest.raises(UsageError, match="only: train, validation"):
        PairSource("tiny", "test", data_dir)
    with pytest.raises(UsageError, match="choose from grouped/heavy"):
        PairSource("grouped", "train", data_dir)


def test_array_record_needs_no_tensorflow(data_dir):
    code = (
        "from without_tensorflow import hide_tensorflow; hide_tensorflow()\n"
        "from mspfn_tf.training.patch_stream import open_stream\n"
        f"sets, folder = {{'tiny': 2, 'grouped/heavy': 1}}, {str(data_dir)!r}\n"
        "stream = open_stream(sets, folder, batch_size=2, seed=0)\n"
        "assert stream.batch(3, 16)[0].shape == (2, 16, 16, 3)\n"
    )
    tests = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": f"{tests.parent}{os.pathsep}{tests}"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_batches_follow_from_seed_and_step_alone():
    first = stream()
    expected = [first.batch(step, 16) for step in range(6)]
    again = stream(cache_bytes=0)
    for step in (4, 1, 5):
        np.testing.assert_array_equal(again.batch(step, 16), expected[step])
    assert not np.array_equal(stream(seed=2).batch(1, 16), expected[1])
    parts = [again.batch(2, 16, slice(first, first + 2)) for first in (0, 2)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), expected[2])


def test_pairs_stay_aligned_and_in_range():
    rainy, clean = stream().batch(0, 16)
    assert rainy.dtype == clean.dtype == np.float32
    assert rainy.min() >= 0 and rainy.max() <= 1
    np.testing.assert_allclose(rainy + clean, 1, atol=1e-6)  # each is the other's negative


def test_every_pair_once_per_epoch_in_new_orders():
    rows = [row.pair for step in range(5) for row in stream().rows(step)]
    epochs = [rows[start : start + 5] for start in range(0, 20, 5)]
    assert all(sorted(epoch) == [0, 1, 2, 3, 4] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_several_crops_save_decoding():
    pairs = Pairs(150, height=16, width=16)
    tight = PatchStream([pairs], [1.0], 5, 0, cache_bytes=64 * pairs[0][0].nbytes * 2)
    tight.crops_per_pair = 4
    pairs.decoded = 0
    visits = collections.Counter()
    for step in range(120):  # one epoch: 150 pairs, 4 crops each
        visits.update(row.pair for row in tight.rows(step))
        tight.batch(step, 8)
    assert set(visits.values()) == {4} and len(visits) == 150
    assert pairs.decoded == 150


def test_a_set_of_which_nothing_would_be_taken_is_refused(data_dir):
    arguments = {"batch_size": 2, "seed": 0}
    few = open_stream({"tiny": 1, "grouped/heavy": 1023}, data_dir, **arguments)
    assert few.counts.tolist() == [1, 1023]
    with pytest.raises(UsageError, match="dataset 'tiny': its share is 0.00033, too small"):
        open_stream({"tiny": 1, "grouped/heavy": 3000}, data_dir, **arguments)


def test_mixtures_keep_their_shares():
    mixture = PatchStream([Pairs(3), Pairs(7), Pairs(2)], [0.5, 0.3, 0.2], 16, 0)
    rows = [row for step in range(128) for row in mixture.rows(step)]
    for start in (0, 1024):
        counts = collections.Counter(row.source for row in rows[start : start + 1024])
        assert counts == {0: 512, 1: 307, 2: 205}
    assert len({row.source for row in rows[:16]}) > 1  # mixed within a batch
    of_second = [row.pair for row in rows if row.source == 1]
    assert sorted(of_second[:7]) == list(range(7))


def test_crops_reach_every_place_and_transform():
    rows = [row for step in range(64) for row in stream(batch_size=16).rows(step)]
    assert {row.transform for row in rows} == set(range(8))
    assert {int(row.top * 9) for row in rows} == set(range(9))
    assert all(0 <= row.left < 1 for row in rows)


def test_crops_reach_every_corner():
    places = np.stack([*np.indices((20, 22)), np.zeros((20, 22))], -1).astype(np.uint8)
    source = PatchStream([[(places, places)]], [1.0], 16, 0)
    batches = (source.batch(step, 16)[0] for step in range(40))
    corners = np.rint(255 * np.concatenate([batch.min(axis=(1, 2)) for batch in batches]))
    assert {(y, x) for y, x, _ in corners} == {(y, x) for y in range(5) for x in range(7)}


def test_dihedral_transforms():
    image = np.arange(27).reshape(3, 3, 3)
    images = [turned(image, transform) for transform in range(8)]
    np.testing.assert_array_equal(images[0], image)
    np.testing.assert_array_equal(images[4], image[:, ::-1])
    assert len({each.tobytes() for each in images}) == 8
    assert all(sorted(each.ravel()) == list(range(27)) for each in images)


def test_a_pair_smaller_than_the_patch_is_reflected():
    source = stream(count=1)
    rainy, clean = source.batch(0, 48)
    assert rainy.shape == clean.shape == (4, 48, 48, 3)
    for image, patches in zip(source.sources[0][0], (rainy, clean), strict=True):
        whole = np.pad(image, [(0, 24), (0, 16), (0, 0)], mode="reflect") / np.float32(255)
        for row, patch in zip(source.rows(0), patches, strict=True):
            np.testing.assert_allclose(patch, turned(whole, row.transform), atol=1e-7)


def test_names():
    assert stream(count=1).names(3) == ["pairs/0"] * 4


def test_cache_keeps_to_its_budget():
    pairs = Pairs(6)
    size = 2 * pairs[0][0].nbytes
    cache = DecodedCache(3 * size)
    for index in (0, 1, 2, 0, 3):  # 1 is now the one unused for longest
        cache.get(pairs, index)
    assert cache.used == 3 * size
    before = pairs.decoded
    cache.get(pairs, 0)
    assert pairs.decoded == before
    cache.get(pairs, 1)
    assert pairs.decoded == before + 1
    empty = DecodedCache(0)
    assert empty.get(pairs, 0)[0].shape == (24, 32, 3) and empty.used == 0


def test_read_ahead_keeps_order_and_passes_errors_on(monkeypatch):
    source = stream()
    batches = list(read_ahead(source, 2, 9, 16, rows=slice(1, 3), threads=3))
    assert len(batches) == 7
    for step, batch in zip(range(2, 9), batches, strict=True):
        np.testing.assert_array_equal(batch, source.batch(step, 16, slice(1, 3)))

    load = source.batch

    def fail(step, *arguments):
        if step == 3:
            raise UsageError("three")
        return load(step, *arguments)

    monkeypatch.setattr(source, "batch", fail)
    batches = read_ahead(source, 0, 9, 16)
    for _ in range(3):
        next(batches)
    with pytest.raises(UsageError, match="three"):
        next(batches)


def test_read_ahead_names_grain_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "grain", None)
    with pytest.raises(UsageError, match="pip install grain"):
        read_ahead(stream(), 0, 1, 16)


def test_grain_is_imported_without_a_word_where_jax_is_missing():
    code = "import sys; sys.modules['jax'] = None; from mspfn_tf.training.patch_stream import "
    code += "read_ahead; read_ahead(None, 0, 0, 16); assert 'grain' in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_tf_dataset_gives_the_same_batches(data_dir):
    source = open_stream("tiny", data_dir, batch_size=4, seed=5)
    batches = list(tf_dataset(source, 2, 5, 16))
    assert batches[0][0].shape == (4, 16, 16, 3)
    for step, batch in zip(range(2, 5), batches, strict=True):
        np.testing.assert_array_equal(batch, source.batch(step, 16))
    # Two pipelines of two replicas each: one row per element.
    parts = [
        list(tf_dataset(source, 3, 4, 16, pipeline=p, pipelines=2, replicas=2)) for p in (0, 1)
    ]
    rainy = np.concatenate([part[0] for pipeline in parts for part in pipeline])
    np.testing.assert_array_equal(rainy, source.batch(3, 16)[0])
