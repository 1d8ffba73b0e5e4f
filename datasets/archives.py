"""Pictures in archives: zip, and tar plain or compressed with gzip, bzip2 or xz.

Archives come from strangers. Nothing in them decides where on this machine something is written,
what it is a link to, or how much memory and disk it takes. The whole archive is refused for

- a name that is absolute, has a drive or climbs with `..`, a link, or a device: pictures in honest
  archives need none of that;
- a member of more than `MAX_MEMBER_BYTES`, whatever the archive says of its size;
- members that together have more than `MAX_RATIO` times the size of the archive and `FREE_BYTES`
  besides: pictures are compressed already, so honest archives hold little more than they weigh;
- more than `MAX_MEMBERS` members.

Zip archives and plain tar archives are read in place. A compressed tar cannot be: its pictures are
unpacked once, in one pass over the file, under names that are numbers.
"""

import bz2
import gzip
import io
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from mspfn_tf.errors import UsageError

MAX_MEMBER_BYTES = 2**28  # about a BMP of the largest picture that is read
MAX_RATIO = 100
FREE_BYTES = 2**28
MAX_MEMBERS = 10_000_000

Progress = Callable[[str, int, int], None]  # what is done, how much of it, of how much

_TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
# A file of one of the last suffixes may be a tar all the same, as `rain_data_train_Light.gz`.
_UNPACK = {
    ".rar": "unar",
    ".7z": "7z x",
    ".zst": "tar -xf",
    ".tzst": "tar -xf",
    ".gz": "tar -xf",
    ".bz2": "tar -xf",
    ".xz": "tar -xf",
}
_CUT = re.compile(
    r"(.+\.(?:zip|7z|rar|tar|t?gz|t?bz2|t?xz|t?zst))([.-])(?:0*[01]|(?:part-?)?aa)", re.IGNORECASE
)
_UNFINISHED = (".crdownload", ".part", ".partial", ".download", ".opdownload", ".aria2")
_CHUNK = 2**20
_MAX_HEADER_BYTES = 2**20  # of a long name or of extended attributes in a tar
_XZ_MEMORY = 2**28  # bytes; `xz -9` asks for 65 MiB
_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
_UNIX = 3
_PLAIN_MODES = (0, 0o04, 0o10)  # unknown, folder, file
DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    lzma.LZMAError,
    zlib.error,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
)


class Archive(Protocol):
    """The members of an archive that are of interest."""

    path: Path
    names: list[str]

    def read(self, name: str) -> bytes:
        """The bytes of a member. Raises `UsageError` or one of `DAMAGED`."""
        ...

    def close(self) -> None:
        """Closes the file; what was unpacked goes with the folder it was unpacked to."""


def archive_stem(path: Path) -> str | None:
    """The name of an archive without what makes it one (`set.tar.gz` -> `set`), or None."""
    for suffix in (".zip", *_TAR_SUFFIXES):
        if path.name.lower().endswith(suffix) and len(path.name) > len(suffix):
            return path.name[: -len(suffix)]
    return None


def unpacking_advice(path: Path) -> str | None:
    """What to do about an archive of a kind that is not read here; None for all other files, also
    for the second and further parts of one that was cut into several."""
    if path.suffix.lower() in _UNFINISHED and _is_archive(path.with_suffix("")):
        return f"{path}: the browser has not finished this download: let it, or begin it anew"
    if cut := _CUT.fullmatch(path.name):
        return (
            f"{path}: the first part of an archive that was cut into several; put them together "
            f"first: cat {cut[1]}{cut[2]}* > {cut[1]}"
        )
    command = _UNPACK.get(path.suffix.lower()) if archive_stem(path) is None else None
    if command is None:
        return None
    return (
        f"{path}: {path.suffix} archives are not read here; unpack it beside this file first, for "
        f"instance with: {command} {path.name}"
    )


def _is_archive(path: Path) -> bool:
    return archive_stem(path) is not None or path.suffix.lower() in _UNPACK


