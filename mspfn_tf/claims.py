"""Sharing one output folder between processes: who takes a piece of work claims it first."""

import contextlib
import errno
import hashlib
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: nothing is claimed there
    fcntl = None

_FILE = ".mspfn.claims"
_EVERYBODY = 0  # the byte that each process on the folder holds
_NOT_HERE = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class Claims:
    """Claims on pieces of work in one folder, which end with the process that holds them.

    They are POSIX record locks, one byte for each piece, on a hidden file that goes away with the
    last process. They hold between machines where the file system passes them on (NFS does,
    Lustre with its option flock); where there are none, and on Windows, everything may be claimed
    by everybody, with a warning: use shards there.

    A process must not have two of them on one folder at a time; its threads share one.

    Args:
        folder: the folder that the work is written to; made if it is missing.

    Raises:
        OSError: the hidden file cannot be made.
    """

    def __init__(self, folder: str | os.PathLike):
        self._path = Path(folder) / _FILE
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = None
        if fcntl is None:
            return
        while True:
            file = open(self._path, "r+b" if self._path.exists() else "w+b")  # noqa: SIM115
            try:
                fcntl.lockf(file, fcntl.LOCK_SH, 1, _EVERYBODY)
            except OSError as error:
                file.close()
                if error.errno not in _NOT_HERE:
                    raise
                self._path.unlink(missing_ok=True)
                warnings.warn(
                    f"{folder} is on a file system without locks: two processes there would do "
                    "the same work; give each its part with --shard",
                    stacklevel=2,
                )
                return
            if _is_at(self._path, file):  # else the last one before us was just removing it
                self._file = file
                return
            file.close()

    @contextlib.contextmanager
    def claim(self, name: str) -> Iterator[bool]:
        """Yields whether the piece of work `name` is this process' own for the block."""
        if self._file is None:
            yield True
            return
        place = 1 + int.from_bytes(hashlib.sha256(name.encode("utf-8", "replace")).digest()[:7])
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise
            yield False
            return
        try:
            yield True
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, place)

    def close(self) -> None:
        """Ends all claims; the last process removes the hidden file."""
        if self._file is None:
            return
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _EVERYBODY)
        with contextlib.suppress(OSError):  # others are still at work, and the last one removes it
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _EVERYBODY)
            if _is_at(self._path, self._file):
                self._path.unlink()
        self._file.close()
        self._file = None

    def __enter__(self) -> "Claims":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def in_use(folder: str | os.PathLike) -> bool:
    """Whether another process is at work in `folder`."""
    path = Path(folder) / _FILE
    if fcntl is None or not path.exists():
        return False
    try:
        with open(path, "r+b") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _EVERYBODY)
    except OSError as error:
        return error.errno in (errno.EACCES, errno.EAGAIN)
    return False


def _is_at(path, file):
    try:
        return os.path.samestat(os.stat(path), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
