"""realrain_1k."""

from mspfn_tf.datasets.facts import NO_LICENCE, NO_SIZE, Facts
from mspfn_tf.datasets.layouts import SameNames
from mspfn_tf.datasets.pair_set import PairSet, Split
from mspfn_tf.datasets.pairs_builder import PairsBuilder


def _pair_set(letter, description):
    folder = f"RealRain-1k-{letter}/"
    return PairSet(
        {
            "train": Split(784, (SameNames(folder + "train/"),)),
            "validation": Split(
                112, (SameNames(folder + "validation/"), SameNames(folder + "val/")), optional=True
            ),
            "test": Split(224, (SameNames(folder + "test/"),)),
        },
        description,
    )


class Builder(PairsBuilder):
    """RealRain-1k (Li et al.): real rain, the truth found from videos."""

    HOMEPAGE = "https://github.com/hiker-lw/RealRain-1k"
    FACTS = Facts(
        rain="real, truth from videos of a still camera",
        page="RealRain-1k",
        licence=NO_LICENCE,
        size=NO_SIZE,
        verified="three public projects that read it (folders, equal names, counts)",
    )
    SETS = {
        "light": _pair_set("L", "RealRain-1k-L: sparse rain."),
        "heavy": _pair_set("H", "RealRain-1k-H: dense rain."),
    }
