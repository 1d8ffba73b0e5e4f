"""Weights files that say which network they belong to, read so that a stranger's file is safe.

A `.weights.h5` written here is a plain Keras weights file whose root carries the arguments of
`MSPFN` as an HDF5 attribute. It may be stored as float16; it loads as float32.

What a file declares is compared with its size before anything is allocated or built by it, and
weights that are NaN or infinite are neither written nor loaded.
"""

import io
import json
import os
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import keras
import numpy as np

from mspfn_tf.errors import UsageError
from mspfn_tf.files import atomic_write, writing
from mspfn_tf.presets import STATE, check_shipped_bytes

CONFIG_ATTRIBUTE = "mspfn_config"
# What of a model's configuration its weights do not depend on.
_NOT_OF_WEIGHTS = ("name", "image_size", *STATE)

# A file may be compressed, but weights hardly can be: more than this is no file of weights.
_MOST_EXPANSION = 4
_SLACK = 2**16  # bytes, for tiny files
_MOST_DATASETS = 20_000  # the largest network of ours has some 1,500
MOST_STEPS = 64
"""Recurrent steps cost time but no weights, which would bound them."""

# What HDF5 and Keras answer to damaged files with.
_ERRORS = (
    OSError,
    RuntimeError,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    IndexError,
    RecursionError,
    MemoryError,
    UserWarning,
)


class Contents(NamedTuple):
    """What a weights file holds.

    Attributes:
        config: the arguments of `MSPFN` that it carries; empty if Keras wrote it.
        weights: how many numbers, without the state of an optimizer.
        datasets: how many arrays.
    """

    config: dict[str, Any]
    weights: int
    datasets: int


def save_weights(
    model: keras.Model,
    path: str | os.PathLike,
    dtype: str = "float32",
    overwrite: bool = False,
) -> None:
    """Writes the weights of an `MSPFN` to `path`, which ends in `.weights.h5`.

    Args:
        model: the `MSPFN`.
        path: the file to write.
        dtype: "float32", or "float16" for half the size.
        overwrite: whether an existing file may be replaced.

    Raises:
        UsageError: wrong suffix or dtype, a weight is NaN or infinite, the file cannot be written,
            or it exists and `overwrite` is false. No file is written then.
    """
    if not str(path).endswith(".weights.h5"):
        raise UsageError(f"a weights file must end in .weights.h5; received {path}")
    if dtype not in ("float32", "float16"):
        raise UsageError(f"dtype must be 'float32' or 'float16'; received {dtype!r}")
    with atomic_write(path, overwrite) as temporary, writing(path):
        held = encoded_weights(model)
        try:
            with h5py.File(held, "r") as file:
                _walk(file, held.getbuffer().nbytes, finite=True)
        except _NotWeightsError as error:
            raise UsageError(f"{path} is not written: {error}") from error
        if dtype == "float16":
            held = _stored_as(held, np.float16)
        temporary.write_bytes(held.getbuffer())


class _Held(io.BytesIO):
    """A weights file in memory, for Keras, which looks at how the name of a file ends."""

    def __str__(self):
        return "held.weights.h5"


def encoded_weights(model: keras.Model, attribute: str = CONFIG_ATTRIBUTE) -> io.BytesIO:
    """The weights file of a model, in memory, with the model's configuration as an attribute.

    Not on the disk, because HDF5 may end the process where it finds that full.
    """
    held = _Held()
    model.save_weights(held)
    with h5py.File(held, "r+") as file:
        file.attrs[attribute] = json.dumps(model.get_config())
    return held


def _stored_as(held, dtype):
    """An HDF5 file in memory with every dataset in `dtype`, without slack."""
    rewritten = io.BytesIO()
    with h5py.File(held, "r") as old, h5py.File(rewritten, "w") as new:
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
    return rewritten


