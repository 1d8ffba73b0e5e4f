"""The model to export: where it comes from, and what a file made of it should say about it."""

from typing import Any

import keras

from mspfn_tf import __version__
from mspfn_tf.complexity import multiply_adds
from mspfn_tf.errors import UsageError
from mspfn_tf.model import MSPFN
from mspfn_tf.model_files import load_model
from mspfn_tf.source import ModelSource, resolve


def open_source(source: ModelSource) -> MSPFN:
    """The `MSPFN` of a preset name, directory of a model, `.keras` or `.weights.h5` file, or of an
    `MSPFN` itself: of free size, in float32, whatever it was trained in.

    Raises:
        UsageError: none of these, or Keras runs on another backend than TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        raise UsageError(
            f"exports need Keras on TensorFlow; KERAS_BACKEND is {keras.backend.backend()}: set "
            "KERAS_BACKEND=tensorflow. Weights files and .keras files are the same on all backends"
        )
    model = load_model(source)
    if not isinstance(model, MSPFN):
        raise UsageError(f"expected an MSPFN; {source} is a {type(model).__name__}")
    # No converter takes the casts of mixed precision.
    config = model.get_config()
    plain = {**config, "image_size": None, "dtype": "float32"}
    if plain == config:
        return model
    opened = type(model).from_config(plain)
    opened.set_weights(model.get_weights())
    return opened


def describe_source(
    source: ModelSource, model: MSPFN, image_size: tuple[int, int] | None = None
) -> dict[str, Any]:
    """What a file says of the model that it was made from.

    Args:
        source: what `open_source` was given.
        model: what it returned.
        image_size: where given, multiply-adds are counted for this (height, width).
    """
    found = resolve(source)
    description = {
        "model": found.name,
        "arguments": model.get_config(),
        "weights_sha256": found.digest,
        "parameters": model.count_params(),
        "made_with": {"mspfn_tf": __version__, "keras": keras.__version__},
    }
    if image_size is not None:
        description["image_size"] = list(image_size)
        description["multiply_adds"] = multiply_adds(model, image_size)
    return description
