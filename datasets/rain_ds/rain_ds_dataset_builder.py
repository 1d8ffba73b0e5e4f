"""rain_ds."""

from mspfn_tf.datasets.facts import BY_PUBLIC_CODE, NO_LICENCE, NO_SIZE, Facts
from mspfn_tf.datasets.layouts import Folders
from mspfn_tf.datasets.pair_set import PairSet, Split
from mspfn_tf.datasets.pairs_builder import PairsBuilder

# What is on the pictures -> (folder, prefix of the synthetic pictures' names)
_RAIN = {
    "streaks": ("rainstreak", "rain-"),
    "drops": ("raindrop", "rd-"),
    "both": ("rainstreak_raindrop", "rd-rain-"),
}


def _synthetic(rain):
    folder, prefix = _RAIN[rain]
    return PairSet(
        {
            split: Split(
                None,
                (
                    Folders(
                        f"RainDS_syn/{split}/{folder}/{{group:?}}{prefix}{{n:d}}",
                        f"RainDS_syn/{split}/gt/{{group:?}}norain-{{n:d}}",
                    ),
                ),
            )
            for split in ("train", "test")
        },
        f"Synthetic pictures, {rain}.",
    )


def _real(rain):
    folder, _ = _RAIN[rain]
    return PairSet(
        {
            split: Split(
                count,
                (
                    Folders(
                        f"RainDS_real/{split}_set/{folder}/{{n:d}}",
                        f"RainDS_real/{split}_set/gt/{{n:d}}",
                    ),
                ),
            )
            for split, count in (("train", 150), ("test", 98))
        },
        f"Photographs, {rain}.",
    )


class Builder(PairsBuilder):
    """RainDS (Quan et al.): streaks, drops on the lens, and both."""

    HOMEPAGE = "https://github.com/Songforrr/RainDS_CCN"
    FACTS = Facts(
        rain="streaks, drops and both; synthetic and photographed",
        page="RainDS",
        licence=NO_LICENCE,
        size=NO_SIZE,
        verified=BY_PUBLIC_CODE,
    )
    SETS = {
        **{f"synthetic_{rain}": _synthetic(rain) for rain in _RAIN},
        **{f"real_{rain}": _real(rain) for rain in _RAIN},
    }
