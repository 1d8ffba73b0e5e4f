"""Sharing one output folder between processes: who takes a piece of work claims it first."""

import contextlib
import errno
import hashlib
import os
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

from mspfn_tf.errors import argument
from mspfn_tf.files import HELD_BY_ANOTHER, is_at

try:
    import fcntl
except ImportError:  # Windows: nothing is claimed there
    fcntl = None

_FILE = ".mspfn.claims"
_EVERYBODY = 0  # the byte that each process on the folder holds
_NOT_HERE = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)

# Closing any handle of a file ends all record locks that the process holds on it. So a process has
# one handle for each folder, whatever its threads open.
_opened: dict[str, "_Handle"] = {}
_opening = threading.Lock()


class _Handle:
    """The hidden file of one folder, held by this process; `file` is None without locks."""

    def __init__(self, folder):
        self.path = Path(folder) / _FILE
        self.users, self.held = 0, set()
        self.file = None
        if fcntl is None:
            return
        while True:
            file = open(self.path, "a+b")  # noqa: SIM115 the last process may just remove it
            try:
                fcntl.lockf(file, fcntl.LOCK_SH, 1, _EVERYBODY)
            except OSError as error:
                file.close()
                if error.errno not in _NOT_HERE:
                    raise
                self.path.unlink(missing_ok=True)
                warnings.warn(
                    f"{folder} is on a file system without locks: two processes there would do "
                    f"the same work; give each its part: {argument('shard', '1/2')}",
                    stacklevel=3,
                )
                return
            if is_at(self.path, file):  # else the last one before us was just removing it
                self.file = file
                return
            file.close()

    def close(self):
        if fcntl is None or self.file is None:
            return
        fcntl.lockf(self.file, fcntl.LOCK_UN, 1, _EVERYBODY)
        with contextlib.suppress(OSError):  # others are still at work, and the last one removes it
            fcntl.lockf(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _EVERYBODY)
            if is_at(self.path, self.file):
                self.path.unlink()
        self.file.close()


class Claims:
    """Claims on pieces of work in one folder, which end with the process that holds them.

    They are POSIX record locks, one byte for each piece, on a hidden file that goes away with the
    last process. They hold between machines where the file system passes them on (NFS does,
    Lustre with its option flock); where there are none, and on Windows, everything may be claimed
    by every process, with a warning: use shards there.

    Args:
        folder: the folder that the work is written to; made if it is missing.

    Raises:
        OSError: the hidden file cannot be made.
    """

    def __init__(self, folder: str | os.PathLike):
        Path(folder).mkdir(parents=True, exist_ok=True)
        self._key = os.path.realpath(folder)
        with _opening:
            handle = _opened.get(self._key) or _Handle(folder)
            handle.users += 1
            _opened[self._key] = handle
        self._handle, self._closed = handle, False

    @contextlib.contextmanager
    def claim(self, name: str) -> Iterator[bool]:
        """Yields whether the piece of work `name` belongs to the calling thread for the block."""
        place = 1 + int.from_bytes(hashlib.sha256(name.encode("utf-8", "replace")).digest()[:7])
        is_ours = self._take(place)
        try:
            yield is_ours
        finally:
            if is_ours:
                self._give_back(place)

    def _take(self, place):
        handle = self._handle
        with _opening:
            if place in handle.held:
                return False
            if fcntl is not None and handle.file is not None:
                try:
                    fcntl.lockf(handle.file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
                except OSError as error:
                    if error.errno not in HELD_BY_ANOTHER:
                        raise
                    return False
            handle.held.add(place)
            return True

    def _give_back(self, place):
        handle = self._handle
        with _opening:
            handle.held.discard(place)
            if fcntl is not None and handle.file is not None:
                fcntl.lockf(handle.file, fcntl.LOCK_UN, 1, place)

    def close(self) -> None:
        """Ends the claims; the last process removes the hidden file."""
        with _opening:
            if self._closed:
                return
            self._closed = True
            self._handle.users -= 1
            if not self._handle.users:
                del _opened[self._key]
                self._handle.close()

    def __enter__(self) -> "Claims":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def in_use(folder: str | os.PathLike) -> bool:
    """Whether work is going on in `folder`, in this process or in another."""
    path = Path(folder) / _FILE
    with _opening:
        if os.path.realpath(folder) in _opened:
            return True
        if fcntl is None or not path.exists():
            return False
        try:
            with open(path, "r+b") as file:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _EVERYBODY)
        except OSError as error:
            return error.errno in HELD_BY_ANOTHER
        return False
