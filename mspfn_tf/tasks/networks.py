"""Opens a task's network, whatever runtime it needs: LiteRT, ONNX Runtime, TensorFlow or Keras.

Unlike a deraining model, such a network may have several outputs, and any layout of its input.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mspfn_tf.errors import UsageError
from mspfn_tf.extras import require
from mspfn_tf.inspection.litert import check_litert
from mspfn_tf.partial_results import digest
from mspfn_tf.runtimes.saved_model import load_saved_model
from mspfn_tf.runtimes.trial import check_stranger
from mspfn_tf.source import onnx_digest

_BROKEN = 1e-3  # more than what computing in float32 leaves of whole levels

KINDS = ".tflite, .onnx, .keras, .weights.h5 of ESPNet, or a SavedModel directory"


@dataclass(frozen=True, eq=False)
class Network:
    """A network of one picture at a time.

    `network(x)` takes an array `[1, H, W, 3]` or `[1, 3, H, W]` and returns a list of arrays.

    Attributes:
        name: for messages.
        shape: of the input, None where a side is free.
        dtype: of the input. Floating-point arrays given to a network with a quantised input are
            quantised; other whole numbers take whole levels alone.
        run: what computes; see `__call__`.
        encode: what quantises, or None.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype
    run: Callable[[np.ndarray], list[np.ndarray]]
    encode: Callable[[np.ndarray], np.ndarray] | None = None

    def __post_init__(self) -> None:
        if len(self.shape) != 4 or self.shape[0] not in (None, 1) or 3 not in self.shape[1::2]:
            raise UsageError(
                f"{self.name} takes {list(self.shape)}; expected one picture, [1, H, W, 3] or "
                "[1, 3, H, W]"
            )

    @property
    def channels_first(self) -> bool:
        """Whether the input is `[1, 3, H, W]`."""
        return self.shape[3] != 3

    @property
    def takes_levels(self) -> bool:
        """Whether the input is the levels of the picture themselves, 0 to 255."""
        return np.issubdtype(self.dtype, np.integer) and self.encode is None

    @property
    def size(self) -> tuple[int, int] | None:
        """(H, W) of the input, None where it is free."""
        height, width = self.shape[2:] if self.channels_first else self.shape[1:3]
        return None if height is None or width is None else (height, width)

    def __call__(self, x: np.ndarray) -> list[np.ndarray]:
        expected = "[1, 3, H, W]" if self.channels_first else "[1, H, W, 3]"
        fits = len(x.shape) == 4 and all(
            side in (None, own) for side, own in zip((1, *self.shape[1:]), x.shape, strict=True)
        )
        if not fits:
            raise UsageError(
                f"{self.name}: the adapter gave it {list(x.shape)}; expected {list(self.shape)}, "
                f"that is {expected}"
            )
        if x.dtype != self.dtype:
            if self.encode is not None and np.issubdtype(x.dtype, np.floating):
                x = self.encode(x)
            elif np.issubdtype(self.dtype, np.integer):
                if np.abs(x - np.rint(x)).max() > _BROKEN:
                    raise UsageError(
                        f"{self.name} takes whole levels ({self.dtype}); the adapter gave it "
                        "broken ones: use mean 0 and std 1"
                    )
                limits = np.iinfo(self.dtype)
                x = np.clip(np.rint(x), limits.min, limits.max)
        outputs = self.run(np.ascontiguousarray(x, self.dtype))
        for output in outputs:
            if np.issubdtype(output.dtype, np.floating) and not np.isfinite(output).all():
                raise UsageError(f"{self.name} returned values that are not finite")
        return outputs


def network_digest(path: str | os.PathLike) -> str:
    """SHA-256 of a network's file, or of the files of a folder; of an `.onnx` file with those that
    hold its weights."""
    path = Path(path)
    return onnx_digest(path) if path.suffix == ".onnx" else digest(path)


def open_network(source: object, threads: int | None = None) -> Network:
    """Opens a task's network.

    Args:
        source: a `keras.Model`, or the path of a `.tflite`, `.onnx` or `.keras` file, of a
            `.weights.h5` file of ESPNet, or of a SavedModel directory.
        threads: of LiteRT and ONNX Runtime. Default: as many as there are processors.

    Files may come from strangers, as those of deraining models may: see SECURITY.md.

    Raises:
        UsageError: no such file, a kind that is not known, a package that is missing (the message
            names the extra), a file that cannot be run without harm, or not a network of one
            picture.
    """
    if not isinstance(source, str | os.PathLike):
        return _open_keras(source)
    path = Path(source)
    if not path.exists():
        raise UsageError(f"{path}: no such file or directory; expected {KINDS}")
    threads = threads or os.cpu_count() or 1
    if path.suffix == ".tflite":
        return _open_litert(path, threads)
    if path.suffix == ".onnx":
        return _open_onnx(path, threads)
    if path.name.endswith(".weights.h5"):
        from mspfn_tf.tasks.espnet import load_espnet

        return _open_keras(load_espnet(path), path.name)
    if path.suffix == ".keras":
        import mspfn_tf.tasks.espnet  # noqa: F401 (registers the class)
        from mspfn_tf.inspection.keras_file import load_keras_file

        return _open_keras(load_keras_file(path), path.name)
    if (path / "saved_model.pb").is_file():
        return _open_saved_model(path)
    raise UsageError(f"{path}: not a network that can be opened; expected {KINDS}")


