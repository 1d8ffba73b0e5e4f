"""The pictures below a folder, where an archive counts as a folder."""

import io
import os
import re
import shutil
import tempfile
import warnings
import weakref
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from PIL import Image, ImageOps

from mspfn_tf.datasets.archives import (
    DAMAGED,
    MAX_MEMBER_BYTES,
    Archive,
    Progress,
    archive_stem,
    open_archive,
    unpacking_advice,
)
from mspfn_tf.errors import UsageError
from mspfn_tf.files import is_hidden
from mspfn_tf.pictures import IMAGE_SUFFIXES

_ORIENTATION = 0x0112  # EXIF tag
# Only these decoders are ever given a file: Pillow knows many more, and some start other programs.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
# What Google Drive appends to the name of a folder, in each of the archives that it makes of one.
_DRIVE = re.compile(r"-\d{8}T\d{6}Z(-\d+)+$")
_MOST_LINKS = 16  # ways to reach one folder through links


def natural_order(name: str) -> list[tuple[int, str]]:
    """Sorting key that puts `2.png` before `10.png`."""
    # Not `isdigit`, which also takes what `int` does not, such as a circled one.
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


class PictureTree:
    """Every picture file below `root`, by its POSIX path relative to `root`.

    What `sets/a.zip` or `sets/a.tar.gz` holds is listed as `sets/a/...`, unless such a file is
    there; where all of it lies in a folder of the archive's own name, `a/`, that counts once. The
    parts `a-20240131T235959Z-001.zip` ... of a download from Google Drive count as one `a.zip`.
    Hidden files, `__MACOSX` and `@eaDir` are left out, links to folders are followed. In names that
    are not UTF-8, as archives from elsewhere have them, the bytes that are none stand as escapes.

    Args:
        root: a folder, or one archive (see `archives.py`).
        scratch: folder for what has to be unpacked; default: the system's temporary one. What is
            put there goes with `close()`, or with this object.
        progress: is told how far unpacking is.

    Attributes:
        root: as given, without `~`.
        paths: the paths, in natural order.
        top: the folder that all of them share, with a slash at its end, or nothing.
        notes: what to do about archives that are not read here, a line for each.

    Raises:
        UsageError: `root` does not exist or is no archive that is read here; an archive is damaged
            or refused; two archives hold one picture; links lead to one folder in more than 16
            ways.
    """

    def __init__(
        self,
        root: str | os.PathLike,
        scratch: Path | None = None,
        progress: Progress | None = None,
    ):
        self.root = Path(root).expanduser()
        if not self.root.exists():
            raise UsageError(f"{self.root}: no such folder or archive")
        self.notes = []
        self._sources: dict[str, Path | tuple[Archive, str]] = {}
        self._archives: list[Archive] = []
        self._scratch, self._unpacked = scratch, []
        self._progress = progress
        self._finalizer = weakref.finalize(self, _release, self._archives, self._unpacked)
        try:
            self._list()
        except BaseException:
            self.close()
            raise
        self.paths = sorted(self._sources, key=natural_order)
        folders = [path.rpartition("/")[0] for path in self.paths]
        self.top = f"{os.path.commonpath(folders)}/" if folders and all(folders) else ""
        self.top = self.top.removeprefix("/")

    def close(self) -> None:
        """Closes the archives and removes what was unpacked."""
        self._finalizer()

    def _list(self):
        if not self.root.is_dir():
            if advice := unpacking_advice(self.root):
                raise UsageError(advice)
            if archive_stem(self.root) is None:
                raise UsageError(f"{self.root}: neither a folder nor an archive that is read here")
            self._add_archive(self.root, Path())
            return
        tell = self._progress or (lambda what, done, total: None)
        tell("listing files", 0, 1)
        files = sorted(_files(self.root))
        tell("listing files", 1, 1)
        for path in files:
            relative = path.relative_to(self.root).as_posix()
            if _is_picture(relative):
                self._sources[as_text(relative)] = path
        for path in files:
            if _hidden(path.relative_to(self.root)):
                continue
            if (stem := archive_stem(path)) is not None:
                folder = path.relative_to(self.root).with_name(_DRIVE.sub("", stem) or stem)
                self._add_archive(path, folder)
            elif advice := unpacking_advice(path):
                self.notes.append(advice)

    def _add_archive(self, path, folder):
        def wanted(name):
            inner = Path(name)
            if (archive_stem(inner) or unpacking_advice(inner)) and not _hidden(inner):
                self.notes.append(f"{path} holds the archive {name}: unpack {path.name} first")
            return _is_picture(name)

        archive = open_archive(path, wanted, self._new_folder, self._progress)
        self._archives.append(archive)
        # `input.zip` that holds `input/` lies beside what `target.zip` holds, as if unpacked there.
        members = {name: PurePosixPath(name) for name in archive.names}
        if all(member.parts[0].lower() == folder.name.lower() for member in members.values()):
            folder = folder.parent
        for name, member in members.items():
            key = as_text((folder / member).as_posix())
            other = self._sources.setdefault(key, (archive, name))
            if not isinstance(other, Path) and other[0] is not archive:
                raise UsageError(
                    f"{self.where(key)} and {path}:{name} share a name: remove one of the archives"
                )

    def _new_folder(self):
        if self._scratch is not None:
            self._scratch.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="mspfn-unpacked-", dir=self._scratch))
        self._unpacked.append(folder)
        return folder

    def in_archive(self, path: str) -> bool:
        """Whether `path` lies in an archive."""
        return not isinstance(self._sources[path], Path)

    def where(self, path: str) -> str:
        """The file that `path` stands for, for messages."""
        source = self._sources[path]
        return str(source) if isinstance(source, Path) else f"{source[0].path}:{source[1]}"

    def read(self, path: str) -> bytes:
        """The bytes of the file at `path`. Raises `UsageError`: damaged, or too large."""
        source = self._sources[path]
        try:
            if not isinstance(source, Path):
                return source[0].read(source[1])
            if (size := source.stat().st_size) > MAX_MEMBER_BYTES:
                raise UsageError(f"{source}: {size} bytes, the limit is {MAX_MEMBER_BYTES}")
            return source.read_bytes()
        except DAMAGED as error:
            if isinstance(error, UsageError):
                raise
            raise UsageError(f"{self.where(path)}: cannot be read ({error})") from error

    def open(self, path: str) -> tuple[Image.Image, bytes | None]:
        """The picture at `path`, decoded and upright, in RGB.

        Returns:
            `(image, data)`: the picture, and the bytes of the file if they hold exactly these
            pixels as 8-bit RGB in a JPEG or PNG, else None.

        Raises:
            UsageError: the file is damaged, no picture, has more than 8 bits per channel, or more
                pixels than Pillow's limit against decompression bombs (about 89 million, the
                same limit that `restore` has).
        """
        data = self.read(path)
        try:
            with warnings.catch_warnings():
                # Pillow warns of bombs up to twice its limit.
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                image = Image.open(io.BytesIO(data), formats=_FORMATS)
            with image:
                _refuse_deep(image)
                upright = ImageOps.exif_transpose(image).convert("RGB")
                plain = image.format in ("JPEG", "PNG") and image.mode == "RGB"
                plain = plain and "transparency" not in image.info
                plain = plain and image.getexif().get(_ORIENTATION, 1) == 1
        except (
            *DAMAGED,
            SyntaxError,
            KeyError,
            IndexError,
            TypeError,
            OverflowError,
            Image.DecompressionBombError,
            Image.DecompressionBombWarning,
        ) as error:
            raise UsageError(f"{self.where(path)}: unreadable picture ({error})") from error
        return upright, data if plain else None


