"""lhp_rain."""

from mspfn_tf.datasets.facts import NO_LICENCE, NO_SIZE, Facts
from mspfn_tf.datasets.layouts import SameNames
from mspfn_tf.datasets.pair_set import PairSet, Split
from mspfn_tf.datasets.pairs_builder import PairsBuilder


class Builder(PairsBuilder):
    """LHP-Rain (Guo et al.), its simple version: real rain, with what splashes from the ground."""

    HOMEPAGE = "https://yunguo224.github.io/LHP-Rain.github.io/"
    FACTS = Facts(
        rain="real, truth from videos of a still camera",
        page="LHP-Rain",
        licence=NO_LICENCE,
        size=NO_SIZE,
        verified="the authors' own code (`input/` and `gt/`) and public code (the splits)",
    )
    SETS = PairSet(
        {
            "train": Split(None, (SameNames("train/"),)),
            "validation": Split(None, (SameNames("val/"), SameNames("validation/")), optional=True),
            "test": Split(None, (SameNames("test/"),), optional=True),
        }
    )
