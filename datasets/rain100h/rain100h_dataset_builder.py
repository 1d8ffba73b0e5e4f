"""rain100h."""

from mspfn_tf.datasets.facts import NO_LICENCE, NO_SIZE, Facts
from mspfn_tf.datasets.pair_set import PairSet
from mspfn_tf.datasets.pairs_builder import PairsBuilder
from mspfn_tf.datasets.rain100_layouts import first_generation, second_generation


class Builder(PairsBuilder):
    """Rain100H with RainTrainH (Yang et al., JORDER)."""

    HOMEPAGE = "https://www.icst.pku.edu.cn/struct/Projects/joint_rain_removal.html"
    FACTS = Facts(
        rain="synthetic, heavy",
        page="JORDER",
        licence=NO_LICENCE,
        size=NO_SIZE,
        verified="the `input/` and `target/` test folder on the pictures; the rest on public code",
    )
    SETS = {
        "old": PairSet(
            first_generation("H", 1800),
            "The version of the papers: 1,800 training pairs, 100 test pairs.",
            scenes_by_content=True,
        ),
        "old_disjoint": PairSet(
            first_generation("H", 1800),
            "The version of the papers without the training pairs whose scene is in the test.",
            scenes_by_content=True,
            disjoint=True,
        ),
        "old_validated": PairSet(
            first_generation("H", 1800),
            "As old_disjoint, but one training scene in eleven makes a validation split.",
            scenes_by_content=True,
            disjoint=True,
            validation=True,
        ),
        "new": PairSet(
            second_generation("H"),
            "The later version, also known as Rain200H: 1,800 training pairs, 200 test pairs.",
            scenes_by_content=True,
        ),
    }
