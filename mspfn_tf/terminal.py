"""Lines for people: whatever a name holds, and whoever has closed the other end of the pipe."""

import os
import sys
from typing import TextIO


def printable(text: object, encoding: str | None = "utf-8") -> str:
    """The text with all that is not printable (escape and control characters, bytes that are no
    UTF-8, marks that turn the direction) written as escapes, in characters of `encoding`."""
    text = "".join(
        character if character.isprintable() else _escaped(character) for character in str(text)
    )
    encoding = encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def say(text: object, file: TextIO | None = None) -> None:
    """Prints one line, made `printable`, to `file` (default: standard output).

    If the reader of a pipe has gone (``| head -1``), that and all later lines are dropped: what was
    to be done goes on.
    """
    file = sys.stdout if file is None else file
    try:
        print(printable(text, getattr(file, "encoding", None)), file=file, flush=True)
    except BrokenPipeError:
        # Python flushes the stream once more at the end, which must not fail either.
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), file.fileno())


def _escaped(character):
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
