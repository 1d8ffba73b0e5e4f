"""rain200h."""

from mspfn_tf.datasets.facts import BY_PUBLIC_CODE, NO_LICENCE, NO_SIZE, Facts
from mspfn_tf.datasets.pair_set import PairSet
from mspfn_tf.datasets.pairs_builder import PairsBuilder
from mspfn_tf.datasets.rain100_layouts import second_generation


class Builder(PairsBuilder):
    """Rain200H (Yang et al., JORDER): the later version of Rain100H."""

    HOMEPAGE = "https://www.icst.pku.edu.cn/struct/Projects/joint_rain_removal.html"
    FACTS = Facts(
        rain="synthetic, heavy",
        page="JORDER",
        licence=NO_LICENCE,
        size=NO_SIZE,
        verified=BY_PUBLIC_CODE,
    )
    SETS = PairSet(second_generation("H"), scenes_by_content=True)
