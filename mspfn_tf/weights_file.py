"""Weights files that say which network they belong to, and models from any file of ours.

A `.weights.h5` written here is a plain Keras weights file whose root carries the arguments of
`MSPFN` as an HDF5 attribute. It may be stored as float16; it loads as float32.
"""

import json
from pathlib import Path

import h5py
import keras
import numpy as np

from mspfn_tf.errors import UsageError
from mspfn_tf.files import atomic_write, sha256
from mspfn_tf.model import MSPFN
from mspfn_tf.presets import PRESETS, WEIGHTS

CONFIG_ATTRIBUTE = "mspfn_config"


def save_weights(model, path, dtype="float32", overwrite=False):
    """Writes the weights of an `MSPFN` to `path`, which ends in `.weights.h5`.

    Args:
        model: the `MSPFN`.
        path: the file to write.
        dtype: "float32", or "float16" for half the size.
        overwrite: whether an existing file may be replaced.

    Raises:
        UsageError: wrong suffix or dtype, or the file exists and `overwrite` is false.
    """
    if not str(path).endswith(".weights.h5"):
        raise UsageError(f"a weights file must end in .weights.h5; received {path}")
    if dtype not in ("float32", "float16"):
        raise UsageError(f"dtype must be 'float32' or 'float16'; received {dtype!r}")
    with atomic_write(path, overwrite) as temporary:
        model.save_weights(temporary, overwrite=True)
        with h5py.File(temporary, "r+") as file:
            file.attrs[CONFIG_ATTRIBUTE] = json.dumps(model.get_config())
        if dtype == "float16":
            _store_as(temporary, np.float16)


def _store_as(path, dtype):
    """Rewrites every dataset of an HDF5 file in `dtype`, compressed and without slack."""
    rewritten = path.with_name(f"{path.name}.rewritten")
    try:
        with h5py.File(path, "r") as old, h5py.File(rewritten, "w") as new:
            new.attrs.update(old.attrs)

            def copy(name, item):
                if isinstance(item, h5py.Group):
                    new.require_group(name).attrs.update(item.attrs)
                elif np.issubdtype(item.dtype, np.floating):
                    if np.abs(item[()]).max(initial=0) > np.finfo(dtype).max:
                        raise UsageError(f"{name} has values beyond the range of {dtype.__name__}")
                    new.create_dataset(name, data=item[()].astype(dtype))
                else:
                    old.copy(item, new, name)

            old.visititems(copy)
        rewritten.replace(path)
    finally:
        rewritten.unlink(missing_ok=True)


def load_weights(model, path):
    """Fills `model` from a weights file; a file shipped with the package is checked first.

    Raises:
        UsageError: no such file, not a weights file, weights of another network, or a shipped
            file whose SHA-256 differs from the one in its model card.
    """
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"no weights file {path}")
    check_shipped(path)
    try:
        model.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        raise UsageError(
            f"cannot load {path} into {model.name}: {error}. It was expected to hold the "
            f"{model.count_params():,} weights of MSPFN({_arguments(model)})"
        ) from error


def check_shipped(path):
    """Raises `UsageError` if `path` is a shipped weights file that is not as it was shipped."""
    path = Path(path).resolve()
    if path.parent != WEIGHTS:
        return
    for preset in PRESETS.values():
        weights = preset["weights"] or {}
        for entry in (weights, weights.get("tflite", {})):
            if entry.get("file") == path.name and sha256(path) != entry["sha256"]:
                raise UsageError(
                    f"{path} is damaged or was changed: its SHA-256 is {sha256(path)}, the model "
                    f"card says {entry['sha256']}. Install the package again"
                )


def load_model(source):
    """A model from a preset name, a directory of a model, a `.keras` or a `.weights.h5` file.

    A weights file that does not say which network it belongs to (one that `save_weights` of Keras
    wrote) is tried as each preset with as many weights.

    Raises:
        UsageError: `source` is none of these, or cannot be loaded.
    """
    if isinstance(source, keras.Model):
        return source
    path = Path(source)
    if path.name.endswith(".weights.h5"):
        if not path.is_file():
            raise UsageError(f"no weights file {path}")
        model = _network_of(path)
        load_weights(model, path)
        return model
    if path.suffix == ".keras":
        if not path.is_file():
            raise UsageError(f"no model file {path}")
        try:
            return keras.saving.load_model(path, compile=False)
        except (ValueError, OSError, KeyError, TypeError) as error:
            raise UsageError(f"cannot load {path}: {error}") from error
    if source in PRESETS or path.is_dir():
        return MSPFN.from_preset(source)
    raise UsageError(
        f"{source} is neither a preset ({', '.join(PRESETS)}), nor a directory of a model, nor a "
        ".keras or .weights.h5 file"
    )


def _network_of(path):
    try:
        with h5py.File(path, "r") as file:
            config = file.attrs.get(CONFIG_ATTRIBUTE)
            count = 0

            def add(name, item):
                nonlocal count
                if isinstance(item, h5py.Dataset) and name.startswith("layers/"):
                    count += item.size

            file.visititems(add)
    except OSError as error:
        raise UsageError(f"{path} is not an HDF5 file: {error}") from error
    if config is not None:
        return MSPFN.from_config(json.loads(config))
    for name, preset in PRESETS.items():
        if preset["parameters"] == count:
            return MSPFN.from_preset(name, load_weights=False)
    raise UsageError(
        f"{path} holds {count:,} weights and does not say of which network; the presets have "
        + ", ".join(f"{preset['parameters']:,} ({name})" for name, preset in PRESETS.items())
    )


def _arguments(model):
    return ", ".join(f"{key}={value!r}" for key, value in model.get_config().items())
