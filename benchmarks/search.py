"""The recorded search for the shape of the phone presets: equal training for every candidate.

    python -m benchmarks.search --data_dir DIR --output DIR [--steps 500] [--only NAME ...]

Every candidate is trained by `mspfn train` with the same data, steps, patches and seed, and scored
on the validation splits. Writes `search.json` and prints a Markdown table.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.markdown import header, row_of, update

BASE = {
    "width": 12,
    "blocks": 3,
    "rcabs": (1, 1, 1),
    "hidden": (8, 8, 8),
    "stem": 2,
    "activation": "relu",
    "upsampling": "subpixel",
}
CANDIDATES = {
    "width 12, 4 blocks": {"blocks": 4},
    "width 12, 3 blocks": {},
    "width 12, 2 blocks, 3/3/2 RCABs": {"blocks": 2, "rcabs": (3, 3, 2)},
    "width 8, 8 blocks": {"width": 8, "blocks": 8},
    "width 8, 1 block, full resolution": {
        "width": 8,
        "blocks": 1,
        "hidden": (4, 4, 4),
        "stem": 1,
    },
    "width 12, 5 blocks, no ConvLSTM": {"blocks": 5, "hidden": None},
    "width 12, 3 blocks, 2 recurrent steps": {"recurrent_steps": 2},
    "width 12, 4 blocks, no attention": {"blocks": 4, "reduction": None},
    "width 12, 3 blocks, nearest": {"upsampling": "nearest"},
}


def train(name, arguments, options):
    """Trains one candidate (or resumes) and returns its row of the table."""
    from mspfn_tf.complexity import multiply_adds
    from mspfn_tf.model import MSPFN

    model = MSPFN(**arguments)
    workdir = Path(options.output, name.replace(",", "").replace("/", "-").replace(" ", "_"))
    command = [sys.executable, "-m", "mspfn_tf", "train", "--preset", "mspfn_nano"]
    command += ["--model_arguments", json.dumps(arguments), "--workdir", str(workdir)]
    command += ["--data_dir", options.data_dir, "--dataset", options.dataset]
    command += ["--steps", str(options.steps), "--batch_size", "8", "--patch_size", "64"]
    command += ["--warmup_steps", "50", "--ema", "0.98", "--learning_rate", "2e-3"]
    command += ["--validate_every", str(options.steps), "--seed", "1"]
    began = time.monotonic()
    subprocess.run(command, check=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"})
    log = [json.loads(line) for line in (workdir / "log.jsonl").read_text().splitlines()]
    scores = next(entry for entry in reversed(log) if "val_psnr" in entry)
    return {
        "candidate": name,
        "arguments": arguments,
        "parameters": model.count_params(),
        "gmac_256": round(multiply_adds(model, (256, 256)) / 1e9, 3),
        "psnr": round(scores["val_psnr"], 3),
        "ssim": round(scores["val_ssim"], 4),
        "seconds": round(time.monotonic() - began),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data_dir", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--dataset", default="rain800:1,synthetic_rain/mixed:1")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--only", nargs="*", choices=CANDIDATES, default=list(CANDIDATES))
    parser.add_argument("--update", type=Path, help="Markdown file whose table is replaced")
    options = parser.parse_args()
    rows = []
    for name in options.only:
        rows.append(train(name, {**BASE, **CANDIDATES[name]}, options))
        Path(options.output, "search.json").write_text(json.dumps(rows, indent=2) + "\n")
    text = table(rows)
    print(text)
    if options.update:
        update(options.update, "search", text)


def table(rows):
    lines = header("candidate", "parameters", "GMAC at 256x256", "PSNR", "SSIM", "seconds")
    for row in rows:
        numbers = f"{row['parameters']:,}", f"{row['gmac_256']:.2f}", f"{row['psnr']:.2f}"
        lines.append(row_of(row["candidate"], *numbers, f"{row['ssim']:.4f}", str(row["seconds"])))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
