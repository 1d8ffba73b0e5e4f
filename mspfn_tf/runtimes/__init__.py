"""What runs a model: Keras, a SavedModel, LiteRT, ONNX or OpenVINO, behind one interface.

Nothing else of the package opens a model that derains (`tasks/networks.py` opens those of tasks).
TensorFlow and Keras are imported only for the sources that need them.
"""

import importlib.util

from mspfn_tf.errors import UsageError
from mspfn_tf.released import check_released
from mspfn_tf.runtimes.keras import KerasRuntime
from mspfn_tf.runtimes.litert import LiteRTRuntime
from mspfn_tf.runtimes.onnx import OnnxRuntime
from mspfn_tf.runtimes.openvino import OpenVINORuntime
from mspfn_tf.runtimes.runtime import (
    CHOICES,
    MOST_FIXED_PIXELS,
    RUNTIMES,
    Runtime,
    cpu_count,
    is_out_of_memory,
    processor,
)
from mspfn_tf.runtimes.saved_model import SavedModelRuntime
from mspfn_tf.source import ModelSource, resolve

__all__ = [
    "CHOICES",
    "MOST_FIXED_PIXELS",
    "RUNTIMES",
    "KerasRuntime",
    "LiteRTRuntime",
    "OnnxRuntime",
    "OpenVINORuntime",
    "Runtime",
    "SavedModelRuntime",
    "cpu_count",
    "is_out_of_memory",
    "open_runtime",
    "processor",
]


def open_runtime(
    source: ModelSource, runtime: str | None = None, threads: int | None = None, resize: bool = True
) -> Runtime:
    """Opens a model.

    Args:
        source: what `mspfn_tf.source.resolve` takes, or a `Runtime`, which is returned as it is.
        runtime: one of `CHOICES`. Default: "litert" for presets whose `.tflite` is shipped and for
            `.tflite` files, else what the source needs. "litert-int8" runs presets with 8-bit
            arithmetic. "openvino" and "openvino-bfloat16" run presets and `.xml` files. Those of
            fewer bits take down to half the time where the processor has instructions for them.
        threads: threads of LiteRT, onnxruntime or OpenVINO. Default: all cores.
        resize: whether a `.tflite` file may be run in other sizes than its own, where its graph
            allows.

    Raises:
        UsageError: `source` is no model, cannot be loaded, or not by that runtime.
    """
    if isinstance(source, Runtime):
        return source
    found = resolve(source)
    if runtime not in (None, *CHOICES):
        raise UsageError(f"runtime must be one of {', '.join(CHOICES)}; received {runtime!r}")
    if runtime == "keras" and found.kind in ("litert", "saved_model", "onnx", "openvino"):
        raise UsageError(f"{source} is no Keras model: runtime 'keras' cannot open it")
    if found.kind == "folder" and found.path is not None:
        check_released(found.path)
    int8 = runtime == "litert-int8"
    file, tiles = found.litert_files(int8)
    if int8 and file is None:
        raise UsageError(
            f"no 8-bit file comes with {source}: export one with 8-bit arithmetic (quantize int8), "
            "name it as the model, and leave runtime out"
        )
    openvino = runtime in ("openvino", "openvino-bfloat16")
    if openvino or found.kind == "openvino":
        graph = found.openvino_file
        if graph is None or runtime == "litert":
            raise UsageError(_without(source, ".tflite" if runtime == "litert" else ".xml"))
        return OpenVINORuntime(found, graph, threads, runtime == "openvino-bfloat16")
    if runtime == "litert" and file is None:
        raise UsageError(_without(source, ".tflite"))
    if file is not None and runtime != "keras":
        if importlib.util.find_spec("ai_edge_litert"):
            return LiteRTRuntime(found, file, threads, resize, tiles, int8=int8)
        if runtime in ("litert", "litert-int8") or found.kind == "litert":
            raise UsageError("LiteRT is not installed: pip install ai-edge-litert")
    if found.kind == "saved_model":
        return SavedModelRuntime(found)
    if found.kind == "onnx":
        return OnnxRuntime(found, threads)
    return KerasRuntime(found)


def _without(source, suffix):
    return f"{source} has no {suffix} file: export one, or leave runtime out"
