"""The rain of one pair, laid over the clean half of another."""

import numpy as np

from mspfn_tf.training.rain_mix import warped

# Squared levels, added to the variance of the clean half: where it shows one tone only, nothing is
# known of what the rain does to others, and the gain is held at 1.
_HELD = 15.0**2


def move_rain(
    rainy: np.ndarray, clean: np.ndarray, scene: np.ndarray, rng: np.random.Generator
) -> np.ndarray | None:
    """Another scene in the rain of a pair.

    Few pairs then show their rain over all the scenes of a mixture, and what a scene looks like
    does not tell what its rain has done to it. Two kinds of rain are told apart by `is_added`:

    - Added rain, rainy = min(255, clean + streaks), as in Rain100L and Rain100H, with gray streaks.
      They are the largest difference among the channels, because bright ones were cut off at 255.
    - Any other, as in Rain800, which may make the whole picture paler, darker or of more contrast:
      rainy = gain * clean + offset + streaks. Gain and offset, one of each for a channel, are those
      of least squares; the streaks, gray and of either sign, are what is left.

    Half of the layers are warped as in RainMix.

    Args:
        rainy, clean: the pair, `uint8 [H, W, 3]` each.
        scene: the clean picture that is to be rained on, `uint8 [H, W, 3]`.
        rng: source of all randomness; it is advanced.

    Returns:
        `uint8 [H, W, 3]`; with added rain nowhere darker than `scene`. None where the rain does not
        show: where more than a tenth of the clean half is very bright, or, with other rain, more
        than a sixth of the rainy one is cut off at 255.
    """
    if not is_added(rainy, clean):
        return _toned_too(rainy, clean, scene, rng)
    if np.mean(np.min(clean, axis=-1) > 200) > 0.1:
        return None
    streaks = np.max(np.maximum(rainy, clean) - clean, axis=-1)
    if rng.random() < 0.5:
        streaks = np.rint(warped(streaks.astype(np.float32), rng)).astype(np.uint8)
    return scene + np.minimum(255 - scene, streaks[..., None])


def is_added(rainy: np.ndarray, clean: np.ndarray) -> bool:
    """Whether the rain of a pair, `uint8 [H, W, 3]` each, has made no more than one value in a
    thousand darker."""
    return bool(np.mean(rainy < clean) < 1e-3)


def _toned_too(rainy, clean, scene, rng):
    if np.mean(np.max(rainy, axis=-1) == 255) > 1 / 6:
        return None
    rainy, clean = rainy.astype(np.float32), clean.astype(np.float32)
    means = rainy.mean((0, 1)), clean.mean((0, 1))
    ours, theirs = rainy - means[0], clean - means[1]
    gain = (np.mean(ours * theirs, (0, 1)) + _HELD) / (np.mean(theirs**2, (0, 1)) + _HELD)
    streaks = np.mean(ours - gain * theirs, axis=-1)
    if rng.random() < 0.5:
        streaks = warped(streaks, rng)
    wet = gain * (scene - means[1]) + means[0] + streaks[..., None]
    return np.clip(np.rint(wet), 0, 255).astype(np.uint8)