def _refuse_deep(image: Image.Image) -> None:
    """Raises `ValueError` on more than 8 bits per channel, which would be cut without a word."""
    if image.mode.startswith(("I", "F")) or any(";16" in str(tile.args) for tile in image.tile):
        raise ValueError("more than 8 bits per channel; convert it to 8 bits first")


def as_text(path: str) -> str:
    """A path that can be written into records, whatever its bytes."""
    return path.encode(errors="backslashreplace").decode()


def _is_picture(path: str) -> bool:
    return Path(path).suffix.lower() in IMAGE_SUFFIXES and not _hidden(Path(path))


def _hidden(path: Path) -> bool:
    return any(map(is_hidden, path.parts))


def _files(root: Path) -> Iterator[Path]:
    """Every file below a folder, links to folders followed, but not round in circles."""
    visits = Counter()

    def files(folder, above):
        real = folder.resolve()
        visits[real] += 1
        if visits[real] > _MOST_LINKS:
            raise UsageError(
                f"{root}: links lead to {real} in more than {_MOST_LINKS} ways; remove some"
            )
        for path in folder.iterdir():
            # A link to nothing is told as a file that cannot be read, not left out without a word.
            if path.is_file() or (path.is_symlink() and not path.exists()):
                yield path
            elif path.is_dir() and path.resolve() not in (*above, real):
                yield from files(path, (*above, real))

    return files(root, ())


def _release(archives: list[Archive], folders: list[Path]) -> None:
    for archive in archives:
        archive.close()
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
