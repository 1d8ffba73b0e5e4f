"""The documentation tells the truth about commands and links."""

import re
import shlex
from pathlib import Path

import pytest

from mspfn_tf.cli import build_parser

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("datasets/*/README.md"))
)


def commands(text):
    """Every `mspfn ...` line of the fenced blocks, continuation lines joined."""
    for block in re.findall(r"^```\w*\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            match = re.match(r"(?:\$ )?(?:\w+=\S+ )*(mspfn|python -m mspfn_tf) (.+)", line)
            if match:
                yield shlex.split(match[2], comments=True)


@pytest.mark.parametrize("page", PAGES)
def test_commands_parse(page):
    parser = build_parser()
    for command in commands((ROOT / page).read_text()):
        if "VERB" in command or "--help" in command or "--version" in command:
            continue
        try:
            parser.parse_args(command)
        except SystemExit:
            pytest.fail(f"{page}: mspfn {shlex.join(command)}")


def test_readme_has_commands():
    assert len(list(commands((ROOT / "README.md").read_text()))) > 8


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if not target.startswith("http"):
            assert (ROOT / page).parent.joinpath(target).exists(), target


def test_make_targets_of_the_readme_exist():
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    for target in re.findall(r"^make (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE):
        assert target in targets


def test_kotlin_of_the_docs_is_that_of_the_sample():
    sources = [
        " ".join(path.read_text().split()) for path in (ROOT / "android").rglob("src/**/*.kt")
    ]
    blocks = re.findall(
        r"^```kotlin\n(.*?)^```", (ROOT / "docs/phones.md").read_text(), re.M | re.S
    )
    assert len(blocks) >= 4
    for block in blocks:
        text = " ".join(block.split())
        assert any(text in source for source in sources), block
