"""Synthetic rain that is drawn inside the input pipeline, anew for every patch."""

import dataclasses
import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from mspfn_tf.datasets.synthetic_rain.parameters import PRESETS
from mspfn_tf.datasets.synthetic_rain.rain import rain, streak_layers
from mspfn_tf.errors import UsageError
from mspfn_tf.pictures import find_images, read_rgb

_KINDS = ("light", "mixed", "heavy")
_SHARES = (0.3, 0.45, 0.25)

# RainMix: how far one operation goes at most.
_TURN = math.radians(30)
_SHEAR = 0.3
_SHIFT = 0.33
_SCALE = 1.5


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


def rain_mix(layer: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """RainMix (Guo et al., EfficientDeRain, AAAI 2021): rain as it may fall elsewhere.

    The layer goes through two or three chains of one to three operations each (turn, shear, scale,
    shift, either axis). The chains are averaged with weights from a Dirichlet distribution, and the
    average with the layer itself with a weight from a Beta distribution. A chain is one affine
    warp; the layer is continued periodically. Unlike in the paper the result is brought to the
    energy (root mean square) of the layer, because averages of streaks are fainter than streaks.

    Args:
        layer: streaks, `float32 [H, W]` in [0, 1].
        rng: source of all randomness; it is advanced.

    Returns:
        `float32 [H, W]` in [0, 1].
    """
    chains = int(rng.integers(2, 4))
    weights = rng.dirichlet(np.ones(chains))
    share = rng.beta(1.0, 1.0)
    height, width = layer.shape
    margin = ((height + 1) // 2, (width + 1) // 2)
    field = Image.fromarray(np.pad(layer, [(side, side) for side in margin], mode="wrap"))
    mixed = np.float32(1 - share) * layer
    for weight in weights:
        matrix = np.eye(2)
        shift = np.zeros(2)
        for _ in range(rng.integers(1, 4)):
            operation, moved = _operation(rng)
            matrix, shift = matrix @ operation, shift + moved * (width, height)
        # Pixels of the result -> pixels of the field; centres stay together but for the shift.
        centre = np.array([width, height]) / 2
        offset = centre + margin[::-1] + shift - matrix @ centre
        warped = field.transform(
            (width, height),
            Image.Transform.AFFINE,
            (*matrix[0], offset[0], *matrix[1], offset[1]),
            Image.Resampling.BILINEAR,
        )
        mixed += np.float32(share * weight) * np.asarray(warped)
    energy = float(np.mean(np.square(mixed)))
    gain = math.sqrt(float(np.mean(np.square(layer))) / energy) if energy > 0 else 0.0
    return np.minimum(1, np.float32(gain) * mixed)


def _operation(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One operation of a chain: matrix [2, 2] of (x, y), and shift as a share of the sides."""
    kind, axis = rng.integers(4), int(rng.integers(2))
    much = rng.uniform(-1, 1)
    matrix, shift = np.eye(2), np.zeros(2)
    if kind == 0:
        cosine, sine = math.cos(_TURN * much), math.sin(_TURN * much)
        matrix = np.array([[cosine, -sine], [sine, cosine]])
    elif kind == 1:
        matrix[axis, 1 - axis] = _SHEAR * much
    elif kind == 2:
        matrix[axis, axis] = _SCALE**-much
    else:
        shift[axis] = _SHIFT * much
    return matrix, shift


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
