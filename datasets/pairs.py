"""The builder that all sets of rainy and clean pictures share."""

import dataclasses
import hashlib
import inspect
import io

import tensorflow_datasets as tfds
from absl import logging
from etils import epath

from mspfn_tf.datasets.layouts import listing
from mspfn_tf.datasets.picture_tree import PictureTree
from mspfn_tf.datasets.scenes import in_validation, same_as_first, thumbnail
from mspfn_tf.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Split:
    """A published split.

    Attributes:
        count: how many pairs it has, None if that is not known beforehand.
        layouts: `Folders` and `SideBySide`; the first that is found is used.
    """

    count: int | None
    layouts: tuple


class PairsBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Builds `{"rainy", "clean", "name", "scene"}` from pictures that lie in `manual_dir`.

    A set is described by the class attributes; where it comes from and how it is laid out stands in
    its README.md.

    Args:
        allow_incomplete: warn about missing pairs and splits instead of refusing them.
    """

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "README.md of the dataset names the page that distributes it and its layout."
    )
    RELEASE_NOTES = {"1.0.0": "Initial release."}

    SPLITS: dict[str, Split]
    HOMEPAGE: str
    SCENES_BY_CONTENT = False  # else the clean file's name is the scene
    MAKE_VALIDATION = False  # moves one scene in eleven from train to validation

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        cls.pkg_dir_path = epath.Path(inspect.getfile(cls)).parent

    def __init__(self, *, allow_incomplete=False, **kwargs):
        super().__init__(**kwargs)
        self.allow_incomplete = allow_incomplete
        self.hashes = {}  # split -> {name: (hash of the rainy pixels, of the clean pixels)}

    @property
    def splits(self):
        return self.SPLITS

    def _info(self):
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "rainy": tfds.features.Image(shape=(None, None, 3)),
                    "clean": tfds.features.Image(shape=(None, None, 3)),
                    "name": tfds.features.Text(),
                    "scene": tfds.features.Text(),
                }
            ),
            supervised_keys=("rainy", "clean"),
            homepage=self.HOMEPAGE,
        )

    def _split_generators(self, dl_manager):
        tree = PictureTree(dl_manager.manual_dir)
        found = self._find(tree)
        if self.SCENES_BY_CONTENT:
            found = {split: _scenes_by_content(tree, pairs) for split, pairs in found.items()}
        if self.MAKE_VALIDATION:
            train = found.pop("train")
            found = {
                "train": [pair for pair in train if not in_validation(pair.scene)],
                "validation": [pair for pair in train if in_validation(pair.scene)],
            } | found
        return {
            split: self._generate_examples(tree, split, pairs) for split, pairs in found.items()
        }

    def _find(self, tree):
        """`{split: [Pair]}`, with the counts checked."""
        found, missing, deviations = {}, [], []
        for name, split in self.splits.items():
            pairs = _first_layout(tree, split.layouts)
            if pairs:
                found[name] = pairs
                if split.count not in (None, len(pairs)):
                    deviations.append(f"{name}: {len(pairs)} pairs, expected {split.count}")
            else:
                missing += [f"{name}: {tree.root}/{layout}" for layout in split.layouts]
        if missing:
            message = listing("no pictures at any of these places (folders or zip):", missing)
            if not (found and self.allow_incomplete):
                raise UsageError(f"{self.name}: {message}\nSee {self.HOMEPAGE}")
            deviations.append(message)
        if deviations:
            message = "\n".join(deviations)
            if not self.allow_incomplete:
                raise UsageError(
                    f"{self.name}: {message}\n--allow_incomplete (allow_incomplete=True) builds it"
                    " from what is there"
                )
            logging.warning("%s: %s", self.name, message)
        return found

    def _generate_examples(self, tree, split, pairs):
        hashes = self.hashes[split] = {}
        bad = []
        for pair in pairs:
            try:
                rainy, clean = (_Picture(tree, half) for half in (pair.rainy, pair.clean))
                if rainy.image.size != clean.image.size:
                    raise UsageError(f"{rainy} and {clean} differ in size")
            except UsageError as error:
                bad.append(str(error))
                continue
            hashes[pair.name] = rainy.hash(), clean.hash()
            yield (
                pair.name,
                {
                    "rainy": rainy.encoded(),
                    "clean": clean.encoded(),
                    "name": pair.name,
                    "scene": pair.scene,
                },
            )
        if bad:
            raise UsageError(listing(f"{self.name}: {len(bad)} bad pairs:", bad))


class _Picture:
    """One decoded picture of a pair."""

    def __init__(self, tree, half):
        self.where = tree.where(half.path)
        image, self._data = tree.open(half.path)
        if half.side != "whole":
            image, self._data = image.crop(half.box(image.size)), None
        self.image = image

    def __str__(self):
        return f"{self.where} ({self.image.width}x{self.image.height})"

    def hash(self):
        return hashlib.sha256(repr(self.image.size).encode() + self.image.tobytes()).hexdigest()

    def encoded(self):
        """The distributed bytes if they are RGB already, else a PNG: no pixel changes."""
        if self._data is not None:
            return self._data
        buffer = io.BytesIO()
        self.image.save(buffer, "PNG")
        return buffer.getvalue()


def _first_layout(tree, layouts):
    """The pairs of the first layout that is found, or an empty list."""
    for layout in layouts:
        roots = layout.pairs(tree)
        if len(roots) > 1:
            places = [str(tree.root / root) for root in sorted(roots)]
            raise UsageError(listing(f"{layout} is there more than once, keep one:", places))
        if roots:
            return next(iter(roots.values()))
    return []


def _scenes_by_content(tree, pairs):
    """The pairs with the name of the first pair of their scene as scene id."""
    thumbnails = [thumbnail(_Picture(tree, pair.clean).image) for pair in pairs]
    return [
        dataclasses.replace(pair, scene=pairs[first].name)
        for pair, first in zip(pairs, same_as_first(thumbnails))
    ]
