"""Keeps the start-up notes of native libraries off standard error."""

import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator

_LOCK = threading.Lock()
_NOTES = (b"INFO: Created TensorFlow Lite", b"INFO: Initialized TensorFlow Lite")


@contextlib.contextmanager
def native_quiet() -> Iterator[None]:
    """Within it, notes that LiteRT writes to file descriptor 2 are dropped; the rest is passed on.

    They come from C++ and pass Python's `sys.stderr` by, so the descriptor itself is turned aside.
    """
    with _LOCK, tempfile.TemporaryFile() as aside:
        try:
            saved = os.dup(2)
        except OSError:  # the process has no standard error
            yield
            return
        os.dup2(aside.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            aside.seek(0)
            for line in aside.read().splitlines(keepends=True):
                if not line.startswith(_NOTES):
                    os.write(2, line)
