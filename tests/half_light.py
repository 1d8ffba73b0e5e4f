"""A model that halves the light, so that what was restored, and how often, can be seen."""

from pathlib import Path

import keras


def save_half_light(folder: Path) -> Path:
    """Writes it into a folder; returns the file."""
    path = folder / "half.keras"
    image = keras.Input((None, None, 3))
    keras.Model(image, keras.layers.Rescaling(0.5)(image)).save(path)
    return path
