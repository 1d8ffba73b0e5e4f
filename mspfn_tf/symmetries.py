"""The eight symmetries of the square: four rotations, and each of them mirrored."""

import numpy as np

COUNT = 8


def turned(image: np.ndarray, symmetry: int) -> np.ndarray:
    """`image [H, W, C]` turned by `symmetry` % 4 quarters, then mirrored from 4 up; 0 keeps it."""
    image = np.rot90(image, symmetry % 4)
    return image[:, ::-1] if symmetry >= 4 else image


def turned_back(image: np.ndarray, symmetry: int) -> np.ndarray:
    """What `turned` made `image` of."""
    return np.rot90(image[:, ::-1] if symmetry >= 4 else image, -(symmetry % 4))
