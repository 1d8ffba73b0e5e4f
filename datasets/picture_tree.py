"""The pictures below a folder, where a zip archive counts as a folder."""

import io
import os
import re
import zipfile
from pathlib import Path

from PIL import Image, ImageOps

from mspfn_tf.errors import UsageError
from mspfn_tf.images import IMAGE_SUFFIXES

_ORIENTATION = 0x0112  # EXIF tag


def natural_order(name):
    """Sorting key that puts `2.png` before `10.png`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _files(folder, above=()):
    """Every file below a folder, links to folders followed (but not round in circles)."""
    above = (*above, folder.resolve())
    for path in folder.iterdir():
        if path.is_file():
            yield path
        elif path.is_dir() and path.resolve() not in above:
            yield from _files(path, above)


class PictureTree:
    """Every picture file below `root`, by its POSIX path relative to `root`.

    What `sets/a.zip` holds is listed as `sets/a/...`, unless such a file is there. Hidden files and
    `__MACOSX` are left out.

    Args:
        root: a folder, or one zip archive.

    Attributes:
        paths: the paths, in natural order.
        top: the folder that all of them share, with a slash at its end, or nothing.

    Raises:
        UsageError: `root` does not exist, or an archive is damaged.
    """

    def __init__(self, root):
        self.root = Path(root).expanduser()
        if not self.root.exists():
            raise UsageError(f"{self.root}: no such folder or zip archive")
        self._sources = {}
        if self.root.is_dir():
            files = sorted(_files(self.root))
            for path in files:
                self._add(path.relative_to(self.root).as_posix(), path)
            for path in files:
                if path.suffix.lower() == ".zip":
                    self._add_archive(path, path.relative_to(self.root).with_suffix(""))
        else:
            self._add_archive(self.root, Path())
        self.paths = sorted(self._sources, key=natural_order)
        folders = [path.rpartition("/")[0] for path in self.paths]
        self.top = f"{os.path.commonpath(folders)}/" if folders and all(folders) else ""
        self.top = self.top.removeprefix("/")

    def _add(self, path, source):
        parts = path.split("/")
        hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
        if Path(path).suffix.lower() in IMAGE_SUFFIXES and not hidden:
            self._sources.setdefault(path, source)

    def _add_archive(self, path, folder):
        try:
            archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise UsageError(f"{path}: not a zip archive that can be read ({error})") from error
        for name in archive.namelist():
            self._add((folder / name).as_posix(), (archive, name))

    def in_archive(self, path):
        """Whether `path` lies in a zip archive."""
        return not isinstance(self._sources[path], Path)

    def where(self, path):
        """The file that `path` stands for, for messages."""
        source = self._sources[path]
        return f"{source[0].filename}:{source[1]}" if self.in_archive(path) else str(source)

    def read(self, path):
        """The bytes of the file at `path`. Raises `UsageError`."""
        source = self._sources[path]
        try:
            return source[0].read(source[1]) if self.in_archive(path) else source.read_bytes()
        except (zipfile.BadZipFile, OSError) as error:
            raise UsageError(f"{self.where(path)}: cannot be read ({error})") from error

    def open(self, path):
        """The picture at `path`, decoded and upright, in RGB.

        Returns:
            `(image, data)`: a `PIL.Image.Image`, and the bytes of the file if they hold exactly
            these pixels as 8-bit RGB in a JPEG or PNG, else None.

        Raises:
            UsageError: the file is damaged or no picture.
        """
        data = self.read(path)
        try:
            with Image.open(io.BytesIO(data)) as image:
                upright = ImageOps.exif_transpose(image).convert("RGB")
                plain = image.format in ("JPEG", "PNG") and image.mode == "RGB"
                plain = plain and "transparency" not in image.info
                plain = plain and image.getexif().get(_ORIENTATION, 1) == 1
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise UsageError(f"{self.where(path)}: unreadable picture ({error})") from error
        return upright, data if plain else None
