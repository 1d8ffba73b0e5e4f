"""rain12."""

from mspfn_tf.datasets.facts import BY_PUBLIC_CODE, NO_LICENCE, NO_SIZE, Facts
from mspfn_tf.datasets.layouts import Folders, SameNames
from mspfn_tf.datasets.pair_set import PairSet, Split
from mspfn_tf.datasets.pairs_builder import PairsBuilder


class Builder(PairsBuilder):
    """Rain12 (Li et al., layer priors): a test set."""

    HOMEPAGE = "https://yu-li.github.io/"
    FACTS = Facts(
        rain="synthetic",
        page="Yu Li",
        licence=NO_LICENCE,
        size=NO_SIZE,
        verified=BY_PUBLIC_CODE,
    )
    SETS = PairSet(
        {
            "test": Split(
                12,
                (
                    Folders("{n:d}_in", "{n:d}_GT"),
                    Folders("rainy/{n:d}", "groundtruth/{n:d}"),
                    SameNames("Rain12/"),
                    SameNames("/"),
                ),
            )
        }
    )
