"""RainMix: layers of streaks warped and mixed, so that rain falls as it may fall elsewhere."""

import math

import numpy as np
from PIL import Image

# How far one operation goes at most.
_TURN = math.radians(30)
_SHEAR = 0.3
_SHIFT = 0.33
_SCALE = 1.5


def rain_mix(layer: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """RainMix (Guo et al., EfficientDeRain, AAAI 2021): rain as it may fall elsewhere.

    The layer goes through two or three chains of one to three operations each (`warped`). The
    chains are averaged with weights from a Dirichlet distribution, and the average with the layer
    itself with a weight from a Beta distribution. Unlike in the paper the result is brought to the
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
    mixed = np.float32(1 - share) * layer
    for weight in weights:
        mixed += np.float32(share * weight) * warped(layer, rng)
    energy = float(np.mean(np.square(mixed)))
    gain = math.sqrt(float(np.mean(np.square(layer))) / energy) if energy > 0 else 0.0
    return np.minimum(1, np.float32(gain) * mixed)


def warped(layer: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A layer of streaks after one to three operations: turn, shear, scale, shift, on either axis.

    They make one affine warp with bilinear interpolation; the layer is continued periodically.

    Args:
        layer: streaks, `float32 [H, W]`.
        rng: source of all randomness; it is advanced.

    Returns:
        `float32 [H, W]`.
    """
    height, width = layer.shape
    margin = ((height + 1) // 2, (width + 1) // 2)
    field = Image.fromarray(np.pad(layer, [(side, side) for side in margin], mode="wrap"))
    matrix = np.eye(2)
    shift = np.zeros(2)
    for _ in range(rng.integers(1, 4)):
        operation, moved = _operation(rng)
        matrix, shift = matrix @ operation, shift + moved * (width, height)
    # Pixels of the result -> pixels of the field; centres stay together but for the shift.
    centre = np.array([width, height]) / 2
    offset = centre + margin[::-1] + shift - matrix @ centre
    affine = (*matrix[0], offset[0], *matrix[1], offset[1])
    size, bilinear = (width, height), Image.Resampling.BILINEAR
    return np.asarray(field.transform(size, Image.Transform.AFFINE, affine, bilinear))


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
