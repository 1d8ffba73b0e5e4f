"""`.keras` files, checked before anything is built by what they say.

A `.keras` file is a zip archive of a description of the network, `config.json`, and its weights.
"""

import io
import json
import math
import tempfile
import threading
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from mspfn_tf.errors import UsageError
from mspfn_tf.model import MOST_PARAMETERS
from mspfn_tf.weights_file import inspect_weights

_MEMBERS = {"config.json", "metadata.json", "model.weights.h5"}
# Keras stores without compression, and weights can hardly be compressed.
_MOST_EXPANSION = 4
_SLACK = 2**16  # bytes, for tiny files
_MOST_CONFIG = 2**24  # bytes of config.json; our largest network has 1 MB
_MOST_LAYERS = 20_000
_MODULES = ("builtins", "keras", "mspfn_tf")
# What Keras, HDF5 and zip answer to damaged files with.
_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    UserWarning,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)


class _RefusedError(Exception):
    """Why a file is not loaded."""


def load_keras_file(path: Path) -> keras.Model:
    """The model of a `.keras` file, without a training state.

    The file may come from a stranger: no code in it is run, nothing is imported that it names
    beside Keras and this package, nothing is written but to a temporary folder, and no network is
    built that has more weights than the file holds.

    Raises:
        UsageError: the file cannot be read, is damaged, or breaks one of these rules.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    try:
        config = _checked_config(content)
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            # Keras warns, and goes on, when it finds no weights for a part of the model.
            warnings.simplefilter("error", UserWarning)
            # The very bytes that were checked are loaded.
            copy = Path(folder, "model.keras")
            copy.write_bytes(content)
            weights = Path(folder, "model.weights.h5")
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                weights.write_bytes(archive.read("model.weights.h5"))
            held = inspect_weights(weights, finite=True, name=path).weights
            if config.get("registered_name") != "mspfn_tf>MSPFN":  # which has bounds of its own
                _check_size(config, held)
            model = keras.saving.load_model(copy, compile=False, safe_mode=True)
        if not isinstance(model, keras.Model):
            raise _RefusedError(f"it holds a {type(model).__name__}, not a model")
    except _RefusedError as error:
        raise UsageError(f"{path} is refused: {error}") from error
    except UsageError as error:
        if str(path) in str(error):
            raise
        raise UsageError(f"cannot load {path}: {error}") from error
    except _ERRORS as error:
        raise UsageError(f"cannot load {path}, it is damaged or no .keras file: {error}") from error
    return model


def _checked_config(content: bytes) -> dict[str, Any]:
    most = _MOST_EXPANSION * len(content) + _SLACK
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        names = [member.filename for member in members]
        if sorted(names) != sorted(_MEMBERS):
            raise _RefusedError(
                f"expected {', '.join(sorted(_MEMBERS))} in it; found {', '.join(names[:8])}"
            )
        if sum(member.file_size for member in members) > most:
            raise _RefusedError("its parts are declared larger than the file can hold")
        for member in members:  # all of it is read, so that the checksums are compared
            _read(archive, member, most)
        text = _read(archive, archive.getinfo("config.json"), _MOST_CONFIG)
    config = json.loads(text)
    if not isinstance(config, dict):
        raise _RefusedError("its config.json is no JSON object")
    layers = 0
    for part in _objects(config):
        layers += "class_name" in part
        module, name = part.get("module"), part.get("registered_name")
        if not isinstance(part.get("class_name", ""), str):
            raise _RefusedError("its config.json names a class by something else than text")
        if module is None:
            continue
        known = isinstance(module, str) and module.split(".")[0] in _MODULES
        if not known and not (isinstance(name, str) and keras.saving.get_registered_object(name)):
            raise _RefusedError(f"it would import {module!r}")
    if layers > _MOST_LAYERS:
        raise _RefusedError(f"it has more than {_MOST_LAYERS:,} parts")
    return config


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int) -> bytes:
    with archive.open(member) as file:
        data = file.read(most + 1)
        if len(data) > most or file.read(1):
            raise _RefusedError(f"{member.filename} is larger than {most:,} bytes")
    return data


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _check_size(config: dict[str, Any], weights: int) -> None:
    """Builds the network without weights, which takes no memory, and counts them."""
    found: list[int | Exception] = []

    def build():
        # Keras keeps what was not given a value in a list of this thread, and would give it one
        # later; the list ends with the thread.
        try:
            with keras.StatelessScope(initialize_variables=False):
                model = keras.saving.deserialize_keras_object(
                    {**config, "compile_config": None}, safe_mode=True
                )
                found.append(sum(math.prod(weight.shape) for weight in model.weights))
        except Exception as error:  # raised again by the thread that waits
            found.append(error)

    thread = threading.Thread(target=build)
    thread.start()
    thread.join()
    (answer,) = found
    if isinstance(answer, Exception):
        raise answer
    if answer > min(weights, MOST_PARAMETERS):
        raise _RefusedError(
            f"it declares a network of {answer:,} weights, but holds {weights:,}; at most "
            f"{MOST_PARAMETERS:,} are loaded"
        )
