"""What the documentation says is what the model cards, the builders and the measurements say."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_making_the_docs_leaves_no_difference():
    pages = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("datasets/*/README.md")]
    before = {page: page.read_bytes() for page in pages}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tools.docs"], cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-2000:]
        changed = [
            str(page.relative_to(ROOT)) for page in pages if page.read_bytes() != before[page]
        ]
    finally:
        for page, content in before.items():
            if page.read_bytes() != content:
                page.write_bytes(content)
    assert not changed, f"run `make docs`: {changed}"


def test_readme_is_one_page():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120
