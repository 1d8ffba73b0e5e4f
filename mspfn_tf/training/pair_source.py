"""The pairs of a prepared set by number, and mixtures of sets.

Nothing here needs TensorFlow when the set was prepared as array_record.
"""

import hashlib
import io

import numpy as np
from PIL import Image

from mspfn_tf.errors import UsageError
from mspfn_tf.files import sha256
from mspfn_tf.prepared_sets import Examples


def parse_mixture(spec):
    """Splits a dataset specification into its parts.

    Args:
        spec: `name`, `name/config`, or several with weights: `rain800:1,synthetic_rain/heavy:2`.

    Returns:
        A list of (name, share); the shares are positive and sum to 1.

    Raises:
        UsageError: an empty name, a weight that is no positive number, or a name given twice.
    """
    parts = []
    for part in spec.split(","):
        name, colon, weight = part.strip().partition(":")
        try:
            weight = float(weight) if colon else 1.0
        except ValueError:
            weight = 0.0
        if not name or not 0 < weight < float("inf"):
            raise UsageError(
                f"dataset '{spec}': '{part}' should be NAME or NAME:WEIGHT with a positive weight, "
                "such as rain800:1,synthetic_rain/heavy:2"
            )
        parts.append((name, weight))
    names = [name for name, _ in parts]
    if len(set(names)) < len(names):
        raise UsageError(f"dataset '{spec}' names a set twice: add up its weights instead")
    total = sum(weight for _, weight in parts)
    return [(name, weight / total) for name, weight in parts]


class PairSource:
    """Random access to one split of a prepared pair set.

    `source[i]` is (rainy, clean), two uint8 arrays [H, W, 3]; `source.name(i)` names the pair.

    Args:
        name: `name` or `name/config` of a set that `mspfn prepare` built.
        split: `train`, `validation` or `test`.
        data_dir: the folder that `mspfn prepare` filled.

    Raises:
        UsageError: the set is not prepared there, is damaged, or has no such split.
    """

    def __init__(self, name, split, data_dir):
        self._examples = Examples(name, split, data_dir)
        self.dataset = name
        self.split = split
        self._files = sorted(self._examples.folder.glob(f"*-{split}.*"))

    def __len__(self):
        return len(self._examples)

    def __getitem__(self, index):
        example = self._examples[index]
        rainy, clean = (_decode(example[key]) for key in ("rainy", "clean"))
        if rainy.shape != clean.shape:
            raise UsageError(
                f"{self.name(index)}: rainy is {rainy.shape} but clean is {clean.shape}"
            )
        return rainy, clean

    def name(self, index):
        name = self._examples[index].get("name", str(index).encode())
        name = name.decode() if isinstance(name, bytes) else str(name)
        return f"{self.dataset}/{self.split}/{name}"

    def fingerprint(self):
        """SHA-256 over the names (with the version) and contents of the split's record files."""
        facts = [(file.parent.name, file.name, sha256(file)) for file in self._files]
        return hashlib.sha256(repr(facts).encode()).hexdigest()

    def sizes(self, most=4096):
        """(height, width) of the pairs, or of `most` evenly spread ones: an int array [N, 2].

        Read from the image headers alone.
        """
        indices = np.unique(np.linspace(0, len(self) - 1, min(len(self), most)).astype(int))
        return np.array([_open(self._examples[index]["clean"]).size[::-1] for index in indices])


def _open(encoded):
    return Image.open(io.BytesIO(encoded))


def _decode(encoded):
    return np.asarray(_open(encoded).convert("RGB"))
