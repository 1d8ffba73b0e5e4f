"""uav_rain1k."""

from mspfn_tf.datasets.facts import NO_SIZE, Facts
from mspfn_tf.datasets.layouts import SameNames
from mspfn_tf.datasets.pair_set import PairSet, Split
from mspfn_tf.datasets.pairs_builder import PairsBuilder


class Builder(PairsBuilder):
    """UAV-Rain1k (Chang et al.): drops on the lens of a drone."""

    HOMEPAGE = "https://github.com/cschenxiang/UAV-Rain1k"
    FACTS = Facts(
        rain="synthetic drops on photographs from drones",
        page="UAV-Rain1k",
        licence="research only (the authors' page)",
        size=NO_SIZE,
        verified="public code (`train/input/`), the authors' scoring (names), papers (counts)",
    )
    SETS = PairSet(
        {
            "train": Split(800, (SameNames("train/"),)),
            "test": Split(220, (SameNames("test/"),)),
        }
    )
