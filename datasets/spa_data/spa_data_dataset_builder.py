"""spa_data."""

from mspfn_tf.datasets.facts import BY_PUBLIC_CODE, NO_LICENCE, Facts
from mspfn_tf.datasets.layouts import Folders, SameNames
from mspfn_tf.datasets.pair_set import PairSet, Split
from mspfn_tf.datasets.pairs_builder import PairsBuilder


class Builder(PairsBuilder):
    """SPA-Data (Wang et al., SPANet): real rain, the truth found from videos."""

    HOMEPAGE = "https://stevewongv.github.io/derain-project.html"
    FACTS = Facts(
        rain="real, truth from videos of a still camera",
        page="SPANet",
        licence=NO_LICENCE,
        size="about 44 GB",
        verified=BY_PUBLIC_CODE,
    )
    SETS = PairSet(
        {
            "train": Split(
                638492,
                (
                    Folders(
                        "real_world/{video}/{folder}/{video}-{frame:d}_{x:d}_{y:d}",
                        "real_world_gt/{video}/{video}_{x:d}_{y:d}",
                        scene=("video",),
                    ),
                ),
            ),
            "test": Split(
                1000,
                (
                    Folders("real_test_1000/rain/{n:d}", "real_test_1000/gt/{n:d}gt"),
                    SameNames("real_test_1000/"),
                    SameNames("test/small/"),
                    SameNames("test/"),
                ),
            ),
        }
    )
