"""Where the pictures of a set lie, as path templates, and the pairs that they make.

A template is a path without suffix, relative to the root of the set. `{field}` stands for anything
but a slash, `{field:d}` for digits, `{field:?}` for anything but a slash or nothing, `{field:path}`
for anything; where a field returns, it repeats itself. `**/` stands for any folders, or none, that
do not matter. Case does not matter. The root is the folder
searched or, as archives often bring folders of their own, up to two folders further down; for a
template that starts with a slash it is the folder searched or the one that all pictures have in
common.
"""

import dataclasses
import re
import string
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Protocol

from mspfn_tf.errors import UsageError

if TYPE_CHECKING:
    from mspfn_tf.datasets.picture_tree import PictureTree

Side = Literal["left", "right"]

_KINDS = {"": "[^/]+", "d": "[0-9]+", "?": "[^/]*", "path": ".+"}


@dataclasses.dataclass(frozen=True)
class Half:
    """A picture, or the left or right half of one, split at width // 2."""

    path: str
    side: Literal["whole", "left", "right"] = "whole"

    def box(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Crop box `(left, top, right, bottom)` in a picture of `size` (width, height)."""
        width, height = size
        middle = width // 2
        return {
            "whole": (0, 0, width, height),
            "left": (0, 0, middle, height),
            "right": (middle, 0, 2 * middle, height),
        }[self.side]


@dataclasses.dataclass(frozen=True)
class Pair:
    """A rainy picture and its truth (None for photographs). `name` is unique in its split; `clip`
    is the video that the rainy picture is a frame of, or nothing."""

    name: str
    scene: str
    rainy: Half
    clean: Half | None = None
    clip: str = ""


class Layout(Protocol):
    """Where pictures lie. `str()` tells it to people."""

    def find(self, tree: "PictureTree") -> dict[str, list[Pair]]:
        """All that is there, as `{root: [Pair]}`."""
        ...


@dataclasses.dataclass(frozen=True)
class Folders:
    """Rainy and clean pictures in files of their own, paired by the fields of `clean`.

    Attributes:
        rainy: template. Its fields name the pair.
        clean: template with some of these fields.
        scene: the fields that name the scene; all of `clean` if empty.
        scenes: the numbers of the scenes that count, where the folders hold more.
        shared: template with some of the fields, for the rainy pictures without a clean one of
            their own: the one that they share.
        clip: the fields that name the video, where rainy pictures are frames of one.
        more_clean: whether clean pictures may be there that no rainy one belongs to.
    """

    rainy: str
    clean: str
    scene: tuple[str, ...] = ()
    scenes: range | None = None
    shared: str = ""
    clip: tuple[str, ...] = ()
    more_clean: bool = False

    def __str__(self) -> str:
        clean = [_readable(template) for template in (self.clean, self.shared) if template]
        return f"{_readable(self.rainy)} with {' or '.join(clean)}"

    def find(self, tree: "PictureTree") -> dict[str, list[Pair]]:
        """All that is there, as `{root: [Pair]}`.

        Args:
            tree: the pictures.

        Raises:
            UsageError: a rainy picture without its clean one, or the reverse; all are named.
        """
        all_rainy, all_clean = _matches(self.rainy, tree), _matches(self.clean, tree)
        all_shared = _matches(self.shared, tree) if self.shared else {}
        fields, clean_fields = _fields(self.rainy), _fields(self.clean)
        shared_fields = _fields(self.shared)
        found = {}
        for root in all_rainy.keys() & (all_clean.keys() | all_shared.keys()):
            clean_pictures = _composed(all_clean.get(root, {}))
            shared = _composed(all_shared.get(root, {}))
            found[root], single = [], []
            unused = {*all_clean.get(root, {}).values(), *all_shared.get(root, {}).values()}
            for values, path in all_rainy[root].items():
                named = dict(zip(fields, values, strict=True))
                clean = clean_pictures.get(_as_composed(_pick(named, clean_fields)))
                clean = clean or shared.get(_as_composed(_pick(named, shared_fields)))
                if clean is None:
                    single.append(path)
                    continue
                unused.discard(clean)
                scene = _join(_pick(named, self.scene or clean_fields))
                if self.scenes is None or int(scene) in self.scenes:
                    clip = _join(_pick(named, self.clip))
                    pair = Pair(_join(values), scene, Half(path), Half(clean), clip)
                    found[root].append(pair)
            if not self.more_clean:
                single += sorted(unused)
            if single:
                files = [tree.where(path) for path in single]
                raise UsageError(listing(f"{len(files)} pictures miss their counterpart:", files))
        return found


@dataclasses.dataclass(frozen=True)
class SideBySide:
    """One picture holds both halves.

    Attributes:
        picture: template. Its fields name the pair.
        clean: the side of the clean half, `left` or `right`.
        scene: the fields that name the scene; all if empty.
    """

    picture: str
    clean: Side
    scene: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{_readable(self.picture)} (clean half: {self.clean})"

    def find(self, tree: "PictureTree") -> dict[str, list[Pair]]:
        """All that is there, as `{root: [Pair]}`."""
        rainy: Side = "right" if self.clean == "left" else "left"
        fields = _fields(self.picture)
        return {
            root: [
                Pair(
                    _join(values),
                    _join(_pick(dict(zip(fields, values, strict=True)), self.scene or fields)),
                    Half(path, rainy),
                    Half(path, self.clean),
                )
                for values, path in pictures.items()
            ]
            for root, pictures in _matches(self.picture, tree).items()
        }


@dataclasses.dataclass(frozen=True)
class Photographs:
    """Pictures of real rain, without a truth. `picture`: template, its fields name the picture."""

    picture: str

    def __str__(self) -> str:
        return _readable(self.picture)

    def find(self, tree: "PictureTree") -> dict[str, list[Pair]]:
        """All that is there, as `{root: [Pair]}`."""
        return {
            root: [Pair(_join(values), _join(values), Half(path)) for values, path in found.items()]
            for root, found in _matches(self.picture, tree).items()
        }


@dataclasses.dataclass(frozen=True)
class SameNames:
    """The usual re-packaging: two folders whose pictures have the same names.

    Attributes:
        folder: template of the folder that holds the two, with a slash at its end.
        nested: whether they have folders of their own.
    """

    folder: str
    nested: bool = False

    _NAMES = (
        ("input", "target"),
        ("rain", "norain"),
        ("rainy", "clean"),
        ("rainy", "norain"),
        ("input", "gt"),
    )

    def __str__(self) -> str:
        rainy, clean = self._NAMES[0]
        others = ", ".join(f"{rainy} with {clean}" for rainy, clean in self._NAMES[1:])
        folder = self.folder.removeprefix("/")
        first = f"{folder}{rainy}/<name>.* with {folder}{clean}/<name>.*"
        return f"{first} (or {others})"

    def find(self, tree: "PictureTree") -> dict[str, list[Pair]]:
        """The first that is there, as `{root: [Pair]}`.

        Raises:
            UsageError: see `Folders.find`.
        """
        name = "{name:path}" if self.nested else "{name}"
        for rainy, clean in self._NAMES:
            folders = Folders(f"{self.folder}{rainy}/{name}", f"{self.folder}{clean}/{name}")
            if found := folders.find(tree):
                return found
        return {}


def repackaged(folder: str) -> tuple[Layout, Layout]:
    """Layouts of the usual re-packagings in `folder` (template with a slash at its end)."""
    prefixed = Folders(folder + "rain/rain-{n:d}", folder + "norain/norain-{n:d}")
    return (prefixed, SameNames(folder))


def listing(heading: str, lines: Sequence[str], limit: int = 20) -> str:
    """A heading and up to `limit` indented lines."""
    shown = [f"  {line}" for line in lines[:limit]]
    if len(lines) > limit:
        shown.append(f"  ... and {len(lines) - limit} more")
    return "\n".join([heading, *shown])


def _fields(template):
    """The names of the fields, in order, each once."""
    names = [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
    return tuple(dict.fromkeys(names))


def _readable(template):
    """`a/{n:d}` as `a/<n>.*`."""
    parts = string.Formatter().parse(template)
    path = "".join(text + (f"<{name}>" if name else "") for text, name, _, _ in parts) + ".*"
    return path.replace("**/", "")


def _pattern(template, top):
    """The regular expression of a template; `top`: the folder that all pictures share."""
    root = f"(?:{re.escape(top)})?" if template.startswith("/") else "(?:[^/]+/){0,2}?"
    pattern = f"(?P<_root>{root})"
    for literal, name, kind, _ in string.Formatter().parse(template.removeprefix("/")):
        pattern += "(?:[^/]+/)*".join(map(re.escape, literal.split("**/")))
        if name is not None:
            again = f"(?P<{name}>" in pattern
            pattern += f"(?P={name})" if again else f"(?P<{name}>{_KINDS[kind or '']})"
    return re.compile(pattern + r"\.[^./]+", re.IGNORECASE)


def _matches(template, tree):
    """`{root: {values of the fields: path}}`."""
    pattern, fields = _pattern(template, tree.top), _fields(template)
    roots = {}
    for path in tree.paths:
        if match := pattern.fullmatch(path):
            pictures = roots.setdefault(match["_root"], {})
            other = pictures.setdefault(match.group(*fields, 0)[:-1], path)
            if other != path:
                raise UsageError(
                    f"{tree.where(other)} and {tree.where(path)} share a name: remove one"
                )
    return roots


def _composed(pictures):
    """The same with accents as parts of their letters: macOS may spell them apart in one half."""
    return {_as_composed(values): path for values, path in pictures.items()}


def _as_composed(values):
    return tuple(unicodedata.normalize("NFC", value) for value in values)


def _pick(named, fields):
    return tuple(named[field] for field in fields)


def _join(values):
    name = ""
    for value in filter(None, values):
        name += value if not name or name.endswith("-") else f"_{value}"
    return name
