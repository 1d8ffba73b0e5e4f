"""Weights files that say which network they belong to.

A `.weights.h5` written here is a plain Keras weights file whose root carries the arguments of
`MSPFN` as an HDF5 attribute. It may be stored as float16; it loads as float32.
"""

import json
import warnings
from pathlib import Path

import h5py
import numpy as np

from mspfn_tf.errors import UsageError
from mspfn_tf.files import atomic_write
from mspfn_tf.presets import check_shipped

CONFIG_ATTRIBUTE = "mspfn_config"
# What of a model's configuration its weights do not depend on.
_NOT_OF_WEIGHTS = ("name", "image_size", "dtype", "trainable")


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
    expected, found = _arguments(model.get_config()), _arguments(config_in(path))
    different = [
        f"{key}={found[key]!r} there, {expected.get(key)!r} here"
        for key in found
        if found[key] != expected.get(key)
    ]
    if different:
        raise UsageError(f"{path} holds weights of another network: {'; '.join(different)}")
    try:
        with warnings.catch_warnings():
            # Keras warns, and goes on, when it finds no weights for a part of the model.
            warnings.simplefilter("error", UserWarning)
            model.load_weights(path)
    except (ValueError, OSError, KeyError, RuntimeError, UserWarning) as error:
        raise UsageError(
            f"cannot load {path} into {model.name}: {error}. Expected the "
            f"{model.count_params():,} weights of MSPFN({expected})"
        ) from error


def config_in(path):
    """The arguments of `MSPFN` that a weights file carries; none if Keras wrote it."""
    try:
        with h5py.File(path, "r") as file:
            return json.loads(file.attrs.get(CONFIG_ATTRIBUTE, "{}"))
    except OSError as error:
        raise UsageError(f"{path} is not an HDF5 file: {error}") from error


def _arguments(config):
    """What of a model's configuration decides about its weights, as JSON keeps it."""
    config = {key: value for key, value in config.items() if key not in _NOT_OF_WEIGHTS}
    return json.loads(json.dumps(config))
