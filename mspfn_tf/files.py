"""Writing files so that none is ever half written, and hashing them."""

import contextlib
import hashlib
import os
from pathlib import Path

from mspfn_tf.errors import UsageError


@contextlib.contextmanager
def atomic_write(path, overwrite=False):
    """Yields a temporary path beside `path`; renames it to `path` when the block succeeds.

    The temporary name keeps the suffixes of `path` (writers choose their format by them). On an
    exception it is removed and whatever stood at `path` before is untouched.

    Args:
        path: the file to write. Missing parent folders are made.
        overwrite: whether a file that exists may be replaced.

    Raises:
        UsageError: `path` exists and `overwrite` is false, or its folder cannot be written.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise UsageError(f"{path} exists already: choose another output or pass --overwrite")
    temporary = path.with_name(f".{os.getpid()}.partial.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def sha256(path):
    """The SHA-256 of a file, as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
