"""The builder that the sets of rainy and clean pictures share."""

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
        count: how many pairs it has, None if nobody knows beforehand.
        layouts: the first that is found is used. A tuple among them stands for its members joined.
        optional: whether the split may be missing.
    """

    count: int | None
    layouts: tuple
    optional: bool = False

    def find(self, tree):
        """The pairs, or an empty list. `tree`: `PictureTree`."""
        for layout in self.layouts:
            parts = layout if isinstance(layout, tuple) else (layout,)
            found = [_at_one_root(part, tree) for part in parts]
            if all(found):
                return [pair for part in found for pair in part]
        return []


@dataclasses.dataclass(frozen=True)
class PairSet:
    """What a builder, or one configuration of it, reads.

    Attributes:
        splits: name -> `Split`.
        description: what sets the configuration apart.
        scenes_by_content: pictures show the same scene if their clean sides look alike (else: if
            the layout gives them the same scene).
        validation: moves one training scene in eleven to a validation split.
        disjoint: leaves out training pairs whose scene is in another split.
    """

    splits: dict[str, Split]
    description: str = ""
    scenes_by_content: bool = False
    validation: bool = False
    disjoint: bool = False

    def counts(self):
        return {name: split.count for name, split in self.splits.items()}

    def places(self, folder, without=()):
        """Lines about where the splits are looked for, but for those in `without`."""
        return [
            f"{name}: {folder}{str(layout).removeprefix('/')}"
            for name, split in self.splits.items()
            if name not in without
            for layout in _flatten(split.layouts)
        ]


class PairsBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Builds `{"rainy", "clean", "name", "scene"}` from pictures that lie in `manual_dir`.

    A subclass names its `SETS`, one `PairSet` or `{configuration: PairSet}`, and where there is one
    the page that distributes them.

    Args:
        source: folder or zip archive with the pictures. Default: the `manual_dir` of the download
            configuration, or the folder of the dataset's name in it.
        allow_incomplete: warn about missing pairs and splits instead of refusing them.
        **kwargs: see `tfds.core.DatasetBuilder`.

    Attributes:
        hashes: `{split: {name: (hash of the rainy pixels, hash of the clean pixels)}}` of what has
            been built.
        scenes: `{split: {name: scene}}` of what has been built.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Initial release."}  # noqa: RUF012
    MANUAL_DOWNLOAD_INSTRUCTIONS = "See the README.md of the dataset."

    HOMEPAGE = ""
    SETS: PairSet | dict[str, PairSet]
    PAIRED = True

    def __init_subclass__(cls, **kwargs):
        cls.pkg_dir_path = epath.Path(inspect.getfile(cls)).parent
        sets = cls.__dict__.get("SETS", {})
        if isinstance(sets, dict) and sets:
            cls.BUILDER_CONFIGS = [
                tfds.core.BuilderConfig(name=name, description=pair_set.description)
                for name, pair_set in sets.items()
            ]
        if sets:
            # TFDS shows this where the manual folder is missing or empty.
            first = next(iter(sets.values())) if isinstance(sets, dict) else sets
            places = first.places("")
            heading = f"{cls.HOMEPAGE}\nPlaces looked at, as folders or zip archives:"
            cls.MANUAL_DOWNLOAD_INSTRUCTIONS = listing(heading, places, limit=len(places))
        super().__init_subclass__(**kwargs)

    def __init__(self, *, source=None, allow_incomplete=False, **kwargs):
        super().__init__(**kwargs)
        self.source = source
        self.allow_incomplete = allow_incomplete
        self.hashes = {}
        self.scenes = {}

    @property
    def pair_set(self):
        return self.SETS[self.builder_config.name] if self.builder_config else self.SETS

    def _info(self):
        features = {
            "rainy": tfds.features.Image(shape=(None, None, 3)),
            "clean": tfds.features.Image(shape=(None, None, 3)),
            "name": tfds.features.Text(),
            "scene": tfds.features.Text(),
        }
        if not self.PAIRED:
            del features["clean"]
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("rainy", "clean") if self.PAIRED else None,
            homepage=self.HOMEPAGE or None,
        )

    def _as_dataset(self, split, decoders=None, read_config=None, shuffle_files=False):
        # TFDS itself reads array_record as a data source only, not as a `tf.data.Dataset`.
        if self.info.file_format is not tfds.core.FileFormat.ARRAY_RECORD:
            return super()._as_dataset(split, decoders, read_config, shuffle_files)
        import tensorflow as tf

        records = self.as_data_source(
            split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
        )
        features = self.info.features
        if isinstance(decoders, tfds.decode.PartialDecoding):
            features, decoders = decoders.extract_features(features), decoders.decoders

        def example(index):
            record = tf.numpy_function(records.__getitem__, [index], tf.string, stateful=False)
            return features.deserialize_example(tf.ensure_shape(record, []), decoders=decoders)

        dataset = tf.data.Dataset.range(len(records))
        if shuffle_files:
            seed = read_config.shuffle_seed if read_config else None
            dataset = dataset.shuffle(len(records), seed=seed)
        return dataset.map(example, num_parallel_calls=tf.data.AUTOTUNE)

    def _pictures(self, dl_manager):
        """The `PictureTree` to build from."""
        if self.source is not None:
            return PictureTree(self.source)
        own = dl_manager.manual_dir / self.name
        return PictureTree(own if own.is_dir() else dl_manager.manual_dir)

    def _split_generators(self, dl_manager):
        tree = self._pictures(dl_manager)
        found = self._with_scenes(tree, self._find(tree))
        return {
            split: self._generate_examples(tree, split, pairs) for split, pairs in found.items()
        }

    def _find(self, tree):
        """`{split: [Pair]}`, with the counts checked."""
        splits = self.pair_set.splits
        found = {name: split.find(tree) for name, split in splits.items()}
        problems = self._wrong_counts({name: len(pairs) for name, pairs in found.items() if pairs})
        fine = [
            name
            for name, pairs in found.items()
            if pairs or (splits[name].optional and any(found.values()))
        ]
        missing = self.pair_set.places(f"{tree.root}/", without=fine)
        if missing:
            heading = "no pictures at any of these places (or two folders below, or zipped):"
            problems.append(listing(heading, missing, limit=len(missing)))
        problems = "\n".join(problems)
        if not any(found.values()):
            get = f"\nWhere to get it: {self.HOMEPAGE}" if self.HOMEPAGE else ""
            raise UsageError(f"{self.name}: {problems}{get}")
        if problems and not self.allow_incomplete:
            raise UsageError(
                f"{self.name}: {problems}\nTo build it from what is there, pass --allow_incomplete"
                " (in Python: allow_incomplete=True)"
            )
        if problems:
            logging.warning("%s: %s", self.name, problems)
        return {name: pairs for name, pairs in found.items() if pairs}

    def _wrong_counts(self, counts):
        expected = self.pair_set.counts()
        wrong = [
            f"{name}: {count} pairs, expected {expected[name]}"
            for name, count in counts.items()
            if expected[name] not in (None, count)
        ]
        if wrong and self.builder_config:
            wrong += [
                f"(these are the counts of {self.name}/{name})"
                for name, other in self.SETS.items()
                if other.counts() == counts
            ]
        return wrong

    def _with_scenes(self, tree, found):
        """The pairs with scene ids that hold for all splits, validation split made."""
        pair_set = self.pair_set
        if pair_set.scenes_by_content:
            found = _scenes_by_content(tree, found)
        else:
            found = {
                split: [_with_scene(pair, _id(split, pair.scene)) for pair in pairs]
                for split, pairs in found.items()
            }
        train = found.pop("train", [])
        if pair_set.disjoint:
            elsewhere = {pair.scene for pairs in found.values() for pair in pairs}
            train = [pair for pair in train if pair.scene not in elsewhere]
        made = {"train": train}
        if pair_set.validation:
            made["train"] = [pair for pair in train if not in_validation(pair.scene)]
            made["validation"] = [pair for pair in train if in_validation(pair.scene)]
        return {split: pairs for split, pairs in (made | found).items() if pairs}

    def _generate_examples(self, tree, split, pairs):
        hashes = self.hashes[split] = {}
        self.scenes[split] = {pair.name: pair.scene for pair in pairs}
        bad = []
        for pair in pairs:
            try:
                rainy = _Picture(tree, pair.rainy)
                clean = _Picture(tree, pair.clean) if pair.clean else None
                if clean and rainy.image.size != clean.image.size:
                    raise UsageError(f"{rainy} and {clean} differ in size")
            except UsageError as error:
                bad.append(str(error))
                continue
            hashes[pair.name] = rainy.hash(), clean.hash() if clean else None
            example = {"rainy": rainy.encoded(), "name": pair.name, "scene": pair.scene}
            if clean:
                example["clean"] = clean.encoded()
            yield pair.name, example
        if bad:
            raise UsageError(listing(f"{self.name}: {len(bad)} bad pairs:", bad))


class _Picture:
    """One decoded side of a pair."""

    def __init__(self, tree, half):
        self.where = tree.where(half.path)
        image, self._data = tree.open(half.path)
        if half.side != "whole":
            image, self._data = image.crop(half.box(image.size)), None
        self.image = image

    def __str__(self):
        return f"{self.where} ({self.image.width}x{self.image.height})"

    def hash(self):
        data = repr(self.image.size).encode() + self.image.tobytes()
        return hashlib.blake2b(data, digest_size=16).digest()

    def encoded(self):
        """The distributed bytes where they will do, else a PNG: no pixel ever changes."""
        if self._data is not None:
            return self._data
        buffer = io.BytesIO()
        # Level 3 codes 2.5 times as fast as the default and about as small.
        self.image.save(buffer, "PNG", compress_level=3)
        return buffer.getvalue()


def _flatten(layouts):
    for layout in layouts:
        yield from layout if isinstance(layout, tuple) else (layout,)


def _at_one_root(layout, tree):
    """The pairs of a layout, or an empty list. Folders count before archives."""
    roots = {root: pairs for root, pairs in layout.find(tree).items() if pairs}
    extracted = {
        root: pairs for root, pairs in roots.items() if not tree.in_archive(pairs[0].rainy.path)
    }
    roots = extracted or roots
    if len(roots) > 1:
        places = [str(tree.root / root) for root in sorted(roots)]
        raise UsageError(listing(f"{layout} is there more than once, keep or name one:", places))
    return next(iter(roots.values()), [])


def _id(split, name):
    """A scene id that holds for all splits: those of the training split go without its name."""
    return name if split == "train" else f"{split}/{name}"


def _with_scene(pair, scene):
    return dataclasses.replace(pair, scene=scene)


def _scenes_by_content(tree, found):
    """The pairs with scenes that are called after the first pair that shows them."""
    pairs = [(split, pair) for split, pairs in found.items() for pair in pairs]
    thumbnails, bad = [], []
    for _, pair in pairs:
        try:
            thumbnails.append(thumbnail(_Picture(tree, pair.clean).image))
        except UsageError as error:
            bad.append(str(error))
    if bad:
        raise UsageError(listing(f"{len(bad)} bad pictures:", bad))
    ids = [_id(split, pair.name) for split, pair in pairs]
    result = {split: [] for split in found}
    for (split, pair), first in zip(pairs, same_as_first(thumbnails), strict=True):
        result[split].append(_with_scene(pair, ids[first]))
    return result
