"""Mixtures of sets that published work trained on, by name.

The weights are numbers of pairs: a set is drawn from in proportion. They go to `mspfn train` as
`--dataset NAME:WEIGHT,NAME:WEIGHT`.
"""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Blend:
    """A mixture of sets.

    Attributes:
        sets: name of a set, with its configuration -> weight.
        about: where it comes from.
    """

    sets: Mapping[str, float]
    about: str


BLENDS = {
    "mspfn": Blend(
        {"rain1400/test2800": 11_200, "rain800": 700, "rain100h/old": 1_800},
        "the 13,700 pairs of MSPFN, from the original sets; 546 of those of Rain100H show scenes "
        "of its test",
    ),
    "mspfn_disjoint": Blend(
        {"rain1400/test2800": 11_200, "rain800": 700, "rain100h/old_disjoint": 1_254},
        "the same without the scenes of Rain100H's test",
    ),
    "rain13k": Blend({"rain13k/full": 13_711}, "the same, as MPRNet and Restormer have it"),
    "synthetic_and_real": Blend(
        {
            "rain13k/disjoint": 13_711,
            "rain1400/published": 12_600,
            "spa_data": 12_770,
            "realrain_1k/heavy": 1_568,
            "realrain_1k/light": 1_568,
        },
        "62 % synthetic, 38 % real: the weights of github.com/dronefreak/clearview, which draws "
        "real pairs twice as often and has 6,385 pairs of SPA-Data",
    ),
}
