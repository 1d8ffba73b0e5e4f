"""A part of a set in which every scene counts alike."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from itertools import zip_longest

from mspfn_tf.datasets.layouts import Pair


def scene_balanced(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """Chooses `count` pairs, from every scene as many (or one less), as far as they last.

    Which ones is decided by hash of the scenes and names, so that it depends on nothing else, and a
    larger part holds the smaller ones.

    Args:
        pairs: the pairs of a split.
        count: how many to choose, at least 1; with as many as there are or more, all are chosen.

    Returns:
        The chosen pairs in the order of `pairs`.
    """
    scenes = defaultdict(list)
    for pair in sorted(pairs, key=lambda pair: _digest(pair.name)):
        scenes[pair.scene].append(pair)
    rounds = zip_longest(*(scenes[scene] for scene in sorted(scenes, key=_digest)))
    in_turn = [pair for taken in rounds for pair in taken if pair is not None]
    chosen = {pair.name for pair in in_turn[:count]}
    return [pair for pair in pairs if pair.name in chosen]


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8).digest()
