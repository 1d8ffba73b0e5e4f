"""Writes the tables of `docs/export.md` from what `mspfn benchmark` and `mspfn export` measured.

    mspfn benchmark --preset mspfn_mobile --output docs/results/formats.json
    mspfn export --format litert --quantize int8 --output exports/int8.tflite
    python -m tools.export_tables docs/export.md docs/results/formats.json exports/*.json

In the Markdown file what stands between `<!-- begin generated: formats -->` (latency and memory)
or `<!-- begin generated: parity -->` (agreement with the Keras model) and its end is replaced.
"""

import argparse
import json
import sys
from pathlib import Path

from mspfn_tf.commands.benchmark import cells
from tools.markdown import header, row_of, update

_RUNTIMES = {
    "tensorflow": "TensorFlow",
    "ai-edge-litert": "LiteRT",
    "onnxruntime": "onnxruntime",
    "openvino": "OpenVINO",
}


def formats_table(found):
    """Markdown of what `mspfn benchmark --output` wrote."""
    machine = found["machine"]
    sizes = sorted({tuple(row["image_size"]) for row in found["rows"]})
    told = ", ".join(f"{height}x{width}" for height, width in sizes)
    lines = [
        f"One picture of {told} on {machine['processor']}, {machine['cores']} cores; "
        + ", ".join(
            f"{told} {machine[name]}" for name, told in _RUNTIMES.items() if name in machine
        )
        + ".",
        "",
        *header(
            "model",
            "format",
            "threads",
            "parameters",
            "GMAC",
            "file, MB",
            "median, ms",
            "GMAC/s",
            "peak memory, MB",
        ),
        *(row_of(*cells(row)) for row in found["rows"]),
    ]
    random = sorted({row["model"] for row in found["rows"] if row["weights"] == "random"})
    if random:
        lines += ["", f"With random weights, as none are shipped: {', '.join(random)}."]
    return "\n".join(lines)


def parity_table(descriptions):
    """Markdown of the descriptions that `mspfn export` wrote."""
    lines = header(
        "model", "format", "size", "largest error", "agreement, dB", "PSNR loss, dB", "verified"
    )
    for found in descriptions:
        parity, size = found["parity"], found.get("image_size")
        loss = parity["psnr_loss_db"]
        lines.append(
            row_of(
                Path(found["model"]).name,
                f"{found['format']} {found.get('quantization', '')}".strip(),
                "any" if size is None else "x".join(map(str, size)),
                f"{parity['max_error']:.1e}",
                f"{parity['agreement_db']:.1f}",
                "" if loss is None else f"{loss:.3f}",
                "yes" if found["verified"] else "no",
            )
        )
    return "\n".join(lines)


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("markdown")
    parser.add_argument("benchmark", help="JSON of mspfn benchmark")
    parser.add_argument("exports", nargs="*", help="JSON files of mspfn export")
    arguments = parser.parse_args(argv)
    found = json.loads(Path(arguments.benchmark).read_text())
    update(arguments.markdown, "formats", formats_table(found))
    if arguments.exports:
        descriptions = [json.loads(Path(path).read_text()) for path in arguments.exports]
        update(arguments.markdown, "parity", parity_table(descriptions))
    return 0


if __name__ == "__main__":
    sys.exit(main())
