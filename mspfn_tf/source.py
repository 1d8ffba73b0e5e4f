"""The one answer to "which model is this?": a preset name, a path or a model.

Names of presets come first: a folder that happens to be called like one is named by a path with a
separator in it (`./mspfn_nano`).
"""

import dataclasses
import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, Union

import numpy as np

from mspfn_tf.errors import UsageError
from mspfn_tf.files import sha256, visible_files
from mspfn_tf.presets import (
    INT8,
    INT8_TILES,
    OPENVINO,
    PRESETS,
    TILES,
    shipped_file,
    tflite_path,
    weights_path,
)
from mspfn_tf.released import released_files

if TYPE_CHECKING:
    import keras

KINDS = "a preset name, a keras.Model, a folder of a model (config.json and model.weights.h5), a \
.keras, .weights.h5, .tflite, .onnx or OpenVINO (.xml) file, the folder of a SavedModel, or \
hf://owner/name"

HUB = "hf://"

_SUFFIXES = {
    ".weights.h5": "weights",
    ".keras": "keras",
    ".tflite": "litert",
    ".onnx": "onnx",
    ".xml": "openvino",
}


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a model comes from.

    Attributes:
        kind: "preset", "folder", "weights", "keras", "saved_model", "litert", "onnx", "openvino"
            or "model".
        name: what to call it in results: the preset's name, the file's name, the model's name.
        path: the file or folder; None for a preset without shipped weights and for a model.
        model: the `keras.Model` of kind "model".
    """

    kind: str
    name: str
    path: Path | None = None
    model: "keras.Model | None" = dataclasses.field(default=None, compare=False)

    @property
    def file(self) -> Path:
        """`path`, of a kind that has one.

        Raises:
            UsageError: there is none.
        """
        if self.path is None:
            raise UsageError(f"{self.name} is a model of kind {self.kind} without a file")
        return self.path

    @property
    def digest(self) -> str | None:
        """SHA-256 of the weights alone, the same wherever a result names the model.

        That of the `.weights.h5` file (for a preset the shipped one, whichever runtime runs it),
        of the `.keras` or `.tflite` file, of an `.onnx` file with those that hold its weights, of
        the files of a SavedModel that are not hidden, by name, or of the arrays that a
        `keras.Model` has now. None for a preset without shipped weights. Files are read the first
        time only.
        """
        if self.model is not None:  # it may be trained meanwhile
            digest = hashlib.sha256()
            for weight in self.model.get_weights():
                digest.update(np.ascontiguousarray(weight).tobytes())
            return digest.hexdigest()
        # No `functools.cached_property`: in Python 3.11 it has a lock, which a fork may leave held.
        if "_digest" not in self.__dict__:
            self.__dict__["_digest"] = self._digest_of_files()
        return self.__dict__["_digest"]

    def _digest_of_files(self) -> str | None:
        if self.kind == "onnx":
            return onnx_digest(self.file)
        weights = self.weights_file
        if weights is not None:
            if self.kind == "folder" and not weights.is_file():  # its model.tflite runs without
                return released_files(weights.parent).get(weights.name)
            return sha256(weights)
        if self.path is None:
            return None
        paths = visible_files(self.path)
        facts = [(path.relative_to(self.path).as_posix(), sha256(path)) for path in paths]
        return hashlib.sha256(repr(facts).encode()).hexdigest()

    @property
    def weights_file(self) -> Path | None:
        """The one file that holds the weights; None for a SavedModel, a model, or no weights."""
        if self.kind == "folder" and self.path is not None:
            return self.path / "model.weights.h5"
        if self.kind == "openvino" and self.path is not None:
            return self.path.with_suffix(".bin")
        return None if self.kind == "saved_model" else self.path

    @property
    def litert_file(self) -> Path | None:
        """The `.tflite` file to run it by: its own, the one shipped with the preset, or
        `model.tflite` of a released folder."""
        if self.kind == "litert":
            return self.path
        if self.kind == "folder" and self.path is not None:
            # Only what was released together: beside weights in training it may be an old one.
            name = "model.tflite"
            return self.path / name if name in released_files(self.path) else None
        return tflite_path(self.name) if self.kind == "preset" else None

    def litert_files(self, int8: bool = False) -> tuple[Path | None, Path | None]:
        """The `.tflite` files to run it by, for whole pictures and for tiles; with `int8` those
        with 8-bit arithmetic, which are shipped with presets alone."""
        if self.kind != "preset":
            return None if int8 else self.litert_file, None
        if int8:
            return shipped_file(self.name, INT8), shipped_file(self.name, INT8_TILES)
        return self.litert_file, shipped_file(self.name, TILES)

    @property
    def openvino_file(self) -> Path | None:
        """The OpenVINO graph to run it by: its own, or the one shipped with the preset."""
        if self.kind == "openvino":
            return self.path
        return shipped_file(self.name, OPENVINO[0]) if self.kind == "preset" else None


def onnx_digest(path: Path) -> str:
    """SHA-256 of an `.onnx` file; where weights stand in files beside it, of all of them.

    Their names follow the key "location" in the file, as Protocol Buffers write a pair of texts.
    """
    digest, content = sha256(path), path.read_bytes()
    folder, found = os.path.realpath(path.parent), set()
    for match in re.finditer(rb"\x0a\x08location\x12([\x01-\x7f])", content):
        name = content[match.end() : match.end() + match[1][0]].decode(errors="replace")
        # As onnxruntime does, nothing out of the folder is taken: the file may be a stranger's.
        beside = os.path.realpath(os.path.join(folder, name.replace("\0", "/")))
        if os.path.commonpath([folder, beside]) == folder and os.path.isfile(beside):
            found.add((name, sha256(beside)))
    if not found:
        return digest
    return hashlib.sha256(repr((digest, sorted(found))).encode()).hexdigest()


ModelSource: TypeAlias = Union[str, os.PathLike, "keras.Model", Source]  # noqa: UP007
"""Whatever names a model: one of `KINDS`, or a `Source` that was found already."""


def resolve(source: ModelSource) -> Source:
    """Finds out what `source` names. Nothing is loaded, and neither TensorFlow nor Keras imported.

    Args:
        source: one of `KINDS`, or a `Source`.

    Raises:
        UsageError: none of these, or no such file.
    """
    if isinstance(source, Source):
        return source
    if not isinstance(source, str | os.PathLike):
        if hasattr(source, "get_weights") and callable(source):
            return Source("model", str(getattr(source, "name", "model")), model=source)
        raise UsageError(f"expected {KINDS}; received {source!r} of type {type(source).__name__}")
    if isinstance(source, str) and source in PRESETS:
        shipped = PRESETS[source]["weights"] is not None
        return Source("preset", source, weights_path(source) if shipped else None)
    if isinstance(source, str) and source.startswith(HUB):
        from mspfn_tf.hub import fetch

        return Source("folder", source.removeprefix(HUB), fetch(source))
    path = Path(source)
    name = path.name or str(path)
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            return Source("saved_model", name, path)
        if (path / "config.json").is_file():
            best = path / "best.weights.h5"
            begun = best.is_file() or (path / "checkpoints").is_dir()
            if begun and not (path / "model.weights.h5").is_file():
                raise UsageError(
                    f"{path} is a run of training that has not ended: go on with mspfn train"
                    + (f", or name {best}, the best so far" if best.is_file() else "")
                )
            return Source("folder", name, path)
        raise UsageError(
            f"{path} is a folder of no model: expected config.json and model.weights.h5, or "
            "saved_model.pb, in it"
        )
    for suffix, kind in _SUFFIXES.items():
        if name.endswith(suffix):
            for file in (path, path.with_suffix(".bin")) if kind == "openvino" else (path,):
                if not file.is_file():
                    raise UsageError(f"no model file {file}")
            return Source(kind, name, path)
    if path.exists():
        raise UsageError(f"{path} is no model: expected {KINDS}")
    known = ", ".join(PRESETS)
    raise UsageError(f"no model {str(source)!r}: neither a preset ({known}) nor a file or folder")
