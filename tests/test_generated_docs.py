"""What the documentation says is what the model cards, the builders and the measurements say."""

import re
from pathlib import Path

import pytest

from tools import docs, task_tables

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    path.relative_to(ROOT)
    for path in (ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("datasets/*/README.md"))
)
PART = re.compile(r"(<!-- begin generated: (\S+) -->\n).*?(<!-- end generated: \2 -->)", re.DOTALL)


@pytest.fixture
def stale(tmp_path):
    """A folder with all pages, whose generated parts are empty."""
    for page in PAGES:
        (tmp_path / page).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / page).write_text(PART.sub(r"\1\3", (ROOT / page).read_text()))
    return tmp_path


def test_making_the_docs_leaves_no_difference(stale):
    assert docs.main(stale) == 0
    changed = [str(p) for p in PAGES if (stale / p).read_bytes() != (ROOT / p).read_bytes()]
    assert not changed, f"run `make docs`: {changed}"


def test_what_cannot_be_made_is_told(stale, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(task_tables, "RESULTS", tmp_path / "nothing")
    assert docs.main(stale) == 2
    assert "no results" in capsys.readouterr().err


def test_readme_is_one_page():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120
