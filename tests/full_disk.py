"""A disk that is full at the n-th write, for every n."""

import builtins
import contextlib
import errno
import io
import itertools
import os
import resource
from pathlib import Path


class FullDisk:
    """The `at`-th call (1, 2, ...) of certain functions finds the disk full.

    Args:
        monkeypatch: pytest's.
        at: which one; 0: none.
        functions: pairs of what has the function and its name.
        number: what the system says instead, such as `errno.EROFS`.
    """

    def __init__(self, monkeypatch, at, functions, number=errno.ENOSPC):
        self.at, self.number, self.count = at, number, 0
        for owner, name in functions:
            monkeypatch.setattr(owner, name, self._asking_before(getattr(owner, name), name))

    def _asking_before(self, function, name):
        def wrapped(*arguments, **options):
            self.check(name)
            return function(*arguments, **options)

        return wrapped

    def check(self, what):
        """Counts a write of `what`; raises `OSError` where the disk is full."""
        self.count += 1
        if self.count == self.at:
            raise OSError(self.number, os.strerror(self.number), str(what))


class Full(FullDisk):
    """The `at`-th write (1, 2, ...) below `folder` finds the disk full."""

    def __init__(self, monkeypatch, at, folder, number=errno.ENOSPC):
        self.folder = str(folder)
        functions = (
            (os, "fsync"), (os, "replace"), (os, "pwrite"), (Path, "touch"), (Path, "mkdir"),
            (Path, "rename"),
        )  # fmt: skip
        super().__init__(monkeypatch, at, functions, number)
        opened = builtins.open

        def open_(file, mode="r", *arguments, **options):
            if self.folder not in str(file) or not set(mode) & set("wax+"):
                return opened(file, mode, *arguments, **options)
            self.check(file)
            return Stream(opened(file, mode, *arguments, **options), self)

        monkeypatch.setattr(builtins, "open", open_)
        monkeypatch.setattr(io, "open", open_)


class Stream:
    """A file that asks before every write."""

    def __init__(self, stream, full):
        self._stream, self._full = stream, full

    def write(self, data):
        self._full.check(self._stream.name)
        return self._stream.write(data)

    def __getattr__(self, name):
        return getattr(self._stream, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._stream.close()


@contextlib.contextmanager
def files_end_at(size):
    """No file grows beyond `size` bytes: what then fails are the writes of the system itself, also
    of libraries in other languages, which may have written a part."""
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, unlimited[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)


def every_write_fails(monkeypatch, folder, act, number=errno.ENOSPC):
    """Calls `act(n)` with the n-th write failing, until none is left; returns how many failed."""
    for at in itertools.count(1):
        with monkeypatch.context() as patched:
            full = Full(patched, at, folder, number)
            failed = act(at)
        assert not list(folder.rglob(".partial-*")), at
        if full.count < at:
            assert not failed
            print(f"{at - 1} writes failed")
            return at - 1
        assert failed, at
    raise AssertionError
