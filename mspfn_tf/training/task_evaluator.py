"""What a segmenter makes of the derained pictures while a network trains for it."""

import os
from collections.abc import Iterable, Mapping

import keras
import numpy as np

from mspfn_tf.sets.pairs import evenly_spread
from mspfn_tf.sizes import MULTIPLE_OF
from mspfn_tf.tasks.segmentation import confusion, segmentation_scores
from mspfn_tf.training.evaluators import Predict, as_input
from mspfn_tf.training.pair_source import VOID, PairSource, check_mixture
from mspfn_tf.training.task_loss import TaskLoss, as_labels


class TaskEvaluator:
    """mIoU of the task's network on rainy, derained and clean validation pictures.

    An `Evaluator` for `Trainer`. Looks at pairs spread evenly over the validation split of one or
    more sets with masks, cropped at the right and the bottom to multiples of 8 pixels.

    Args:
        task: its network is asked.
        dataset: name of a set, or names with weights; the weights do not matter here.
        data_dir: folder of the prepared sets.
        count: pictures of each set, or as many as it has.
        void: value of the masks that means not labelled.

    Raises:
        UsageError: a set is not prepared, or has no validation split or no masks.
    """

    def __init__(
        self,
        task: TaskLoss,
        dataset: str | Mapping[str, float],
        data_dir: str | os.PathLike,
        count: int,
        void: int,
    ):
        self.task = task
        self._pictures = []
        for name in check_mixture(dataset):
            source = PairSource(
                name, "validation", data_dir, lambda m, n: as_labels(m, n, task.classes, (void,))
            )
            for index in evenly_spread(len(source), count):
                rainy, *rest = source[index]
                height, width = (side // MULTIPLE_OF * MULTIPLE_OF for side in rainy.shape[:2])
                self._pictures.append([array[:height, :width] for array in (rainy, *rest)])
        self._unchanging = {
            f"val_miou_{name}": self._miou(lambda pair, place=place: as_input(pair[place]))
            for place, name in enumerate(("rainy", "clean"))
        }

    def _miou(self, picture_of):
        counts = np.zeros((self.task.classes, self.task.classes), np.int64)
        for pair in self._pictures:
            scores = keras.ops.convert_to_numpy(self.task.scores(picture_of(pair)))[0]
            truth = pair[2][..., 0]
            counts = counts + confusion(truth, scores.argmax(-1), self.task.classes, (VOID,))
        miou = segmentation_scores(counts)["miou"]
        return miou if isinstance(miou, float) else 0.0

    def scores(self, predict: Predict) -> dict[str, float]:
        """`val_miou` of the derained pictures, `val_miou_rainy` and `val_miou_clean`."""
        derained = self._miou(lambda pair: np.clip(predict(as_input(pair[0])), 0, 1))
        return {"val_miou": derained, **self._unchanging}

    def panels(self, predict: Predict) -> Iterable[tuple[str, list[np.ndarray]]]:
        """None: the validation set shows the pictures."""
        return ()
