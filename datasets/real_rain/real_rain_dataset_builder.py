"""real_rain."""

from mspfn_tf.datasets.facts import Facts
from mspfn_tf.datasets.layouts import Photographs
from mspfn_tf.datasets.pair_set import PairSet, Split
from mspfn_tf.datasets.pairs_builder import PairsBuilder


class Builder(PairsBuilder):
    """Photographs of rain, of which nobody knows the truth."""

    PAIRED = False
    FACTS = Facts(
        rain="photographs, no truth",
        page="-",
        licence="that of the photographs",
        size="-",
        verified="pictures of its own",
    )
    SETS = PairSet({"test": Split(None, (Photographs("/{name:path}"),))})
