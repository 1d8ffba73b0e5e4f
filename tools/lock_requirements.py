"""Writes `requirements-lock.txt`: the exact versions, with hashes, that pip chooses today.

    pip install --dry-run --ignore-installed --report report.json .
    python -m tools.lock_requirements report.json

The hashes are those of the files for the platform and the Python that pip ran on; the head of the
file names them. Install with `pip install --require-hashes -r requirements-lock.txt`, then the
package itself with `pip install --no-deps .`.
"""

import json
import sys
from pathlib import Path
from typing import Any

from mspfn_tf.files import atomic_write

OUTPUT = Path(__file__).resolve().parent.parent / "requirements-lock.txt"


def locked(report: dict[str, Any]) -> str:
    """The text of the file, from the report of `pip install --report`.

    Raises:
        ValueError: a requirement came without a SHA-256.
    """
    python = report["environment"]
    where = f"Python {python['python_version']}, {python['sys_platform']}"
    lines = [f"# Made by tools/lock_requirements.py for {where}, {python['platform_machine']}."]
    for item in sorted(report["install"], key=lambda item: item["metadata"]["name"].lower()):
        name = item["metadata"]["name"]
        if name.replace("-", "_") == "mspfn_tf":
            continue
        sha256 = item["download_info"].get("archive_info", {}).get("hashes", {}).get("sha256")
        if not sha256:
            raise ValueError(f"{name} has no SHA-256 in the report")
        lines.append(f"{name}=={item['metadata']['version']} --hash=sha256:{sha256}")
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    text = locked(json.loads(Path(arguments[0]).read_text(encoding="utf-8")))
    with atomic_write(OUTPUT, overwrite=True) as path:
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
