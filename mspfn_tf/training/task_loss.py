"""Deraining trained for a task: the loss of a frozen network on the derained patches.

The paper (section 5) names "vision task-driven image deraining" as a direction. Here a segmenter
that stays as it is looks at what the deraining network made of a patch; how far its answer is from
the labels (cross-entropy), how far its features are from those of the clean patch, or both, joins
the restoration loss.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from mspfn_tf.errors import UsageError
from mspfn_tf.training.pair_source import VOID

TERMS = ("labels", "features", "both")


class TaskLoss:
    """The loss of a frozen segmenter on derained patches.

    Args:
        network: takes pictures `[batch, H, W, 3]`, RGB in [0, 1], and returns class scores before
            softmax, `[batch, H, W, classes]`. It is frozen. Features are what its method
            `features()` (a `keras.Model` with one or several outputs) gives, as that of `ESPNet`;
            without one, the class scores.
        terms: "labels" (cross-entropy), "features" (mean distance from the features of the clean
            patch, as a share of their mean size), or "both", which adds them.

    Attributes:
        classes: how many the network tells apart.
        needs_labels: whether the patches must come with labels.
        state: values of the network's variables, for `losses`.

    Raises:
        UsageError: not such a network.
    """

    def __init__(self, network: keras.Model, terms: str = "labels"):
        if terms not in TERMS:
            raise UsageError(f"task_terms {terms!r}: choose from {', '.join(TERMS)}")
        if len(network.inputs) != 1 or len(network.outputs) != 1:
            raise UsageError(f"task_model {network.name}: expected one picture in, scores out")
        shape = network.outputs[0].shape
        if len(shape) != 4 or shape[3] is None or network.inputs[0].shape[3] != 3:
            raise UsageError(
                f"task_model {network.name} makes {list(shape)} of "
                f"{list(network.inputs[0].shape)}; expected class scores [batch, H, W, classes] of "
                "pictures [batch, H, W, 3]"
            )
        self.terms, self.classes = terms, int(shape[3])
        network.trainable = False
        features = network.features().outputs if hasattr(network, "features") else network.outputs
        self._looks = keras.Model(network.inputs, [*network.outputs, *features])
        self._looks.trainable = False

    @property
    def needs_labels(self) -> bool:
        return self.terms != "features"

    @property
    def state(self) -> list:
        return [variable.value for variable in self._looks.non_trainable_variables]

    def losses(self, derained: Any, clean: Any, labels: Any = None, state: Any = None) -> Any:
        """One value per patch.

        Args:
            derained: `[batch, S, S, 3]`; what lies outside [0, 1] is clipped, as in a picture.
            clean: `[batch, S, S, 3]` in [0, 1].
            labels: int32 `[batch, S, S, 1]`, `VOID` where nothing is known; unused by "features".
            state: the network's variables where a compiled function must be given them (JAX), as
                `state` gives them. Default: as they are.
        """
        scores, *features = self._look(ops.clip(derained, 0.0, 1.0), state)
        total = 0.0
        if self.terms != "features":
            total = total + _cross_entropy(scores, labels)
        if self.terms != "labels":
            _, *wanted = self._look(clean, state)
            pairs = zip(features, wanted, strict=True)
            total = total + sum(_distance(f, w) for f, w in pairs) / len(features)
        return total

    def scores(self, pictures: np.ndarray) -> Any:
        """The network's class scores, float32 [batch, H, W, classes], of pictures in [0, 1]."""
        return self._look(ops.convert_to_tensor(pictures), None)[0]

    def _look(self, pictures, state):
        pictures = ops.cast(pictures, "float32")
        if state is None:
            return self._looks(pictures, training=False)
        return self._looks.stateless_call([], state, pictures, training=False)[0]

    def check(self, clean: np.ndarray) -> None:
        """Tries the network on patches `[batch, S, S, 3]`; raises `UsageError` if it fails."""
        taken = self._looks.inputs[0].shape
        if any(side is not None for side in taken[1:3]):  # patches, and pictures to validate on
            raise UsageError(
                f"the task's network takes {list(taken)}; expected one for pictures of any size"
            )
        scores = ops.convert_to_numpy(self.scores(clean))
        if scores.shape != (*clean.shape[:3], self.classes) or not np.isfinite(scores).all():
            raise UsageError(
                f"the task's network makes {list(scores.shape)} of patches {list(clean.shape)}; "
                f"expected finite class scores {[*clean.shape[:3], self.classes]}"
            )
        sums = scores.sum(axis=-1)
        if self.needs_labels and scores.min() >= 0 and np.allclose(sums, 1, atol=1e-3):
            raise UsageError(
                "the task's network makes probabilities of patches; expected class scores before "
                "softmax: leave the softmax of its last layer out"
            )


def load_task_network(model: str | os.PathLike, weights: str | os.PathLike = "") -> keras.Model:
    """The network of a task.

    Args:
        model: "espnet", or a `.keras` file, or a `.weights.h5` file of ESPNet.
        weights: for "espnet": the `.weights.h5` file.

    Raises:
        UsageError: no such file or network.
    """
    from mspfn_tf.tasks.espnet import load_espnet

    path = Path(model)
    if str(model) == "espnet":
        if not weights:
            raise UsageError(
                "task_model espnet needs task_model_weights, a .weights.h5 file (see "
                "tools/convert_espnet.py)"
            )
        return load_espnet(weights)
    if weights:
        raise UsageError("task_model_weights goes with task_model espnet")
    if path.name.endswith(".weights.h5"):
        return load_espnet(path)
    if path.suffix != ".keras" or not path.is_file():
        raise UsageError(
            f"task_model {model}: expected espnet, a .keras file or a .weights.h5 file of ESPNet"
        )
    try:
        return keras.saving.load_model(path, compile=False)
    except (ValueError, OSError, KeyError, TypeError) as error:
        raise UsageError(f"cannot load {path}: {error}") from error


def as_labels(mask: np.ndarray, name: str, classes: int, void: Sequence[int]) -> np.ndarray:
    """A mask `uint8 [H, W, 1]` as `int16 [H, W, 1]`, with `VOID` for the values in `void`.

    Raises:
        UsageError: a value that is neither a class nor void; `name` names the picture.
    """
    labels = mask.astype(np.int16)
    labels[np.isin(mask, void)] = VOID
    if labels.max() >= classes:
        raise UsageError(
            f"{name}: its mask holds the value {labels.max()}; expected classes 0 to "
            f"{classes - 1}, or task_void"
        )
    return labels


def _cross_entropy(scores, labels):
    """Mean over the labelled pixels of each patch; 0 where there are none."""
    labels = ops.cast(labels[..., 0], "int32")
    known = ops.cast(labels >= 0, "float32")
    chosen = ops.one_hot(ops.maximum(labels, 0), scores.shape[-1], dtype="float32")
    losses = -ops.sum(chosen * ops.log_softmax(scores, axis=-1), axis=-1)
    counts = ops.maximum(ops.sum(known, axis=(1, 2)), 1.0)
    return ops.sum(known * losses, axis=(1, 2)) / counts


def _distance(features, wanted):
    axes = tuple(range(1, len(features.shape)))
    size = ops.mean(ops.absolute(wanted), axis=axes)
    return ops.mean(ops.absolute(features - wanted), axis=axes) / ops.maximum(size, 1e-6)
