"""Which pictures show the same scene, and which scenes validate."""

import zlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

_SIDE = 16
# Over all pairs of Rain800's clean halves, those of one scene (saved anew, or under another
# exposure) correlate by 0.993 or more, those of different scenes by 0.970 or less.
_SAME_SCENE = 0.985


def thumbnail(image: Image.Image) -> np.ndarray:
    """A fingerprint that survives JPEG and changes of exposure.

    Args:
        image: the picture.

    Returns:
        `float32 [256]`: 16x16 gray box means without their mean, of length 1 (0 for a flat image).
    """
    gray = image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    values = np.asarray(gray, np.float32).ravel()
    values -= values.mean()
    norm = np.linalg.norm(values)
    return values / norm if norm > 1 else np.zeros_like(values)


def same_as_first(thumbnails: Sequence[np.ndarray]) -> list[int]:
    """Groups pictures by scene.

    Args:
        thumbnails: sequence of `thumbnail` results.

    Returns:
        list of int: for each picture, the index of the first picture of its scene.
    """
    firsts, result = [], []
    leaders = np.empty((len(thumbnails), _SIDE * _SIDE), np.float32)
    for index, values in enumerate(thumbnails):
        if firsts:
            likeness = leaders[: len(firsts)] @ values
            best = int(likeness.argmax())
            if likeness[best] >= _SAME_SCENE:
                result.append(firsts[best])
                continue
        leaders[len(firsts)] = values
        firsts.append(index)
        result.append(index)
    return result


def in_validation(scene: str) -> bool:
    """Whether a scene belongs to the validation split: one scene in eleven, by hash of its id."""
    return zlib.crc32(scene.encode()) % 11 == 0
