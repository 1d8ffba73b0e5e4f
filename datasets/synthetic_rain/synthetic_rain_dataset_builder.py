"""synthetic_rain."""

import dataclasses
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from mspfn_tf.datasets.facts import Facts
from mspfn_tf.datasets.layouts import listing
from mspfn_tf.datasets.pairs_builder import PairsBuilder, pixel_hash, png
from mspfn_tf.datasets.picture_tree import PictureTree
from mspfn_tf.datasets.scenes import in_validation, same_as_first, thumbnail
from mspfn_tf.datasets.synthetic_rain.parameters import PRESETS, Rain
from mspfn_tf.datasets.synthetic_rain.rain import rain
from mspfn_tf.errors import UsageError
from mspfn_tf.pictures import IMAGE_SUFFIXES

_BACKGROUND = re.compile(r"((?:[^/]+/){0,2}?)backgrounds/", re.IGNORECASE)


@dataclasses.dataclass(eq=False)
class RainConfig(tfds.core.BuilderConfig):
    """What is rained, and how often.

    Attributes:
        parameters: the rain.
        variants: rainy pictures per background.
        seed: of all randomness; an example depends on it, the configuration's name, the path of its
            background, its number among the variants and the streak files of its split.
        longest_side: pixels; larger backgrounds are reduced, so that streaks keep their proportion.
    """

    parameters: Rain = Rain()
    variants: int = 4
    seed: int = 0
    longest_side: int = 1024

    def __post_init__(self) -> None:
        for name in ("variants", "longest_side"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1. Received: {getattr(self, name)!r}.")


class Builder(PairsBuilder):
    """Rains on any clean photographs; see `rain.py`."""

    VERSION = tfds.core.Version("1.1.0")
    FACTS = Facts(
        rain="drawn over any clean photographs",
        page="-",
        licence="that of the photographs; the rain has none of its own",
        size="-",
        verified="pictures of its own",
    )
    BUILDER_CONFIGS = [
        RainConfig(
            name="light",
            description="Light rain, some 25 to 30 dB against the clean picture.",
            parameters=PRESETS["light"],
        ),
        RainConfig(
            name="heavy",
            description="Heavy rain in several directions, some 12 to 17 dB.",
            parameters=PRESETS["heavy"],
        ),
        RainConfig(
            name="mixed",
            description="Everything from drizzle to downpour, some 15 to 30 dB.",
            parameters=PRESETS["mixed"],
        ),
    ]

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        tree = _Rooted(self._pictures(dl_manager))
        backgrounds = [path for path in tree.paths if path.startswith("backgrounds/")]
        streaks = [path for path in tree.paths if path.startswith("streaks/")]
        if not backgrounds:
            raise UsageError(
                f"{self.name}: no clean pictures at {tree.root}/backgrounds/ or in "
                f"{tree.root}/backgrounds.zip (or up to two folders below); expected "
                f"{', '.join(sorted(IMAGE_SUFFIXES))} files "
                f"there, and optional gray pictures of streaks at {tree.root}/streaks/"
                + "".join(f"\n{note}" for note in tree.notes)
            )
        _check_names(backgrounds, tree)
        self.found.append(f"{len(backgrounds)} backgrounds, {len(streaks)} streak pictures")
        scenes = _scenes(backgrounds, tree, self.progress)
        splits = {}
        divided = _divide(backgrounds, scenes.get), _divide(streaks, str)
        for split, paths, streak_paths in zip(("train", "validation"), *divided, strict=True):
            if paths:
                pictures = _gray_pictures(streak_paths, tree)
                splits[split] = self._generate_examples(tree, split, paths, scenes, pictures)
        return splits

    def _generate_examples(
        self,
        tree: "_Rooted",
        split: str,
        paths: Sequence[str],
        scenes: Mapping[str, str],
        streak_pictures: Sequence[np.ndarray],
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        config = self.builder_config
        hashes = self.hashes[split] = {}
        scene_of = self.scenes[split] = {}
        for done, path in enumerate(paths, 1):
            self.progress(f"raining on {split}", done, len(paths))
            clean, data = _background(path, tree, config.longest_side)
            dry = Image.fromarray(clean)
            encoded = data or png(dry)
            seen = set()
            for variant in range(config.variants):
                place = zlib.crc32(f"{config.name}/{path}".encode())
                rng = np.random.default_rng([config.seed, place, variant])
                rainy = Image.fromarray(rain(clean, rng, config.parameters, streak_pictures))
                name = f"{_name(path)}_{variant}"
                # Variants that stayed dry are equal on purpose: no duplicates to be reported.
                pair_hashes = pixel_hash(rainy), pixel_hash(dry)
                if pair_hashes not in seen:
                    hashes[name] = pair_hashes
                    seen.add(pair_hashes)
                scene_of[name] = scenes[path]
                yield (
                    name,
                    {
                        # Lossless: what JPEG does to rainy pictures belongs to the rain model.
                        "rainy": png(rainy),
                        "clean": encoded,
                        "name": name,
                        "scene": scenes[path],
                    },
                )


class _Rooted:
    """A tree as seen from the folder that holds `backgrounds/`: the root of the tree, or up to two
    folders further down. Upper and lower case of `backgrounds/` and `streaks/` do not matter.

    Raises:
        UsageError: there is more than one such folder.
    """

    def __init__(self, tree: PictureTree):
        self.root, self.notes, self._tree = tree.root, tree.notes, tree
        matches = [_BACKGROUND.match(path) for path in tree.paths]
        roots = sorted({match[1] for match in matches if match}, key=lambda root: root.count("/"))
        if len(roots) > 1 and roots[0]:
            places = [str(tree.root / root / "backgrounds") for root in roots]
            raise UsageError(listing("backgrounds are there more than once, keep one:", places))
        top = roots[0] if roots else ""
        self._paths: dict[str, str] = {}
        for path in tree.paths:
            folder, slash, rest = path.removeprefix(top).partition("/")
            if path.startswith(top) and slash:
                other = self._paths.setdefault(f"{folder.lower()}/{rest}", path)
                if other != path:
                    raise UsageError(
                        f"{tree.where(other)} and {tree.where(path)} share a name: remove one"
                    )
        self.paths = list(self._paths)

    def where(self, path: str) -> str:
        """See `PictureTree`."""
        return self._tree.where(self._paths[path])

    def open(self, path: str) -> tuple[Image.Image, bytes | None]:
        """See `PictureTree`."""
        return self._tree.open(self._paths[path])


def _name(path):
    """`backgrounds/town/7.jpg` -> `town/7`."""
    return path.removeprefix("backgrounds/").rpartition(".")[0]


def _check_names(paths, tree):
    named = {}
    for path in paths:
        named.setdefault(_name(path), []).append(tree.where(path))
    clashes = [" and ".join(files) for files in named.values() if len(files) > 1]
    if clashes:
        raise UsageError(listing("backgrounds that differ in their suffix alone, rename:", clashes))


def _scenes(paths, tree, progress):
    """path -> name of the first background that shows the same scene."""
    thumbnails, bad = [], []
    for done, path in enumerate(paths, 1):
        progress("comparing scenes", done, len(paths))
        try:
            thumbnails.append(thumbnail(tree.open(path)[0]))
        except UsageError as error:
            bad.append(str(error))
    if bad:
        raise UsageError(listing(f"synthetic_rain: {len(bad)} bad backgrounds:", bad))
    firsts = same_as_first(thumbnails)
    return {path: _name(paths[first]) for path, first in zip(paths, firsts, strict=True)}


def _divide(paths, key):
    """(for training, for validation), by hash; where nothing is left to train on, all trains."""
    train = [path for path in paths if not in_validation(key(path))]
    validation = [path for path in paths if in_validation(key(path))]
    return (train, validation) if train else (validation, [])


def _background(path, tree, longest_side):
    """(`uint8 [H, W, 3]`, the bytes of the file if they hold exactly these pixels, else None)."""
    image, data = tree.open(path)
    if max(image.size) > longest_side:
        image.thumbnail((longest_side, longest_side), Image.Resampling.LANCZOS)
        data = None
    return np.array(image), data


def _gray_pictures(paths, tree):
    return [np.array(tree.open(path)[0].convert("L")) for path in paths]
