"""Writing files and folders so that none is ever half written, locks on folders, digests.

What is being written stands under a hidden name that says whose it is:
`.partial-HOST-PID-START-TOKEN.suffix`. The process that starts next on the same folder removes
what no living process owns (`clear_leftovers`).
"""

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import tempfile
import time
import warnings
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from mspfn_tf.errors import UsageError, argument

try:
    import fcntl
except ImportError:  # Windows: folders are not locked there
    fcntl = None

_LEFTOVER = re.compile(r"\.partial-([0-9a-f]{8})-(\d+)-(\d+)-[0-9a-f]{8}(\..*)?")
_ABANDONED = 24 * 3600.0  # seconds after which another machine's leftovers count as abandoned
# What macOS and the disks of Synology put beside pictures: forks and thumbnails of their names.
_FOREIGN = ("__MACOSX", "@eaDir")
LOCK = ".mspfn.lock"
"""The hidden file of a folder that one process holds for itself."""
HELD_BY_ANOTHER = (errno.EACCES, errno.EAGAIN)
"""What locks are refused with where another process has them; anything else: there are none."""


@contextlib.contextmanager
def writing(path: str | os.PathLike, temporary: bool = False) -> Iterator[None]:
    """For a block that writes `path`: an `OSError` in it becomes a `UsageError` that names it.

    Args:
        path: what is written.
        temporary: whether the block writes temporary files, too: then a full disk may be theirs.
    """
    try:
        yield
    except OSError as error:
        where = ""
        if temporary and error.errno in (errno.ENOSPC, errno.EDQUOT):
            where = f", there or in {tempfile.gettempdir()}, where temporary files go (TMPDIR)"
        raise UsageError(f"cannot write {path}: {error.strerror or error}{where}") from error


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike, overwrite: bool = False) -> Iterator[Path]:
    """Yields a temporary path beside `path`; renames it to `path` when the block succeeds.

    The temporary name keeps the suffix of `path` (writers choose their format by it). On an
    exception it is removed and whatever stood at `path` before is untouched.

    Args:
        path: the file to write. Missing parent folders are made.
        overwrite: whether a file that exists may be replaced.

    Raises:
        UsageError: `path` exists and `overwrite` is false, is a folder, or cannot be written.
    """
    path = Path(path)
    if path.is_dir():
        raise UsageError(f"{path} is a folder: choose another output")
    if path.exists() and not overwrite:
        raise UsageError(
            f"{path} exists already: choose another output or pass {argument('overwrite')}"
        )
    temporary = partial_path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
    try:
        yield temporary
        with writing(path):
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def check_outside(output: str | os.PathLike, folder: str | os.PathLike) -> None:
    """Refuses an output within a folder of inputs, where the next reader would take it for one.

    Raises:
        UsageError: it is.
    """
    if Path(os.path.realpath(output)).is_relative_to(os.path.realpath(folder)):
        raise UsageError(
            f"output {output} is within the input folder {folder}: choose a folder outside"
        )


