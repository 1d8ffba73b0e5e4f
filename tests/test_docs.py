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


FILES = [
    path.relative_to(ROOT).as_posix()
    for path in ROOT.rglob("*.*")
    if not {"node_modules", ".venv", ".git", "runs", "build"} & {*path.relative_to(ROOT).parts}
]
PROSE = sorted(ROOT / name for name in FILES if name.endswith(".md"))
SOURCES = sorted(
    path
    for room in ("mspfn_tf", "datasets", "export", "benchmarks", "tools")
    for path in (ROOT / room).rglob("*.py")
)
ROOMS = {"mspfn_tf.datasets": "datasets", "mspfn_tf.export": "export", "mspfn_tf.web": "web"}


def missing_files(text):
    """The files of this repository that a text names, if need be without their folder, and that
    are not there."""
    suffix = r"\.(?:py|sh|js|mjs|kt|md|svg)\b"
    places = r"(?:mspfn_tf|datasets|export|benchmarks|tools|tests|docs|web|android)/"
    named = re.findall(rf"(?<![\w/.-]){places}[\w./-]+{suffix}", text)
    named += re.findall(rf"`([\w/-]+{suffix})`", text)
    return [name for name in named if not any(f"/{file}".endswith(f"/{name}") for file in FILES)]


def missing_names(text):
    """The dotted names of this package that a text names and that are nowhere."""
    return [
        name for name in re.findall(r"\bmspfn_tf(?:\.[A-Za-z]\w*)+", text) if not name_exists(name)
    ]


def name_exists(name):
    for room, folder in ROOMS.items():
        if f"{name}.".startswith(f"{room}."):
            name = folder + name.removeprefix(room)
    head, *rest = name.split(".")
    place = ROOT / head
    while rest and (place / rest[0]).is_dir():
        place /= rest.pop(0)
    file = place / "__init__.py"
    if rest and (place / f"{rest[0]}.py").is_file():
        file = place / f"{rest.pop(0)}.py"
    return not rest or re.search(rf"\b{rest[0]}\b", file.read_text()) is not None


@pytest.mark.parametrize("path", PROSE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_pages_name_what_exists(path):
    text = path.read_text()
    assert missing_files(text) == []
    if path.name != "CHANGELOG.md":  # which names what was, too
        assert missing_names(text) == []


def test_sources_name_what_exists():
    wrong = [
        (path.relative_to(ROOT).as_posix(), name)
        for path in SOURCES
        for name in missing_files(path.read_text()) + missing_names(path.read_text())
    ]
    assert wrong == []


def test_what_does_not_exist_is_found():
    text = "mspfn_tf/restorers.py, mspfn_tf/restorer.py, `images.py`, `layers.py`"
    assert missing_files(text) == ["mspfn_tf/restorers.py", "images.py"]
    text = "mspfn_tf.tiling.tile_all, mspfn_tf.tiling, mspfn_tf.images"
    assert missing_names(text) == ["mspfn_tf.tiling.tile_all", "mspfn_tf.images"]


def test_make_targets_of_the_readme_exist():
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    for target in re.findall(r"^make (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE):
        assert target in targets


def test_kotlin_of_the_docs_is_that_of_the_sample():
    sources = [
        " ".join(path.read_text().split()) for path in (ROOT / "android").rglob("src/**/*.kt")
    ]
    blocks = [
        block
        for page in PAGES
        for block in re.findall(r"^```kotlin\n(.*?)^```", (ROOT / page).read_text(), re.M | re.S)
    ]
    assert len(blocks) >= 6
    for block in blocks:
        text = " ".join(block.split())
        assert any(text in source for source in sources), block
