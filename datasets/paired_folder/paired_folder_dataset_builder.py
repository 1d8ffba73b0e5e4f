"""paired_folder."""

from mspfn_tf.datasets.layouts import SameNames
from mspfn_tf.datasets.pairs_builder import PairsBuilder, PairSet, Split


def _split(*folders):
    layouts = tuple(SameNames(folder, nested=True) for folder in folders)
    return Split(None, layouts, optional=True)


class Builder(PairsBuilder):
    """Anyone's own pairs."""

    SETS = PairSet(
        {
            "train": _split("/train/", "/"),
            "validation": _split("/validation/", "/val/"),
            "test": _split("/test/"),
        }
    )
