"""Keeps the start-up notes of libraries off standard error."""

import contextlib
import importlib.abc
import importlib.util
import logging
import os
import sys
import tempfile
import threading
from collections.abc import Iterator

_lock = threading.Lock()
_saved: int | None = None  # standard error itself, while it is turned aside
_NOTES = (
    b"INFO: Created TensorFlow Lite",
    b"INFO: Initialized TensorFlow Lite",
    b"WARNING: All log messages before absl::InitializeLog()",
    b"I0000 ",
)
_NOTE_OF_RAY = b"Set ray log level from environment variable"


@contextlib.contextmanager
def native_quiet() -> Iterator[None]:
    """Within it, notes that LiteRT, TensorFlow and Ray write to file descriptor 2 are dropped; the
    rest is passed on.

    They come from C++ and pass Python's `sys.stderr` by, so the descriptor itself is turned aside.
    """
    global _saved
    with _lock, contextlib.ExitStack() as stack:
        try:
            aside = stack.enter_context(tempfile.TemporaryFile())
            saved = _saved = os.dup(2)
        except OSError:  # a read-only container, or the process has no standard error
            yield
            return
        os.dup2(aside.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            _saved = None
            os.close(saved)
            aside.seek(0)
            for line in aside.read().splitlines(keepends=True):
                if not line.startswith(_NOTES) and _NOTE_OF_RAY not in line:
                    os.write(2, line)


def _begin_child() -> None:
    """Of a thread that was within `native_quiet` when the process was forked, nothing came along
    but the lock that it held and the file that standard error is turned aside to."""
    global _lock, _saved
    _lock = threading.Lock()
    if _saved is not None:
        os.dup2(_saved, 2)
        _saved = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_child)


@contextlib.contextmanager
def absl_quiet(notice: str = "") -> Iterator[None]:
    """Within it, warnings with `notice` in them that packages give through absl's logging are
    dropped; errors are not."""
    from absl.logging import get_absl_logger

    def stays(record):
        return record.levelno >= logging.ERROR or notice not in str(record.msg)

    logger = get_absl_logger()
    logger.addFilter(stays)
    try:
        yield
    finally:
        logger.removeFilter(stays)


def quiet_tensorflow() -> None:
    """Keeps what TensorFlow says of itself off standard error, whoever imports it later.

    Its log level is raised, unless the environment sets one: it calls a machine without a GPU an
    error. What it says while it is imported, no level reaches.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "tensorflow" not in sys.modules and not any(
        isinstance(finder, _QuietImport) for finder in sys.meta_path
    ):
        sys.meta_path.insert(0, _QuietImport())


class _QuietImport(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports TensorFlow as usual, with standard error turned aside meanwhile."""

    def find_spec(self, name, path=None, target=None):
        if name != "tensorflow" or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)  # once is enough
        usual = importlib.util.find_spec(name)
        if usual is None or usual.loader is None:
            return None
        self._usual, self._loader = usual, usual.loader
        return importlib.util.spec_from_file_location(
            name,
            usual.origin,
            loader=self,
            submodule_search_locations=usual.submodule_search_locations,
        )

    def create_module(self, spec):
        return self._loader.create_module(self._usual)

    def exec_module(self, module):
        module.__spec__, module.__loader__ = self._usual, self._loader
        with native_quiet():
            self._loader.exec_module(module)
