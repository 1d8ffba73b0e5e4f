"""rain800."""

from mspfn_tf.datasets.facts import NO_LICENCE, Facts
from mspfn_tf.datasets.layouts import SideBySide, repackaged
from mspfn_tf.datasets.pair_set import PairSet, Split
from mspfn_tf.datasets.pairs_builder import PairsBuilder


class Builder(PairsBuilder):
    """Rain800 (Zhang et al., ID-CGAN), of which the test split is the papers' Test100."""

    HOMEPAGE = "https://github.com/hezhangsprinter/ID-CGAN"
    FACTS = Facts(
        rain="synthetic",
        page="ID-CGAN",
        licence=NO_LICENCE,
        size="about 60 MB (610 of the 700 training pairs have 49 MB)",
        verified="`training/` on the pictures; `test_syn/` on public code",
    )
    SETS = PairSet(
        {
            "train": Split(
                700, (SideBySide("training/{n:d}", clean="left"), *repackaged("train/"))
            ),
            "test": Split(
                100,
                (
                    SideBySide("test_syn/{n:d}", clean="left"),
                    SideBySide("test/{n:d}", clean="left"),
                    *repackaged("test/"),
                    *repackaged("Test100/"),
                ),
            ),
        },
        scenes_by_content=True,
        validation=True,
    )
