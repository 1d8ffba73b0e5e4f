"""Folders and files on any file system that pyarrow knows: local, S3, Google Cloud, HDFS."""

import contextlib
import functools
import os
import posixpath
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from mspfn_tf.errors import UsageError
from mspfn_tf.files import atomic_write

# Object stores show an object only when all of it has arrived; moving one would copy it.
_APPEAR_WHOLE = ("s3", "gcs", "abfs")
PROBE = ".mspfn_probe_"
"""How the names of files begin that are written to see whether that is possible."""
_AT_ONCE = 1000  # paths that are looked up in one call
_TRANSIENT = (OSError, pa.ArrowException)


@dataclass(frozen=True)
class Place:
    """A folder or file. It pickles by its address and is opened anew where it is needed.

    Attributes:
        address: a URI (``s3://bucket/folder``), or a path of this machine.
    """

    address: str

    @functools.cached_property
    def local(self) -> Path | None:
        """The path, where the place is on a file system of this machine."""
        if "://" not in self.address:
            return Path(self.address)
        if self.address.startswith("file://"):
            return Path(self._opened[1])
        return None

    @functools.cached_property
    def _opened(self) -> tuple[fs.FileSystem, str]:
        if "://" not in self.address:
            return fs.LocalFileSystem(), str(Path(self.address).absolute())
        try:
            filesystem, path = _from_uri(self.address)
        except (ValueError, *_TRANSIENT) as error:
            raise UsageError(
                f"{self}: not a URI that can be opened ({self.reason(error)}); expected a path, "
                "file://, s3://, gs://, abfs:// or hdfs://"
            ) from error
        return filesystem, path

    def __getstate__(self) -> dict[str, str]:
        return {"address": self.address}

    def __setstate__(self, state: dict[str, str]) -> None:
        self.__dict__.update(state)

    def __str__(self) -> str:
        """The address for messages and records: without options and passwords."""
        scheme, mark, rest = self.address.partition("://")
        if not mark:
            return self.address
        host, slash, path = rest.partition("?")[0].partition("/")
        return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"

    def at(self, name: str) -> "Place":
        """The place `name` below this one; what follows a ``?`` in a URI (its options) stays."""
        if not name:
            return self
        if "://" not in self.address:
            return Place(os.path.join(self.address, name))
        from urllib.parse import quote

        address, mark, options = self.address.partition("?")
        return Place(f"{address.rstrip('/')}/{quote(name)}{mark}{options}")

    def kind(self) -> str:
        """Returns "file", "folder" or "nothing". Raises `UsageError` if it cannot be looked at."""
        filesystem, path = self._opened
        with self._naming():
            found = filesystem.get_file_info(path).type
        return {fs.FileType.File: "file", fs.FileType.Directory: "folder"}.get(found, "nothing")

    def entries(self) -> list[tuple[str, bool]]:
        """(name, whether it is a folder) of what is in this folder, sorted by name."""
        if self.local is not None:  # not by pyarrow, which a name that is no UTF-8 ends
            if not self.local.exists():
                return []
            with self._naming(), os.scandir(self.local) as found:
                return sorted(
                    (one.name, one.is_dir()) for one in found if one.is_dir() or one.is_file()
                )
        filesystem, path = self._opened
        with self._naming():
            found = filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True))
        return sorted(
            (one.base_name, one.type == fs.FileType.Directory)
            for one in found
            if one.type in (fs.FileType.File, fs.FileType.Directory)
        )

    def others(self) -> list[str]:
        """Names of what is neither file nor folder in a local folder: links to nothing, pipes,
        devices."""
        if self.local is None or not self.local.exists():
            return []
        with self._naming(), os.scandir(self.local) as found:
            return sorted(one.name for one in found if not one.is_dir() and not one.is_file())

    def have(self, names: list[str]) -> Iterator[bool]:
        """Whether there are files of these names below, and with something in them."""
        filesystem, path = self._opened
        for first in range(0, len(names), _AT_ONCE):
            paths = [posixpath.join(path, name) for name in names[first : first + _AT_ONCE]]
            with self._naming():
                for found in filesystem.get_file_info(paths):
                    yield found.type == fs.FileType.File and bool(found.size)

    def open(self) -> pa.NativeFile:
        """The file, for reading at any position."""
        filesystem, path = self._opened
        with self._naming():
            return filesystem.open_input_file(path)

    def read(self, offset: int = 0, size: int | None = None) -> bytes:
        """The content, or `size` bytes of it from `offset` on. Raises `UsageError`."""
        with self._naming(), self.open() as file:
            if size is None:
                return file.read()
            file.seek(offset)
            content = file.read(size)
        if len(content) < size:
            raise UsageError(f"{self}: ends {size - len(content)} bytes early")
        return content

    def write(self, content: bytes) -> None:
        """Writes the file, or replaces it, so that it is never seen half written.

        Raises:
            OSError: it cannot be written, with the number of the reason.
        """
        if self.local is not None:
            try:
                with atomic_write(self.local, overwrite=True) as temporary:
                    temporary.write_bytes(content)
            except UsageError as error:
                raise error.__cause__ or error from None
            return
        filesystem, path = self._opened
        if filesystem.type_name in _APPEAR_WHOLE:
            self._put(filesystem, path, content)
            return
        folder, name = posixpath.split(path)
        filesystem.create_dir(folder, recursive=True)
        temporary = posixpath.join(folder, f".partial-{secrets.token_hex(8)}-{name}")
        try:
            self._put(filesystem, temporary, content)
            filesystem.move(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):  # what went wrong before matters more
                filesystem.delete_file(temporary)
            raise

    def delete(self) -> None:
        """Removes the file or folder, if it is there."""
        filesystem, path = self._opened
        kind = self.kind()
        with self._naming():
            if kind == "file":
                filesystem.delete_file(path)
            elif kind == "folder":
                filesystem.delete_dir(path)

    def check_writable(self) -> None:
        """Makes the folder. Raises `UsageError` if nothing can be written to it."""
        probe = self.at(f"{PROBE}{secrets.token_hex(4)}")
        try:
            probe.write(b"probe")
            probe.delete()
        except OSError as error:
            raise UsageError(f"cannot write to {self}: {self.reason(error)}") from error

    def _put(self, filesystem, path, content):
        with filesystem.open_output_stream(path) as stream:
            stream.write(content)
        written = filesystem.get_file_info(path).size
        if written != len(content):
            raise OSError(f"{self}: {written} of {len(content)} bytes arrived")

    @contextlib.contextmanager
    def _naming(self):
        try:
            yield
        except UsageError:
            raise
        except _TRANSIENT as error:
            raise UsageError(f"{self}: {self.reason(error)}") from error

    def reason(self, error: Exception) -> str:
        """What went wrong, in few words, without the options and passwords of the address."""
        text = getattr(error, "strerror", None) or str(error) or type(error).__name__
        _, mark, rest = self.address.partition("://")
        if mark:
            path, question, options = rest.partition("?")
            user, at, _ = path.partition("/")[0].rpartition("@")
            for secret in (question + options, user + at):
                text = text.replace(secret, "") if secret else text
        return text


def _from_uri(uri):
    return fs.FileSystem.from_uri(uri)
