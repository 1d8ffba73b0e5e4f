"""rain_cityscapes."""

from mspfn_tf.datasets.facts import NO_SIZE, Facts
from mspfn_tf.datasets.layouts import Folders
from mspfn_tf.datasets.pair_set import PairSet, Split
from mspfn_tf.datasets.pairs_builder import PairsBuilder

_RAIN = "_rain_alpha_{alpha}_beta_{beta}_dropsize_{dropsize}_pattern_{pattern:d}"
# As two folders, or as the two archives of the Cityscapes page.
_PLACES = (
    ("leftImg8bit_rain/", "leftImg8bit/"),
    ("leftImg8bit_trainval_rain/leftImg8bit_rain/", "leftImg8bit_trainvaltest/leftImg8bit/"),
)


def _split(folder, count):
    picture = f"{folder}/{{city}}/{{city}}_{{frame}}"
    return Split(
        count,
        tuple(
            Folders(
                f"{rainy}{picture}{suffix}{_RAIN}",
                f"{clean}{picture}_leftImg8bit",
                # Cityscapes has far more pictures than have been rained on.
                more_clean=True,
            )
            for rainy, clean in _PLACES
            for suffix in ("_leftImg8bit", "")
        ),
    )


class Builder(PairsBuilder):
    """RainCityscapes (Hu et al., DAF-Net): streaks and fog by depth over Cityscapes."""

    HOMEPAGE = "https://www.cityscapes-dataset.com/downloads/"
    FACTS = Facts(
        rain="synthetic streaks and fog by depth, 36 rains on every scene",
        page="Cityscapes",
        licence="that of Cityscapes: after registration, not for commercial use",
        size=NO_SIZE,
        verified="the authors' own lists (names, counts) and public code (folders)",
    )
    SETS = PairSet({"train": _split("train", 9432), "test": _split("val", 1188)})
