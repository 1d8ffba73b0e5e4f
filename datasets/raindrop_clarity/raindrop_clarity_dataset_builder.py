"""raindrop_clarity."""

from mspfn_tf.datasets.facts import NO_LICENCE, NO_SIZE, Facts
from mspfn_tf.datasets.layouts import Folders
from mspfn_tf.datasets.pair_set import PairSet, Split
from mspfn_tf.datasets.pairs_builder import PairsBuilder


def _split(folder, count, optional=False):
    layout = Folders(
        f"{folder}/Drop/{{scene}}/{{frame}}", f"{folder}/Clear/{{scene}}/{{frame}}", ("scene",)
    )
    return Split(count, (layout,), optional)


def _pair_set(time, tests, description):
    splits = {
        "train": _split(f"{time}RainDrop_Train", None),
        "test": _split(f"{time}RainDrop_Test", tests, optional=True),
    }
    return PairSet(splits, description)


class Builder(PairsBuilder):
    """Raindrop Clarity (Jin et al.): drops on glass, in focus and out of it."""

    HOMEPAGE = "https://github.com/jinyeying/RaindropClarity"
    FACTS = Facts(
        rain="real drops on glass, in focus or out of it",
        page="RaindropClarity",
        licence=NO_LICENCE,
        size=NO_SIZE,
        verified="the authors' own code (folders, names; counts of the tests)",
    )
    SETS = {
        "day": _pair_set("Day", 729, "By day."),
        "night": _pair_set("Night", 1089, "By night."),
    }
