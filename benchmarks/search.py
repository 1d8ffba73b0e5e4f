"""The recorded searches for the shape of the phone presets and for their training: equal training
for every candidate.

    python -m benchmarks.search --preset mspfn_nano --data_dir DIR --output DIR [--recipes] \
        [--only NAME ...] [-- FLAGS OF mspfn train]

Every candidate is trained by `mspfn train` with the same data, steps, patches and seed, and scored
on the validation splits. With `--recipes` each candidate changes one thing of the training, or of
the preset's network. Writes `search.json` and prints a Markdown table.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import positive, run_main
from mspfn_tf.errors import UsageError
from mspfn_tf.presets import PRESETS
from tools.markdown import header, row_of, update

PHONE = {"rcabs": (1, 1, 1), "stem": 2, "activation": "relu", "upsampling": "subpixel"}
HALF = {"width": 12, "blocks": 3, "hidden": (8, 8, 8)}
FULL = {"width": 8, "blocks": 1, "hidden": (4, 4, 4), "stem": 1}
CANDIDATES = {
    "mspfn_nano": {
        "width 12, 4 blocks": {**HALF, "blocks": 4},
        "width 12, 3 blocks": HALF,
        "width 12, 2 blocks, 3/3/2 RCABs": {**HALF, "blocks": 2, "rcabs": (3, 3, 2)},
        "width 8, 8 blocks": {**HALF, "width": 8, "blocks": 8},
        "width 12, 5 blocks, no ConvLSTM": {**HALF, "blocks": 5, "hidden": None},
        "width 12, 3 blocks, 2 recurrent steps": {**HALF, "recurrent_steps": 2},
        "width 12, 4 blocks, no attention": {**HALF, "blocks": 4, "reduction": None},
        "width 12, 3 blocks, nearest": {**HALF, "upsampling": "nearest"},
        "width 16, 3 blocks": {**HALF, "width": 16},
        "width 8, 1 block, full resolution": FULL,
        "width 8, 1 block, 3/2/1 RCABs, full resolution": {**FULL, "rcabs": (3, 2, 1)},
        "width 8, 2 blocks, 1/1/0 RCABs, full resolution": {
            **FULL,
            "blocks": 2,
            "rcabs": (1, 1, 0),
        },
    },
    "mspfn_mobile": {
        "width 32, 4 blocks": {"width": 32, "blocks": 4, "hidden": (16, 16, 16)},
        "width 24, 8 blocks": {"width": 24, "blocks": 8, "hidden": (16, 16, 16)},
        "width 40, 3 blocks": {"width": 40, "blocks": 3, "hidden": (16, 16, 16)},
        "width 16, 4 blocks, full resolution": {
            **FULL,
            "width": 16,
            "blocks": 4,
            "hidden": (8,) * 3,
        },
        "as shipped": PRESETS["mspfn_mobile"]["arguments"],
        "as shipped, 12 blocks": {**PRESETS["mspfn_mobile"]["arguments"], "blocks": 12},
        "as shipped, width 48, 10 blocks": {
            **PRESETS["mspfn_mobile"]["arguments"],
            "width": 48,
            "blocks": 10,
        },
    },
}

RECIPE = [
    "--optimizer", "muon", "--weight_decay", "0", "--loss", "psnr", "--ssim_weight", "10",
    "--clip_norm", "50", "--ema", "0.99", "--fresh_rain", "0.2", "--symmetries", "upright",
    "--patch_size", "96",
]  # fmt: skip
# name -> (flags, arguments of the network) that differ from `RECIPE` and the preset
RECIPES = {
    "the recipe": ([], {}),
    "Charbonnier and edge loss": (["--loss", "derain", "--ssim_weight", "0"], {}),
    "no SSIM term": (["--ssim_weight", "0"], {}),
    "SSIM term of 20": (["--ssim_weight", "20"], {}),
    "Adam": (["--optimizer", "adam"], {}),
    "all symmetries": (["--symmetries", "all"], {}),
    "no fresh rain": (["--fresh_rain", "0"], {}),
    "fresh rain on half of the patches": (["--fresh_rain", "0.5"], {}),
    "RainMix on all fresh rain": (["--rain_mix", "1"], {}),
    "an eighth of the patches without rain": (["--clean_share", "0.12"], {}),
    "the same, and bars in three tenths": (["--clean_share", "0.12", "--bars", "0.3"], {}),
    "rain of RainTrainL over all scenes": (["--moved_rain", "rain100l/old_validated:0.5"], {}),
    "tone curves in three tenths": (["--tone_curves", "0.3"], {}),
    "a fifth of the patches enlarged": (["--enlarged", "0.2"], {}),
    "drops close to the camera in a fifth": (["--near_drops", "0.2"], {}),
    "mspfn_mobile as teacher": (["--teacher", "mspfn_mobile"], {}),
    "attention by the means of each block": ([], {"attention": "block"}),
    "no attention": ([], {"reduction": None}),
    "no filter after upsampling": ([], {"upsampling": "subpixel"}),
}


def train(name, arguments, flags, options):
    """Trains one candidate (or resumes) and returns its row of the table."""
    from mspfn_tf.complexity import multiply_adds
    from mspfn_tf.model import MSPFN

    model = MSPFN(**arguments)
    workdir = Path(options.output, name.replace(",", "").replace("/", "-").replace(" ", "_"))
    command = [sys.executable, "-m", "mspfn_tf", "train", "--preset", options.preset]
    command += ["--model_arguments", json.dumps(arguments), "--workdir", str(workdir)]
    command += ["--data_dir", options.data_dir, "--dataset", options.dataset]
    command += ["--steps", str(options.steps), "--batch_size", "8", "--patch_size", "64"]
    command += ["--warmup_steps", "50", "--ema", "0.98", "--learning_rate", "2e-3"]
    command += ["--validate_every", str(options.steps), "--seed", "1", *flags]
    began = time.monotonic()
    subprocess.run(command, check=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"})
    log = [json.loads(line) for line in (workdir / "log.jsonl").read_text().splitlines()]
    scores = next(entry for entry in reversed(log) if "val_psnr" in entry)
    return {
        "candidate": name,
        "arguments": arguments,
        "flags": flags,
        "parameters": model.count_params(),
        "gmac_256": round(multiply_adds(model, (256, 256)) / 1e9, 3),
        "psnr": round(scores["val_psnr"], 3),
        "ssim": round(scores["val_ssim"], 4),
        "seconds": round(time.monotonic() - began),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", choices=CANDIDATES, default="mspfn_nano")
    parser.add_argument("--data_dir", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--recipes", action="store_true", help="compare recipes, not shapes")
    parser.add_argument("--dataset", default="rain800:1,synthetic_rain/mixed:1")
    parser.add_argument("--steps", type=positive, default=600)
    parser.add_argument("--only", nargs="*", metavar="NAME", help="candidates; default: all")
    parser.add_argument("--update", type=Path, help="Markdown file whose table is replaced")
    parser.add_argument("--table", default="search", help="name of that table in the file")
    parser.add_argument("train_flags", nargs="*", metavar="FLAG", help="after --, for mspfn train")
    options = parser.parse_args()
    rows = []
    if options.recipes:
        own = PRESETS[options.preset]["arguments"]
        candidates = {
            name: ({**own, **arguments}, [*RECIPE, *options.train_flags, *flags])
            for name, (flags, arguments) in RECIPES.items()
        }
    else:
        candidates = {
            name: ({**PHONE, **arguments}, options.train_flags)
            for name, arguments in CANDIDATES[options.preset].items()
        }
    if unknown := set(options.only or ()) - set(candidates):
        raise UsageError(f"--only: unknown {sorted(unknown)}; choose from {list(candidates)}")
    for name in options.only or candidates:
        rows.append(train(name, *candidates[name], options))
        Path(options.output, "search.json").write_text(json.dumps(rows, indent=2) + "\n")
    text = table(rows)
    print(text)
    if options.update:
        update(options.update, options.table, text)


def table(rows):
    lines = header("candidate", "parameters", "GMAC at 256x256", "PSNR", "SSIM", "seconds")
    for row in rows:
        numbers = f"{row['parameters']:,}", f"{row['gmac_256']:.2f}", f"{row['psnr']:.2f}"
        lines.append(row_of(row["candidate"], *numbers, f"{row['ssim']:.4f}", str(row["seconds"])))
    return "\n".join(lines)


if __name__ == "__main__":
    run_main(main)
