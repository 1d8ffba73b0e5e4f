"""rain13k."""

from mspfn_tf.datasets.facts import BY_PUBLIC_CODE, NO_LICENCE, NO_SIZE, Facts
from mspfn_tf.datasets.layouts import SameNames
from mspfn_tf.datasets.pair_set import PairSet, Split
from mspfn_tf.datasets.pairs_builder import PairsBuilder

_TESTS = {"Test100": 98, "Rain100H": 100, "Rain100L": 100, "Test2800": 2800, "Test1200": 1200}


def _pair_set(description, disjoint):
    train = (SameNames("train/Rain13K/"), SameNames("train/"), SameNames("Rain13K/"))
    tests = {name.lower(): Split(count, (SameNames(f"{name}/"),)) for name, count in _TESTS.items()}
    return PairSet(
        {"train": Split(13711, train), **tests},
        description,
        scenes_by_content=True,
        disjoint=disjoint,
    )


class Builder(PairsBuilder):
    """Rain13K: MSPFN's training mix and the five test sets, as MPRNet re-packaged them."""

    HOMEPAGE = "https://github.com/swz30/MPRNet"
    FACTS = Facts(
        rain="synthetic, five sources",
        page="MPRNet",
        licence=NO_LICENCE,
        size=NO_SIZE,
        verified=BY_PUBLIC_CODE,
    )
    SETS = {
        "full": _pair_set("Everything.", disjoint=False),
        "disjoint": _pair_set(
            "Without the training pairs whose scene is in one of the test sets.", disjoint=True
        ),
    }
