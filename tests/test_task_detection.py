"""Matching and average precision, against hand-worked cases and an independent library."""

import json

import numpy as np
import pytest

from mspfn_tf.errors import UsageError
from mspfn_tf.sets.labels import Boxes
from mspfn_tf.tasks.detection import Detections, coco_scores, iou, match, threshold_scores

SQUARE = [0, 0, 10, 10]


def found(*entries):
    """Detections from (box, score, class)."""
    boxes, scores, classes = zip(*entries, strict=True) if entries else ((), (), ())
    return Detections(np.array(boxes), np.array(scores), classes)


def test_iou_by_hand():
    boxes = np.float32([SQUARE, [5, 0, 15, 10], [20, 20, 30, 30], [3, 3, 3, 3]])
    np.testing.assert_allclose(iou(boxes[:1], boxes)[0], [1, 50 / 150, 0, 0])


def test_the_best_score_takes_the_box_and_the_class_counts():
    truth = Boxes([SQUARE, [20, 0, 30, 10], [40, 0, 50, 10]], ("car", "car", "dog"))
    result = match(
        truth,
        found(
            ([0, 0, 10, 9], 0.7, "car"),  # beaten to its box by the next
            ([0, 0, 10, 8], 0.9, "car"),
            ([40, 0, 50, 10], 0.9, "cat"),  # right place, wrong class
            ([20, 0, 30, 10], 0.59, "car"),  # below the threshold
            ([20, 0, 30, 4], 0.8, "car"),  # IoU 0.4
        ),
    )
    assert result.detection.tolist() == [-1, 0, -1, -2, -1]
    assert result.missed.tolist() == [1, 2]
    scores = threshold_scores([result])
    assert scores["precision"] == pytest.approx(1 / 4)
    assert scores["recall"] == pytest.approx(1 / 3)
    assert scores["iou"] == pytest.approx(0.8)


def test_a_detection_prefers_the_largest_overlap():
    truth = Boxes([[0, 0, 10, 12], SQUARE], ("car", "car"))
    result = match(truth, found((SQUARE, 0.9, "car"), ([0, 0, 10, 12], 0.8, "car")))
    assert result.detection.tolist() == [1, 0]


def test_what_reaches_a_bound_counts():
    truth = Boxes([SQUARE, [0, 50, 100, 150]], ("car", "car"), np.array([False, True]))
    result = match(
        truth,
        found(
            ([0, 0, 10, 5], 0.6, "car"),  # the threshold, and IoU 0.5
            ([90, 60, 110, 70], 0.7, "car"),  # half of it in the crowd
            ([90, 60, 111, 70], 0.7, "car"),
            ([90, 60, 111, 70], 0.59, "car"),
        ),
    )
    assert result.detection.tolist() == [0, -2, -1, -2]
    assert result.ious.tolist() == [0.5]


def test_crowds_are_no_targets_and_excuse_what_lies_in_them():
    truth = Boxes([[0, 0, 100, 100]], ("person",), np.array([True]))
    result = match(
        truth,
        found(
            ([10, 10, 20, 30], 0.9, "person"),
            ([95, 0, 115, 10], 0.9, "person"),  # a quarter of it inside
            ([10, 10, 20, 30], 0.9, "dog"),
        ),
    )
    assert result.detection.tolist() == [-2, -1, -1]
    assert not len(result.missed)


def test_the_mean_iou_is_one_of_boxes_and_not_of_pictures():
    one = match(Boxes([SQUARE], ("car",)), found(([0, 0, 10, 6], 0.9, "car")))
    boxes = [SQUARE, [20, 0, 30, 10]]
    two = match(Boxes(boxes, ("car",) * 2), found(*((box, 0.9, "car") for box in boxes)))
    assert threshold_scores([one, two])["iou"] == pytest.approx((0.6 + 1 + 1) / 3)


def test_the_truth_of_a_detector_begins_at_the_threshold():
    answers = found((SQUARE, 0.5, "car"), ([20, 0, 30, 10], 0.49, "dog"))
    assert answers.as_truth(0.5).classes == ("car",)


def test_small_and_large_go_by_the_area_of_the_truth():
    """A thing may fill a part of its box."""
    box = [0, 0, 40, 40]
    truth = Boxes([box], ("car",), area=np.array([900.0]))
    scores = coco_scores([truth], [found((box, 0.9, "car"))])
    assert scores["map_small"] == pytest.approx(1) and scores["map_medium"] is None


def test_nothing_found_and_nothing_there():
    empty, truth = found(), Boxes([SQUARE], ("car",))
    assert threshold_scores([match(truth, empty)]) == {
        "precision": None,
        "recall": 0.0,
        "iou": None,
        "matched": 0,
        "wrong": 0,
        "missed": 1,
    }
    nowhere = match(Boxes([], ()), found((SQUARE, 0.9, "car")))
    assert threshold_scores([nowhere])["precision"] == 0
    assert coco_scores([truth], [empty])["map"] == 0
    assert coco_scores([Boxes([], ())], [empty])["map"] is None


