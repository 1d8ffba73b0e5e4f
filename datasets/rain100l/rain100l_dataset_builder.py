"""rain100l."""

from mspfn_tf.datasets.facts import NO_LICENCE, NO_SIZE, Facts
from mspfn_tf.datasets.pair_set import PairSet
from mspfn_tf.datasets.pairs_builder import PairsBuilder
from mspfn_tf.datasets.rain100_layouts import first_generation, second_generation


class Builder(PairsBuilder):
    """Rain100L with RainTrainL (Yang et al., JORDER)."""

    HOMEPAGE = "https://www.icst.pku.edu.cn/struct/Projects/joint_rain_removal.html"
    FACTS = Facts(
        rain="synthetic, light",
        page="JORDER",
        licence=NO_LICENCE,
        size=NO_SIZE,
        verified="the `input/` and `target/` test folder on the pictures; the rest on public code",
    )
    SETS = {
        "old": PairSet(
            first_generation("L", 200),
            "The version of the papers: 200 training pairs, 100 test pairs.",
            scenes_by_content=True,
        ),
        "old_validated": PairSet(
            first_generation("L", 200),
            "As old, but one training scene in eleven makes a validation split.",
            scenes_by_content=True,
            validation=True,
        ),
        "new": PairSet(
            second_generation("L"),
            "The later version, also known as Rain200L: 1,800 training pairs, 200 test pairs.",
            scenes_by_content=True,
        ),
    }
