"""The kinds of task: what is kept of a network's answer, and how it is scored."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mspfn_tf.errors import UsageError
from mspfn_tf.sets.labels import Boxes, BoxLabels
from mspfn_tf.tasks.detection import (
    SCORE_THRESHOLD,
    Detections,
    coco_scores,
    match,
    threshold_scores,
)
from mspfn_tf.tasks.segmentation import confusion


@dataclass(frozen=True)
class DetectionTask:
    """Boxes. `score_threshold`: from which score a detection counts as said."""

    score_threshold: float = SCORE_THRESHOLD
    sort_by = "found"

    def check(self, labels: BoxLabels | None, found: Detections) -> None:
        """Raises `UsageError` if the labels have classes that the network cannot know."""
        if labels is None or not found.known:
            return
        unknown = sorted(labels.classes - set(found.known))
        if unknown:
            raise UsageError(
                f"{labels.path} has classes that the network does not know: {', '.join(unknown)}. "
                f"It knows: {', '.join(found.known)}. Map them with class_map, to null where "
                "there is no such class"
            )

    def record(self, found: Detections, truth: Boxes | None) -> dict:
        # All of it: average precision needs every score.
        return {
            "boxes": [[round(float(side), 3) for side in box] for box in found.boxes],
            "scores": [float(score) for score in found.scores],
            "classes": list(found.classes),
        }

    def read(self, record: Mapping) -> Detections:
        return Detections(record["boxes"], record["scores"], tuple(record["classes"]))

    def reference(self, record: Mapping) -> Boxes:
        """What the network found in the clean picture, as the truth."""
        return self.read(record).as_truth(self.score_threshold)

    def only(self, found: Detections, classes: frozenset[str] | None) -> Detections:
        """Without what the labels have no class for: nothing says whether that is right."""
        if classes is None:
            return found
        return found.chosen(np.array([name in classes for name in found.classes], bool))

    def scores(self, truths: list[Boxes], found: list[Detections]) -> dict:
        matches = [match(t, f, self.score_threshold) for t, f in zip(truths, found, strict=True)]
        return {**coco_scores(truths, found), **threshold_scores(matches)}

    def of_picture(self, truth: Boxes, found: Detections) -> dict:
        """`found`: share of what there is to say that is said rightly (F1); None if nothing is."""
        result = match(truth, found, self.score_threshold)
        hits, wrong = len(result.ious), int((result.detection == -1).sum())
        said = 2 * hits + wrong + len(result.missed)
        scores = threshold_scores([result])
        share = 2 * hits / said if said else None
        return {"found": share, **{key: scores[key] for key in ("precision", "recall", "iou")}}


@dataclass(frozen=True)
class SegmentationTask:
    """Class numbers. `classes`: how many; `void`: values of the truth that are left out."""

    classes: int
    void: tuple[int, ...] = (255,)
    sort_by = "miou"

    def counts(self, labels: np.ndarray, truth: np.ndarray) -> np.ndarray:
        return confusion(truth, labels, self.classes, self.void)
