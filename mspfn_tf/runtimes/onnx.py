"""onnxruntime: `.onnx` files."""

import math
import threading
from pathlib import Path

import numpy as np

from mspfn_tf.errors import UsageError
from mspfn_tf.extras import require
from mspfn_tf.inspection.litert import live_bytes
from mspfn_tf.runtimes.graph import GraphRuntime
from mspfn_tf.runtimes.runtime import Runtime, cpu_count, make_small_pictures, the_one
from mspfn_tf.runtimes.trial import check_stranger
from mspfn_tf.source import Source


class OnnxRuntime(GraphRuntime):
    """An `.onnx` file in onnxruntime, on the processor. Needs the extra `onnx`.

    Args:
        source: what it was opened from.
        threads: of the session. Default: all cores.
        content: of the file, if it was read and tried already. By default it is read, with the
            files beside it that hold its weights, and run once in a process of its own
            (`mspfn_tf.runtimes.trial`).
    """

    kind = "onnx"

    def __init__(self, source: Source, threads: int | None = None, content: bytes | None = None):
        onnx = require("onnx", "onnx")
        self._onnxruntime = require("onnxruntime", "onnx")
        from mspfn_tf.runtimes.onnx_graph import metadata_of

        self.source = source
        self._threads = threads or cpu_count()
        if content is None:
            content = _content(source.file)
            check_stranger(attempt, source.file, content)
        try:
            self._model = onnx.ModelProto.FromString(content)
            self._sessions = {"plain": self._session(self._model)}
        except (RuntimeError, *self._errors()) as error:
            raise UsageError(f"cannot load {source.path}: {error}") from error
        session = self._sessions["plain"]
        ends = the_one(session.get_inputs(), session.get_outputs(), source.path)
        numbers = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
        if ends[0].type not in numbers:
            raise UsageError(
                f"{source.path} takes {ends[0].type}; expected float or float16 pictures"
            )
        self._facts = metadata_of(self._model)
        taken, given = [
            [side if isinstance(side, int) else None for side in value.shape] for value in ends
        ]
        self._prepare(source.path, taken, given, numbers[ends[0].type])
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
            from mspfn_tf.runtimes.onnx_graph import apart

            with self._lock:
                for name, model in zip(("measure", "guided"), apart(self._model), strict=True):
                    self._sessions.setdefault(name, self._session(model))
        session = self._sessions[graph]
        names = [value.name for value in session.get_inputs()]
        try:
            return session.run(None, dict(zip(names, arrays, strict=True)))
        except tuple(self._errors()) as error:
            if "allocat" in str(error) or "bad_alloc" in str(error):
                raise MemoryError(f"not enough memory for {arrays[0].shape}") from error
            raise UsageError(
                f"{self.source.path} fails at pictures of shape {list(arrays[0].shape)}: {error}"
            ) from error

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


def attempt(path: Path, content: bytes) -> None:
    """Opens an `.onnx` file and makes small pictures; for `mspfn_tf.runtimes.trial`."""
    make_small_pictures(OnnxRuntime(Source("onnx", path.name, path), content=content))


def _content(path: Path) -> bytes:
    """A file as one message: what stands in other files of its folder is taken in.

    Raises:
        UsageError: it cannot be read, or names files elsewhere.
    """
    import onnx
    from google.protobuf.message import DecodeError, EncodeError

    try:
        return onnx.load(path).SerializeToString()
    except (DecodeError, EncodeError, OSError, ValueError, onnx.checker.ValidationError) as error:
        raise UsageError(f"cannot load {path}: {error}") from error
