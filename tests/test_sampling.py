from collections import Counter

from mspfn_tf.datasets.layouts import Half, Pair
from mspfn_tf.datasets.sampling import scene_balanced


def _pairs(sizes):
    return [
        Pair(f"{scene}_{n}", scene, Half("r"), Half("c"))
        for scene, size in sizes.items()
        for n in range(size)
    ]


def test_every_scene_counts_alike():
    pairs = _pairs({"a": 100, "b": 3, "c": 50, "d": 50})
    chosen = scene_balanced(pairs, 23)
    assert len(chosen) == 23
    scenes = Counter(pair.scene for pair in chosen)
    assert scenes["b"] == 3
    assert sorted(scenes[scene] for scene in "acd") in ([6, 7, 7], [7, 7, 6], [6, 6, 8])
    assert max(scenes.values()) - min(scenes[s] for s in "acd") <= 1
    assert chosen == [pair for pair in pairs if pair in chosen]  # their order is kept


def test_larger_parts_hold_smaller_ones_and_order_does_not_matter():
    pairs = _pairs({str(scene): scene % 7 + 1 for scene in range(40)})
    smaller = {pair.name for pair in scene_balanced(pairs, 30)}
    assert smaller < {pair.name for pair in scene_balanced(pairs, 60)}
    assert smaller == {pair.name for pair in scene_balanced(pairs[::-1], 30)}
    assert len({pair.scene for pair in scene_balanced(pairs, 30)}) == 30


def test_more_than_there_are():
    pairs = _pairs({"a": 2, "b": 1})
    assert scene_balanced(pairs, 99) == pairs