def open_archive(
    path: Path,
    wanted: Callable[[str], bool],
    scratch: Callable[[], Path],
    progress: Progress | None = None,
) -> Archive:
    """Opens an archive after a look at every member.

    Args:
        path: the file.
        wanted: whether a member of this name is of interest; others are checked and left alone.
        scratch: returns an empty folder for what has to be unpacked; called only where it is.
        progress: is told how far unpacking is, in bytes of the archive.

    Raises:
        UsageError: the archive is damaged or refused (see the module).
    """
    name = path.name.lower()
    try:
        if name.endswith(".zip"):
            return _Zip(path, wanted)
        if name.endswith(".tar"):
            return _Tar(path, wanted)
        return _CompressedTar(path, wanted, scratch(), progress)
    except DAMAGED as error:
        if isinstance(error, UsageError):
            raise error if str(path) in str(error) else UsageError(f"{path}: {error}") from error
        kind = "zip" if name.endswith(".zip") else "tar"
        raise UsageError(f"{path}: not a {kind} archive that can be read ({error})") from error


class _Zip:
    def __init__(self, path: Path, wanted: Callable[[str], bool]):
        self.path = path
        self._members = {}
        bounds = _Bounds(path)
        self._file = zipfile.ZipFile(path)
        try:
            for member in self._file.infolist():
                if member.volume:
                    raise UsageError(
                        f"{path}: the last part of an archive that was cut into several (.z01 "
                        f"...), which are not read here; unpack it beside this file and remove "
                        f"it, for instance with: 7z x {path.name}"
                    )
                unix, name = member.create_system == _UNIX, member.filename
                if not unix and "/" not in name:
                    name = name.replace("\\", "/")  # as old tools of Windows separate folders
                mode = member.external_attr >> 28 if unix else 0
                bounds.check(name, mode in _PLAIN_MODES, member.file_size)
                bounds.count(member.file_size)
                if not member.is_dir() and wanted(name):
                    if member.compress_type not in _ZIP_METHODS:
                        raise UsageError(
                            f"{path}: its member {member.filename!r} is compressed in a way that "
                            "is not read here; unpack the archive first"
                        )
                    self._members[name] = member
        except BaseException:
            self._file.close()
            raise
        self.names = list(self._members)

    def read(self, name: str) -> bytes:
        with self._file.open(self._members[name]) as file:
            # Gives no more than the size that was checked.
            return file.read()

    def close(self) -> None:
        self._file.close()


class _Tar:
    def __init__(self, path: Path, wanted: Callable[[str], bool]):
        self.path = path
        # Where the members lie is noted and a `TarFile` not kept: it holds 2 KB for each of them.
        self._places = {}
        with tarfile.open(path, "r:", tarinfo=_Member) as archive:
            for member in _checked(archive, _Bounds(path)):
                if wanted(member.name):
                    self._places[member.name] = member.offset_data, member.size
        self._file = open(path, "rb")  # noqa: SIM115 closed by close()
        self.names = list(self._places)

    def read(self, name: str) -> bytes:
        offset, size = self._places[name]
        self._file.seek(offset)
        data = self._file.read(size)
        if len(data) < size:
            raise EOFError("the archive is cut short")
        return data

    def close(self) -> None:
        self._file.close()


class _CompressedTar:
    def __init__(
        self,
        path: Path,
        wanted: Callable[[str], bool],
        folder: Path,
        progress: Progress | None,
    ):
        self.path = path
        self._files = {}
        bounds, total = _Bounds(path), path.stat().st_size
        with open(path, "rb") as file:
            # What comes out is counted, not what the headers say: they can be blown up as well.
            plain = _Counted(_decompressed(path, file), bounds)
            with tarfile.open(fileobj=plain, mode="r|", tarinfo=_Member) as archive:
                for number, member in enumerate(_checked(archive, bounds)):
                    if wanted(member.name) and (source := archive.extractfile(member)):
                        target = folder / str(number)
                        with source, open(target, "wb") as sink:
                            while chunk := source.read(_CHUNK):
                                sink.write(chunk)
                        self._files[member.name] = target
                    if progress is not None:
                        progress(f"unpacking {path.name}", file.tell(), total)
        self.names = list(self._files)

    def read(self, name: str) -> bytes:
        return self._files[name].read_bytes()

    def close(self) -> None:
        pass


