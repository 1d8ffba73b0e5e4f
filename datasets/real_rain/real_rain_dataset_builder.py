"""real_rain."""

from mspfn_tf.datasets.layouts import Photographs
from mspfn_tf.datasets.pairs_builder import PairsBuilder, PairSet, Split


class Builder(PairsBuilder):
    """Photographs of rain, of which nobody knows the truth."""

    PAIRED = False
    SETS = PairSet({"test": Split(None, (Photographs("/{name:path}"),))})
