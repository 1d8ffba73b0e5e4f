"""A trained network whose output another one learns, too."""

import keras
import numpy as np

from mspfn_tf.errors import UsageError

_WORST = 10.0  # dB against the clean patches; a teacher in another range is far below


def check_teacher(teacher: keras.Model, source: str, rainy: np.ndarray, clean: np.ndarray) -> None:
    """Tries a teacher on a patch.

    Args:
        teacher: the network.
        source: where it came from, for the message.
        rainy, clean: float32 [1, S, S, 3] in [0, 1].

    Raises:
        UsageError: it does not take and give images in [0, 1].
    """
    taught = keras.ops.convert_to_numpy(teacher(rainy)).astype(np.float32)
    if taught.shape != clean.shape:
        raise UsageError(
            f"teacher {source}: its output is {taught.shape} for an image {clean.shape}"
        )
    psnr = -10 * np.log10(np.mean(np.square(taught - clean)))
    if not psnr > _WORST:
        raise UsageError(
            f"teacher {source}: its output lies in {taught.min():.2f} .. {taught.max():.2f} and "
            f"differs from the clean patch by far ({psnr:.1f} dB); a teacher takes and gives "
            "images in [0, 1]"
        )
