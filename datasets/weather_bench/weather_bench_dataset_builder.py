"""weather_bench."""

from mspfn_tf.datasets.facts import NO_LICENCE, NO_SIZE, Facts
from mspfn_tf.datasets.layouts import SameNames
from mspfn_tf.datasets.pair_set import PairSet, Split
from mspfn_tf.datasets.pairs_builder import PairsBuilder


class Builder(PairsBuilder):
    """WeatherBench (Guan et al.), its rain: real water from a machine over real scenes."""

    HOMEPAGE = "https://github.com/guanqiyuan/WeatherBench"
    FACTS = Facts(
        rain="real water from a rain machine",
        page="WeatherBench",
        licence=NO_LICENCE,
        size=NO_SIZE,
        verified="public code (`rain/test/input/`, `.jpg`) and the authors' scoring (equal names)",
    )
    SETS = PairSet(
        {
            "train": Split(None, (SameNames("rain/train/"),)),
            "test": Split(None, (SameNames("rain/test/"),), optional=True),
        }
    )