def load_weights(model: keras.Model, path: str | os.PathLike) -> None:
    """Fills `model` from a weights file; a file shipped with the package is checked first.

    Raises:
        UsageError: no such file, not a weights file, weights of another network, NaN or infinite
            weights, or a shipped file whose SHA-256 differs from the one in its model card.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"no weights file {path}: {error.strerror}") from error
    check_shipped_bytes(path, content)
    # What was read and checked is what is loaded, whatever happens to the file meanwhile. Keras
    # takes names of files only.
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "model.weights.h5")
        copy.write_bytes(content)
        _load_checked(model, copy, path)


def _load_checked(model, copy, path):
    """Fills `model` from `copy`, which messages call `path`."""
    contents = inspect_weights(copy, finite=True, name=path)
    expected, found = _arguments(model.get_config()), _arguments(contents.config)
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
            model.load_weights(copy)
    except _ERRORS as error:
        raise UsageError(
            f"cannot load {path} into {model.name}: {error}. Expected the "
            f"{model.count_params():,} weights of MSPFN({expected})"
        ) from error


def inspect_weights(
    path: str | os.PathLike, finite: bool = False, name: str | os.PathLike | None = None
) -> Contents:
    """What a weights file holds, after checking that it holds no more than it has room for.

    Args:
        path: the file.
        finite: whether all weights are also read, and refused if one is NaN or infinite.
        name: what messages call the file. Default: `path`.

    Raises:
        UsageError: no such file, no HDF5 file, or one that is no file of weights: it points to
            other files, declares arrays larger than itself, or a network larger than its arrays.
    """
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"no weights file {path}")
    name = path if name is None else name
    try:
        with h5py.File(path, "r") as file:
            text = file.attrs.get(CONFIG_ATTRIBUTE, "{}")
            config = json.loads(text)
            if not isinstance(config, dict):
                raise _NotWeightsError(f"its {CONFIG_ATTRIBUTE} is no JSON object")
            contents = Contents(config, *_walk(file, path.stat().st_size, finite))
    except _NotWeightsError as error:
        raise UsageError(f"{name} is refused: {error}") from error
    except _ERRORS as error:
        raise UsageError(f"{name} is not a whole HDF5 file of weights: {error}") from error
    check_declared(contents.config, contents, name)
    return contents


def check_declared(config: Mapping[str, Any], contents: Contents, path: str | os.PathLike) -> None:
    """Refuses a network that has more weights than the file that declares it, before it is built.

    Args:
        config: arguments of `MSPFN`.
        contents: of the weights file.
        path: the file, for the message.

    Raises:
        UsageError: the network is larger.
    """
    if not config:
        return
    needed = fewest_weights(config)
    steps = config.get("recurrent_steps", 1)
    if needed > contents.weights or (isinstance(steps, int) and steps > MOST_STEPS):
        shown = {name: config[name] for name in sorted(config) if name in _SIZES}
        raise UsageError(
            f"{path} is refused: it declares a network with at least {needed:,} weights ({shown}), "
            f"but holds {contents.weights:,}"
        )


_SIZES = ("width", "blocks", "rcabs", "hidden", "recurrent_steps")


def fewest_weights(config: Mapping[str, Any]) -> float:
    """Fewer than any `MSPFN` with these arguments has: kernels that every variant contains.

    What is no number counts as 0: the constructor refuses it.
    """

    def whole(value, default):
        value = default if value is None else value
        return max(0, value) if isinstance(value, int | float) else 0

    def several(value):
        return [whole(item, 0) for item in value] if isinstance(value, list | tuple) else []

    width = whole(config.get("width"), 64)
    blocks = whole(config.get("blocks"), 17)
    rcabs = sum(several(config.get("rcabs", (1, 3, 3))))
    hidden = several(config.get("hidden", (64, 128, 256)))
    # Per fusion block and scale: a 3x3 conv down, and two in every RCAB. At the end: three 3x3
    # convs that halve 2 * width channels. In the coarse fusion: three gates of width / 2, and with
    # recurrence four of the hidden channels.
    recurrent = 36 if whole(config.get("recurrent_steps"), 1) > 1 else 0
    return (
        width * width * (54 + blocks * (27 + 18 * rcabs))
        + 13 * width * sum(hidden)
        + recurrent * sum(channels * channels for channels in hidden)
    )


class _NotWeightsError(Exception):
    """Why an HDF5 file cannot be one of weights."""


def _walk(file: h5py.File, size: int, finite: bool) -> tuple[int, int]:
    """Counts weights and datasets below the root of a file of `size` bytes."""
    most = _MOST_EXPANSION * size + _SLACK
    weights = declared = 0
    datasets: list[tuple[str, h5py.Dataset]] = []
    seen = set()
    groups: list[tuple[str, h5py.Group]] = [("", file)]
    while groups:
        path, group = groups.pop()
        for name in group:
            where = f"{path}/{name}"
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise _NotWeightsError(f"{where} is a link")
            item = group[name]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                raise _NotWeightsError(f"{where} is there twice")
            seen.add(address)
            if len(seen) > _MOST_DATASETS:
                raise _NotWeightsError(f"it has more than {_MOST_DATASETS:,} parts")
            if isinstance(item, h5py.Group):
                groups.append((where, item))
                continue
            if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "fiub":
                raise _NotWeightsError(f"{where} is no array of numbers")
            if item.is_virtual or item.external:
                raise _NotWeightsError(f"{where} points to other files")
            declared += item.size * item.dtype.itemsize if item.shape is not None else 0
            if declared > most:
                raise _NotWeightsError(
                    f"{where} of shape {item.shape}: the arrays are declared larger than the file"
                )
            if not where.startswith("/optimizer/"):
                datasets.append((where, item))
                weights += item.size if item.shape is not None else 0
    for where, item in datasets if finite else ():
        if item.dtype.kind == "f" and item.shape is not None and not np.isfinite(item[()]).all():
            raise _NotWeightsError(f"{where} holds NaN or infinity")
    return weights, len(datasets)


def _arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a model's configuration decides about its weights, as JSON keeps it."""
    config = {key: value for key, value in config.items() if key not in _NOT_OF_WEIGHTS}
    return json.loads(json.dumps(config))
