"""paired_folder."""

from mspfn_tf.datasets.facts import Facts
from mspfn_tf.datasets.layouts import SameNames
from mspfn_tf.datasets.pair_set import PairSet, Split
from mspfn_tf.datasets.pairs_builder import PairsBuilder


def _split(*folders):
    layouts = tuple(SameNames(folder, nested=True) for folder in folders)
    return Split(None, layouts, optional=True)


class Builder(PairsBuilder):
    """Anyone's own pairs."""

    FACTS = Facts(
        rain="anything",
        page="-",
        licence="yours",
        size="-",
        verified="pictures of its own",
    )
    SETS = PairSet(
        {
            "train": _split("/train/", "/"),
            "validation": _split("/validation/", "/val/"),
            "test": _split("/test/"),
        }
    )