class _Bounds:
    """What may come out of an archive, and what has come out so far."""

    def __init__(self, path: Path):
        self.path = path
        self._most = MAX_RATIO * path.stat().st_size + FREE_BYTES
        self._bytes = self._members = 0

    def check(self, name: str, plain: bool, size: int) -> None:
        """Takes note of a member. Raises `UsageError` where the archive is to be refused."""
        parts = re.split(r"[/\\]", name)
        if not parts[0] or ".." in parts or re.match("[A-Za-z]:", name):
            raise self._refused(f"its member {name!r} points outside of it")
        if not plain:
            raise self._refused(f"its member {name!r} is neither a file nor a folder")
        if size > MAX_MEMBER_BYTES:
            raise self._refused(
                f"its member {name!r} has {size} bytes, more than {MAX_MEMBER_BYTES}"
            )
        self._members += 1
        if self._members > MAX_MEMBERS:
            raise self._refused(f"it has more than {MAX_MEMBERS} members")

    def count(self, size: int) -> None:
        """Takes note of bytes that come out. Raises `UsageError` where they become too many."""
        self._bytes += size
        if self._bytes > self._most:
            raise self._refused(
                f"it unpacks to more than {self._most} bytes, which is {MAX_RATIO} times its size "
                f"and {FREE_BYTES} besides"
            )

    def _refused(self, why: str) -> UsageError:
        return UsageError(f"{self.path}: refused: {why}")


class _Member(tarfile.TarInfo):
    """A header of a tar, of those that `tarfile` may be given: it reads some into memory whole."""

    @classmethod
    def frombuf(cls, buf, encoding, errors):
        try:
            member = super().frombuf(buf, encoding, errors)
        except tarfile.EOFHeaderError:
            raise
        except tarfile.HeaderError as error:
            # `tarfile` would take a damaged header, or none, for the end of the archive.
            raise tarfile.ReadError(f"damaged, or cut short: {error}") from error
        if member.type == tarfile.GNUTYPE_SPARSE:
            raise UsageError(f"refused: its member {member.name!r} is a sparse file")
        carries_more = member.type not in (*tarfile.REGULAR_TYPES, tarfile.DIRTYPE)
        if carries_more and member.size > _MAX_HEADER_BYTES:
            raise UsageError(
                f"refused: a header has {member.size} bytes, more than {_MAX_HEADER_BYTES}"
            )
        return member


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Counted(io.RawIOBase):
    """A stream that ends with an error where an archive gives more than it may."""

    def __init__(self, file: _Readable, bounds: _Bounds):
        self._file, self._bounds = file, bounds

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(size)
        self._bounds.count(len(data))
        return data


class _Xz:
    """A file of xz streams, unpacked with bounded memory (`lzma.LZMAFile` knows no bound)."""

    def __init__(self, file: BinaryIO):
        self._file, self._stream, self._left = file, None, b""

    def read(self, size: int) -> bytes:
        """Some bytes, at most `size`; nothing at the end."""
        while True:
            if self._stream is None or self._stream.eof:
                left = self._stream.unused_data if self._stream else b""
                left = (left or self._file.read(_CHUNK)).lstrip(b"\0")  # padding between streams
                if not left:
                    return b""
                self._stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
                data = self._stream.decompress(left, size)
            else:
                more = self._file.read(_CHUNK) if self._stream.needs_input else b""
                if self._stream.needs_input and not more:
                    raise EOFError("the archive is cut short")
                data = self._stream.decompress(more, size)
            if data:
                return data


def _decompressed(path: Path, file: BinaryIO) -> _Readable:
    name = path.name.lower()
    if name.endswith("gz"):
        return gzip.GzipFile(fileobj=file)
    return bz2.BZ2File(file) if name.endswith("bz2") else _Xz(file)


def _checked(archive: tarfile.TarFile, bounds: _Bounds) -> Iterator[tarfile.TarInfo]:
    """The files of a tar. Raises `UsageError` where the archive is to be refused."""
    while (member := archive.next()) is not None:
        plain = (member.isreg() and not member.issparse()) or member.isdir()
        bounds.check(member.name, plain, member.size)
        if member.isreg():
            yield member
        archive.members.clear()
