"""Confusion matrices, by hand and against an independent library."""

import numpy as np
import pytest

from mspfn_tf.errors import UsageError
from mspfn_tf.tasks.segmentation import confusion, segmentation_scores


def test_scores_by_hand():
    truth = np.array([[0, 0, 0, 1], [1, 1, 255, 255]])
    labels = np.array([[0, 0, 1, 1], [1, 0, 0, 2]])
    counts = confusion(truth, labels, 3)
    assert counts.tolist() == [[2, 1, 0], [1, 2, 0], [0, 0, 0]]
    scores = segmentation_scores(counts)
    assert scores["class_iou"] == [2 / 4, 2 / 4, None]
    assert scores["miou"] == 0.5
    assert scores["mpa"] == pytest.approx(2 / 3)
    assert scores["pixel_accuracy"] == pytest.approx(4 / 6)


def test_a_class_that_is_only_predicted_counts_against_miou_not_mpa():
    scores = segmentation_scores(confusion(np.zeros((1, 4)), np.array([[0, 0, 0, 1]]), 3))
    assert scores["miou"] == pytest.approx((0.75 + 0) / 2)
    assert scores["mpa"] == 0.75


def test_void_is_what_is_said_to_be():
    counts = confusion(np.array([[0, 1, 7, 2]]), np.array([[0, 0, 1, 2]]), 3, void=(7, 2))
    assert counts.tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 0]]


def test_nothing_labelled():
    counts = confusion(np.full((2, 2), 255), np.zeros((2, 2), int), 3)
    assert segmentation_scores(counts) == {
        "miou": None,
        "mpa": None,
        "pixel_accuracy": None,
        "class_iou": [None] * 3,
    }


@pytest.mark.parametrize("seed", range(3))
def test_scores_equal_those_of_an_independent_library(seed):
    from hotcoco.semantic import SemanticEval

    rng = np.random.default_rng(seed)
    evaluation, counts = SemanticEval(7), 0
    for _ in range(3):
        truth = rng.integers(0, 6, (40, 30)).astype(np.uint8)  # class 6 is never true
        wrong = rng.random(truth.shape) < 0.3
        labels = np.where(wrong, rng.integers(0, 7, truth.shape), truth).astype(np.uint8)
        truth[rng.random(truth.shape) < 0.1] = 255
        evaluation.update(truth, labels)
        counts = counts + confusion(truth, labels, 7)
    theirs = evaluation.report()["metrics"]
    scores = segmentation_scores(counts)
    np.testing.assert_array_equal(np.asarray(evaluation.confusion()), counts)
    assert scores["miou"] == pytest.approx(theirs["mIoU"], abs=1e-9)
    assert scores["mpa"] == pytest.approx(theirs["mAcc"], abs=1e-9)
    assert scores["pixel_accuracy"] == pytest.approx(theirs["aAcc"], abs=1e-9)


@pytest.mark.parametrize(
    ("truth", "labels", "message"),
    [
        ([[0, 3]], [[0, 0]], "true labels hold the value 3; expected classes 0 to 2, or void"),
        ([[0, 1]], [[0, 7]], "predicted labels hold the value 7"),
        ([[0, 1]], [[0], [1]], "1x2 pixels, the truth 2x1"),
    ],
)
def test_wrong_values_and_sizes_are_named(truth, labels, message):
    with pytest.raises(UsageError, match=message):
        confusion(np.array(truth), np.array(labels), 3)
