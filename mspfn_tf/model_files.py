"""Keras models from presets, folders and files."""

from pathlib import Path
from typing import Any

import keras

from mspfn_tf.errors import UsageError
from mspfn_tf.inspection.keras_file import load_keras_file
from mspfn_tf.model import MSPFN
from mspfn_tf.presets import PRESETS
from mspfn_tf.source import resolve
from mspfn_tf.weights_file import inspect_weights, load_weights


def load_model(source: Any) -> keras.Model:
    """The Keras model of a preset, a folder of a model, a `.keras` or `.weights.h5` file.

    A weights file that does not say which network it belongs to (one that `save_weights` of Keras
    wrote) is tried as each preset with as many weights.

    Args:
        source: one of these, a `keras.Model` (returned as it is), or a `mspfn_tf.source.Source`.

    Raises:
        UsageError: `source` is none of these, or cannot be loaded.
    """
    found = resolve(source)
    if found.kind == "model":
        if not isinstance(found.model, keras.Model):
            raise UsageError(f"expected a keras.Model; received {type(found.model).__name__}")
        return found.model
    if found.kind == "preset":
        return MSPFN.from_preset(found.name)
    if found.kind == "folder":
        return MSPFN.from_preset(found.path)
    if found.kind == "weights":
        model = _network_of(found.path)
        load_weights(model, found.path)
        return model
    if found.kind == "keras":
        return load_keras_file(found.path)
    raise UsageError(
        f"{found.path} is no Keras model: expected a preset ({', '.join(PRESETS)}), a folder of a "
        "model, or a .keras or .weights.h5 file"
    )


def _network_of(path: Path) -> MSPFN:
    """A model with the arguments that a weights file carries, or as many weights."""
    contents = inspect_weights(path)
    if contents.config:
        arguments = dict(contents.config)
        for key in ("dtype", "trainable"):
            arguments.pop(key, None)
        return MSPFN.from_config(arguments)
    for name, preset in PRESETS.items():
        if preset["parameters"] == contents.weights:
            return MSPFN.from_preset(name, load_weights=False)
    raise UsageError(
        f"{path} holds {contents.weights:,} weights and does not say of which network; the presets "
        "have "
        + ", ".join(f"{preset['parameters']:,} ({name})" for name, preset in PRESETS.items())
    )
