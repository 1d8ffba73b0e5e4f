"""The Keras model that ONNX and OpenVINO files are made from, and how they are checked."""

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from keras import ops

from mspfn_tf.errors import UsageError
from mspfn_tf.export.calibration import Patch
from mspfn_tf.model import MSPFN
from mspfn_tf.source import ModelSource, resolve
from mspfn_tf.whole_picture import cut_model, has_statistics

LAYOUTS = ("nchw", "nhwc")
GRAPH_QUANTIZATIONS = ("none", "float16")


def open_graph(model: MSPFN, layout: str, coarse: bool = False) -> tuple[keras.Model, list[int]]:
    """A model with pictures and statistics at its ends, for an exporter.

    Args:
        model: an `MSPFN`.
        layout: "nchw" or "nhwc", of the pictures.
        coarse: whether the features between the coarser scales and the full one are outputs, too.

    Returns:
        (a model from `[rainy, given_0, ...]` to `[derained, statistics_0, ..., coarse_00, ...]`,
        `derained` clipped to [0, 1]; the channels of each of the statistics, none for a network
        without attention).
    """
    planar = layout == "nchw"
    sides = (None, None)
    rainy = keras.Input((3, *sides) if planar else (*sides, 3), name="rainy", dtype="float32")
    picture = ops.transpose(rainy, (0, 2, 3, 1)) if planar else rainy
    if has_statistics(model):
        inner = cut_model(model, coarse)
        widths = [cut.shape[-1] for cut in inner.inputs[1:]]
        given = [
            keras.Input((1, 1, width), name=f"given_{n}", dtype="float32")
            for n, width in enumerate(widths)
        ]
        derained, *measured = inner([picture, *given])
    else:
        inner = keras.Model(model.inputs[0], model.outputs[0])
        derained, widths, given, measured = inner(picture), [], [], []
    derained = ops.clip(ops.cast(derained, "float32"), 0.0, 1.0)
    if planar:
        derained = ops.transpose(derained, (0, 3, 1, 2))
    return keras.Model([rainy, *given], [derained, *measured], name="mspfn"), widths


def input_signature(model: keras.Model) -> list[list[keras.InputSpec]]:
    """What `keras.Model.export` is told of the inputs, so that the model need not have run."""
    return [
        [
            keras.InputSpec(shape=tensor.shape, dtype="float32", name=tensor.name)
            for tensor in model.inputs
        ]
    ]


def metadata(model: MSPFN, source: ModelSource, layout: str, widths: list[int]) -> dict:
    """What a file says of itself; see `mspfn_tf.runtimes.onnx_graph.METADATA`."""
    kind = ("given" if model.attention == "picture" else "iterated") if widths else None
    found = resolve(source)
    return {
        "layout": layout,
        "statistics": kind,
        "widths": widths,
        "model": found.name,
        "weights_sha256": found.digest,
    }


def check_options(output: Path, suffix: str, layout: str, quantize: str) -> None:
    """Raises `UsageError` for what no file can be written of."""
    if output.suffix != suffix:
        raise UsageError(f"output must end in {suffix}; received {output}")
    if layout not in LAYOUTS:
        raise UsageError(f"layout must be one of {', '.join(LAYOUTS)}; received {layout!r}")
    if quantize not in GRAPH_QUANTIZATIONS:
        raise UsageError(
            f"quantize must be one of {', '.join(GRAPH_QUANTIZATIONS)} here; received "
            f"{quantize!r}. 8-bit files are LiteRT's"
        )


def tensors(layout: str) -> dict:
    """The entries "input" and "output" of a description."""
    sides = ["height", "width"]
    shape = ["batch", 3, *sides] if layout == "nchw" else ["batch", *sides, 3]
    facts = {
        "shape": shape,
        "multiple_of": 8,
        "dtype": "float32",
        "range": [0.0, 1.0],
        "colours": "RGB",
    }
    return {"input": {"name": "rainy", **facts}, "output": {"name": "derained", **facts}}


def output_names(opened: keras.Model, widths: list[int]) -> list[str]:
    """Of the model that `open_graph` returns."""
    measured = [f"statistics_{n}" for n in range(len(widths))]
    count = len(opened.outputs) - len(measured) - 1
    return ["derained", *measured, *(f"coarse_{n:02}" for n in range(count))]


def other_sizes(patches: Sequence[Patch]) -> list[np.ndarray]:
    """Pictures of sizes and a batch that the others are not of, float32 `[batch, H, W, 3]`."""
    picture = patches[0].batch
    return [picture[:, :32, :40], np.concatenate([picture[:, :40, :32]] * 2)]
