"""Lines and progress for people: whatever a name holds, and whoever has closed the other end of the
pipe."""

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any, TextIO


def printable(text: object, encoding: str | None = "utf-8") -> str:
    """The text with all that is not printable (escape and control characters, bytes that are no
    UTF-8, marks that turn the direction) written as escapes, in characters of `encoding`."""
    text = "".join(
        character if character.isprintable() else _escaped(character) for character in str(text)
    )
    encoding = encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def open_closed_streams() -> None:
    """Gives a process that was started without standard streams, as some daemons are, silent ones.

    Else the next file that it opens would take their place, and get what libraries print there.
    `sys.__stdin__`, `sys.__stdout__` and `sys.__stderr__` still tell which were closed.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            while os.open(os.devnull, os.O_RDWR) < number:  # the lowest number that is free
                pass
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115 it stays open


def say(text: object, file: TextIO | None = None) -> None:
    """Prints one line, made `printable`, to `file` (default: standard output).

    If it cannot be written (the reader of a pipe has gone, as with ``| head -1``, or the disk is
    full), that and all later lines are dropped: what was to be done goes on.
    """
    stream = sys.stdout if file is None else file
    try:
        print(printable(text, getattr(stream, "encoding", None)), file=stream, flush=True)
    except OSError as error:
        # Python flushes the stream once more at the end, which must not fail either.
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())
        if not isinstance(error, BrokenPipeError) and stream is not sys.stderr:
            say(f"mspfn: cannot print to {stream.name}: {error.strerror}", sys.stderr)


def say_above(bar: Any, text: object, file: TextIO) -> None:
    """As `say`, above a bar of tqdm on standard error; `bar` is None where there is none."""
    with contextlib.nullcontext() if bar is None else bar.external_write_mode(file=sys.stderr):
        say(text, file)


@contextlib.contextmanager
def plain_warnings(name: str) -> Iterator[None]:
    """While it runs, warnings for users are lines like errors of `name`: Python's way shows a line
    of the program, and control characters as they are."""
    with warnings.catch_warnings():
        others = warnings.showwarning

        def show(message, category, filename, lineno, file=None, line=None):
            if issubclass(category, UserWarning):
                say(f"{name}: warning: {message}", file or sys.stderr)
            else:
                others(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        yield


def bar_size(stream: TextIO) -> dict[str, Any]:
    """The size of the terminal at `stream`, as arguments of tqdm: 80x24 where it tells none (those
    that `script` and containers open begin with 0x0), since tqdm would draw nothing there."""
    try:
        columns, lines = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        columns = lines = 0
    return {"dynamic_ncols": True} if columns and lines else {"ncols": columns or 80, "nrows": 24}


class Bars:
    """A progress bar for every part of the work; silent where `stream` is no terminal.

    An instance is called with what is being done, how much of it is done, and how much there is.

    Args:
        stream: where to draw.
    """

    def __init__(self, stream: TextIO):
        self._stream, self._bar, self._what = stream, None, None

    def __call__(self, what: str, done: int, total: int) -> None:
        if not self._stream.isatty():
            return
        if self._bar is None or what != self._what:
            from tqdm import tqdm

            self._close()
            self._bar = tqdm(
                total=total,
                desc=what,
                unit="",
                unit_scale=total > 10_000,
                file=self._stream,
                **bar_size(self._stream),
            )
            self._what = what
        self._bar.update(done - self._bar.n)

    def __enter__(self) -> "Bars":
        return self

    def __exit__(self, *exception: object) -> None:
        self._close()

    def _close(self):
        if self._bar is not None:
            self._bar.close()


def _escaped(character):
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
