"""The pairs of a prepared set by number, and mixtures of sets.

Nothing here needs TensorFlow when the set was prepared as array_record.
"""

import hashlib
import io
import math
import numbers
import os
import re
import zlib
from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image

from mspfn_tf.errors import UsageError
from mspfn_tf.files import sha256
from mspfn_tf.sets.prepared import Examples

VOID = -1
"""The label of pixels of which it is not known what they show."""


def check_mixture(dataset: str | Mapping[str, float]) -> dict[str, float]:
    """The sets of a mixture and their weights, name -> weight, in the order given.

    Args:
        dataset: `"name"` or `"name/config"` of one set, or a mapping from such names to positive
            weights.

    Raises:
        UsageError: no set, an empty name, or a weight that is no positive number.
    """
    sets = {dataset: 1.0} if isinstance(dataset, str) else dataset
    if not isinstance(sets, Mapping) or not sets:
        raise UsageError(f"dataset {dataset!r}: must be a name, or names with their weights")
    for name, weight in sets.items():
        if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", name):
            raise UsageError(f"dataset {name!r}: should be NAME or NAME/CONFIG of a prepared set")
        number = isinstance(weight, numbers.Real) and not isinstance(weight, bool)
        if not number or not 0 < weight < math.inf:
            raise UsageError(f"dataset {name!r}: its weight {weight!r} must be a positive number")
    return {name: float(weight) for name, weight in sets.items()}


class PairSource:
    """Random access to one split of a prepared pair set.

    `source[i]` is (rainy, clean), two uint8 arrays [H, W, 3]; `source.name(i)` names the pair. Of a
    set of clean pictures alone, such as `camvid`, each picture stands in mixed synthetic rain,
    always the same.

    Args:
        name: `name` or `name/config` of a set that `mspfn prepare` built.
        split: `train`, `validation` or `test`.
        data_dir: the folder that `mspfn prepare` filled.
        labelling: makes labels `int16 [H, W, 1]` of a mask `uint8 [H, W, 1]` and the name of its
            picture. With it, `source[i]` is (rainy, clean, labels).

    Raises:
        UsageError: the set is not prepared there, is damaged, has no such split or no such
            pictures, or no masks where `labelling` needs them.
    """

    def __init__(
        self,
        name: str,
        split: str,
        data_dir: str | os.PathLike,
        labelling: Callable[[np.ndarray, str], np.ndarray] | None = None,
    ):
        self._examples = Examples(
            name, split, data_dir, clean_alone=True, masks=labelling is not None
        )
        self._halves = ("rainy", "clean") if "rainy" in self._examples.features else ("image",)
        self.labelling = labelling
        self.dataset = name
        self.split = split
        self._files = sorted(self._examples.folder.glob(f"*-{split}.*"))

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        example = self._examples[index]
        halves = [decoded(example[key]) for key in self._halves]
        rainy, clean = halves if len(halves) == 2 else (self._rained(index, *halves), *halves)
        if rainy.shape != clean.shape:
            raise UsageError(
                f"{self.name(index)}: rainy is {rainy.shape} but clean is {clean.shape}"
            )
        if self.labelling is None:
            return rainy, clean
        mask = np.asarray(_open(example["mask"]))[..., None]
        return rainy, clean, self.labelling(mask, self.name(index))

    def _rained(self, index, clean):
        from mspfn_tf.datasets.synthetic_rain.parameters import PRESETS
        from mspfn_tf.datasets.synthetic_rain.rain import rain

        rng = np.random.default_rng([0, zlib.crc32(self.name(index).encode())])
        return rain(clean, rng, PRESETS["mixed"])

    def name(self, index: int) -> str:
        """`dataset/split/name` of a pair, for messages."""
        name = self._examples[index].get("name", str(index).encode())
        name = name.decode() if isinstance(name, bytes) else str(name)
        return f"{self.dataset}/{self.split}/{name}"

    def fingerprint(self) -> str:
        """SHA-256 over the names (with the version) and contents of the split's record files."""
        facts = [(file.parent.name, file.name, sha256(file)) for file in self._files]
        return hashlib.sha256(repr(facts).encode()).hexdigest()

    def sizes(self, most: int = 4096) -> np.ndarray:
        """(height, width) of the pairs, or of `most` evenly spread ones: an int array [N, 2].

        Read from the image headers alone.
        """
        indices = np.unique(np.linspace(0, len(self) - 1, min(len(self), most)).astype(int))
        return np.array(
            [_open(self._examples[index][self._halves[-1]]).size[::-1] for index in indices]
        )


def _open(encoded):
    return Image.open(io.BytesIO(encoded))


def decoded(encoded: bytes) -> np.ndarray:
    """The picture in the bytes of a file, uint8 [H, W, 3]."""
    return np.asarray(_open(encoded).convert("RGB"))
