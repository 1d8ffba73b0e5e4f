"""Writes the tables of docs/tasks.md from `task_scores.json` files.

    python -m tools.task_tables [--results DIR] docs/tasks.md

`--results` (default: `docs/task_results`) holds `task_scores.json` files of `mspfn evaluate-task`,
renamed as one likes. What stands between `<!-- begin generated: task_results -->` and its end is
replaced. Results of preset weights that are no longer shipped are refused.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from mspfn_tf import presets
from mspfn_tf.errors import UsageError
from mspfn_tf.source import resolve
from tools.markdown import header, row_of, update_command

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "task_results"
_COLUMNS = {
    "detection": (
        ("mAP", "map"),
        ("mAP@0.5", "map_50"),
        ("precision", "precision"),
        ("recall", "recall"),
        ("IoU", "iou"),
    ),
    "segmentation": (("mIoU", "miou"), ("mPA", "mpa"), ("pixel accuracy", "pixel_accuracy")),
}
_RAINS = ("light", "mixed", "heavy", None)


def read_results(folder: Path) -> list[dict]:
    """The contents of the files, sorted by task, network, rain and model.

    Raises:
        UsageError: a file is no result, names weights that are not those shipped, or lacks
            pictures that failed.
    """
    results = []
    for path in sorted(Path(folder).glob("*.json")):
        try:
            result = json.loads(path.read_text(encoding="utf-8"))
            task, model = result["task"], result["model"]
            configuration, failed = result["configuration"], result["failed"]
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{path}: no result of mspfn evaluate-task ({error})") from error
        if task not in _COLUMNS:
            raise UsageError(f"{path}: unknown task {task}")
        if failed:
            raise UsageError(f"{path}: some pictures failed")
        shipped = model in presets.PRESETS and resolve(model).digest
        if shipped and result["weights_sha256"] != shipped:
            raise UsageError(
                f"{path}: not the weights that {model} ships now; run docs/recipes/tasks.sh"
            )
        result["order"] = (
            task,
            result["task_network"],
            _RAINS.index(configuration["rain"]),
            model,
        )
        results.append(result)
    return sorted(results, key=lambda result: result["order"])


def tables(results: Sequence[dict]) -> str:
    """Markdown: one table per task."""
    parts = []
    for task, columns in _COLUMNS.items():
        of_task = [result for result in results if result["task"] == task]
        if of_task:
            lines = header("network, pictures", "rain", "seen", *(c for c, _ in columns),
                           "PSNR / SSIM")  # fmt: skip
            parts.append("\n".join([*lines, *_rows(of_task, columns)]))
    if not parts:
        raise UsageError("no results of mspfn evaluate-task")
    return "\n\n".join(parts)


def _rows(results, columns):
    for place, result in enumerate(results):
        setting = result["order"][:3]
        first = not place or results[place - 1]["order"][:3] != setting
        last = place + 1 == len(results) or results[place + 1]["order"][:3] != setting
        where = f"{result['task_network']}, {result['count']} pictures"
        rain = result["configuration"]["rain"] or "as it is"
        shown = {"rainy": first, "derained": True, "clean": last}
        for version, scores in result["scores"].items():
            if not shown[version]:
                continue
            seen = f"derained by `{result['model']}`" if version == "derained" else version
            pair = result.get({"rainy": "input", "derained": "output"}.get(version))
            quality = f"{float(pair['psnr']):.2f} / {pair['ssim']:.3f}" if pair else ""
            figures = ["" if scores[key] is None else f"{scores[key]:.3f}" for _, key in columns]
            yield row_of(where, rain, seen, *figures, quality)


def main(argv: Sequence[str] | None = None) -> int:
    def text(folder):
        return tables(read_results(folder))

    return update_command("python -m tools.task_tables", "task_results", RESULTS, text, argv)


if __name__ == "__main__":
    sys.exit(main())
