"""rain800."""

from mspfn_tf.datasets.layouts import Folders, SideBySide
from mspfn_tf.datasets.pairs import PairsBuilder, Split


class Builder(PairsBuilder):
    """Rain800 (Zhang et al., ID-CGAN), of which the test split is the papers' Test100."""

    HOMEPAGE = "https://github.com/hezhangsprinter/ID-CGAN"
    SCENES_BY_CONTENT = True
    MAKE_VALIDATION = True
    SPLITS = {
        "train": Split(700, (SideBySide("training/{n:d}", clean="left"),)),
        "test": Split(
            100,
            (
                SideBySide("test_syn/{n:d}", clean="left"),
                SideBySide("test/{n:d}", clean="left"),
                Folders("Test100/input/{n:d}", "Test100/target/{n:d}"),
            ),
        ),
    }
