"""The rain of one pair, laid over the clean half of another."""

import numpy as np

from mspfn_tf.training.rain_mix import warped


def move_rain(
    rainy: np.ndarray, clean: np.ndarray, scene: np.ndarray, rng: np.random.Generator
) -> np.ndarray | None:
    """Another scene in the rain of a pair whose rain was added: rainy = min(255, clean + streaks).

    So were Rain100L and Rain100H made, with gray streaks. Few pairs then show their rain over all
    the scenes of a mixture. The streaks are the largest difference among the channels, because
    bright ones were cut off at 255; half of the layers are warped as in RainMix.

    Args:
        rainy, clean: the pair, `uint8 [H, W, 3]` each.
        scene: the clean picture that is to be rained on, `uint8 [H, W, 3]`.
        rng: source of all randomness; it is advanced.

    Returns:
        `uint8 [H, W, 3]`, nowhere darker than `scene`. None where the clean half is so bright over
        a tenth of its area that the rain in front of it does not show.
    """
    if np.mean(np.min(clean, axis=-1) > 200) > 0.1:
        return None
    streaks = np.max(np.maximum(rainy, clean) - clean, axis=-1)
    if rng.random() < 0.5:
        streaks = np.rint(warped(streaks.astype(np.float32), rng)).astype(np.uint8)
    return scene + np.minimum(255 - scene, streaks[..., None])
