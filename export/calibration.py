"""The real pictures that exports are calibrated on and checked with."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import mspfn_tf
from mspfn_tf.errors import UsageError
from mspfn_tf.pictures import find_images, read_rgb
from mspfn_tf.sets.pairs import pair_folders
from mspfn_tf.tiling import window

SAMPLE = Path(mspfn_tf.__file__).resolve().parent / "sample" / "pairs"
"""The pairs that come with the package: `input` and `target`."""


@dataclass(frozen=True)
class Patch:
    """A piece of a picture.

    Attributes:
        rainy: ``uint8 [height, width, 3]``.
        clean: the same piece without rain, or None where the truth is not known.
    """

    rainy: np.ndarray
    clean: np.ndarray | None = None

    @property
    def batch(self) -> np.ndarray:
        """The rainy piece as the network takes it: float32 ``[1, height, width, 3]`` in [0, 1]."""
        return self.rainy[None].astype(np.float32) / 255


def read_patches(
    folder: str | os.PathLike, image_size: tuple[int, int], count: int = 24, most: int | None = None
) -> list[Patch]:
    """Cuts pieces of one size out of the pictures of a folder, evenly over pictures and places.

    Args:
        folder: with `input` and `target` below it, pairs by name; otherwise pictures of any kind.
        image_size: (height, width) of the pieces; smaller pictures are continued by reflection.
        count: how many pieces, about.
        most: how many instead, where the folder has more pictures than `count`.

    Returns:
        A list of at least one `Patch`.

    Raises:
        UsageError: no such folder, no pictures in it, pictures that do not pair or differ in size.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(f"{folder}: not a folder of pictures to calibrate on")
    if (folder / "input").is_dir() and (folder / "target").is_dir():
        files = [
            (rainy, clean)
            for _, rainy, clean in pair_folders(folder / "input", folder / "target").pairs
        ]
    else:
        files = [(path, None) for path in find_images(folder)]
    if not files:
        raise UsageError(
            f"{folder}: no pictures to calibrate on. Expected picture files, or pairs in "
            f"{folder}/input and {folder}/target"
        )
    pictures = min(len(files), max(count, most or 0))
    files = [files[n * len(files) // pictures] for n in range(pictures)]
    per_file = -(-count // len(files))
    return [patch for pair in files for patch in _cut(*pair, image_size, per_file)]


def _cut(rainy_file, clean_file, image_size, count):
    rainy = read_rgb(rainy_file)
    clean = None if clean_file is None else read_rgb(clean_file)
    if clean is not None and clean.shape != rainy.shape:
        raise UsageError(
            f"{rainy_file} is {rainy.shape[1]}x{rainy.shape[0]}, {clean_file} "
            f"{clean.shape[1]}x{clean.shape[0]}: expected pictures of one size"
        )
    spare = [max(0, have - want) for have, want in zip(rainy.shape, image_size, strict=False)]
    if not any(spare):
        count = 1
    for n in range(count):
        share = (n + 0.5) / count
        top, left = (int(length * share) for length in spare)
        scene = None if clean is None else window(clean, top, left, image_size)
        yield Patch(window(rainy, top, left, image_size), scene)
