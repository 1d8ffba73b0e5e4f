"""The one exception for what a user can put right, and how its messages name arguments."""

import contextlib
from collections.abc import Iterator

_as_flags = False


class UsageError(ValueError):
    """Wrong usage or configuration: the message names what was received, what was expected and
    what to do. The `mspfn` command prints it and exits with status 2."""


def argument(name: str, value: object = True) -> str:
    """An argument as whoever reads the message would give it: `overwrite=True` in Python,
    `--overwrite` to the `mspfn` command."""
    if not _as_flags:
        return f"{name}={value!r}"
    return f"--{name}" if value is True else f"--{name} {value}"


def in_python(advice: str) -> str:
    """`advice`, unless the reader is at the `mspfn` command, which has nothing like it."""
    return "" if _as_flags else advice


@contextlib.contextmanager
def naming_flags() -> Iterator[None]:
    """Within it, in all threads of the process, `argument` names flags; `in_python` is silent."""
    global _as_flags
    before, _as_flags = _as_flags, True
    try:
        yield
    finally:
        _as_flags = before