@contextlib.contextmanager
def atomic_folder(
    path: str | os.PathLike, overwrite: bool = False, mark: str | None = None
) -> Iterator[Path]:
    """As `atomic_write`, for a folder: yields an empty one, which takes the place of `path`.

    What killed processes left beside `path` is removed first.

    Args:
        path: of the folder.
        overwrite: whether one that exists may be replaced, with all that it holds.
        mark: a file that such a folder holds. One without it that is not empty is something else,
            and never replaced.

    Raises:
        UsageError: `path` exists and `overwrite` is false, it is a file or holds something else, or
            it cannot be written.
    """
    path = Path(path)
    if path.is_symlink() or not path.name:  # what a link names is replaced, not the link
        path = path.resolve()
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} is a file: choose another output")
    if path.exists() and not overwrite:
        raise UsageError(
            f"{path} exists already: choose another output or pass {argument('overwrite')}"
        )
    if mark is not None and path.is_dir() and not (path / mark).is_file() and any(path.iterdir()):
        raise UsageError(
            f"{path} holds something else (no {mark}): it is not replaced. Choose another output"
        )
    temporary, replaced = partial_path(path), partial_path(path)
    clear_leftovers(path.parent)
    with writing(path):
        temporary.mkdir(parents=True)
    try:
        yield temporary
        try:
            if path.exists():
                path.rename(replaced)
            temporary.rename(path)
        except OSError as error:
            if replaced.exists():
                replaced.rename(path)
            raise UsageError(f"cannot write {path}: {error.strerror}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)


def partial_path(path: Path) -> Path:
    """A hidden name beside `path` that tells this process as its owner."""
    suffix = ".weights.h5" if path.name.endswith(".weights.h5") else path.suffix
    start = _start_of(os.getpid()) or 0
    token = secrets.token_hex(4)
    return path.with_name(f".partial-{_host()}-{os.getpid()}-{start}-{token}{suffix}")


def clear_leftovers(folder: str | os.PathLike, recursive: bool = False) -> list[Path]:
    """Removes what killed processes left half written in `folder`; returns what was removed.

    Files of living processes stay, as do those of other machines that are younger than a day, and
    those of other users that only they may remove.

    Args:
        folder: where to look; one that does not exist has no leftovers.
        recursive: whether to look in all folders below, too.
    """
    folder = Path(folder)
    if not folder.is_dir():
        return []
    removed = []
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(root, name)
            if not _is_abandoned(path):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    path.unlink()
            if not os.path.lexists(path):
                removed.append(path)
        folders[:] = [] if not recursive else [n for n in folders if not _LEFTOVER.fullmatch(n)]
    return removed


def missing_folders(folder: Path) -> list[Path]:
    """A folder and those above it that are not there, from the inside out."""
    return [one for one in (folder, *folder.parents) if not os.path.lexists(one)]


def remove_empty(folders: Sequence[Path]) -> None:
    """Removes folders as far as they hold nothing: the first that does ends it."""
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()


@contextlib.contextmanager
def locked(folder: str | os.PathLike, verb: str) -> Iterator[None]:
    """Holds `folder` for this process alone, for as long as the block runs or the process lives.

    A folder that was made for this, and in which nothing was written, is removed again.

    The lock is `flock(2)` on a hidden file, which is removed at the end: it ends with the process,
    however that ends. It holds between machines where the file system says so (NFS version 4 does;
    many others do not). Where the file system knows no locks (Lustre without its option flock),
    there is a warning, and nothing is held; nor is it on Windows.

    Args:
        folder: the folder; made if it is missing.
        verb: what this process does there, for the message of others.

    Raises:
        UsageError: another process holds the folder (the message names it), or the folder cannot
            be written.
    """
    folder = Path(folder)
    path = folder / LOCK
    made = missing_folders(folder)
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            try:
                file = open(path, "a+", encoding="utf-8")  # noqa: SIM115 closed below
            except FileNotFoundError:  # the process before this one was just removing the folder
                continue
        except OSError as error:
            hint = ""
            if isinstance(error, PermissionError) and path.exists():
                hint = f": {path} is another user's, who can remove it once their run has ended"
            raise UsageError(f"cannot write to {folder}: {error.strerror}{hint}") from error
        with file:
            _lock(file, folder)
            if not is_at(path, file):  # the process before this one was just removing it
                continue
            try:
                _sign(file, folder, verb)
                yield
            finally:
                with contextlib.suppress(OSError):  # Windows keeps a file that is open
                    path.unlink()
                remove_empty(made)
            return


def sha256(path: str | os.PathLike) -> str:
    """The SHA-256 of a file, as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_if_readable(path: str | os.PathLike) -> str | None:
    """The SHA-256 of a file; None of one that cannot be read, which is told where it is wanted."""
    try:
        return sha256(path)
    except OSError:
        return None


def is_hidden(name: str) -> bool:
    """Whether what a file or folder of this name holds is left out of folders: hidden, or put there
    by a system beside the pictures."""
    return name.startswith(".") or name in _FOREIGN


def visible_files(folder: str | os.PathLike) -> list[Path]:
    """Every file in `folder` and below, sorted, without hidden ones; links to folders are not
    followed.

    What makes up a model or labels: the `.DS_Store` of macOS comes and goes as people look at them.
    """
    folder = Path(folder)
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(map(is_hidden, path.relative_to(folder).parts))
    )


def _lock(file, folder: Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in HELD_BY_ANOTHER:
            warnings.warn(
                f"{folder} cannot be locked ({error.strerror}): see to it that no second process "
                "works there",
                stacklevel=4,
            )
            return
        raise UsageError(
            f"{folder} is in use by {_holder(file)}: wait for it, end it, or choose another folder"
        ) from error


def _sign(file, folder: Path, verb: str) -> None:
    holder = {"verb": verb, "pid": os.getpid(), "host": socket.gethostname()}
    try:  # past Python's buffers, which would try again when the file is closed
        os.ftruncate(file.fileno(), 0)
        os.pwrite(file.fileno(), json.dumps(holder).encode(), 0)
    except OSError as error:
        raise UsageError(f"cannot write to {folder}: {error.strerror}") from error


def is_at(path: Path, file: IO) -> bool:
    """Whether an open file still has that name."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _holder(file) -> str:
    file.seek(0)
    try:
        holder = json.loads(file.read())
        return f"mspfn {holder['verb']}, process {holder['pid']} on {holder['host']}"
    except (ValueError, KeyError, TypeError):  # it has not written its name yet
        return "another process"


def _is_abandoned(path: Path) -> bool:
    match = _LEFTOVER.fullmatch(path.name)
    if not match:
        return False
    host, pid, start = match.group(1), int(match.group(2)), int(match.group(3))
    if host != _host():
        try:
            return time.time() - path.lstat().st_mtime > _ABANDONED
        except FileNotFoundError:  # its owner has finished meanwhile
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # it lives, and is another user's
    return _start_of(pid) not in (None, start)  # the number went to another process


def _start_of(pid: int) -> int | None:
    """When a process started, in ticks since the machine did; None where that cannot be known."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return int(text.rpartition(")")[2].split()[19])


def _host() -> str:
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"
