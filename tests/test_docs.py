"""The documentation tells the truth about commands and links."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from mspfn_tf.cli import build_parser
from mspfn_tf.presets import PRESETS, tflite_path

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("datasets/*/README.md"))
)
COMMAND_PAGES = [*PAGES, "CONTRIBUTING.md", "SECURITY.md", "android/README.md"]
RECIPES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/recipes/*.sh"))


COMMAND = r"(?:\$ )?(?:\w+=\S+ )*((?:mspfn|python -m \S+)(?: .+)?)"


def commands(text):
    """The words of every `mspfn` and `python -m` line of the fenced and the indented blocks,
    continuation lines joined."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    blocks += re.findall(r"(?<=\n\n)(?: {4}.*\n)+", text)
    for block in blocks:
        for line in block.replace("\\\n", " ").splitlines():
            if match := re.fullmatch(COMMAND, line.strip()):
                yield shlex.split(match[1], comments=True)


def mentions(text):
    """The same of what stands in `...`, in cells of tables and elsewhere."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    for code in re.findall(r"`([^`]+)`", prose):
        if match := re.fullmatch(COMMAND, " ".join(code.split())):
            yield match[1].split()


def module_file(name):
    """The file of a module of this repository, or None."""
    for room, folder in ROOMS.items():
        if f"{name}.".startswith(f"{room}."):
            name = folder + name.removeprefix(room)
    place = ROOT / name.replace(".", "/")
    found = (place.with_suffix(".py"), place / "__main__.py", place / "__init__.py")
    return next((file for file in found if file.is_file()), None)


def arguments_of(command):
    """What follows `mspfn`, or `python -m mspfn_tf`; None for another program."""
    if command[0] == "mspfn":
        return command[1:]
    return command[3:] if command[2] == "mspfn_tf" else None


def fault(command):
    """What a command names that does not exist, verb, module or flag, in words; else None."""
    flags = {*re.findall(r"(?<![\w-])--\w+", " ".join(command).partition(" -- ")[0])}
    arguments = arguments_of(command)
    if arguments is None:
        name, file = command[2], module_file(command[2])
        source = file.read_text() if file else ""
        if "run_on_pairs(" in source:
            source += (ROOT / "benchmarks" / "__init__.py").read_text()
        known = {*re.findall(r"[\"'](--\w+)[\"']", source)}
    else:
        name = arguments[0] if arguments else "VERB"
        if name in ("VERB", "...") or name.startswith("-"):
            return None
        (verbs,) = (one.choices for one in build_parser()._actions if one.dest == "verb")
        file = verbs.get(name)
        known = {*file._option_string_actions} if file else set()
    if not file:
        return f"there is no {name}"
    wrong = sorted(flags - known - {"--help"})
    return f"{name} has no {', '.join(wrong)}" if wrong else None


def is_complete(command):
    """Whether it is an `mspfn` command that can be given as it stands, and no synopsis."""
    arguments = arguments_of(command)
    places = any(word[0] in "[(|" or word in ("...", "VERB") for word in arguments or () if word)
    return arguments is not None and not places and not {"--help", "--version"} & {*arguments}


@pytest.mark.parametrize("page", COMMAND_PAGES)
def test_commands_parse(page):
    text, parser = (ROOT / page).read_text(), build_parser()
    for command in commands(text):
        assert fault(command) is None, f"{page}: {shlex.join(command)}"
        try:
            if is_complete(command):
                parser.parse_args(arguments_of(command))
        except SystemExit:
            pytest.fail(f"{page}: {shlex.join(command)}")


@pytest.mark.parametrize("page", COMMAND_PAGES)
def test_commands_in_prose_and_tables_exist(page):
    for command in mentions((ROOT / page).read_text()):
        assert fault(command) is None, f"{page}: {shlex.join(command)}"


def test_commands_are_found_wherever_they_stand():
    text = (
        "a\n\n    mspfn score a \\\n        b --no\n\n```\n$ A=1 python -m tools.nothing x\n```\n"
    )
    text += "| `mspfn train ... --nothing` | `python -m\nbenchmarks.tiling --tile 8 --nix` |\n"
    assert [*map(fault, commands(text))] == ["there is no tools.nothing", "score has no --no"]
    assert [*map(fault, mentions(text))] == [
        "train has no --nothing",
        "benchmarks.tiling has no --nix",
    ]


@pytest.mark.parametrize("recipe", RECIPES)
def test_commands_of_the_recipes_parse(recipe, tmp_path):
    """The script runs with programs in the place of `mspfn`, `python` and `cp` that write down what
    they are asked for."""
    for name in ("mspfn", "python", "cp"):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\nprintf '%s\\0' {name} \"$@\" >> {tmp_path}/asked\n")
        program.write_text(program.read_text() + f"printf '\\n\\0' >> {tmp_path}/asked\n")
        program.chmod(0o755)
    subprocess.run(
        ["sh", "-e", ROOT / recipe, "FOLDER", tmp_path / "output"],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        check=True,
    )
    asked = [line.split("\0")[:-1] for line in (tmp_path / "asked").read_text().split("\n\0")[:-1]]
    asked = [command for command in asked if command[0] == "mspfn" or command[1] == "-m"]
    assert asked
    for command in asked:
        assert fault(command) is None, shlex.join(command)
        if arguments_of(command) is not None:
            build_parser().parse_args(arguments_of(command))


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


def test_sample_for_android_takes_the_files_for_phones_alone():
    build = (ROOT / "android/app/build.gradle.kts").read_text()
    shipped = [tflite_path(name) for name in PRESETS if PRESETS[name]["weights"]]
    assert re.findall(r'"([^"]*\.tflite)"', build) == [path.name for path in shipped]
