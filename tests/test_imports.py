"""The structure of the package: imports point downward, without cycles."""

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = {
    "mspfn_tf": "mspfn_tf",
    "datasets": "mspfn_tf.datasets",
    "export": "mspfn_tf.export",
    "web": "mspfn_tf.web",
}

# From the ground up. A module may import what stands on its own floor or on a lower one.
FLOORS = (
    ("errors", "files", "checks", "sizes", "symmetries", "quiet", "protocol", "terminal", "extras"),
    ("metrics", "keras_metrics", "losses", "layers", "presets", "released", "hub", "source"),
    ("pictures",),
    ("video",),
    ("sets", "partial_results"),
    (
        "model",
        "weights_file",
        "inspection",
        "model_files",
        "complexity",
        "reference_checkpoint",
        "whole_picture",
    ),
    ("tiling", "runtimes", "restorer"),
    ("restoring", "evaluation", "datasets", "training", "tasks", "web"),
    ("export", "bulk"),
    ("commands",),
    ("cli", "__main__"),
)


@functools.cache
def modules():
    """Every module of the package: dotted name -> path."""
    found = {}
    for folder, package in ROOMS.items():
        for path in (ROOT / folder).rglob("*.py"):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            parts = parts[:-1] if parts[-1] == "__init__" else parts
            found[".".join((package, *parts))] = path
    return found


@functools.cache
def imports(path):
    """The modules of the package that a module imports: (when it is imported, ever)."""
    known = modules()
    tree = ast.parse(path.read_text())
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    inside |= {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for node in ast.walk(block)
    }
    at_once, ever = set(), set()
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            while name and name not in known:
                name = name.rpartition(".")[0]
            if name and name != "mspfn_tf":
                ever.add(name)
                if id(node) not in inside:
                    at_once.add(name)
    return at_once, ever


def floor(name):
    room = name.split(".")[1] if "." in name else name
    for height, rooms in enumerate(FLOORS):
        if room in rooms:
            return height
    return None


def test_no_cycles():
    known = modules()
    graph = {name: imports(path)[0] - {name} for name, path in known.items()}
    done, path = set(), []

    def visit(name):
        if name in path:
            pytest.fail(" -> ".join([*path[path.index(name) :], name]))
        if name in done:
            return
        path.append(name)
        for other in sorted(graph[name]):
            visit(other)
        path.pop()
        done.add(name)

    for name in sorted(graph):
        visit(name)


def test_nothing_imports_upward():
    known = modules()
    upward = []
    for name, path in known.items():
        if name == "mspfn_tf":
            continue
        own = floor(name)
        assert own is not None, f"{name} stands on no floor of FLOORS"
        for other in imports(path)[1] - {name}:
            height = floor(other)
            if height > own:
                upward.append(f"{name} imports {other}")
    assert not upward, "\n".join(sorted(upward))


def test_verbs_do_not_import_verbs():
    known = modules()
    shared = {
        "mspfn_tf.commands",
        "mspfn_tf.commands.arguments",
        "mspfn_tf.commands.video_arguments",
    }
    wrong = [
        f"{name} imports {other}"
        for name, path in known.items()
        if name.startswith("mspfn_tf.commands.")
        for other in imports(path)[1] - shared - {name}
        if other.startswith("mspfn_tf.commands.")
    ]
    assert not wrong, "\n".join(wrong)


def test_the_package_does_not_import_what_is_not_installed():
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text())):
            named = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            named += [node.module] if isinstance(node, ast.ImportFrom) else []
            for other in named:
                assert other.partition(".")[0] not in ("benchmarks", "tests", "tools"), name


def test_the_library_does_not_import_commands():
    known = modules()
    wrong = [
        name
        for name, path in known.items()
        if not name.startswith(("mspfn_tf.commands", "mspfn_tf.cli", "mspfn_tf.__main__"))
        and any(other.startswith("mspfn_tf.commands") for other in imports(path)[1])
    ]
    assert not wrong


def test_what_sizes_are_multiples_of_has_one_name():
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text())):
            divided = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod | ast.FloorDiv)
            eight = divided and isinstance(node.right, ast.Constant) and node.right.value == 8
            assert not eight, f"{name}:{node.lineno}: mspfn_tf.sizes.MULTIPLE_OF"


def test_no_sys_argv_in_the_library():
    for name, path in modules().items():
        if name.startswith(("mspfn_tf.commands", "mspfn_tf.cli")) or path.name == "__main__.py":
            continue
        text = path.read_text()
        # Only programs that are run by their path, in a process of their own, read it.
        assert "sys.argv" not in text or '__name__ == "__main__"' in text, name


def test_only_commands_name_flags():
    """Messages of the library say `overwrite=True`; `mspfn_tf.errors.argument` spells them."""
    elsewhere = {"mspfn_tf.cli", "mspfn_tf.errors", "mspfn_tf.training.backends.jax"}  # XLA's flags
    wrong = []
    for name, path in modules().items():
        if name.startswith("mspfn_tf.commands.") or name in elsewhere:
            continue
        tree = ast.parse(path.read_text())
        docstrings = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            text = isinstance(node, ast.Constant) and isinstance(node.value, str)
            if text and id(node) not in docstrings and re.search(r"(^|[\s(])--[a-z]", node.value):
                wrong.append(f"{name}:{node.lineno}: {node.value!r}")
    assert not wrong, "\n".join(wrong)
