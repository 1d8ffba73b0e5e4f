"""rain1200."""

from mspfn_tf.datasets.facts import BY_PUBLIC_CODE, NO_LICENCE, NO_SIZE, Facts
from mspfn_tf.datasets.layouts import SameNames, SideBySide
from mspfn_tf.datasets.pair_set import PairSet, Split
from mspfn_tf.datasets.pairs_builder import PairsBuilder


def _pair_set(density, count, description):
    picture = f"Rain_{density}/train2018new/{{n:d}}"
    return PairSet(
        {
            "train": Split(count, (SideBySide(picture, clean="right", scene=("n",)),)),
            "test": Split(
                1200,
                (
                    SideBySide("DID-MDN-test/{n:d}", clean="right"),
                    SameNames("Test1200/"),
                    SameNames("test/"),
                ),
            ),
        },
        description,
    )


class Builder(PairsBuilder):
    """Rain1200 (Zhang and Patel, DID-MDN), of which the test split is the papers' Test1200."""

    HOMEPAGE = "https://github.com/hezhangsprinter/DID-MDN"
    FACTS = Facts(
        rain="synthetic, three densities",
        page="DID-MDN",
        licence=NO_LICENCE,
        size=NO_SIZE,
        verified=BY_PUBLIC_CODE,
    )
    SETS = {
        "all": _pair_set("{density}", 12000, "Light, medium and heavy rain on 4,000 scenes."),
        "light": _pair_set("Light", 4000, "Light rain."),
        "medium": _pair_set("Medium", 4000, "Medium rain."),
        "heavy": _pair_set("Heavy", 4000, "Heavy rain."),
    }
