"""The model to export: where it comes from, and what a file made of it should say about it."""

import hashlib
from pathlib import Path

import keras
import numpy as np

from mspfn_tf import __version__
from mspfn_tf.complexity import multiply_adds
from mspfn_tf.errors import UsageError
from mspfn_tf.files import sha256
from mspfn_tf.model import MSPFN
from mspfn_tf.presets import PRESETS, weights_path
from mspfn_tf.weights_file import load_model


def open_source(source):
    """The `MSPFN` of a preset name, directory of a model, `.keras` or `.weights.h5` file, or of an
    `MSPFN` itself.

    Raises:
        UsageError: none of these.
    """
    model = load_model(source)
    if not isinstance(model, MSPFN):
        raise UsageError(f"expected an MSPFN; {source} is a {type(model).__name__}")
    if model.image_size is None:
        return model
    free = MSPFN.from_config({**model.get_config(), "image_size": None})
    free.set_weights(model.get_weights())
    return free


def describe_source(source, model, image_size=None):
    """What a file says of the model that it was made from: a dict.

    Args:
        source: what `open_source` was given.
        model: what it returned.
        image_size: where given, multiply-adds are counted for this (height, width).
    """
    is_path = not isinstance(source, keras.Model) and source not in PRESETS
    description = {
        "model": model.name if isinstance(source, keras.Model) else str(source),
        "arguments": model.get_config(),
        "weights_sha256": _weights_sha256(source, model, is_path),
        "parameters": model.count_params(),
        "made_with": {"mspfn_tf": __version__, "keras": keras.__version__},
    }
    if image_size is not None:
        description["image_size"] = list(image_size)
        description["multiply_adds"] = multiply_adds(model, image_size)
    return description


def _weights_sha256(source, model, is_path):
    """Of the file that the weights came from; of the weights themselves if there is none."""
    if isinstance(source, keras.Model):
        digest = hashlib.sha256()
        for weight in model.get_weights():
            digest.update(np.ascontiguousarray(weight))
        return digest.hexdigest()
    if not is_path:
        return sha256(weights_path(source))
    path = Path(source)
    return sha256(path / "model.weights.h5" if path.is_dir() else path)
