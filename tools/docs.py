"""Makes the generated parts of the documentation again: `python -m tools.docs`.

What it reads are the model cards of `mspfn_tf/weights/`, the builders' own facts and the
measurements in `docs/results/`, `docs/task_results/` and `docs/export_results/`. A test runs it and
compares: it must leave no difference.
"""

import json
import sys
from pathlib import Path

from benchmarks import browser, bulk, conditions, harm, restore, search, tiling, video
from tools import dataset_tables, export_tables, model_cards, result_tables, task_tables
from tools.markdown import update

ROOT = Path(__file__).resolve().parent.parent
TABLES = {
    "tiling": ("evaluation.md", tiling.table),
    "conditions": ("evaluation.md", conditions.table),
    "harm": ("evaluation.md", harm.table),
    "search": ("network.md", search.table),
    "finals": ("network.md", search.table),
    "search-mobile": ("network.md", search.table),
    "recipes": ("network.md", search.table),
    "restore": ("restoring.md", restore.tables),
    "video": ("video.md", video.table),
    "video_speed": ("video.md", video.speed_table),
    "bulk": ("bulk.md", bulk.tables),
    "browser": ("browser.md", browser.table),
}
"""From `docs/results/NAME.json`: the page and what makes the text."""


def main(root: Path = ROOT) -> int:
    """Makes the parts in the pages below `root`, from what this checkout holds.

    Returns:
        The exit status: 0, or that of the first table that could not be made.
    """
    docs, measured = root / "docs", ROOT / "docs"
    model_cards.main([str(docs / "models.md"), str(root / "README.md")])
    for tables, page in ((result_tables, "evaluation.md"), (task_tables, "tasks.md")):
        if status := tables.main([str(docs / page)]):
            return status
    for name, (page, table) in TABLES.items():
        results = json.loads((measured / "results" / f"{name}.json").read_text())
        update(docs / page, name, table(results))
    exports = sorted(str(path) for path in (measured / "export_results").glob("*.json"))
    formats = str(measured / "results" / "formats.json")
    export_tables.main([str(docs / "export.md"), formats, *exports])
    return dataset_tables.main(root)


if __name__ == "__main__":
    sys.exit(main())
