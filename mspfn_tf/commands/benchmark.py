"""`mspfn benchmark`: parameters, multiply-adds, size, latency and memory per format."""

import argparse
import json
from pathlib import Path
from typing import Any

from mspfn_tf.commands.arguments import parse_size
from mspfn_tf.errors import UsageError
from mspfn_tf.presets import DEFAULT_PRESET, known_preset

HELP = "measure latency and memory of presets and model files in each format"

_COLUMNS = (
    "model",
    "format",
    "threads",
    "parameters",
    "GMAC",
    "file MB",
    "median ms",
    "GMAC/s",
    "peak MB",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--preset",
        action="append",
        default=[],
        metavar="P",
        help=f"a built-in preset; may be repeated (default: {DEFAULT_PRESET})",
    )
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="FILE",
        help="a .keras, .weights.h5 or .tflite file; may be repeated",
    )
    parser.add_argument(
        "--image_size",
        type=parse_size,
        default=(256, 256),
        metavar="HxW",
        help="multiples of 8 (default: 256x256); a .tflite file has its own",
    )
    parser.add_argument(
        "--threads",
        type=int,
        action="append",
        metavar="N",
        help="number of threads; may be repeated (default: 1 and 2)",
    )
    parser.add_argument(
        "--format",
        action="append",
        metavar="F",
        help="keras, saved_model, litert_float32, litert_float16, litert_dynamic, litert_int8, "
        "onnx, openvino or openvino_bfloat16; may be repeated (default: all)",
    )
    parser.add_argument("--output", metavar="FILE", help="also write the rows to this JSON file")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")


def run(arguments: argparse.Namespace) -> int:
    import contextlib

    from mspfn_tf.export.benchmark import FORMATS, benchmark, machine
    from mspfn_tf.files import atomic_write, clear_leftovers, writing

    presets = [known_preset(name) for name in arguments.preset]
    sources = [*presets, *arguments.model] or [DEFAULT_PRESET]
    threads = arguments.threads or [1, 2]
    if min(threads) < 1:
        raise UsageError(f"--threads must be at least 1; received {min(threads)}")

    with contextlib.ExitStack() as stack:
        output = None
        if arguments.output is not None:
            clear_leftovers(Path(arguments.output).parent)
            output = stack.enter_context(atomic_write(arguments.output, arguments.overwrite))
        height, width = arguments.image_size
        where = f"{machine()['processor']}, {machine()['cores']} cores"
        head = f"{height}x{width} (files of one size at theirs), batch 1, on {where}"
        widths = [max(12, len(name)) for name in _COLUMNS]
        widths[:2] = [24, 18]
        rows = []
        for source in sources:
            formats = arguments.format or FORMATS
            for row in benchmark(source, arguments.image_size, threads, formats):
                if head:  # not before what is wrong with the arguments was told
                    print(f"{head}\n{_line(_COLUMNS, widths)}", flush=True)
                    head = ""
                if "left_out" in row:
                    print(f"{row['model']}  {row['format']}: left out, needs {row['left_out']}")
                    continue
                rows.append(row)
                print(_line(cells(row), widths), flush=True)
        if any(row["weights"] == "random" for row in rows):
            print("Where no weights are shipped, random ones were timed.")
        if output is not None and arguments.output is not None:
            text = json.dumps({"machine": machine(), "rows": rows}, indent=1)
            with writing(arguments.output):
                output.write_text(text + "\n")
    return 0


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    """The texts of a row, one per column."""

    def number(key, scale, digits):
        return "-" if row.get(key) is None else f"{row[key] * scale:,.{digits}f}"

    return (
        row["model"],
        row["format"],
        str(row["threads"]),
        number("parameters", 1, 0),
        number("multiply_adds", 1e-9, 2),
        number("bytes", 1e-6, 2),
        number("median_ms", 1, 1),
        number("gmacs", 1, 1),
        number("peak_mb", 1, 0),
    )


def _line(texts, widths):
    return "  ".join(
        text.ljust(width) if column < 2 else text.rjust(width)
        for column, (text, width) in enumerate(zip(texts, widths, strict=True))
    ).rstrip()
