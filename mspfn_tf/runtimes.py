"""What runs a model: Keras, a SavedModel, LiteRT, ONNX or OpenVINO, behind one interface.

Nothing else of the package opens a model that derains (`tasks/networks.py` opens those of tasks).
TensorFlow and Keras are imported only for the sources that need them.
"""

import abc
import contextlib
import importlib.util
import json
import math
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np

from mspfn_tf.errors import UsageError
from mspfn_tf.extras import require
from mspfn_tf.litert_check import live_bytes
from mspfn_tf.litert_trial import check_stranger
from mspfn_tf.presets import check_shipped_bytes
from mspfn_tf.quiet import native_quiet
from mspfn_tf.released import check_released
from mspfn_tf.saved_model_check import check_saved_model
from mspfn_tf.sizes import MULTIPLE_OF, Sizes
from mspfn_tf.source import Source, resolve

_ABANDONED: list[Any] = []  # interpreters of a parent process, in a forked one
RUNTIMES = ("litert", "keras", "saved_model", "onnx", "openvino")

MOST_FIXED_PIXELS = 2**26
"""A model of one fixed size may take pictures of so many pixels, 8192x8192."""


# What TensorFlow answers to damaged SavedModels with, beside errors of its own.
_LOADING_ERRORS = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    RuntimeError,
    AttributeError,
    AssertionError,
    NotImplementedError,
    RecursionError,
)