def test_average_precision_by_hand():
    """One class, two boxes: right, wrong, right. Precision 1 to recall 1/2, then 2/3."""
    truth = Boxes([SQUARE, [20, 0, 30, 10]], ("car", "car"))
    answers = found(
        (SQUARE, 0.9, "car"), ([50, 50, 60, 60], 0.8, "car"), ([20, 0, 30, 10], 0.7, "car")
    )
    scores = coco_scores([truth], [answers])
    # 101 recall levels: 0 to 0.50 at precision 1, 0.51 to 1 at 2/3.
    assert scores["map_50"] == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert scores["map"] == pytest.approx(scores["map_50"])
    assert scores["map_small"] == pytest.approx(scores["map_50"])
    assert scores["map_large"] is None


def _random_case(seed, pictures=12):
    """Boxes of three classes and all sizes, and detections around them and elsewhere."""
    rng = np.random.default_rng(seed)
    truths, answers = [], []
    for _ in range(pictures):
        count = int(rng.integers(0, 9))
        corner = rng.uniform(0, 300, (count, 2))
        sides = np.exp(rng.uniform(2, 5.3, (count, 2)))
        boxes = np.concatenate([corner, corner + sides], axis=1)
        classes = tuple(rng.choice(["car", "dog", "person"], count))
        truths.append(Boxes(boxes, classes, rng.random(count) < 0.1))
        near = boxes + rng.normal(0, 0.08, boxes.shape) * np.repeat(sides, 2, axis=1)
        stray = np.sort(rng.uniform(0, 400, (4, 2, 2)), axis=1).reshape(4, 4)
        names = (*classes, *rng.choice(["car", "dog", "cat"], 4))
        answers.append(
            Detections(np.concatenate([near, stray]), rng.random(count + 4), tuple(map(str, names)))
        )
    return truths, answers


@pytest.mark.parametrize("seed", range(4))
def test_average_precision_equals_that_of_an_independent_library(seed, tmp_path, capfd):
    import hotcoco

    truths, answers = _random_case(seed)
    names = ["car", "dog", "person"]

    def xywh(box):
        return [float(v) for v in (box[0], box[1], box[2] - box[0], box[3] - box[1])]

    annotations = [
        {
            "image_id": image,
            "category_id": names.index(name) + 1,
            "bbox": xywh(box),
            "area": float(area),
            "iscrowd": int(crowd),
        }
        for image, truth in enumerate(truths)
        for box, name, crowd, area in zip(
            truth.boxes, truth.classes, truth.crowd, truth.area, strict=True
        )
    ]
    (tmp_path / "truth.json").write_text(
        json.dumps(
            {
                "images": [
                    {"id": n, "file_name": f"{n}.jpg", "width": 500, "height": 500}
                    for n in range(len(truths))
                ],
                "annotations": [{"id": n, **a} for n, a in enumerate(annotations, 1)],
                "categories": [{"id": n, "name": name} for n, name in enumerate(names, 1)],
            }
        )
    )
    (tmp_path / "found.json").write_text(
        json.dumps(
            [
                {
                    "image_id": image,
                    "category_id": names.index(name) + 1,
                    "bbox": xywh(box),
                    "score": float(score),
                }
                for image, answer in enumerate(answers)
                for box, score, name in zip(
                    answer.boxes, answer.scores, answer.classes, strict=True
                )
                if name in names
            ]
        )
    )
    truth = hotcoco.COCO(str(tmp_path / "truth.json"))
    evaluation = hotcoco.COCOeval(truth, truth.load_res(str(tmp_path / "found.json")), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    scores = coco_scores(truths, answers)
    np.testing.assert_allclose(
        [-1 if value is None else value for value in scores.values()],
        evaluation.stats[:6],
        atol=1e-9,
    )
    assert 0.1 < scores["map"] < 0.9


def test_detections_must_be_consistent():
    with pytest.raises(UsageError, match="1 boxes, 2 scores, 1 classes"):
        Detections([SQUARE], [0.5, 0.4], ("car",))
    with pytest.raises(UsageError, match=r"boxes must be \[N, 4\]"):
        Detections([[1, 2, 3]], [0.5], ("car",))


@pytest.mark.parametrize(
    ("box", "score", "class_name", "reason"),
    [
        (SQUARE, np.nan, "car", "not finite"),
        ([0, 0, 10, np.inf], 0.9, "car", "not finite"),
        (SQUARE, 17.0, "car", "the score 17; expected 0 to 1. Are .* in another order"),
        (SQUARE, -2.5, "car", "the score -2.5; expected 0 to 1"),
        (SQUARE, 0.9, 2, "the class 2; expected a name, one of car, dog"),
        (SQUARE, 0.9, None, "the class None; expected a name, one of car, dog"),
        (SQUARE, 0.9, "cat", "the class 'cat'; expected a name, one of car, dog"),
    ],
)
def test_what_is_no_detection_is_refused(box, score, class_name, reason):
    with pytest.raises(UsageError, match=reason):
        Detections([box], [score], (class_name,), ("car", None, "dog"))


def test_classes_are_names_also_where_none_are_known():
    with pytest.raises(UsageError, match="the class 2; expected a name$"):
        Detections([SQUARE], [0.9], (2,))
    found = Detections([SQUARE], np.float16([1.05]), np.array(["car"]))  # rounded, and quantised
    assert found.classes == ("car",)
