"""Other exposures of the same patch: darker, paler, or under light of another colour."""

import math

import numpy as np


def draw_tone_curves(rng: np.random.Generator, haze: bool = True) -> np.ndarray:
    """One tone curve for each channel, for both halves of a pair.

    Sets of pairs hold well exposed photographs; people also have dim and hazy ones. A curve is
    ``black + (white - black) * x ** gamma``: white between 0.25 and 1, and up to a tenth lower in
    some channels than in others; black up to 0.6 of it in half of the curves, else 0.

    Args:
        rng: source of all randomness; it is advanced.
        haze: whether black may be above 0. Where the rain itself has made a picture paler, haze
            that is to stay would teach the network to leave that as well.

    Returns:
        `uint8 [256, 3]`: the new level of each level and channel.
    """
    gamma = math.exp(rng.uniform(-0.6, 0.6))
    white = rng.uniform(0.25, 1.0) * rng.uniform(0.9, 1.0, 3)
    black = white * rng.uniform(0, 0.6) * (rng.random() < 0.5) * haze
    levels = np.linspace(0, 1, 256)[:, None] ** gamma
    return np.rint(255 * (black + (white - black) * levels)).astype(np.uint8)


def toned(image: np.ndarray, curves: np.ndarray) -> np.ndarray:
    """`uint8 [H, W, 3]` after the curves of `draw_tone_curves`."""
    return curves[image, np.arange(3)]
