"""Keras models from presets, folders and files."""

from pathlib import Path

import keras

from mspfn_tf.errors import UsageError
from mspfn_tf.inspection.keras_file import load_keras_file
from mspfn_tf.layers import weights_to_come
from mspfn_tf.model import MSPFN
from mspfn_tf.presets import PRESETS, STATE
from mspfn_tf.source import ModelSource, resolve
from mspfn_tf.weights_file import inspect_weights, load_weights


def load_model(source: ModelSource) -> keras.Model:
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
    readers = {"folder": MSPFN.from_preset, "weights": _of_weights, "keras": load_keras_file}
    if found.path is None or found.kind not in readers:
        raise UsageError(
            f"{found.path} is no Keras model: expected a preset ({', '.join(PRESETS)}), a folder "
            "of a model, or a .keras or .weights.h5 file"
        )
    return readers[found.kind](found.path)


def _of_weights(path: Path) -> MSPFN:
    with weights_to_come():
        model = _network_of(path)
    load_weights(model, path)
    return model


def _network_of(path: Path) -> MSPFN:
    """A model with the arguments that a weights file carries, or as many weights."""
    contents = inspect_weights(path)
    if contents.config:
        arguments = {key: contents.config[key] for key in contents.config if key not in STATE}
        return MSPFN.from_config(arguments)
    for name, preset in PRESETS.items():
        if preset["parameters"] == contents.weights:
            return MSPFN.from_preset(name, load_weights=False)
    raise UsageError(
        f"{path} holds {contents.weights:,} weights and does not say of which network; the presets "
        "have "
        + ", ".join(f"{preset['parameters']:,} ({name})" for name, preset in PRESETS.items())
    )
