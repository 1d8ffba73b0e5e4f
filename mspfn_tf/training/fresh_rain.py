"""Synthetic rain that is drawn inside the input pipeline, anew for every patch."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from mspfn_tf.datasets.synthetic_rain.parameters import PRESETS
from mspfn_tf.datasets.synthetic_rain.rain import rain, streak_layers
from mspfn_tf.errors import UsageError
from mspfn_tf.pictures import find_images, read_rgb
from mspfn_tf.training.rain_mix import rain_mix

_KINDS = ("light", "mixed", "heavy")
_SHARES = (0.3, 0.45, 0.25)


@dataclasses.dataclass(frozen=True)
class FreshRain:
    """Rain for a share of the patches.

    Attributes:
        share: probability, 0..1, that a patch is rained on anew instead of keeping its rainy half.
        streaks: gray pictures `uint8 [h, w]` of bright streaks on black, among what is drawn.
        mix: probability, 0..1, that the streaks of such a patch go through `rain_mix`.
    """

    share: float
    streaks: Sequence[np.ndarray] = ()
    mix: float = 0.0

    def draw(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
        """The clean patch, `uint8 [S, S, 3]`, in rain; None where the pair's own is to stay.

        The result depends on the arguments and the state of `rng` alone.
        """
        if rng.random() >= self.share:
            return None
        parameters = PRESETS[_KINDS[rng.choice(len(_KINDS), p=_SHARES)]]
        clean = np.ascontiguousarray(clean)
        # No number is drawn where nothing is mixed, so that other runs keep their rain.
        if not self.mix or rng.random() >= self.mix:
            return rain(clean, rng, parameters, self.streaks)
        if self.streaks:
            parameters = dataclasses.replace(parameters, kinds=(0.0, 0.0, 1.0))
        layer = streak_layers(clean.shape[:2], rng, parameters, self.streaks)
        mixed = rain_mix(layer, rng)[..., None]
        dry = clean / np.float32(255)
        screen = rng.random() < 0.5
        rainy = dry + mixed * (1 - dry) if screen else np.minimum(1, dry + mixed)
        return np.rint(rainy * np.float32(255)).astype(np.uint8)


def read_streaks(folder: str | os.PathLike) -> list[np.ndarray]:
    """The streak pictures below a folder, gray `uint8 [h, w]`, by name; none for "".

    Raises:
        UsageError: no such folder, no picture in it, or one that cannot be read.
    """
    if not folder:
        return []
    if not Path(folder).is_dir():
        raise UsageError(f"streaks {folder}: no such folder")
    pictures = [
        np.asarray(Image.fromarray(read_rgb(path)).convert("L"))
        for path in sorted(find_images(Path(folder)))
    ]
    if not pictures:
        raise UsageError(f"streaks {folder}: no pictures")
    return pictures
