"""What is measured on segmentations: everything follows from one confusion matrix."""

import numpy as np

from mspfn_tf.errors import UsageError


def confusion(
    truth: np.ndarray, labels: np.ndarray, classes: int, void: tuple[int, ...] = (255,)
) -> np.ndarray:
    """Counts the pixels of each true and each predicted class.

    Args:
        truth: true classes, integers `[H, W]`.
        labels: predicted classes, integers `[H, W]` in 0 .. classes - 1.
        classes: number of classes.
        void: values of `truth` that stand for "not labelled"; such pixels are left out.

    Returns:
        `int64 [classes, classes]`: true class by predicted class.

    Raises:
        UsageError: unequal sizes, or a value that is neither a class nor void.
    """
    truth, labels = np.asarray(truth), np.asarray(labels)
    if truth.shape != labels.shape or truth.ndim != 2:
        raise UsageError(
            f"labels are {_size(labels)} pixels, the truth {_size(truth)}; expected equal sizes"
        )
    known = ~np.isin(truth, void)
    truth, labels = truth[known].astype(np.int64), labels[known].astype(np.int64)
    for what, values in (("true", truth), ("predicted", labels)):
        wrong = values[(values < 0) | (values >= classes)]
        if wrong.size:
            raise UsageError(
                f"{what} labels hold the value {wrong[0]}; expected classes 0 to {classes - 1}, or "
                f"void, which is {', '.join(map(str, void)) or 'not set'}"
            )
    counts = np.bincount(truth * classes + labels, minlength=classes * classes)
    return counts.reshape(classes, classes)


def segmentation_scores(counts: np.ndarray) -> dict[str, float | None | list[float | None]]:
    """Scores from a confusion matrix `[classes, classes]`, true by predicted.

    Returns:
        `miou`: mean over the classes that occur in truth or prediction of intersection over union;
        `mpa`: mean over the classes that occur in the truth of the share of their pixels that was
        found; `pixel_accuracy`; `class_iou`: the IoU of each class. None where undefined.
    """
    counts = np.asarray(counts, np.float64)
    hits, true, predicted = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    union = true + predicted - hits
    ious = [float(h / u) if u else None for h, u in zip(hits, union, strict=True)]
    shares = [float(h / t) for h, t in zip(hits, true, strict=True) if t]
    present = [value for value in ious if value is not None]
    return {
        "miou": float(np.mean(present)) if present else None,
        "mpa": float(np.mean(shares)) if shares else None,
        "pixel_accuracy": float(hits.sum() / counts.sum()) if counts.any() else None,
        "class_iou": ious,
    }


def _size(labels):
    return "x".join(map(str, labels.shape[::-1]))
