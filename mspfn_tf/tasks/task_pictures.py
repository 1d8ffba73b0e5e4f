"""The pictures that a task's network sees: rainy ones, and clean ones where they are known."""

import hashlib
import zlib
from pathlib import Path

import numpy as np

from mspfn_tf.errors import UsageError
from mspfn_tf.files import sha256_if_readable
from mspfn_tf.pictures import ImageError, find_images, read_rgb
from mspfn_tf.sets.labels import BoxLabels, MaskLabels
from mspfn_tf.sets.pairs import pair_folders


class TaskPictures:
    """The pictures that a task's network sees, by number.

    Args:
        pictures: folder of pictures: rainy ones, or clean ones where `rain` is given.
        clean: folder of the clean pictures, paired by name (see `mspfn_tf.sets.pairs`).
        rain: kind of synthetic rain to draw on the pictures, which are clean then: "light",
            "mixed" or "heavy".
        seed: of that rain. A picture's rain depends on it and on the picture's name alone.
        labels: `BoxLabels`, `MaskLabels`, or None.

    Attributes:
        names: of the pictures: path below the folder, without suffix.
        has_clean: whether clean pictures are known.

    Raises:
        UsageError: a folder is missing or empty, pictures do not pair, have no labels, or nothing
            is there to compare with.
    """

    def __init__(
        self,
        pictures: str | Path,
        clean: str | Path | None = None,
        rain: str | None = None,
        seed: int = 0,
        labels: BoxLabels | MaskLabels | None = None,
    ):
        if clean is not None and rain is not None:
            raise UsageError(
                "rain is drawn on clean pictures; with rainy ones and clean ones leave it out"
            )
        if labels is None and clean is None and rain is None:
            raise UsageError(
                "nothing to compare with: pass labels, or clean pictures, or rain for clean ones"
            )
        self._rain, self._seed, self.labels = rain, seed, labels
        self.has_clean = clean is not None or rain is not None
        folder = Path(pictures)
        if clean is not None:
            pairs = pair_folders(folder, clean).pairs
            self._rainy, self._clean = [p[1] for p in pairs], [p[2] for p in pairs]
            self.names = [p[0] for p in pairs]
        else:
            self._rainy = find_images(folder)
            if not self._rainy:
                raise UsageError(f"pictures {folder}: no pictures in this folder")
            self._clean = self._rainy if rain else None
            self.names = [p.relative_to(folder).with_suffix("").as_posix() for p in self._rainy]
        if len(set(self.names)) < len(self.names):
            twice = next(name for name in self.names if self.names.count(name) > 1)
            raise UsageError(f"pictures {folder}: two pictures are called {twice}")
        if labels is not None:
            labels.check(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray | None]:
        """(rainy, clean or None), `uint8 [H, W, 3]` each."""
        picture = read_rgb(self._rainy[index])
        if self._rain is not None:
            from mspfn_tf.datasets.synthetic_rain.parameters import PRESETS
            from mspfn_tf.datasets.synthetic_rain.rain import rain

            place = zlib.crc32(self.names[index].encode())
            rng = np.random.default_rng([self._seed, place])
            return rain(picture, rng, PRESETS[self._rain]), picture
        if self._clean is None:
            return picture, None
        clean = read_rgb(self._clean[index])
        if clean.shape != picture.shape:
            raise ImageError(
                f"{self._rainy[index]} and {self._clean[index]} differ in size; expected equal ones"
            )
        return picture, clean

    def fingerprint(self) -> str:
        """SHA-256 over the names and the contents of the files."""
        clean = [] if self._clean is self._rainy else self._clean or []
        facts = [self.names, *map(sha256_if_readable, (*self._rainy, *clean))]
        return hashlib.sha256(repr(facts).encode()).hexdigest()
