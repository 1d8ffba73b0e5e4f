"""Latency, memory and size of a model in each format that it can be exported to."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import mspfn_tf
from mspfn_tf.errors import UsageError, argument
from mspfn_tf.export.outputs import card_path
from mspfn_tf.runtimes import cpu_count, processor

FORMATS = (
    "keras",
    "saved_model",
    "litert_float32",
    "litert_float16",
    "litert_dynamic",
    "litert_int8",
    "onnx",
    "openvino",
    "openvino_bfloat16",
)

EXTRAS = {
    "litert_dynamic": ("int8", ("ai_edge_quantizer",)),
    "litert_int8": ("int8", ("ai_edge_quantizer",)),
    "onnx": ("onnx", ("onnxruntime", "tf2onnx")),
    "openvino": ("openvino", ("openvino", "scipy")),
    "openvino_bfloat16": ("openvino", ("openvino", "scipy")),
}
"""The extra that a format needs, and the packages that it brings."""


def benchmark(
    source: str | os.PathLike,
    image_size: tuple[int, int] = (256, 256),
    threads: Sequence[int] = (1, 2),
    formats: Sequence[str] = FORMATS,
) -> Iterator[dict[str, Any]]:
    """Exports a model in each format, unchecked, and times it in a process of its own.

    Args:
        source: preset name, directory of a model, `.keras`, `.weights.h5` or `.tflite` file. A
            preset without shipped weights gets random ones, which take the same time. A `.tflite`
            file is timed as it is.
        image_size: (height, width), multiples of 8; a `.tflite` file has its own.
        threads: numbers of threads.
        formats: some of `FORMATS`.

    Yields:
        A dict per format and number of threads: "model", "weights", "format", "threads",
        "image_size", "parameters", "multiply_adds", "bytes", "median_ms", "fastest_ms", "gmacs"
        (effective 1e9 multiply-adds per second, from the median), "peak_mb" of the process. A
        format that cannot run here is one row with "left_out", what it needs: the command that
        installs an extra, or another processor.

    Raises:
        UsageError: unknown preset or format, no such file, wrong size.
    """
    for name in formats:
        if name not in FORMATS:
            raise UsageError(f"format must be some of {', '.join(FORMATS)}; received {name!r}")
    with tempfile.TemporaryDirectory() as folder:
        if Path(source).suffix == ".tflite":
            files = [_tflite_file(Path(source))]
        else:
            files = _write(source, Path(folder), tuple(image_size), formats)
        for kind, path, facts in files:
            if kind == "missing":
                yield facts
                continue
            for count in threads:
                figures = _measure(kind, path, facts["image_size"], count)
                row = {**facts, "threads": count, **figures}
                if facts["multiply_adds"]:
                    row["gmacs"] = facts["multiply_adds"] / 1e6 / figures["median_ms"]
                yield row


def machine() -> dict[str, Any]:
    """What the figures hold for: a dict."""
    return {
        "processor": processor(),
        "cores": cpu_count(),
        **{name: version(name) for name in ("tensorflow", "keras", "ai-edge-litert")},
        **{name: version(name) for name in ("onnxruntime", "openvino") if find_spec(name)},
    }


def _write(source, folder, image_size, formats):
    from mspfn_tf.complexity import multiply_adds
    from mspfn_tf.export import onnx as export_onnx
    from mspfn_tf.export import openvino as export_openvino
    from mspfn_tf.export.calibration import SAMPLE, read_patches
    from mspfn_tf.export.description import open_source
    from mspfn_tf.export.litert import convert
    from mspfn_tf.export.saved_model import directory_size, write_saved_model
    from mspfn_tf.model import MSPFN
    from mspfn_tf.presets import PRESETS
    from mspfn_tf.runtimes.openvino import computes_bfloat16
    from mspfn_tf.sizes import check_image_size
    from mspfn_tf.weights_file import save_weights

    image_size = check_image_size(image_size)
    random = source in PRESETS and PRESETS[source]["weights"] is None
    model = MSPFN.from_preset(source, load_weights=False) if random else open_source(source)
    facts = {
        "model": str(source),
        "weights": "random" if random else "trained",
        "image_size": list(image_size),
        "parameters": model.count_params(),
        "multiply_adds": multiply_adds(model, image_size),
    }
    for name in formats:
        if name == "keras":
            path = folder / "model.weights.h5"
            save_weights(model, path)
            kind, size = "keras", path.stat().st_size
        elif name == "saved_model":
            path = folder / "saved_model"
            write_saved_model(model, path)
            kind, size = "saved_model", directory_size(path)
        elif not all(find_spec(package) for package in EXTRAS.get(name, ("", ()))[1]):
            needs = f'pip install "mspfn_tf[{EXTRAS[name][0]}]"'
            yield "missing", None, {**facts, "format": name, "bytes": None, "left_out": needs}
            continue
        elif name == "openvino_bfloat16" and not computes_bfloat16():
            needs = "a processor with instructions for bfloat16"
            yield "missing", None, {**facts, "format": name, "bytes": None, "left_out": needs}
            continue
        elif name == "onnx":
            path = folder / "model.onnx"
            path.write_bytes(export_onnx.convert(model, source=source))
            kind, size = "onnx", path.stat().st_size
        elif name in ("openvino", "openvino_bfloat16"):
            path = folder / "model.xml"  # one for both
            if not path.exists():
                export_openvino.write(model, path, source=source)
            kind = name.replace("_", "-")
            size = path.stat().st_size + path.with_suffix(".bin").stat().st_size
        else:
            path = folder / f"{name}.tflite"
            quantize = name.removeprefix("litert_").replace("float32", "none")
            patches = read_patches(SAMPLE, image_size, count=2) if quantize == "int8" else ()
            path.write_bytes(convert(model, image_size, quantize, patches))
            kind, size = "litert", path.stat().st_size
        yield kind, path, {**facts, "format": name, "bytes": size}


def _tflite_file(path):
    from mspfn_tf.runtimes import open_runtime

    image_size = open_runtime(path, resize=False).sizes.fixed
    if image_size is None:
        raise UsageError(
            f"{path} takes pictures of any size: nothing says which to time. Export it with a "
            f"fixed size, such as {argument('image_size', '512x512')}"
        )
    known = _description(path)
    facts = {
        "model": str(path),
        "weights": "trained",
        "image_size": list(image_size),
        "parameters": known.get("parameters"),
        "multiply_adds": known.get("multiply_adds"),
        "format": f"litert_{known['quantization']}" if "quantization" in known else "litert",
        "bytes": path.stat().st_size,
    }
    return "litert", path, facts


def _description(path):
    """What stands beside an export of ours; nothing where there is none."""
    stems = dict.fromkeys((path.stem, path.stem.removesuffix("_uint8")))
    for stem in stems:
        try:
            card = card_path(path.with_name(f"{stem}.tflite"), "litert")
            known = json.loads(card.read_text())
        except (OSError, ValueError):
            continue
        if isinstance(known, dict) and known.get("format") == "litert":
            return known
    return {}


def _measure(kind, path, image_size, threads):
    task = {"kind": kind, "path": str(path), "image_size": image_size, "threads": threads}
    root = str(Path(mspfn_tf.__file__).resolve().parent.parent)
    search = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        # -P: the modules beside the program are none of its own.
        [sys.executable, "-P", Path(__file__).with_name("measure.py"), json.dumps(task)],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        # In an installed package this adds site-packages, which is there already.
        env={**os.environ, "PYTHONPATH": search, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    if done.returncode:
        raise RuntimeError(f"{path} with {threads} threads: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])
