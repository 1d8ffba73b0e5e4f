"""rain_drop."""

from mspfn_tf.datasets.facts import NO_LICENCE, NO_SIZE, Facts
from mspfn_tf.datasets.layouts import Folders, repackaged
from mspfn_tf.datasets.pair_set import PairSet, Split
from mspfn_tf.datasets.pairs_builder import PairsBuilder


def _split(name, count, optional=False):
    layout = Folders(f"{name}/data/{{n:d}}_rain", f"{name}/gt/{{n:d}}_clean")
    return Split(count, (layout, *repackaged(f"{name}/")), optional)


class Builder(PairsBuilder):
    """Raindrop (Qian et al., DeRaindrop): photographs through wet and dry glass."""

    HOMEPAGE = "https://github.com/rui1996/DeRaindrop"
    FACTS = Facts(
        rain="real drops on glass, truth through dry glass",
        page="DeRaindrop",
        licence=NO_LICENCE,
        size=NO_SIZE,
        verified="public code that reads it (folders, names); counts of papers",
    )
    SETS = PairSet(
        {
            "train": _split("train", 861),
            "test_a": _split("test_a", 58),
            "test_b": _split("test_b", None, optional=True),
        }
    )