class Runtime(abc.ABC):
    """A model that is ready to run. Calls from several threads are right; see `run`.

    Attributes:
        kind: one of `RUNTIMES`.
        source: the `mspfn_tf.source.Source` it was opened from.
        sizes: the `Sizes` that it takes.
        batches: whether it takes several pictures at once.
        statistics: how the attention can be given the statistics of a whole picture: "given" (they
            do not depend on those in use), "iterated" (they do), or None where it cannot.
        needs_statistics: whether tiles differ from the whole picture without them, as far as can be
            known.
        bytes_per_pixel: estimate of the memory that one pixel takes while it goes through.
    """

    kind: str
    source: Source
    sizes: Sizes
    batches: bool = True
    statistics: str | None = None
    needs_statistics: bool = True
    bytes_per_pixel: float = 4096.0

    @abc.abstractmethod
    def run(self, pictures: np.ndarray) -> np.ndarray:
        """Derains pictures.

        Args:
            pictures: float32 `[batch, H, W, 3]`, RGB in [0, 1], of a size among `sizes`.

        Returns:
            float32 `[batch, H, W, 3]`; not necessarily clipped.
        """

    def measure(self, pictures: np.ndarray) -> np.ndarray:
        """The statistics of pictures, float32 `[batch, 1, 1, S]`; see `mspfn_tf.whole_picture`."""
        raise NotImplementedError

    def run_guided(
        self, pictures: np.ndarray, statistics: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Derains pictures that attend by given statistics.

        Args:
            pictures: as `run` takes them.
            statistics: float32 `[1, 1, 1, S]`, for all pictures alike.

        Returns:
            (what `run` returns; the statistics measured meanwhile, if `statistics` is "iterated").
        """
        raise NotImplementedError

    def _check_process(self, opened_in: int) -> None:
        if os.getpid() != opened_in:
            raise UsageError(
                f"{self.source.name} was opened before this process was forked, and its threads "
                "did not come along: open it in the child process, or start processes by spawn"
            )


def open_runtime(
    source: Any, runtime: str | None = None, threads: int | None = None, resize: bool = True
) -> Runtime:
    """Opens a model.

    Args:
        source: what `mspfn_tf.source.resolve` takes, or a `Runtime`, which is returned as it is.
        runtime: "litert" or "keras" where a preset has both. Default: "litert" for presets whose
            `.tflite` is shipped and for `.tflite` files, else what the source needs.
        threads: threads of LiteRT, onnxruntime or OpenVINO. Default: all cores.
        resize: whether a `.tflite` file may be run in other sizes than its own, where its graph
            allows.

    Raises:
        UsageError: `source` is no model, cannot be loaded, or not by that runtime.
    """
    if isinstance(source, Runtime):
        return source
    found = resolve(source)
    if runtime not in (None, "litert", "keras"):
        raise UsageError(f"runtime must be 'litert' or 'keras'; received {runtime!r}")
    if runtime == "keras" and found.kind in ("litert", "saved_model", "onnx", "openvino"):
        raise UsageError(f"{source} is no Keras model: runtime 'keras' cannot open it")
    if found.kind == "folder" and found.path is not None:
        check_released(found.path)
    file = found.litert_file
    if runtime == "litert" and file is None:
        raise UsageError(f"{source} has no .tflite file: export one, or choose runtime 'keras'")
    if file is not None and runtime != "keras":
        if importlib.util.find_spec("ai_edge_litert"):
            return LiteRTRuntime(found, file, threads, resize)
        if runtime == "litert" or found.kind == "litert":
            raise UsageError("LiteRT is not installed: pip install ai-edge-litert")
    if found.kind == "saved_model":
        return SavedModelRuntime(found)
    if found.kind == "onnx":
        return OnnxRuntime(found, threads)
    if found.kind == "openvino":
        return OpenVINORuntime(found, threads)
    return KerasRuntime(found)


class KerasRuntime(Runtime):
    """A Keras model on the active backend."""

    kind = "keras"

    def __init__(self, source: Source):
        import keras

        from mspfn_tf.layers import GlobalMean
        from mspfn_tf.model_files import load_model
        from mspfn_tf.whole_picture import guided_model, has_statistics, statistics_model

        model = load_model(source)
        if not isinstance(model, keras.Model):
            raise UsageError(f"expected a keras.Model; received {type(model).__name__}")
        inputs = getattr(model, "inputs", None) or []
        if len(inputs) != 1:
            raise UsageError(f"{model.name} has {len(inputs)} inputs; expected a model of one")
        self.source = source
        self.model = model
        self.sizes = _sizes(inputs[0].shape, model.name)
        self.bytes_per_pixel = _keras_bytes_per_pixel(model)
        self._forward = _function(model, self.sizes)
        self._process = os.getpid()
        pooling = (GlobalMean, keras.layers.GlobalAveragePooling2D)
        self.needs_statistics = any(isinstance(layer, pooling) for layer in model.layers)
        if has_statistics(model):
            self.statistics = "given" if model.attention == "picture" else "iterated"
            self._measure = _function(statistics_model(model), self.sizes)
            self._guided = _function(guided_model(model), self.sizes, guided=True)

    def run(self, pictures):
        self._check_process(self._process)
        return self._forward(pictures)[0]

    def measure(self, pictures):
        self._check_process(self._process)
        return self._measure(pictures)[0]

    def run_guided(self, pictures, statistics):
        self._check_process(self._process)
        statistics = np.repeat(statistics, len(pictures), axis=0)
        derained, *measured = self._guided(pictures, statistics)
        return derained, measured[0] if measured else None


def _function(model, sizes, guided=False):
    """A function of arrays that returns a list of float32 arrays."""
    import keras

    def flat(outputs):
        return [keras.ops.cast(output, "float32") for output in keras.tree.flatten(outputs)]

    if keras.backend.backend() != "tensorflow":

        def plain(*arrays):
            tensors = [keras.ops.convert_to_tensor(array) for array in arrays]
            with _no_gradient():
                outputs = flat(model(tensors if guided else tensors[0], training=False))
            return [keras.ops.convert_to_numpy(output) for output in outputs]

        return plain

    import tensorflow as tf

    # One trace for all sizes. No XLA, which Keras' own predict would choose: on CPUs it is slower,
    # and it compiles again for each size.
    signature = [tf.TensorSpec([None, *(sizes.fixed or (None, None)), 3], tf.float32)]
    if guided:
        signature.append(tf.TensorSpec([None, *model.inputs[1].shape[1:]], tf.float32))

    @tf.function(input_signature=signature, autograph=False)
    def forward(*tensors):
        return flat(model(list(tensors) if guided else tensors[0], training=False))

    def run(*arrays):
        try:
            return [output.numpy() for output in forward(*arrays)]
        except tf.errors.ResourceExhaustedError as error:
            raise MemoryError(f"not enough memory for {arrays[0].shape}") from error

    return run


def _no_gradient():
    import keras

    if keras.backend.backend() == "torch":
        import torch

        return torch.no_grad()
    return contextlib.nullcontext()


def _keras_bytes_per_pixel(model) -> float:
    """From the shapes of a functional model's tensors, at 64x64 where they are free."""
    import keras

    side = 64
    size, operators = {}, []
    try:
        for layer in model.layers:
            inputs, outputs = (keras.tree.flatten(end) for end in (layer.input, layer.output))
            for tensor in outputs:
                size[id(tensor)] = 4.0 * math.prod(length or side for length in tensor.shape[1:])
            operators.append(
                ([id(tensor) for tensor in inputs], [id(tensor) for tensor in outputs])
            )
    except AttributeError:  # not functional: nothing is known of its inside
        return Runtime.bytes_per_pixel
    height, width = model.inputs[0].shape[1:3]
    return max(64.0, live_bytes(operators, size) / ((height or side) * (width or side)))


class SavedModelRuntime(Runtime):
    """The signatures of a SavedModel; `serving_default` must take and give one picture tensor."""

    kind = "saved_model"

    def __init__(self, source: Source):
        import tensorflow as tf

        path = source.path
        check_saved_model(path)
        try:
            loaded = tf.saved_model.load(str(path))
        except (tf.errors.OpError, *_LOADING_ERRORS) as error:
            raise UsageError(f"cannot load the SavedModel {path}: {error}") from error
        if "serving_default" not in loaded.signatures:
            found = ", ".join(loaded.signatures) or "none"
            raise UsageError(f"{path} has no signature serving_default (it has: {found})")
        signature = loaded.signatures["serving_default"]
        inputs, outputs = signature.structured_input_signature[1], signature.structured_outputs
        if len(inputs) != 1 or len(outputs) != 1:
            raise UsageError(
                f"{path}: serving_default has {len(inputs)} inputs and {len(outputs)} outputs; "
                "expected one picture in, one out"
            )
        ((self._input, spec),) = inputs.items()
        (self._output,) = outputs
        if spec.dtype != tf.float32 or spec.shape.rank is None:
            raise UsageError(
                f"{path}: serving_default takes {spec}; expected float32 [batch, H, W, 3]"
            )
        self.source = source
        self.sizes = _sizes(spec.shape.as_list(), path)
        # Naming `loaded` keeps it alive: without it the variables of its signatures are gone.
        self._loaded = loaded
        self._process = os.getpid()
        if {"statistics", "guided"} <= set(loaded.signatures):
            iterated = len(loaded.signatures["guided"].structured_outputs) > 1
            self.statistics = "iterated" if iterated else "given"

    def _call(self, signature, **arrays):
        import tensorflow as tf

        self._check_process(self._process)
        tensors = {name: tf.constant(array) for name, array in arrays.items()}
        try:
            outputs = self._loaded.signatures[signature](**tensors)
        except tf.errors.ResourceExhaustedError as error:
            raise MemoryError(f"not enough memory for {list(arrays.values())[0].shape}") from error
        except (tf.errors.OpError, ValueError, TypeError) as error:
            raise UsageError(f"{self.source.path} fails in {signature}: {error}") from error
        return {name: output.numpy() for name, output in outputs.items()}

    def run(self, pictures):
        return self._call("serving_default", **{self._input: pictures})[self._output]

    def measure(self, pictures):
        return self._call("statistics", rainy=pictures)["statistics"]

    def run_guided(self, pictures, statistics):
        statistics = np.repeat(statistics, len(pictures), axis=0)
        outputs = self._call("guided", rainy=pictures, statistics=statistics)
        return outputs["derained"], outputs.get("statistics")


class LiteRTRuntime(Runtime):
    """A `.tflite` file. One picture at a time; other threads wait for their turn, since an
    interpreter is not thread-safe and uses all cores anyway. After a fork the child opens the file
    anew.

    Args:
        source: what it was opened from.
        path: the file.
        threads: of the interpreter.
        resize: whether to run other sizes than the file's own.
        content: of the file, if it was read and checked already. By default a file that is shipped
            is compared with its SHA-256, and any other one is checked and run once in a process
            of its own (`mspfn_tf.litert_trial`).
    """

    kind = "litert"
    batches = False

    def __init__(
        self,
        source: Source,
        path: Path,
        threads: int | None = None,
        resize: bool = True,
        content: bytes | None = None,
    ):
        self.source = source
        self.path = path
        if content is None:
            try:
                content = path.read_bytes()
            except OSError as error:
                raise UsageError(f"cannot read {path}: {error.strerror}") from error
            # The very bytes that are used are the ones that are checked.
            if not check_shipped_bytes(path, content):
                check_stranger(content, path)
        self._content = content
        self._threads = threads or cpu_count()
        self._open()
        inputs, outputs = (
            self._interpreter.get_input_details(),
            self._interpreter.get_output_details(),
        )
        if len(inputs) != 1 or len(outputs) != 1:
            raise UsageError(
                f"{path} has {len(inputs)} inputs and {len(outputs)} outputs; expected one picture "
                "in, one out"
            )
        (self._source,), (self._target,) = inputs, outputs
        self.sizes = _sizes(self._source["shape_signature"], path)
        self._encode, _ = _number_format(self._source, path)
        _, self._decode = _number_format(self._target, path)
        signatures = self._interpreter.get_signature_list()
        if {"statistics", "guided"} <= set(signatures):
            iterated = "statistics" in signatures["guided"]["outputs"]
            self.statistics = "iterated" if iterated else "given"
        if resize and self.sizes.fixed is not None and self._takes_other_sizes():
            self.sizes = Sizes()
        self.bytes_per_pixel = self._examine()

    def _open(self):
        from ai_edge_litert.interpreter import Interpreter

        try:
            with native_quiet():
                interpreter = Interpreter(model_content=self._content, num_threads=self._threads)
                interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise UsageError(f"cannot load {self.path}: {error}") from error
        self._interpreter = interpreter
        self._runners = {}
        self._lock = threading.Lock()
        self._process = os.getpid()

    def _takes_other_sizes(self) -> bool:
        """Whether the graph of a file of fixed size works in another one, by trying a small one."""
        size = self.sizes.fixed
        if size is None or self.sizes.multiple_of != MULTIPLE_OF:
            return False
        probe = np.zeros((1, 2 * MULTIPLE_OF, 3 * MULTIPLE_OF, 3), np.float32)
        try:
            return self._run_one(probe).shape == probe.shape
        except (ValueError, RuntimeError):
            self._open()  # what a failed change of size leaves is not to be relied upon
            return False

    def _examine(self) -> float:
        """Bytes per pixel from the tensors of the first graph, by their lifetimes; notes whether
        it takes means."""
        from ai_edge_litert import schema_py_generated as schema

        model = schema.Model.GetRootAs(self._content, 0)
        graph = model.Subgraphs(0)
        if graph is None or not graph.OperatorsLength():
            return Runtime.bytes_per_pixel
        size = {}
        for index in range(graph.TensorsLength()):
            tensor = graph.Tensors(index)
            shape = tensor.ShapeAsNumpy() if tensor.ShapeLength() else ()
            if len(shape) == 4:
                size[index] = 4.0 * float(np.prod(np.maximum(shape, 1)))
        operators = []
        codes = [model.OperatorCodes(index) for index in range(model.OperatorCodesLength())]
        means = {schema.BuiltinOperator.MEAN, schema.BuiltinOperator.SUM}
        convolutions = {schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.TRANSPOSE_CONV}
        pointers = 0.0
        self.needs_statistics = False
        for index in range(graph.OperatorsLength()):
            operator = graph.Operators(index)
            inputs = operator.InputsAsNumpy() if operator.InputsLength() else ()
            outputs = operator.OutputsAsNumpy() if operator.OutputsLength() else ()
            operators.append((list(inputs), list(outputs)))
            code = codes[operator.OpcodeIndex()]
            kind = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
            self.needs_statistics |= kind in means
            if kind in convolutions:
                # XNNPACK keeps a table of pointers for every convolution wider than one pixel: one
                # for each place of the output and tap of the kernel.
                _, tall, wide, _ = graph.Tensors(int(inputs[1])).ShapeAsNumpy()
                _, rows, columns, _ = graph.Tensors(int(outputs[0])).ShapeAsNumpy()
                if tall * wide > 1:
                    pointers += 8.0 * rows * columns * tall * wide
        produced = {name for _, outputs in operators for name in outputs}
        size = {name: bytes_ for name, bytes_ in size.items() if name in produced}
        height, width = self._source["shape"][1:3]
        return max(64.0, (live_bytes(operators, size) + pointers) / float(height * width))

    def _run_one(self, picture):
        interpreter = self._interpreter
        # A runner holds on to the interpreter's inside, which then refuses to work directly.
        self._runners.clear()
        if list(picture.shape) != list(interpreter.get_input_details()[0]["shape"]):
            interpreter.resize_tensor_input(self._source["index"], picture.shape)
            with native_quiet():
                interpreter.allocate_tensors()
        interpreter.set_tensor(self._source["index"], self._encode(picture))
        interpreter.invoke()
        return self._decode(interpreter.get_tensor(self._target["index"]))

    def _locked(self):
        if os.getpid() != self._process:
            # Its end would wait for threads that did not come along.
            _ABANDONED.append((self._interpreter, self._runners))
            self._open()
        return self._lock

    @contextlib.contextmanager
    def _failures(self, pictures):
        """LiteRT knows one kind of error only, also for a lack of memory."""
        try:
            yield
        except RuntimeError as error:
            height, width = pictures.shape[1:3]
            raise UsageError(f"{self.path} fails at {width}x{height} pixels: {error}") from error

    def _signature(self, name, **arrays):
        if name not in self._runners:
            with native_quiet():
                self._runners[name] = self._interpreter.get_signature_runner(name)
        return self._runners[name](**arrays)

    def run(self, pictures):
        with self._locked(), self._failures(pictures):
            return np.concatenate([self._run_one(picture[None]) for picture in pictures])

    def measure(self, pictures):
        with self._locked(), self._failures(pictures):
            found = [
                self._signature("statistics", rainy=picture[None])["statistics"]
                for picture in pictures
            ]
        return np.concatenate(found)

    def run_guided(self, pictures, statistics):
        with self._locked(), self._failures(pictures):
            found = [
                self._signature("guided", rainy=picture[None], statistics=statistics)
                for picture in pictures
            ]
        derained = np.concatenate([outputs["derained"] for outputs in found])
        if self.statistics == "given":
            return derained, None
        return derained, np.concatenate([outputs["statistics"] for outputs in found])


class _GraphRuntime(Runtime):
    """What ONNX and OpenVINO files have in common: pictures may be planar, statistics come in
    parts. Calls from several threads run at the same time.

    A subclass sets `_facts` (what the file says of itself) before it calls `_prepare`, and has
    `_call`.
    """

    def _prepare(self, path, shape, output_shape, number):
        """Finds out how pictures go in and come out.

        Args:
            path: of the file, for messages.
            shape: of the input, with None for what is free.
            output_shape: of the output.
            number: dtype of the input.
        """
        layout = self._facts.get("layout")
        for found in (shape, output_shape):
            if len(found) != 4 or 3 not in (found[1], found[3]):
                raise UsageError(
                    f"{path} takes {list(shape)} and gives {list(output_shape)}; expected pictures "
                    "[batch, 3, H, W] or [batch, H, W, 3] on both sides"
                )
        self._planar = [
            found[1] == 3 and (found[3] != 3 or layout != "nhwc") for found in (shape, output_shape)
        ]
        self._number = number
        height, width = shape[2:] if self._planar[0] else shape[1:3]
        self.sizes = _sizes((shape[0], height, width, 3), path)
        self.batches = shape[0] is None
        self._process = os.getpid()

    def _encode(self, pictures):
        if self._planar[0]:
            pictures = pictures.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(pictures, self._number)

    def _decode(self, pictures):
        if self._planar[1]:
            pictures = pictures.transpose(0, 2, 3, 1)
        return np.ascontiguousarray(pictures, np.float32)

    @abc.abstractmethod
    def _call(self, graph: str, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """Runs "plain", "measure" or "guided" on its inputs, in order."""

    def run(self, pictures):
        self._check_process(self._process)
        batches = [pictures] if self.batches else np.split(pictures, len(pictures))
        found = [self._decode(self._call("plain", [self._encode(part)])[0]) for part in batches]
        return np.concatenate(found)

    def measure(self, pictures):
        self._check_process(self._process)
        return np.concatenate(self._call("measure", [self._encode(pictures)]), axis=-1)

    def run_guided(self, pictures, statistics):
        self._check_process(self._process)
        given = np.repeat(statistics.astype(np.float32), len(pictures), axis=0)
        parts = np.split(given, np.cumsum(self._facts["widths"])[:-1], axis=-1)
        parts = [np.ascontiguousarray(part) for part in parts]
        derained, *measured = self._call("guided", [self._encode(pictures), *parts])
        return self._decode(derained), np.concatenate(measured, axis=-1) if measured else None


class OnnxRuntime(_GraphRuntime):
    """An `.onnx` file in onnxruntime, on the processor. Needs the extra `onnx`.

    Args:
        source: what it was opened from.
        threads: of the session. Default: all cores.
    """

    kind = "onnx"

    def __init__(self, source: Source, threads: int | None = None):
        onnx = require("onnx", "onnx")
        self._onnxruntime = require("onnxruntime", "onnx")
        from google.protobuf.message import DecodeError

        from mspfn_tf.onnx_graph import metadata_of

        self.source = source
        self._threads = threads or cpu_count()
        try:
            self._model = onnx.load(source.path)
            self._sessions = {"plain": self._session(self._model)}
        except (DecodeError, OSError, ValueError, RuntimeError, *self._errors()) as error:
            raise UsageError(f"cannot load {source.path}: {error}") from error
        session = self._sessions["plain"]
        inputs, outputs = session.get_inputs(), session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            raise UsageError(
                f"{source.path} has {len(inputs)} inputs and {len(outputs)} outputs; expected one "
                "picture in, one out"
            )
        numbers = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
        if inputs[0].type not in numbers:
            raise UsageError(
                f"{source.path} takes {inputs[0].type}; expected float or float16 pictures"
            )
        self._facts = metadata_of(self._model)
        shapes = [
            [side if isinstance(side, int) else None for side in value.shape]
            for value in (inputs[0], outputs[0])
        ]
        self._prepare(source.path, *shapes, numbers[inputs[0].type])
        self.statistics = self._facts.get("statistics")
        means = {"ReduceMean", "GlobalAveragePool", "ReduceSum"}
        self.needs_statistics = any(node.op_type in means for node in self._model.graph.node)
        self.bytes_per_pixel = self._examine()
        self._lock = threading.Lock()

    def _errors(self):
        """The exceptions of onnxruntime, which have no class in common but `Exception`."""
        state = self._onnxruntime.capi.onnxruntime_pybind11_state
        found = [value for value in vars(state).values() if isinstance(value, type)]
        return [value for value in found if issubclass(value, Exception)]

    def _session(self, model):
        options = self._onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        return self._onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def _call(self, graph, arrays):
        if graph not in self._sessions:
            from mspfn_tf.onnx_graph import apart

            with self._lock:
                for name, model in zip(("measure", "guided"), apart(self._model), strict=True):
                    self._sessions.setdefault(name, self._session(model))
        session = self._sessions[graph]
        names = [value.name for value in session.get_inputs()]
        try:
            return session.run(None, dict(zip(names, arrays, strict=True)))
        except self._onnxruntime.capi.onnxruntime_pybind11_state.RuntimeException as error:
            if "allocat" in str(error) or "bad_alloc" in str(error):
                raise MemoryError(f"not enough memory for {arrays[0].shape}") from error
            raise

    def _examine(self) -> float:
        """Bytes per pixel, from the shapes that onnx infers at 64x64."""
        import onnx

        side = 64
        probe = onnx.ModelProto()
        probe.CopyFrom(self._model)
        dims = probe.graph.input[0].type.tensor_type.shape.dim
        at = (2, 3) if self._planar[0] else (1, 2)
        for place, length in ((0, 1), (at[0], side), (at[1], side)):
            if not dims[place].HasField("dim_value"):
                dims[place].dim_value = length
        pixels = dims[at[0]].dim_value * dims[at[1]].dim_value
        for value in probe.graph.output:
            value.type.tensor_type.ClearField("shape")
        try:
            known = onnx.shape_inference.infer_shapes(probe, data_prop=True)
        except onnx.shape_inference.InferenceError:
            return Runtime.bytes_per_pixel
        size = {}
        for value in (*known.graph.value_info, *known.graph.output):
            shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
            if len(shape) == 4 and all(shape):
                size[value.name] = 4.0 * math.prod(shape)
        operators = [(node.input, node.output) for node in known.graph.node]
        wide = sum(len(node.output) for node in known.graph.node if node.op_type == "Conv")
        if len(size) < wide:
            return Runtime.bytes_per_pixel  # too little is known
        return max(64.0, live_bytes(operators, size) / pixels)


class OpenVINORuntime(_GraphRuntime):
    """An OpenVINO graph (.xml, with its .bin) on the processor. Needs the extra `openvino`.

    Args:
        source: what it was opened from.
        threads: of the inference. Default: all cores.
    """

    kind = "openvino"

    def __init__(self, source: Source, threads: int | None = None):
        self._openvino = openvino = require("openvino", "openvino")
        self.source = source
        self._options = {
            "INFERENCE_NUM_THREADS": threads or cpu_count(),
            # Else it works in bfloat16 where the processor can, three decimal digits.
            "INFERENCE_PRECISION_HINT": "f32",
        }
        self._core = openvino.Core()
        model = self._read()
        if len(model.inputs) != 1 or len(model.outputs) != 1:
            raise UsageError(
                f"{source.path} has {len(model.inputs)} inputs and {len(model.outputs)} outputs; "
                "expected one picture in, one out"
            )
        number = model.inputs[0].get_element_type().to_dtype()
        if number not in (np.float32, np.float16):
            raise UsageError(f"{source.path} takes {number}; expected float32 or float16 pictures")
        self._facts = {}
        if model.has_rt_info("mspfn"):
            self._facts = json.loads(model.get_rt_info("mspfn").astype(str))
        shapes = [
            [side.get_length() if side.is_static else None for side in value.get_partial_shape()]
            for value in (model.inputs[0], model.outputs[0])
        ]
        self._prepare(source.path, *shapes, number)
        self.statistics = self._facts.get("statistics")
        means = {"ReduceMean", "ReduceSum"}
        self.needs_statistics = any(op.get_type_name() in means for op in model.get_ops())
        self._compiled = {"plain": self._compile(model)}
        self._lock = threading.Lock()
        self.bytes_per_pixel = self._examine()

    def _read(self):
        try:
            return self._core.read_model(self.source.path)
        except RuntimeError as error:
            raise UsageError(f"cannot load {self.source.path}: {error}") from error

    def _compile(self, model):
        return self._core.compile_model(model, "CPU", self._options)

    def _call(self, graph, arrays):
        if graph not in self._compiled:
            with self._lock:
                for name in ("measure", "guided"):
                    self._compiled.setdefault(name, self._compile(self._part(name)))
        compiled = self._compiled[graph]
        # A request of its own for each call, so that threads do not share one.
        found = compiled.create_infer_request().infer(arrays)
        return [found[output] for output in compiled.outputs]

    def _part(self, name):
        """The graph that measures, or the one that is guided; see `mspfn_tf.onnx_graph`."""
        opset = self._openvino.opset13
        model = self._read()
        measured = [self._tensor(model, n) for n in range(len(self._facts["widths"]))]
        if name == "measure":
            results = [opset.result(value) for value in measured]
            return self._openvino.Model(results, model.get_parameters(), name)
        for value, channels in zip(measured, self._facts["widths"], strict=True):
            shape = self._openvino.PartialShape([-1, 1, 1, channels])
            given = opset.parameter(shape, np.float32)
            for target in value.get_target_inputs():
                target.replace_source_output(given.output(0))
            model.add_parameters([given])
        if self.statistics == "iterated":
            model.add_results([opset.result(value) for value in measured])
        return model

    def _tensor(self, model, n):
        name = f"statistics_{n}"
        for operator in model.get_ordered_ops():
            for value in operator.outputs():
                if name in value.get_tensor().get_names():
                    return value
        raise UsageError(f"{self.source.path} has no tensor {name}: export it again")

    def _examine(self) -> float:
        """Bytes per pixel, from the shapes at 64x64."""
        model = self._read()
        shape = model.inputs[0].get_partial_shape()
        sides = [side.get_length() if side.is_static else 64 for side in shape]
        sides[0] = 1
        model.reshape({model.inputs[0]: sides})
        pixels = math.prod(sides) / 3
        size, operators = {}, []
        for operator in model.get_ordered_ops():
            if operator.get_type_name() == "Constant":
                continue
            name = operator.get_friendly_name()
            outputs = [(name, value.get_index()) for value in operator.outputs()]
            inputs = [
                (value.get_node().get_friendly_name(), value.get_index())
                for value in (entry.get_source_output() for entry in operator.inputs())
            ]
            operators.append((inputs, outputs))
            for key, value in zip(outputs, operator.outputs(), strict=True):
                known = value.get_partial_shape()
                if len(known) == 4 and known.is_static and operator.get_type_name() != "Result":
                    size[key] = 4.0 * math.prod(side.get_length() for side in known)
        return max(64.0, live_bytes(operators, size) / pixels)


def _sizes(shape, name) -> Sizes:
    """The `Sizes` of a model whose input has `shape`, with None or -1 for what is free."""
    shape = [None if side is None or side < 0 else int(side) for side in shape]
    if len(shape) != 4 or shape[3] != 3 or shape[0] not in (None, 1):
        raise UsageError(f"{name} takes {shape}; expected pictures [batch, H, W, 3]")
    height, width = shape[1:3]
    if height is None and width is None:
        return Sizes()
    if height is None or width is None:
        raise UsageError(f"{name} takes {shape}; expected H and W both fixed or both free")
    if not 0 < height * width <= MOST_FIXED_PIXELS:
        raise UsageError(
            f"{name} takes pictures of {width}x{height} only; expected at most "
            f"{MOST_FIXED_PIXELS:,} pixels"
        )
    aligned = height % MULTIPLE_OF == 0 and width % MULTIPLE_OF == 0
    return Sizes(MULTIPLE_OF if aligned else 1, minimum=1, fixed=(height, width))


def _number_format(tensor, path):
    """Returns (encode, decode) between float32 in [0, 1] and the numbers of a LiteRT tensor."""
    dtype = tensor["dtype"]
    if np.issubdtype(dtype, np.floating):
        return lambda values: values.astype(dtype), lambda values: values.astype(np.float32)
    scale, zero = tensor["quantization"]
    if scale == 0:
        if dtype != np.uint8:
            raise UsageError(f"{path}: {np.dtype(dtype)} pictures without a scale; expected uint8")
        scale, zero = 1 / 255, 0  # plain bytes, as a camera delivers them
    limits = np.iinfo(dtype)

    def encode(values):
        return np.clip(np.rint(values / scale + zero), limits.min, limits.max).astype(dtype)

    def decode(values):
        return (values.astype(np.float32) - zero) * np.float32(scale)

    return encode, decode


def cpu_count() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
