"""Where the pictures of a set lie, as path templates, and the pairs that they make.

A template is a path without suffix, relative to the root of the set: `train/rain/{name}_{streak:d}`.
`{field}` stands for anything but a slash, `{field:d}` for digits. The root may lie up to two
folders below the folder searched, because archives often bring a folder of their own.
"""

import dataclasses
import re
import string

from mspfn_tf.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Half:
    """A picture, or the left or right half of one, split at width // 2."""

    path: str
    side: str = "whole"

    def box(self, size):
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
    """A rainy picture and its truth. `name` is unique in the split."""

    name: str
    scene: str
    rainy: Half
    clean: Half


def _pattern(template):
    """Regular expression of a template, and the names of its fields."""
    pattern, fields = "", []
    for literal, field, kind, _ in string.Formatter().parse(template):
        pattern += re.escape(literal)
        if field is not None:
            pattern += f"(?P<{field}>{r'[0-9]+' if kind == 'd' else '[^/]+'})"
            fields.append(field)
    root = r"(?P<_root>(?:[^/]+/){0,2}?)"
    return re.compile(root + pattern + r"\.[^./]+"), fields


def _matches(template, paths):
    """`{root: {tuple of field values: path}}` and the names of the fields."""
    pattern, fields = _pattern(template)
    roots = {}
    for path in paths:
        if match := pattern.fullmatch(path):
            key = tuple(match[field] for field in fields)
            roots.setdefault(match["_root"], {})[key] = path
    return roots, fields


@dataclasses.dataclass(frozen=True)
class SideBySide:
    """One picture holds both halves.

    Attributes:
        picture: template.
        clean: the side of the clean half, `left` or `right`.
    """

    picture: str
    clean: str

    def __str__(self):
        other = "rainy"
        sides = ("clean", other) if self.clean == "left" else (other, "clean")
        return f"{self.picture}.* ({sides[0]} | {sides[1]})"

    def pairs(self, tree):
        """`{root: [Pair]}` of all that is found in a `PictureTree`."""
        rainy = {"left": "right", "right": "left"}[self.clean]
        roots, _ = _matches(self.picture, tree.paths)
        return {
            root: [
                Pair("_".join(key), "_".join(key), Half(path, rainy), Half(path, self.clean))
                for key, path in pictures.items()
            ]
            for root, pictures in roots.items()
        }


@dataclasses.dataclass(frozen=True)
class Folders:
    """Rainy and clean pictures in files of their own, paired by the fields of the clean template.

    Attributes:
        rainy: template.
        clean: template; its fields are among those of `rainy`. They name the scene.
    """

    rainy: str
    clean: str

    def __str__(self):
        return f"{self.rainy}.* + {self.clean}.*"

    def pairs(self, tree):
        """`{root: [Pair]}` of all that is found in a `PictureTree`.

        Raises:
            UsageError: a rainy picture without its clean one, or the reverse; all are named.
        """
        rainy_roots, rainy_fields = _matches(self.rainy, tree.paths)
        clean_roots, clean_fields = _matches(self.clean, tree.paths)
        at = [rainy_fields.index(field) for field in clean_fields]
        found = {}
        for root in rainy_roots.keys() & clean_roots.keys():
            unused = dict(clean_roots[root])
            found[root], unpaired = [], []
            for key, path in rainy_roots[root].items():
                scene = tuple(key[index] for index in at)
                unused.pop(scene, None)
                if scene in clean_roots[root]:
                    clean = clean_roots[root][scene]
                    found[root].append(
                        Pair("_".join(key), "_".join(scene), Half(path), Half(clean))
                    )
                else:
                    unpaired.append(f"{tree.where(path)} (no clean picture)")
            unpaired += [f"{tree.where(path)} (no rainy picture)" for path in unused.values()]
            if unpaired:
                raise UsageError(listing(f"{len(unpaired)} unpaired pictures:", unpaired))
        return found


def listing(heading, lines, limit=20):
    """A heading and up to `limit` indented lines."""
    shown = [f"  {line}" for line in lines[:limit]]
    if len(lines) > limit:
        shown.append(f"  ... and {len(lines) - limit} more")
    return "\n".join([heading, *shown])
