"""gt_rain."""

from mspfn_tf.datasets.facts import NO_SIZE, Facts
from mspfn_tf.datasets.layouts import Folders
from mspfn_tf.datasets.pair_set import PairSet, Split
from mspfn_tf.datasets.pairs_builder import PairsBuilder


def _split(folder, count):
    # One clean frame serves a whole scene. In one scene every rainy frame has its own.
    frames = f"GT-RAIN_{folder}/{{scene}}/{{camera}}-"
    layout = Folders(
        frames + "R-{n:d}", frames + "C-{n:d}", scene=("scene",), shared=frames + "C-000"
    )
    return Split(count, (layout,))


class Builder(PairsBuilder):
    """GT-RAIN (Ba et al.): real rain, the truth taken when it stopped."""

    HOMEPAGE = "https://github.com/UCLA-VMG/GT-RAIN"
    FACTS = Facts(
        rain="real, truth from minutes later",
        page="GT-RAIN",
        licence="research only (the authors' page)",
        size=NO_SIZE,
        verified="the authors' own training and test code (names), their paper (counts)",
    )
    SETS = PairSet(
        {
            "train": _split("train", 26124),
            "validation": _split("val", 3300),
            "test": _split("test", 2100),
        }
    )
