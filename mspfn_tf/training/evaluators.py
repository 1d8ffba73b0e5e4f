"""What judges a training run on the way: anything that scores a network, such as fixed pictures."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

import numpy as np

from mspfn_tf import metrics
from mspfn_tf.errors import UsageError, argument
from mspfn_tf.sets.pairs import evenly_spread
from mspfn_tf.sets.prepared import Examples, splits
from mspfn_tf.sizes import MULTIPLE_OF
from mspfn_tf.training.pair_source import PairSource, check_mixture, decoded

_PANELS = 4
_IDENTICAL = 60.0  # dB that a rain-free picture left as it was counts, instead of infinity

Predict = Callable[[np.ndarray], np.ndarray]
"""From rainy to derained pictures, float32 [batch, H, W, 3] in [0, 1], sides multiples of 8."""


class Evaluator(Protocol):
    """Judges the network at every validation; it holds the averaged weights then."""

    def scores(self, predict: Predict) -> Mapping[str, float]:
        """Scores by name, which no other evaluator may use; they go to the logs and callbacks."""
        ...

    def panels(self, predict: Predict) -> Iterable[tuple[str, list[np.ndarray]]]:
        """Pictures for TensorBoard: (name, pictures beside each other, uint8 [H, W, 3])."""
        ...


class ValidationSet:
    """Centre crops of pairs spread evenly over the validation split of one or more sets.

    All crops have one size, so that the network is compiled once. Every set counts alike, however
    many pairs it has.

    Args:
        dataset: name of a set, or names with weights; the weights do not matter here.
        data_dir: folder of the prepared sets.
        count: pairs of each set, or as many as it has.
        size: side of the crops, or as large as the smallest picture allows.

    Raises:
        UsageError: a set is not prepared or has no validation split.
    """

    def __init__(
        self,
        dataset: str | Mapping[str, float],
        data_dir: str | os.PathLike,
        count: int,
        size: int,
    ):
        self.names, pairs, weights = [], [], []
        for name in check_mixture(dataset):
            if "validation" not in (there := splits(name, data_dir)):
                raise UsageError(
                    f"dataset '{name}' has no split 'validation', only: {', '.join(there)}. "
                    f"{argument('validation_dataset', 'NAME')} validates on a set that has one; "
                    f"{argument('validate_every', 0)} trains without"
                )
            source = PairSource(name, "validation", data_dir)
            chosen = evenly_spread(len(source), count)
            weights += [1 / len(chosen)] * len(chosen)
            for index in chosen:
                self.names.append(source.name(index))
                pairs.append(source[index])
        side = _side(size, [rainy for rainy, _ in pairs])
        if side < metrics.WINDOW:
            raise UsageError(f"validation crops of {side}x{side} are too small: at least 16x16")
        self._weights = np.array(weights) / sum(weights)
        self._rainy, self._clean = (
            np.stack([_centre(pair[half], side) for pair in pairs]) for half in (0, 1)
        )
        self._input_scores = self._mean_scores(self._rainy)

    def _mean_scores(self, images: Iterable[np.ndarray]) -> list[float]:
        scores = [
            (min(metrics.psnr(clean, image), _IDENTICAL), metrics.ssim(clean, image))
            for clean, image in zip(self._clean, images, strict=True)
        ]
        return (self._weights @ np.array(scores)).tolist()

    def _derained(self, predict: Predict, count: int | None = None) -> Iterator[np.ndarray]:
        for rainy in self._rainy[:count]:
            yield predict(as_input(rainy))[0]

    def scores(self, predict: Predict) -> dict[str, float]:
        """Mean PSNR (dB) and SSIM (protocol matlab_y) of the derained and of the rainy pictures."""
        psnr, ssim = self._mean_scores(self._derained(predict))
        input_psnr, input_ssim = self._input_scores
        return {
            "val_psnr": psnr,
            "val_ssim": ssim,
            "val_input_psnr": input_psnr,
            "val_input_ssim": input_ssim,
        }

    def fingerprint(self) -> str:
        """SHA-256 over the pairs that are scored, in whatever order."""
        pairs = zip(self._rainy, self._clean, strict=True)
        digests = sorted(hashlib.sha256(np.stack(pair).tobytes()).hexdigest() for pair in pairs)
        return hashlib.sha256(repr(digests).encode()).hexdigest()

    def panels(self, predict: Predict) -> Iterator[tuple[str, list[np.ndarray]]]:
        """Yields (name, [rainy, derained, clean]), uint8 each, of the first few pictures."""
        for index, derained in enumerate(self._derained(predict, _PANELS)):
            panel = [self._rainy[index], _levels(derained), self._clean[index]]
            yield self.names[index], panel


class Photographs:
    """Photographs of real rain, which have no truth: nothing to score, but to look at.

    Args:
        dataset: a prepared set with `rainy` pictures and a `test` split, such as `real_rain`.
        data_dir: folder of the prepared sets.
        size: side of the centre crops, or as large as the smallest of the photographs shown allows.

    Raises:
        UsageError: the set is not prepared, or has no such pictures or no such split.
    """

    def __init__(self, dataset: str, data_dir: str | os.PathLike, size: int):
        examples = Examples(dataset, "test", data_dir, paired=False)
        found = [examples[index] for index in evenly_spread(len(examples), _PANELS)]
        photographs = [decoded(example["rainy"]) for example in found]
        side = _side(size, photographs)
        if not side:
            raise UsageError(f"{dataset}: a photograph is smaller than 8x8 pixels")
        self._rainy = [_centre(photograph, side) for photograph in photographs]
        self.names = [f"{dataset}/{example['name'].decode()}" for example in found]

    def scores(self, predict: Predict) -> dict[str, float]:
        """None: there is no truth."""
        return {}

    def panels(self, predict: Predict) -> Iterator[tuple[str, list[np.ndarray]]]:
        """Yields (name, [rainy, derained]), uint8 each."""
        for name, rainy in zip(self.names, self._rainy, strict=True):
            yield name, [rainy, _levels(predict(as_input(rainy))[0])]


def _side(most: int, images: Iterable[np.ndarray]) -> int:
    return min(most, *(min(image.shape[:2]) for image in images)) // MULTIPLE_OF * MULTIPLE_OF


def _centre(image: np.ndarray, side: int) -> np.ndarray:
    top, left = ((length - side) // 2 for length in image.shape[:2])
    return image[top : top + side, left : left + side]


def as_input(picture: np.ndarray) -> np.ndarray:
    """A picture, uint8 [H, W, 3], as `Predict` takes it."""
    return picture[None].astype(np.float32) / 255


def _levels(derained: np.ndarray) -> np.ndarray:
    return (np.clip(derained, 0, 1) * 255 + 0.5).astype(np.uint8)
