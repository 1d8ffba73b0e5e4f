"""Writes the model cards and the model table of the documentation from `mspfn_tf/weights/*.json`.

    python -m tools.model_cards docs/models.md README.md

In each Markdown file what stands between `<!-- begin generated: models -->` (the table) or
`<!-- begin generated: cards -->` (the cards) and the matching end is replaced.
"""

import argparse
import json
from pathlib import Path

from mspfn_tf.presets import DEFAULT_PRESET, PRESETS, WEIGHTS
from tools.markdown import header, row_of, update

TABLE = "<!-- begin generated: models -->"
CARDS = "<!-- begin generated: cards -->"


def model_table():
    lines = header(
        "preset", "parameters", "multiply-adds at 256x256", "weights", "scores (Y), PSNR / SSIM"
    )
    for name, preset in PRESETS.items():
        weights, scores = preset["weights"], preset["scores"] or {}
        shipped = "not shipped"
        if weights:
            size = (WEIGHTS / weights["file"]).stat().st_size / 1e6
            shipped = f"{size:.1f} MB" + (", the default" if name == DEFAULT_PRESET else "")
        told = "; ".join(
            f"{dataset} {score['psnr']:.2f} / {score['ssim']:.3f}"
            for dataset, score in scores.items()
        )
        gmacs = f"{preset['multiply_adds_256'] / 1e9:.2f} G"
        lines.append(row_of(f"`{name}`", f"{preset['parameters']:,}", gmacs, shipped, told))
    return "\n".join(lines)


def cards():
    return "\n\n".join(card(name) for name, preset in PRESETS.items() if preset["weights"])


def card(name):
    """The model card of a preset, in Markdown."""
    preset = PRESETS[name]
    facts = json.loads((WEIGHTS / f"{name}.json").read_text())
    weights = facts["weights"]
    lines = [f"## `{name}`", "", preset["description"], "", "| | |", "|---|---|"]
    lines += [f"| {key.replace('_', ' ')} | {value} |" for key, value in facts["training"].items()]
    lines += [f"| weights | `{weights['file']}`, SHA-256 `{weights['sha256']}` |"]
    for purpose, key in (
        ("", "tflite"),
        (" (other runtimes)", "tflite_float32"),
        (" (tiles of large pictures)", "tflite_tiles"),
        (" (8 bits)", "tflite_int8"),
        (" (8 bits, tiles)", "tflite_int8_tiles"),
    ):
        entry = weights[key]
        facts_of_file = [{"none": "float32"}.get(entry["quantization"], entry["quantization"])]
        if "image_size" in entry:
            facts_of_file.append("{}x{}".format(*entry["image_size"]))
        lines.append(
            f"| LiteRT{purpose} | `{entry['file']}`, {', '.join(facts_of_file)}, "
            f"SHA-256 `{entry['sha256']}` |"
        )
    lines += [
        "",
        "| set | pictures | rainy (Y) | derained (Y) | derained (RGB) |",
        "|---|---|---|---|---|",
    ]
    for dataset, score in facts["scores"].items():
        told = " | ".join(_told(s) for s in (score["input"], score, score["output_rgb"]))
        lines.append(f"| {dataset} | {score['count']} | {told} |")
    lines += [
        "",
        "Worst, typical and best of 24 results on four photographs that no set holds, in synthetic "
        f"rain (`python -m tools.photographs {name} docs/{name}.jpg`):",
        "",
        f"![Rainy, restored and clean photographs]({name}.jpg)",
    ]
    return "\n".join(lines)


def _told(score):
    psnr = score["psnr"]
    return f"{psnr if psnr == 'inf' else format(psnr, '.2f')} / {score['ssim']:.4f}"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    for path in parser.parse_args(argv).files:
        text = path.read_text()
        if TABLE in text:
            update(path, "models", model_table())
        if CARDS in text:
            update(path, "cards", cards())


if __name__ == "__main__":
    main()