def _shape(sides):
    # Free sides are None, -1 or a name.
    return tuple(int(s) if isinstance(s, int | np.integer) and s > 0 else None for s in sides)


def _only(inputs, name):
    if len(inputs) != 1:
        raise UsageError(f"{name} has {len(inputs)} inputs; expected one picture")
    return inputs[0]


def _content(path):
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error


def _try(network):
    """Gives a network a black picture; what is free of its size is 64."""
    shape = [1, *(side or 64 for side in network.shape[1:])]
    network.run(np.zeros(shape, network.dtype))


def attempt_litert(path: Path, content: bytes) -> None:
    """Opens and runs a `.tflite` file; for `mspfn_tf.runtimes.trial`."""
    _try(_litert(path, content, threads=1))


def attempt_onnx(path: Path, content: bytes, folder: bytes) -> None:
    """Opens and runs an `.onnx` file of a folder; for `mspfn_tf.runtimes.trial`."""
    _try(_onnx(path, content, os.fsdecode(folder), threads=1))


def _open_litert(path, threads):
    content = _content(path)
    check_litert(content, path, custom=("TFLite_Detection_PostProcess",))
    check_stranger(attempt_litert, path, content)
    return _litert(path, content, threads)


def _litert(path, content, threads):
    from ai_edge_litert.interpreter import Interpreter

    try:
        interpreter = Interpreter(model_content=content, num_threads=threads)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise UsageError(f"cannot load {path}: {error}") from error
    source = _only(interpreter.get_input_details(), path)
    shape, dtype = _shape(source["shape_signature"]), np.dtype(source["dtype"])

    def run(x):
        try:
            if list(x.shape) != list(interpreter.get_input_details()[0]["shape"]):
                interpreter.resize_tensor_input(source["index"], x.shape)
                interpreter.allocate_tensors()
            interpreter.set_tensor(source["index"], x)
            interpreter.invoke()
        except RuntimeError as error:
            raise UsageError(f"{path} fails at {list(x.shape)}: {error}") from error
        return [
            _dequantised(interpreter.get_tensor(target["index"]), target["quantization"])
            for target in interpreter.get_output_details()
        ]

    scale, zero = source["quantization"]

    def encode(x):
        limits = np.iinfo(dtype)
        return np.clip(np.rint(x / scale + zero), limits.min, limits.max).astype(dtype)

    return Network(str(path), shape, dtype, run, encode if scale else None)


def _dequantised(values, quantization):
    scale, zero = quantization
    return (values.astype(np.float32) - zero) * np.float32(scale) if scale else values


def _open_onnx(path, threads):
    require("onnxruntime", "tasks")
    content, folder = _content(path), path.resolve().parent
    check_stranger(attempt_onnx, path, content, os.fsencode(folder))
    return _onnx(path, content, str(folder), threads)


def _onnx(path, content, folder, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Where weights may stand that are not in the file; onnxruntime refuses paths out of it.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
    try:
        session = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
    except Exception as error:  # its own exceptions share no other base
        raise UsageError(f"cannot load {path}: {error}") from error
    source = _only(session.get_inputs(), path)
    dtypes = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}
    if source.type not in dtypes:
        raise UsageError(f"{path} takes {source.type}; expected one of {', '.join(dtypes)}")

    def run(x):
        try:
            return [np.asarray(output) for output in session.run(None, {source.name: x})]
        except Exception as error:  # as above
            raise UsageError(f"{path} fails at {list(x.shape)}: {error}") from error

    return Network(str(path), _shape(source.shape), np.dtype(dtypes[source.type]), run)


def _open_keras(model, name=None):
    import keras

    if not isinstance(model, keras.Model):
        raise UsageError(
            f"a task's network must be a keras.Model or {KINDS}; received {type(model).__name__}"
        )
    name = name or model.name
    source = _only(list(getattr(model, "inputs", None) or []), name)
    shape = _shape(source.shape)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # No XLA, which `predict` would choose: it compiles again for each size.
        forward = tf.function(lambda x: model(x, training=False), autograph=False,
                              reduce_retracing=True)  # fmt: skip
    else:
        forward = model.predict_on_batch

    def run(x):
        return [keras.ops.convert_to_numpy(y) for y in keras.tree.flatten(forward(x))]

    return Network(name, shape, np.dtype(keras.backend.standardize_dtype(source.dtype)), run)


def _open_saved_model(path):
    import tensorflow as tf

    loaded = load_saved_model(path)
    inputs = loaded.signatures["serving_default"].structured_input_signature[1]
    name, spec = _only(list(inputs.items()), path)
    if spec.shape.rank is None:
        raise UsageError(f"{path} takes an input of unknown rank; expected one picture")

    def run(x):
        # Naming `loaded` keeps it alive: without it the variables of its signatures are gone.
        outputs = loaded.signatures["serving_default"](**{name: tf.constant(x)})
        return [outputs[key].numpy() for key in sorted(outputs)]

    shape = _shape(spec.shape.as_list())
    return Network(str(path), shape, np.dtype(spec.dtype.as_numpy_dtype), run)
