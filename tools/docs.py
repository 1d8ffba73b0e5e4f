"""Makes every generated part of the documentation again: `python -m tools.docs`.

What it reads are the model cards of `mspfn_tf/weights/`, the builders' own facts and the
measurements in `docs/results/`, `docs/task_results/` and `docs/export_results/`. A test runs it and
compares: it must leave no difference.
"""

import json
from pathlib import Path

from benchmarks import conditions, tiling
from tools import dataset_tables, export_tables, model_cards, result_tables, task_tables
from tools.markdown import update

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    docs = ROOT / "docs"
    model_cards.main([str(docs / "models.md"), str(ROOT / "README.md")])
    result_tables.main([str(docs / "evaluation.md")])
    task_tables.main([str(docs / "tasks.md")])
    measured = json.loads((docs / "results" / "tiling.json").read_text())
    update(docs / "evaluation.md", "tiling", tiling.table(measured))
    measured = json.loads((docs / "results" / "conditions.json").read_text())
    update(docs / "evaluation.md", "conditions", conditions.table(measured))
    exports = sorted(str(path) for path in (docs / "export_results").glob("*.json"))
    export_tables.main([str(docs / "export.md"), str(docs / "results" / "formats.json"), *exports])
    dataset_tables.main()


if __name__ == "__main__":
    main()
