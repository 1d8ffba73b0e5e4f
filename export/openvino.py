"""OpenVINO files (.xml and .bin), for Intel processors and whatever else OpenVINO runs on."""

import contextlib
import errno
import json
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

from mspfn_tf.export import graphs
from mspfn_tf.export.calibration import SAMPLE, read_patches
from mspfn_tf.export.description import describe_source, open_source
from mspfn_tf.export.onnx import CHECK_SIZE
from mspfn_tf.export.outputs import card_path, outputs, write_card
from mspfn_tf.export.verification import check_graph, verdict
from mspfn_tf.extras import require
from mspfn_tf.files import sha256
from mspfn_tf.model import MSPFN
from mspfn_tf.source import ModelSource
from mspfn_tf.whole_picture import goes_coarse_first


def export_openvino(
    source: ModelSource,
    output: str | os.PathLike,
    layout: str = "nchw",
    quantize: str = "none",
    calibration: str | os.PathLike | None = None,
    overwrite: bool = False,
    force: bool = False,
) -> dict[str, Any]:
    """Writes a model in OpenVINO's format, compared in its runtime with the model it came from.

    Three files: `output`, the graph; `<name>.bin`, its weights; `<name>.json`, the description.
    Input and output are those of `mspfn_tf.export.export_onnx`.

    Args:
        source: preset name, directory of a model, `.keras` or `.weights.h5` file, or an `MSPFN`.
        output: path of the graph, ending in .xml.
        layout: "nchw" or "nhwc".
        quantize: "none" (float32), or "float16": weights stored as float16.
        calibration: folder of pictures to compare on. Default: those that come with the package.
        overwrite: whether existing files may be replaced.
        force: write even what falls short of the bounds of `mspfn_tf.export.verification`; the
            description then says so.

    Returns:
        The description, a dict.

    Raises:
        UsageError: an argument breaks its rule, the extra `openvino` is not installed, or an
            output exists and `overwrite` is false.
        VerificationError: the file falls short, and `force` is false. Nothing is written.
    """
    output = Path(output)
    graphs.check_options(output, ".xml", layout, quantize)
    _require()
    patches = read_patches(SAMPLE if calibration is None else calibration, CHECK_SIZE, count=4)
    finals = [output, output.with_suffix(".bin"), card_path(output, "openvino")]
    with outputs(*finals, overwrite=overwrite) as paths:
        model = open_source(source)
        with tempfile.TemporaryDirectory() as folder:
            written = Path(folder, "model.xml")
            write(model, written, layout, quantize, source)
            parity = check_graph(model, written, quantize, patches)
            for path in paths[:2]:
                path.write_bytes(written.with_suffix(path.suffix).read_bytes())
        verified = verdict(parity, output, force)
        description = {
            "format": "openvino",
            **describe_source(source, model),
            "quantization": quantize,
            "layout": layout,
            **graphs.tensors(layout),
            "files": [
                {"file": final.name, "bytes": path.stat().st_size, "sha256": sha256(path)}
                for final, path in zip(finals[:2], paths[:2], strict=True)
            ],
            "bytes": sum(path.stat().st_size for path in paths[:2]),
            **verified,
        }
        description = write_card(paths[2], description)
    return description


def write(
    model: MSPFN,
    path: Path,
    layout: str = "nchw",
    quantize: str = "none",
    source: ModelSource | None = None,
) -> None:
    """Writes `path` and the weights beside it, unchecked.

    Args:
        model: the `MSPFN`.
        path: ending in .xml.
        layout: "nchw" or "nhwc".
        quantize: "none" or "float16".
        source: what to call the model; default: itself.

    Raises:
        OSError: the disk is full, there or where temporary files go.
    """
    openvino = _require()
    opened, widths = graphs.open_graph(model, layout, coarse=goes_coarse_first(model))
    with tempfile.TemporaryDirectory() as folder, _full_disks_as_errors_of_the_system():
        exported = Path(folder, "model.xml")
        signature = graphs.input_signature(opened)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            opened.export(
                str(exported), format="openvino", verbose=False, input_signature=signature
            )
        graph = openvino.Core().read_model(exported)
        names = graphs.output_names(opened, widths)
        # TensorFlow sorts outputs by their numbers as texts: 0, 1, 10, 11, 2 ...
        in_order = [names[n] for n in sorted(range(len(names)), key=str)]
        for value, name in zip(graph.outputs, in_order, strict=True):
            value.get_node().input_value(0).get_tensor().add_names({name})
            value.get_tensor().add_names({name})  # by which a file's outputs are found
        for n in range(len(widths)):
            _feed_back(graph, n)
        coarse = [name for name in names if name.startswith("coarse_")]
        for name in coarse:
            graph.remove_result(graph.output(name).get_node())
        facts = graphs.metadata(model, model if source is None else source, layout, widths)
        facts |= {"coarse": len(coarse), "coarse_factor": 2 * model.stem}
        graph.set_rt_info(json.dumps(facts), "mspfn")
        openvino.save_model(graph, path, compress_to_fp16=quantize == "float16")


def _require():
    openvino = require("openvino", "openvino")
    require("scipy", "openvino")  # Keras' exporter imports it, and OpenVINO does not bring it
    return openvino


@contextlib.contextmanager
def _full_disks_as_errors_of_the_system():
    """OpenVINO's C++ streams say that a write failed, and not why; it is tried in folders that
    could just be written to."""
    try:
        yield
    except RuntimeError as error:
        if "iostream error" not in str(error):
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error


def _feed_back(graph, n):
    """Feeds what is measured as `statistics_<n>` to where `given_<n>` went."""
    measured = graph.output(f"statistics_{n}")
    given = graph.input(f"given_{n}")
    value = measured.get_node().input_value(0)
    for target in given.get_target_inputs():
        target.replace_source_output(value)
    graph.remove_result(measured.get_node())
    graph.remove_parameter(given.get_node())
