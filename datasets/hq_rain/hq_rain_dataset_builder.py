"""hq_rain."""

from mspfn_tf.datasets.facts import NO_SIZE, Facts
from mspfn_tf.datasets.layouts import Folders, SameNames
from mspfn_tf.datasets.pair_set import PairSet, Split
from mspfn_tf.datasets.pairs_builder import PairsBuilder


def _split(name, count):
    archives = f"HQ-RAIN_{name}_input/**/{{name}}", f"HQ-RAIN_{name}_target/**/{{name}}"
    return Split(count, (SameNames(f"{name}/"), Folders(*archives)))


class Builder(PairsBuilder):
    """HQ-RAIN (Chen et al.): synthetic rain of high resolution."""

    HOMEPAGE = "https://github.com/cschenxiang/HQ-RAIN"
    FACTS = Facts(
        rain="synthetic",
        page="HQ-RAIN",
        licence="research only (the authors' page)",
        size=NO_SIZE,
        verified="the names of the authors' archives, a survey (counts); equal names are assumed",
    )
    SETS = PairSet({"train": _split("train", 4500), "test": _split("test", 500)})
