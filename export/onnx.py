"""ONNX files for onnxruntime and for programs that load any ONNX network: one plain file, pictures
of any size that is a multiple of 8."""

import contextlib
import json
import logging
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

from mspfn_tf.export import graphs
from mspfn_tf.export.calibration import SAMPLE, read_patches
from mspfn_tf.export.description import describe_source, open_source
from mspfn_tf.export.outputs import card_path, outputs, write_card
from mspfn_tf.export.verification import check_graph, verdict
from mspfn_tf.extras import require
from mspfn_tf.files import sha256
from mspfn_tf.model import MSPFN
from mspfn_tf.sizes import MULTIPLE_OF
from mspfn_tf.source import ModelSource

CHECK_SIZE = (64, 96)
"""Size of the pictures that a file is checked on, beside two others."""


def export_onnx(
    source: ModelSource,
    output: str | os.PathLike,
    layout: str = "nchw",
    quantize: str = "none",
    calibration: str | os.PathLike | None = None,
    overwrite: bool = False,
    force: bool = False,
) -> dict[str, Any]:
    """Writes a model as an ONNX file, compared in onnxruntime with the model it came from.

    Input `rainy` and output `derained` are float32, RGB in [0, 1]; the output is clipped to it.
    Batch, height and width are free; the latter two are multiples of 8. `mspfn_tf.Restorer` runs
    the file on pictures of any size, and cuts large ones into tiles that agree with the whole
    picture (see `mspfn_tf.runtimes.onnx_graph`). Beside the file stands its description,
    `<name>.json`.

    Args:
        source: preset name, directory of a model, `.keras` or `.weights.h5` file, or an `MSPFN`.
        output: path of the file, ending in .onnx.
        layout: "nchw" (``[batch, 3, height, width]``, what programs expect) or "nhwc".
        quantize: "none" (float32), or "float16": weights stored as float16, arithmetic in float32.
        calibration: folder of pictures to compare on. Default: those that come with the package.
        overwrite: whether existing files may be replaced.
        force: write even what falls short of the bounds of `mspfn_tf.export.verification`; the
            description then says so.

    Returns:
        The description, a dict.

    Raises:
        UsageError: an argument breaks its rule, the extra `onnx` is not installed, or an output
            exists and `overwrite` is false.
        VerificationError: the file falls short, and `force` is false. Nothing is written.
    """
    output = Path(output)
    graphs.check_options(output, ".onnx", layout, quantize)
    for module in ("tf2onnx", "onnxruntime"):
        require(module, "onnx")
    patches = read_patches(SAMPLE if calibration is None else calibration, CHECK_SIZE, count=4)
    finals = (output, card_path(output, "onnx"))
    with outputs(*finals, overwrite=overwrite) as (path, card):
        model = open_source(source)
        path.write_bytes(convert(model, layout, quantize, source))
        parity = check_graph(model, path, quantize, patches)
        verified = verdict(parity, output, force)
        description = {
            "format": "onnx",
            **describe_source(source, model),
            "quantization": quantize,
            "layout": layout,
            **graphs.tensors(layout),
            "file": output.name,
            "bytes": path.stat().st_size,
            "sha256": sha256(path),
            **verified,
        }
        description = write_card(card, description)
    return description


def convert(
    model: MSPFN, layout: str = "nchw", quantize: str = "none", source: ModelSource | None = None
) -> bytes:
    """The bytes of an ONNX file of an `MSPFN`, unchecked.

    Args:
        model: the `MSPFN`.
        layout: "nchw" or "nhwc".
        quantize: "none" or "float16".
        source: what to call the model; default: itself.
    """
    onnx = require("onnx", "onnx")
    from mspfn_tf.runtimes.onnx_graph import (
        METADATA,
        joined,
        renamed,
        with_explicit_pads,
        with_half_weights,
    )

    opened, widths = graphs.open_graph(model, layout)
    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = Path(folder, "model.onnx")
        signature = graphs.input_signature(opened)
        opened.export(str(path), format="onnx", verbose=False, input_signature=signature)
        content = onnx.load(path)
    found = [value.name for value in content.graph.output]
    content = renamed(content, dict(zip(found, graphs.output_names(opened, widths), strict=True)))
    content = joined(content, len(widths))
    sides = (3 * MULTIPLE_OF, 5 * MULTIPLE_OF)
    content = with_explicit_pads(content, (1, 3, *sides) if layout == "nchw" else (1, *sides, 3))
    if quantize == "float16":
        content = with_half_weights(content)
    shape = graphs.tensors(layout)["input"]["shape"]
    for value in (*content.graph.input, *content.graph.output):
        plain = onnx.helper.make_tensor_value_info(value.name, onnx.TensorProto.FLOAT, shape)
        value.CopyFrom(plain)
    content.graph.name = "mspfn"
    content.producer_name = "mspfn_tf"
    facts = graphs.metadata(model, model if source is None else source, layout, widths)
    onnx.helper.set_model_props(content, {METADATA: json.dumps(facts)})
    onnx.checker.check_model(content)
    return content.SerializeToString()


@contextlib.contextmanager
def _quiet():
    """Holds back what the converter says of its own steps."""
    logger = logging.getLogger("tf2onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # Keras' patch of tf2onnx asks NumPy for a name that NumPy warns of.
            warnings.filterwarnings("ignore", category=FutureWarning)
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            yield
    finally:
        logger.setLevel(level)
