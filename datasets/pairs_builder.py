"""The builder that the sets of rainy and clean pictures share."""

import dataclasses
import hashlib
import inspect
import io
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from absl import logging
from etils import epath
from PIL import Image

from mspfn_tf.datasets.archives import Progress
from mspfn_tf.datasets.facts import Facts
from mspfn_tf.datasets.layouts import Half, Pair, listing
from mspfn_tf.datasets.pair_set import PairSet
from mspfn_tf.datasets.picture_tree import PictureTree
from mspfn_tf.datasets.sampling import scene_balanced
from mspfn_tf.datasets.scenes import in_validation, same_as_first, thumbnail
from mspfn_tf.errors import UsageError, argument
from mspfn_tf.quiet import absl_quiet


@dataclasses.dataclass(eq=False)
class SampledConfig(tfds.core.BuilderConfig):
    """A part of the training pairs of another configuration.

    Attributes:
        base: the name of the other configuration, empty where the set has none.
        sample: how many training pairs.
    """

    base: str = ""
    sample: int = 1


# TFDS's own keyword, which pyright cannot see.
class PairsBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # pyright: ignore[reportCallIssue, reportGeneralTypeIssues]
    """Builds `{"rainy", "clean", "name", "scene"}` from pictures that lie in `manual_dir`.

    A subclass names its `SETS`, one `PairSet` or `{configuration: PairSet}`, its `FACTS`, and where
    there is one the page that distributes them. Where `PAIRED` is false there are no clean
    pictures. Where `VIDEO` is true the examples have a `clip` and the number of their `frame` in
    it, from 0.

    Args:
        source: folder or archive with the pictures. Default: the `manual_dir` of the download
            configuration, or the folder of the dataset's name in it.
        allow_incomplete: warn about missing pairs and splits instead of refusing them.
        sample: so many training pairs only, from every scene as many. The configuration is called
            `sample_N` then, or `CONFIG_sample_N`.
        scratch: folder for what has to be unpacked; default: the system's temporary one.
        progress: is told what is being done, how much of it is done, and how much there is.
        config: see `tfds.core.DatasetBuilder`.
        **kwargs: see `tfds.core.DatasetBuilder`.

    Attributes:
        hashes: `{split: {name: (hash of the rainy pixels, hash of the clean pixels)}}` of what has
            been built.
        scenes: `{split: {name: scene}}` of what has been built.
        found: lines about what has been found so far.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Initial release."}  # noqa: RUF012
    MANUAL_DOWNLOAD_INSTRUCTIONS = "See the README.md of the dataset."

    HOMEPAGE = ""
    SETS: PairSet | dict[str, PairSet]
    FACTS: Facts
    PAIRED = True
    VIDEO = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
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
            heading = f"{cls.HOMEPAGE}\nPlaces looked at, as folders or archives:"
            cls.MANUAL_DOWNLOAD_INSTRUCTIONS = listing(heading, places, limit=len(places))
        super().__init_subclass__(**kwargs)

    def __init__(
        self,
        *,
        source: str | os.PathLike | None = None,
        allow_incomplete: bool = False,
        sample: int | None = None,
        scratch: Path | None = None,
        progress: Progress | None = None,
        config: str | tfds.core.BuilderConfig | None = None,
        **kwargs: Any,
    ):
        if sample is not None:
            config = self._sampled(config, sample)
        # TFDS warns of every configuration that is not among those of the class.
        with absl_quiet("Using custom data configuration"):
            super().__init__(config=config, **kwargs)
        self.source = source
        self.allow_incomplete = allow_incomplete
        self.scratch = scratch
        self.progress = progress or (lambda what, done, total: None)
        self.hashes: dict[str, dict[str, tuple]] = {}
        self.scenes: dict[str, dict[str, str]] = {}
        self.found: list[str] = []
        self._tree: PictureTree | None = None

    @classmethod
    def _sampled(cls, config: str | tfds.core.BuilderConfig | None, sample: int) -> SampledConfig:
        sets = getattr(cls, "SETS", None)
        if sets is None:
            raise UsageError(f"{cls.name} makes its pairs itself: it has none to sample")
        base = config if config is None or isinstance(config, str) else config.name
        if isinstance(sets, dict):
            base = base or next(iter(sets))
            pair_set = sets[base]
        else:
            base, pair_set = "", sets
        if "train" not in pair_set.splits:
            raise UsageError(f"{cls.name} has no training pairs to sample")
        if sample < 1:
            raise UsageError(f"sample must be at least 1. Received: {sample}")
        name = f"{base}_sample_{sample}" if base else f"sample_{sample}"
        description = f"{pair_set.description} {sample} of the training pairs, scene by scene."
        return SampledConfig(name=name, description=description.strip(), base=base, sample=sample)

    @classmethod
    def folder_parts(cls, config: str | None, sample: int | None) -> list[str]:
        """The folders, below the data folder, that a configuration's versions lie in.

        Raises:
            UsageError: there is nothing to sample, or `sample` is below 1.
        """
        if sample is not None:
            config = cls._sampled(config, sample).name
        return [cls.name, config] if config else [cls.name]

    @property
    def pair_set(self) -> PairSet:
        """What this configuration reads."""
        config = self.builder_config
        sets = self.SETS
        if isinstance(sets, PairSet):
            return sets
        return sets[config.base if isinstance(config, SampledConfig) else config.name]

    def download_and_prepare(self, **kwargs: Any) -> None:
        """See `tfds.core.DatasetBuilder`. Archives are closed at the end."""
        try:
            super().download_and_prepare(**kwargs)
        finally:
            if self._tree is not None:
                self._tree.close()

    def _features(self) -> dict[str, Any]:
        """What an example holds."""
        features = {
            "rainy": tfds.features.Image(shape=(None, None, 3)),
            "clean": tfds.features.Image(shape=(None, None, 3)),
            "name": tfds.features.Text(),
            "scene": tfds.features.Text(),
        }
        if not self.PAIRED:
            del features["clean"]
        if self.VIDEO:
            features |= {"clip": tfds.features.Text(), "frame": np.int64}
        return features

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(self._features()),
            supervised_keys=("rainy", "clean") if self.PAIRED else None,
            homepage=self.HOMEPAGE or None,
        )

    def _as_dataset(self, split, decoders: Any = None, read_config=None, shuffle_files=False):
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

    def _place(self, dl_manager: tfds.download.DownloadManager) -> str | os.PathLike:
        """The folder or archive to build from."""
        if self.source is not None:
            return self.source
        own = dl_manager.manual_dir / self.name
        return own if own.is_dir() else dl_manager.manual_dir

    def _pictures(self, dl_manager: tfds.download.DownloadManager) -> PictureTree:
        """The tree to build from."""
        self._tree = PictureTree(self._place(dl_manager), self.scratch, self.progress)
        return self._tree

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        tree = self._pictures(dl_manager)
        found = self._with_scenes(tree, self._find(tree))
        if isinstance(self.builder_config, SampledConfig):
            if "train" not in found:
                raise UsageError(f"{self.name}: there are no training pairs to sample")
            found["train"] = scene_balanced(found["train"], self.builder_config.sample)
        return {
            split: self._generate_examples(tree, split, pairs) for split, pairs in found.items()
        }

    def _find(self, tree: PictureTree) -> dict[str, list[Pair]]:
        """`{split: [Pair]}`, with the counts checked."""
        splits = self.pair_set.splits
        found = {}
        for done, (name, split) in enumerate(splits.items(), 1):
            found[name] = split.find(tree)
            self.progress("pairing files", done, len(splits))
            if found[name]:
                place = tree.root / os.path.commonpath(
                    [os.path.dirname(pair.rainy.path) for pair in found[name]]
                )
                self.found.append(f"{name}: {len(found[name])} pairs, the rainy ones in {place}")
        problems = self._wrong_counts({name: len(pairs) for name, pairs in found.items() if pairs})
        fine = [
            name
            for name, pairs in found.items()
            if pairs or (splits[name].optional and any(found.values()))
        ]
        missing = self.pair_set.places(f"{tree.root}/", without=fine)
        if missing:
            heading = "no pictures at any of these places (or below one folder, or in archives):"
            problems.append(listing(heading, missing, limit=len(missing)))
        if problems:
            problems += tree.notes
        elif tree.notes and not all(found.values()):
            missing = ", ".join(name for name, pairs in found.items() if not pairs)
            logging.warning("%s: without %s; %s", self.name, missing, "; ".join(tree.notes))
        problems = "\n".join(problems)
        if not any(found.values()):
            get = f"\nWhere to get it: {self.HOMEPAGE}" if self.HOMEPAGE else ""
            raise UsageError(f"{self.name}: {problems}{get}")
        if problems and not self.allow_incomplete:
            raise UsageError(
                f"{self.name}: {problems}\nTo build it from what is there, pass "
                f"{argument('allow_incomplete')}"
            )
        if problems:
            logging.warning("%s: %s", self.name, problems)
        return {name: pairs for name, pairs in found.items() if pairs}

    def _wrong_counts(self, counts: dict[str, int]) -> list[str]:
        expected = self.pair_set.counts()
        wrong = [
            f"{name}: {count} pairs, expected {expected[name]}"
            for name, count in counts.items()
            if expected[name] not in (None, count)
        ]
        if wrong and isinstance(self.SETS, dict):
            wrong += [
                f"(these are the counts of {self.name}/{name})"
                for name, other in self.SETS.items()
                if other.counts() == counts
            ]
        return wrong

    def _with_scenes(
        self, tree: PictureTree, found: dict[str, list[Pair]]
    ) -> dict[str, list[Pair]]:
        """The pairs with scene ids that hold for all splits, validation split made."""
        pair_set = self.pair_set
        if pair_set.scenes_by_content:
            found = _scenes_by_content(tree, found, self.progress)
        else:
            found = {
                split: [dataclasses.replace(p, scene=_id(split, p.scene)) for p in pairs]
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

    def _generate_examples(
        self, tree: PictureTree, split: str, pairs: Sequence[Pair]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        hashes = self.hashes[split] = {}
        self.scenes[split] = {pair.name: pair.scene for pair in pairs}
        frames = Counter()
        bad = []
        for done, pair in enumerate(pairs, 1):
            self.progress(f"writing {split}", done, len(pairs))
            frame = frames[pair.clip]
            frames[pair.clip] += 1
            try:
                rainy = _Picture(tree, pair.rainy)
                clean = _Picture(tree, pair.clean) if pair.clean else None
                if clean and rainy.image.size != clean.image.size:
                    raise UsageError(f"{rainy} and {clean} differ in size")
            except UsageError as error:
                bad.append(str(error))
                continue
            hashes[pair.name] = pixel_hash(rainy.image), clean and pixel_hash(clean.image)
            example = {"rainy": rainy.encoded(), "name": pair.name, "scene": pair.scene}
            if clean:
                example["clean"] = clean.encoded()
            if self.VIDEO:
                example |= {"clip": pair.clip, "frame": frame}
            yield pair.name, example
        self.found.append(f"{split}: {len(hashes)} of {len(pairs)} pairs are sound")
        if bad:
            raise UsageError(listing(f"{self.name}: {len(bad)} bad pairs:", bad))


class _Picture:
    """One decoded side of a pair."""

    def __init__(self, tree: PictureTree, half: Half):
        self.where = tree.where(half.path)
        image, self._data = tree.open(half.path)
        if half.side != "whole":
            image, self._data = image.crop(half.box(image.size)), None
        self.image = image

    def __str__(self):
        return f"{self.where} ({self.image.width}x{self.image.height})"

    def encoded(self) -> bytes:
        """The distributed bytes where they will do, else a PNG: no pixel ever changes."""
        return png(self.image) if self._data is None else self._data


def pixel_hash(image: Image.Image) -> bytes:
    """By which equal pictures are found."""
    data = repr(image.size).encode() + image.tobytes()
    return hashlib.blake2b(data, digest_size=16).digest()


def png(image: Image.Image) -> bytes:
    """The bytes of a PNG file."""
    buffer = io.BytesIO()
    # Level 3 codes 2.5 times as fast as the default and about as small.
    image.save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def _id(split: str, name: str) -> str:
    """A scene id that holds for all splits: those of the training split go without its name."""
    return name if split == "train" else f"{split}/{name}"


def _scenes_by_content(
    tree: PictureTree, found: dict[str, list[Pair]], progress: Progress
) -> dict[str, list[Pair]]:
    """The pairs with scenes that are called after the first pair that shows them."""
    pairs = [(split, pair) for split, pairs in found.items() for pair in pairs]
    thumbnails, bad = [], []
    for done, (_, pair) in enumerate(pairs, 1):
        progress("comparing scenes", done, len(pairs))
        try:
            thumbnails.append(thumbnail(_Picture(tree, pair.clean or pair.rainy).image))
        except UsageError as error:
            bad.append(str(error))
    if bad:
        raise UsageError(listing(f"{len(bad)} bad pictures:", bad))
    ids = [_id(split, pair.name) for split, pair in pairs]
    result = {split: [] for split in found}
    for (split, pair), first in zip(pairs, same_as_first(thumbnails), strict=True):
        result[split].append(dataclasses.replace(pair, scene=ids[first]))
    return result
