"""Every public signature has types; `make lint` has them checked."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted(
    path
    for room in ("mspfn_tf", "datasets", "export", "web")
    for path in (ROOT / room).rglob("*.py")
)


def is_public(name):
    return not name.startswith("_") or name.endswith("__")


def public_functions(body, prefix=""):
    """(qualified name, its node, how many leading arguments are bound) of functions and methods."""
    for node in body:
        if isinstance(node, ast.ClassDef) and is_public(node.name):
            yield from public_functions(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.FunctionDef) and is_public(node.name):
            decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
            yield (
                f"{prefix}{node.name}",
                node,
                int(bool(prefix) and "staticmethod" not in decorators),
            )


def untyped(node, bound):
    """The parts of a signature without a type."""
    arguments = node.args
    named = [*arguments.posonlyargs, *arguments.args][bound:] + arguments.kwonlyargs
    named += [rest for rest in (arguments.vararg, arguments.kwarg) if rest]
    missing = [argument.arg for argument in named if argument.annotation is None]
    if node.returns is None and node.name != "__init__":
        missing.append("return")
    return missing


@pytest.mark.parametrize(
    "signature, missing",
    [
        ("def f(a: int, *b: str, c: int = 1, **d: int) -> None: ...", []),
        ("def f(a, *b, c=1, **d): ...", ["a", "c", "b", "d", "return"]),
        ("class A:\n def __init__(self, a): ...", ["a"]),
        ("class A:\n @staticmethod\n def f(a) -> int: ...", ["a"]),
        ("class _A:\n def f(a): ...", None),
        ("def _f(a): ...", None),
    ],
)
def test_what_counts_as_untyped(signature, missing):
    found = [untyped(node, bound) for _, node, bound in public_functions(ast.parse(signature).body)]
    assert found == ([] if missing is None else [missing])


def test_public_signatures_have_types():
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno} {name}: {', '.join(missing)}"
        for path in FILES
        for name, node, bound in public_functions(ast.parse(path.read_text()).body)
        if (missing := untyped(node, bound))
    ]
    assert not wrong, "\n".join(wrong)
