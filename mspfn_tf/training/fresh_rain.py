"""Synthetic rain that is drawn inside the input pipeline, anew for every patch."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from mspfn_tf.datasets.synthetic_rain.parameters import PRESETS, Rain
from mspfn_tf.datasets.synthetic_rain.rain import rain
from mspfn_tf.errors import UsageError
from mspfn_tf.images import find_images, read_rgb

_KINDS = ("light", "mixed", "heavy")
_SHARES = (0.3, 0.45, 0.25)


@dataclasses.dataclass(frozen=True)
class FreshRain:
    """Rain for a share of the patches.

    Attributes:
        share: probability, 0..1, that a patch is rained on anew instead of keeping its rainy half.
        streaks: gray pictures `uint8 [h, w]` of bright streaks on black, among what is drawn.
    """

    share: float
    streaks: Sequence[np.ndarray] = ()

    def draw(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
        """The clean patch, `uint8 [S, S, 3]`, in rain; None where the pair's own is to stay."""
        if rng.random() >= self.share:
            return None
        parameters: Rain = PRESETS[_KINDS[rng.choice(len(_KINDS), p=_SHARES)]]
        return rain(np.ascontiguousarray(clean), rng, parameters, self.streaks)


def read_streaks(folder: str) -> list[np.ndarray]:
    """The streak pictures below a folder, in the order of their names; none for "".

    Raises:
        UsageError: no such folder, no picture in it, or one that cannot be read.
    """
    if not folder:
        return []
    if not Path(folder).is_dir():
        raise UsageError(f"--streaks {folder}: no such folder")
    pictures = [
        np.asarray(Image.fromarray(read_rgb(path)).convert("L"))
        for path in sorted(find_images(Path(folder)))
    ]
    if not pictures:
        raise UsageError(f"--streaks {folder}: no pictures")
    return pictures
