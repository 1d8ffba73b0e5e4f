"""Small networks and pictures for the tests of the exports."""

import keras
import numpy as np
from PIL import Image

from mspfn_tf.model import MSPFN

PHONE = {"stem": 2, "activation": "relu", "upsampling": "subpixel"}


def small_model(**arguments):
    """A network of one block whose rain layer is of the size that a trained one predicts."""
    keras.utils.set_random_seed(5)
    defaults = {"width": 8, "blocks": 1, "rcabs": (1, 1, 1), "hidden": (4, 4, 4)}
    return with_real_rain(MSPFN(**{**defaults, **arguments}))


def with_real_rain(model):
    """Scales the last conv so that, on noise, the rain layer has a spread of 0.1."""
    noise = np.random.default_rng(0).random((1, 32, 32, 3), np.float32)
    rain = model.get_layer("rain")
    spread = np.std(noise - np.asarray(model(noise)))
    rain.kernel.assign(rain.kernel * (0.1 / spread))
    return model


def write_pairs(folder, count=4, size=(48, 56)):
    """Smooth pictures and the same with bright streaks, as pairs."""
    rng = np.random.default_rng(1)
    for name in ("input", "target"):
        (folder / name).mkdir(parents=True)
    for n in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (6, 7, 3), np.uint8))
        clean = np.asarray(coarse.resize(size[::-1], Image.Resampling.BICUBIC))
        streaks = np.clip(rng.normal(-120, 80, (size[0], size[1], 1)), 0, 90)
        rainy = np.clip(clean + streaks, 0, 255).astype(np.uint8)
        Image.fromarray(clean).save(folder / "target" / f"{n}.png")
        Image.fromarray(rainy).save(folder / "input" / f"{n}.png")
    return folder
