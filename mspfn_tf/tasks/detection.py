"""Detections, how they are matched with the truth, and what is measured on them.

Our matching rule, for precision, recall and the mean IoU of matched boxes: detections with a score
of at least the threshold, from the highest score down, each go to the unmatched true box of the
same class with the largest IoU, if that is at least 0.5. (The paper, section 4.3, reports these
three figures at a threshold of 0.6 and does not state its rule.) True boxes of crowds are no
targets; a detection without a partner of which half or more lies in a crowd of its class does not
count. The mean average precision of COCO is that of pycocotools.
"""

import contextlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from mspfn_tf.errors import UsageError
from mspfn_tf.sets.labels import Boxes, as_boxes, box_areas

SCORE_THRESHOLD = 0.6
MATCH_IOU = 0.5
_SCORE_SLACK = 0.1  # what quantised networks may round beyond 0 and 1
_COCO_FIGURES = ("map", "map_50", "map_75", "map_small", "map_medium", "map_large")


@dataclass(frozen=True, eq=False)
class Detections:
    """What a detector found in a picture.

    Attributes:
        boxes: `float32 [N, 4]`: left, top, right, bottom in pixels of the picture.
        scores: `float32 [N]` in [0, 1].
        classes: N class names.
        known: every class name that the detector can say; empty where that is not told.

    Raises:
        UsageError: these are not as many of each, not finite, scores outside [0, 1], or classes
            that are no names or not among those `known`.
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: tuple[str, ...]
    known: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        object.__setattr__(self, "boxes", as_boxes(self.boxes))
        object.__setattr__(self, "scores", np.asarray(self.scores, np.float32).reshape(-1))
        object.__setattr__(self, "classes", tuple(self.classes))
        known = tuple(name for name in self.known if name is not None)  # a number without a class
        object.__setattr__(self, "known", known)
        counts = len(self.boxes), len(self.scores), len(self.classes)
        if len(set(counts)) > 1:
            raise UsageError(
                "detections need as many boxes as scores and classes; the adapter returned "
                "{} boxes, {} scores, {} classes".format(*counts)
            )
        if not np.isfinite(self.boxes).all() or not np.isfinite(self.scores).all():
            raise UsageError("the adapter returned boxes or scores that are not finite")
        wrong = self.scores[np.abs(self.scores - 0.5) > 0.5 + _SCORE_SLACK]
        if wrong.size:
            raise UsageError(
                f"the adapter returned the score {wrong[0]:g}; expected 0 to 1. Are the network's "
                "outputs in another order, or scores before the sigmoid?"
            )
        named = set(self.classes)
        strange = [n for n in named if not isinstance(n, str)] or (known and named - set(known))
        if strange:
            raise UsageError(
                f"the adapter returned the class {next(iter(strange))!r}; expected a name"
                + (f", one of {', '.join(known)}" if known else "")
            )

    def chosen(self, keep: np.ndarray) -> "Detections":
        """Those where `keep`, an index or a mask, says so."""
        indices = np.arange(len(self.scores))[keep]
        classes = tuple(self.classes[index] for index in indices)
        return Detections(self.boxes[indices], self.scores[indices], classes, self.known)

    def as_truth(self, threshold: float) -> Boxes:
        """The detections from `threshold` up, as if they were the truth."""
        sure = self.chosen(self.scores >= threshold)
        return Boxes(sure.boxes, sure.classes)


@dataclass(frozen=True, eq=False)
class Match:
    """The outcome of `match` for one picture.

    Attributes:
        detection: `int [D]`: for each detection the index of its true box, -1 if it has none, -2
            if it does not count (below the threshold, or in a crowd).
        ious: `float [M]`, IoU of the matched boxes.
        missed: indices of the true boxes without a detection.
    """

    detection: np.ndarray
    ious: np.ndarray
    missed: np.ndarray


def iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes `[N, 4]` and `[M, 4]`, as `[N, M]`."""
    shared = _intersection(first, second)
    union = box_areas(first)[:, None] + box_areas(second)[None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def match(
    truth: Boxes,
    found: Detections,
    threshold: float = SCORE_THRESHOLD,
    least_iou: float = MATCH_IOU,
) -> Match:
    """Matches detections with true boxes by the rule at the top of this module."""
    overlaps = iou(found.boxes, truth.boxes).astype(np.float64)
    inside = _intersection(found.boxes, truth.boxes)
    partner = np.full(len(found.scores), -2)
    free = ~truth.crowd
    same = np.array([[a == b for b in truth.classes] for a in found.classes], bool)
    same = same.reshape(overlaps.shape)
    own_areas = box_areas(found.boxes)
    # A stable order, so that equal scores cannot change places between runs.
    for index in np.argsort(-found.scores, kind="stable"):
        if found.scores[index] < threshold:
            break
        candidates = np.where(same[index] & free, overlaps[index], -1.0)
        best = int(np.argmax(candidates)) if len(candidates) else -1
        if best >= 0 and candidates[best] >= least_iou:
            partner[index], free[best] = best, False
            continue
        in_crowd = inside[index][same[index] & truth.crowd]
        if not (in_crowd >= 0.5 * own_areas[index]).any():
            partner[index] = -1
    matched = np.flatnonzero(partner >= 0)
    return Match(partner, overlaps[matched, partner[matched]], np.flatnonzero(free))


def threshold_scores(matches: Iterable[Match]) -> dict[str, float | int | None]:
    """Precision, recall and mean IoU of matched boxes over all pictures; None where undefined."""
    hits = wrong = missed = 0
    ious = []
    for result in matches:
        hits += len(result.ious)
        wrong += int((result.detection == -1).sum())
        missed += len(result.missed)
        ious.extend(result.ious)
    return {
        "precision": hits / (hits + wrong) if hits + wrong else None,
        "recall": hits / (hits + missed) if hits + missed else None,
        "iou": float(np.mean(ious)) if ious else None,
        "matched": hits,
        "wrong": wrong,
        "missed": missed,
    }


def coco_scores(truths: Sequence[Boxes], found: Sequence[Detections]) -> dict[str, float | None]:
    """Mean average precision as COCO defines it, by pycocotools.

    Args:
        truths: the true boxes of each picture.
        found: what was detected in each.

    Returns:
        `map` (IoU 0.50:0.95), `map_50`, `map_75`, `map_small`, `map_medium`, `map_large` (areas
        below 32^2, up to 96^2, above); None where there is no true box.

    Raises:
        UsageError: pycocotools is not installed.
    """
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise UsageError(
            f'mean average precision needs pycocotools: pip install "mspfn_tf[tasks]" ({error})'
        ) from error

    names = sorted({name for truth in truths for name in truth.classes})
    if not names:
        return dict.fromkeys(_COCO_FIGURES)
    ids = {name: number for number, name in enumerate(names, 1)}
    results = [
        {
            "image_id": image,
            "category_id": ids[name],
            "bbox": _as_coco(box),
            "score": float(score),
        }
        for image, detections in enumerate(found, 1)
        for box, score, name in zip(
            detections.boxes, detections.scores, detections.classes, strict=True
        )
        if name in ids
    ]
    with contextlib.redirect_stdout(io.StringIO()):  # it reports on what it does
        coco = COCO()
        coco.dataset = _coco_dataset(truths, ids)
        coco.createIndex()
        if not results:  # which pycocotools does not take
            evaluation = COCOeval(coco, COCO(), "bbox")
            evaluation.cocoDt.dataset = {"images": [], "annotations": [], "categories": []}
            evaluation.cocoDt.createIndex()
        else:
            loaded = coco.loadRes(results)  # pyright: ignore[reportArgumentType] lists, too
            evaluation = COCOeval(coco, loaded, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    # It says -1 where there is no truth of that size.
    figures = [float(value) if value >= 0 else None for value in evaluation.stats[:6]]
    return dict(zip(_COCO_FIGURES, figures, strict=True))


def _coco_dataset(truths, ids):
    annotations = [
        {
            "image_id": image,
            "category_id": ids[name],
            "bbox": _as_coco(box),
            "iscrowd": int(crowd),
            "area": float(area),
        }
        for image, truth in enumerate(truths, 1)
        for box, name, crowd, area in zip(
            truth.boxes, truth.classes, truth.crowd, truth.area, strict=True
        )
    ]
    return {
        "info": {},
        "images": [{"id": image} for image in range(1, len(truths) + 1)],
        "annotations": [{"id": n, **entry} for n, entry in enumerate(annotations, 1)],
        "categories": [{"id": number, "name": name} for name, number in ids.items()],
    }


def _as_coco(box):
    left, top, right, bottom = (float(value) for value in box)
    return [left, top, right - left, bottom - top]


def _intersection(first, second):
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    sides = np.maximum(high - low, 0)
    return sides[..., 0] * sides[..., 1]
