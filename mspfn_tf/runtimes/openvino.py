"""OpenVINO: `.xml` graphs with their `.bin`."""

import json
import math
import threading
from pathlib import Path

import numpy as np

from mspfn_tf.errors import UsageError
from mspfn_tf.extras import require
from mspfn_tf.inspection.litert import live_bytes
from mspfn_tf.presets import check_shipped_bytes
from mspfn_tf.runtimes.graph import GraphRuntime
from mspfn_tf.runtimes.runtime import cpu_count, make_small_pictures, the_one
from mspfn_tf.runtimes.trial import check_stranger
from mspfn_tf.source import Source

_PICTURES = 130.0
"""Bytes per pixel of a picture in its various forms, before and after the graph."""
_COPIES = 1.7
"""Bytes that were measured for each byte of a tensor that is needed: some are laid out anew for a
convolution (both presets, 2 to 8 megapixels)."""


class OpenVINORuntime(GraphRuntime):
    """An OpenVINO graph (.xml, with its .bin) on the processor. Needs the extra `openvino`.

    Args:
        source: what it was opened from.
        path: of the graph; the .bin lies beside it.
        threads: of the inference. Default: all cores.
        bfloat16: whether to compute in bfloat16: three decimal digits, down to half the time.
        contents: of the .xml and the .bin file, if they were read and tried already. By default
            files that are shipped are compared with their SHA-256, and any others are run once in a
            process of its own (`mspfn_tf.runtimes.trial`).

    Raises:
        UsageError: the file cannot be loaded, or the processor has no instructions for bfloat16.
    """

    def __init__(
        self,
        source: Source,
        path: Path,
        threads: int | None = None,
        bfloat16: bool = False,
        contents: tuple[bytes, bytes] | None = None,
    ):
        self._openvino = openvino = require("openvino", "openvino")
        self.source = source
        self.path = path
        self.kind = "openvino-bfloat16" if bfloat16 else "openvino"
        if contents is None:
            contents = _contents(path)
            # The very bytes that are used are the ones that are checked.
            files = (path, path.with_suffix(".bin"))
            if not all([*map(check_shipped_bytes, files, contents)]):
                check_stranger(attempt, path, *contents)
        self._contents = contents
        self._options = {
            "INFERENCE_NUM_THREADS": threads or cpu_count(),
            # Left alone, it works in bfloat16 where the processor can.
            "INFERENCE_PRECISION_HINT": "bf16" if bfloat16 else "f32",
        }
        self._core = openvino.Core()
        if bfloat16 and not computes_bfloat16():
            raise UsageError(
                "this processor has no instructions for bfloat16 (AVX512_BF16 or AMX): choose "
                "runtime 'openvino'"
            )
        model = self._read()
        ends = the_one(model.inputs, model.outputs, path)
        number = ends[0].get_element_type().to_dtype()
        if number not in (np.float32, np.float16):
            raise UsageError(f"{path} takes {number}; expected float32 or float16 pictures")
        self._facts = {}
        if model.has_rt_info("mspfn"):
            self._facts = json.loads(model.get_rt_info("mspfn").astype(str))
        taken, given = [
            [side.get_length() if side.is_static else None for side in value.get_partial_shape()]
            for value in ends
        ]
        self._prepare(path, taken, given, number)
        self.statistics = self._facts.get("statistics")
        self.coarse_first = bool(self._facts.get("coarse")) and self.sizes.fixed is None
        means = {"ReduceMean", "ReduceSum"}
        self.needs_statistics = any(op.get_type_name() in means for op in model.get_ops())
        self._compiled = {"plain": self._compile(model)}
        self._lock = threading.Lock()
        self.bytes_per_pixel = self._examine()

    def _read(self):
        try:
            return self._core.read_model(*self._contents)
        except RuntimeError as error:
            raise UsageError(f"cannot load {self.path}: {error}") from error

    def _compile(self, model):
        return self._core.compile_model(model, "CPU", self._options)

    def _call(self, graph, arrays):
        if graph not in self._compiled:
            with self._lock:
                self._compiled[graph] = self._compile(self._part(graph))
        compiled = self._compiled[graph]
        # A request of its own for each call, so that threads do not share one.
        try:
            found = compiled.create_infer_request().infer(arrays)
        except RuntimeError as error:
            raise UsageError(
                f"{self.path} fails at pictures of shape {list(arrays[0].shape)}: {error}"
            ) from error
        return [found[output] for output in compiled.outputs]

    def _part(self, name):
        """The graph that measures, the one that is guided (see `runtimes/onnx_graph.py`), or the
        one that derains tiles."""
        opset = self._openvino.opset13
        model = self._read()
        measured = self._tensors(model, "statistics_{}", len(self._facts["widths"]))
        if name == "measure":
            results = [opset.result(value) for value in measured]
            return self._openvino.Model(results, model.get_parameters(), name)
        given = [
            opset.parameter(self._openvino.PartialShape([-1, 1, 1, channels]), np.float32)
            for channels in self._facts["widths"]
        ]
        for value, other in zip(measured, given, strict=True):
            _feed(value, other)
        if name == "tile":
            return self._tile(model, given)
        model.add_parameters(given)
        if self.statistics == "iterated":
            model.add_results([opset.result(value) for value in measured])
        return model

    def _tile(self, fine, given):
        """`fine`, whose coarser scales are those of a second copy, which sees the surroundings."""
        opset = self._openvino.opset13
        coarse = self._read()
        for value, other in zip(
            self._tensors(coarse, "statistics_{}", len(given)), given, strict=True
        ):
            _feed(value, other)
        rows, columns = (opset.parameter(self._openvino.PartialShape([-1]), np.int32) for _ in "ab")
        features = (
            self._tensors(model, "coarse_{:02}", self._facts["coarse"]) for model in (coarse, fine)
        )
        for seen, used in zip(*features, strict=True):
            part = opset.gather(seen, rows, opset.constant(1))
            _feed(used, opset.gather(part, columns, opset.constant(2)))
        inputs = [*fine.get_parameters(), *coarse.get_parameters(), *given, rows, columns]
        return self._openvino.Model(fine.get_results(), inputs, "tile")

    def _tensors(self, model, name, count):
        return [self._tensor(model, name.format(n)) for n in range(count)]

    def _tensor(self, model, name):
        for operator in model.get_ordered_ops():
            for value in operator.outputs():
                if name in value.get_tensor().get_names():
                    return value
        raise UsageError(f"{self.path} has no tensor {name}: export it again")

    def _examine(self) -> float:
        """Bytes per pixel, from the shapes at 64x64."""
        copies = _COPIES / 2 if self.kind == "openvino-bfloat16" else _COPIES
        return _PICTURES + copies * self._live_bytes()

    def _live_bytes(self):
        """Bytes per pixel of the tensors that are needed at one time, in float32."""
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
        return live_bytes(operators, size) / pixels


def _feed(value, other):
    """Has a graph take the output of the node `other` wherever it took `value`."""
    for target in value.get_target_inputs():
        target.replace_source_output(other.output(0))


def computes_bfloat16() -> bool:
    """Whether OpenVINO finds instructions for bfloat16 in this processor.

    Raises:
        UsageError: the extra `openvino` is not installed.
    """
    core = require("openvino", "openvino").Core()
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def attempt(path: Path, graph: bytes, weights: bytes) -> None:
    """Opens an OpenVINO graph and makes small pictures; for `mspfn_tf.runtimes.trial`."""
    source = Source("openvino", path.name, path)
    make_small_pictures(OpenVINORuntime(source, path, contents=(graph, weights)))


def _contents(path: Path) -> tuple[bytes, bytes]:
    """The .xml and the .bin file.

    Raises:
        UsageError: one cannot be read, or it is no XML: OpenVINO would open other kinds, too.
    """
    try:
        graph, weights = path.read_bytes(), path.with_suffix(".bin").read_bytes()
    except OSError as error:
        raise UsageError(f"cannot load {path}: {error.strerror}") from error
    if not graph.lstrip().startswith(b"<"):
        raise UsageError(f"cannot load {path}: it is no XML file")
    return graph, weights
