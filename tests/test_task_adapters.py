"""Adapters against networks that answer what the test has encoded."""

import re
from pathlib import Path

import numpy as np
import pytest

from mspfn_tf.errors import UsageError
from mspfn_tf.sets.class_names import CLASSES, class_names
from mspfn_tf.tasks import adapters
from mspfn_tf.tasks.detection import Detections
from mspfn_tf.tasks.networks import Network

PICTURE = np.random.default_rng(0).integers(0, 256, (40, 80, 3), np.uint8)


def network(answer, shape=(1, 64, 64, 3), dtype="float32"):
    """A network that returns `answer(x)`; what it was given is kept in `seen`."""
    seen = []

    def run(x):
        seen.append(x)
        return answer(x)

    made = Network("test network", shape, np.dtype(dtype), run)
    return made, seen


def encoded(boxes, scores, numbers, size, classes, strides=(8, 16, 32)):
    """YOLOX's output for boxes in input coordinates, each in a cell of another grid."""
    grids = [np.zeros((size // s, size // s, 5 + classes), np.float32) for s in strides]
    for grid, stride, box, score, number in zip(
        grids, strides, boxes, scores, numbers, strict=False
    ):
        left, top, right, bottom = box
        x, y = (left + right) / 2 / stride, (top + bottom) / 2 / stride
        cell = grid[int(y), int(x)]
        cell[:2] = x - int(x), y - int(y)
        cell[2:4] = np.log([(right - left) / stride, (bottom - top) / stride])
        cell[4], cell[5 + number] = score, 1.0
    return np.concatenate([grid.reshape(-1, 5 + classes) for grid in grids])[None]


def test_yolox_decodes_its_grids_and_undoes_the_letterbox():
    boxes = [
        [2, 3, 10, 9],
        [16, 4, 40, 20],
        [40, 8, 70, 40],
    ]  # of 64x64; the picture is half as high, and the last one reaches beyond it
    output = encoded(boxes, [0.9, 0.8, 0.7], [0, 2, 79], 64, 80)
    net, seen = network(lambda x: [output], (1, 3, 64, 64))
    found = adapters.yolox(PICTURE, net)
    assert found.classes == ("person", "car", "toothbrush")
    np.testing.assert_allclose(found.scores, [0.9, 0.8, 0.7], atol=1e-6)
    boxes[2][2:] = 64, 32
    np.testing.assert_allclose(found.boxes, np.array(boxes) / 0.8, atol=1e-3)
    # Blue first, letterbox filled with 114 below.
    assert seen[0].shape == (1, 3, 64, 64)
    assert (seen[0][0, :, 32:] == 114).all()
    shown = adapters.resized(PICTURE, (32, 64))[..., ::-1]
    np.testing.assert_array_equal(seen[0][0, :, :32], np.moveaxis(shown, -1, 0))


def test_yolox_suppresses_doubles_of_a_class_only():
    boxes = [[0, 0, 32, 32], [1, 0, 32, 32], [1, 0, 32, 32]]
    numbers, scores = [0, 0, 1], [0.9, 0.8, 0.7]
    output = encoded(boxes, scores, numbers, 64, 2)
    net, _ = network(lambda x: [output], (1, 3, 64, 64))
    found = adapters.yolox(PICTURE, net, classes=["cat", "dog"])
    assert found.classes == ("cat", "dog")
    np.testing.assert_allclose(found.scores, [0.9, 0.7], atol=1e-6)


def test_yolox_keeps_what_is_hardly_seen():
    """The mean average precision looks at scores far below the threshold."""
    boxes = [[0, 0, 16, 16], [32, 0, 48, 16], [0, 0, 64, 64]]
    output = encoded(boxes, [0.9, 0.02, 0.005], [0, 1, 2], 64, 80)
    net, _ = network(lambda x: [output], (1, 3, 64, 64))
    assert adapters.yolox(PICTURE, net).classes == ("person", "bicycle")
    # A bound is met by what reaches it.
    assert adapters.yolox(PICTURE, net, least_score=0.9).classes == ("person",)


def test_boxes_that_overlap_by_just_so_much_are_kept():
    halves = Detections([[0, 0, 10, 10], [0, 0, 10, 5]], [0.9, 0.8], ("cat", "cat"))
    assert adapters.suppressed(halves, 0.5).classes == ("cat", "cat")
    assert adapters.suppressed(halves, 0.49).classes == ("cat",)


def test_a_letterbox_may_be_centred():
    boxed, scale, corner = adapters.letterbox(PICTURE, (64, 64), fill=7, centred=True)
    assert (scale, corner) == (0.8, (16, 0))
    np.testing.assert_array_equal(boxed[16:48], adapters.resized(PICTURE, (32, 64)))
    assert (boxed[:16] == 7).all() and (boxed[48:] == 7).all()


def test_yolox_names_what_it_expected():
    net, _ = network(lambda x: [np.zeros((1, 84, 85), np.float32)], (1, 3, 64, 64))
    with pytest.raises(UsageError, match=r"is \[1, 84, 85\]; expected grid .* \[1, 84, 7\]"):
        adapters.yolox(PICTURE, net, classes=["cat", "dog"])
    free, _ = network(lambda x: [], (1, None, None, 3))
    with pytest.raises(UsageError, match="yolox expects a fixed one"):
        adapters.yolox(PICTURE, free)


@pytest.mark.parametrize("order", [("boxes", "classes", "scores", "count"),
                                   ("scores", "boxes", "count", "classes")])  # fmt: skip
def test_ssd_reads_four_outputs(order):
    parts = {
        "boxes": np.float32([[[0.25, 0.1, 0.5, 0.3], [-0.1, -0.2, 1.1, 1.2], [0, 0, 0, 0]]]),
        "classes": np.float32([[0, 2, 0]]),
        "scores": np.float32([[0.9, 0.6, 0.9]]),
        "count": np.float32([2]),
    }
    net, seen = network(lambda x: [parts[name] for name in order])
    found = adapters.ssd(PICTURE, net, outputs=order)
    assert found.classes == ("person", "car")
    np.testing.assert_allclose(found.boxes, [[8, 10, 24, 20], [0, 0, 80, 40]], atol=1e-4)
    levels = adapters.resized(PICTURE, (64, 64))
    np.testing.assert_allclose(seen[0][0], levels / 127.5 - 1, atol=1e-6)
    uint8, seen = network(lambda x: [parts[name] for name in order], dtype="uint8")
    adapters.ssd(PICTURE, uint8, outputs=order)
    assert seen[0].dtype == np.uint8
    assert seen[0].max() > 200
    with pytest.raises(UsageError, match="the score 2; expected 0 to 1"):
        adapters.ssd(PICTURE, net, outputs=swapped(order, "classes", "scores"))


def swapped(order, one, other):
    other_of = {one: other, other: one}
    return [other_of.get(name, name) for name in order]


def test_coco_numbers_have_gaps():
    assert CLASSES["coco90"][0] == "person"
    assert CLASSES["coco90"][12] == "stop sign"  # number 13
    assert CLASSES["coco90"][89] == "toothbrush"
    assert [n for n in CLASSES["coco90"] if n] == list(CLASSES["coco80"])


def _halves(height, width, channels):
    """Scores whose best class is 0 in the left half, 1 in the right, and 2 in the last row."""
    scores = np.zeros((height, width, channels), np.float32)
    scores[:, : width // 2, 0] = 1
    scores[:, width // 2 :, 1] = 1
    scores[-1, :, 2] = 5
    return scores


def test_semantic_in_both_layouts_and_as_labels():
    expected = np.repeat([[0] * 40 + [1] * 40], 40, axis=0)
    last, seen = network(lambda x: [_halves(64, 64, 3)[None]])
    labels = adapters.semantic(PICTURE, last, classes=2)
    np.testing.assert_array_equal(labels, expected)
    assert seen[0].max() <= 1
    first, _ = network(lambda x: [_halves(32, 32, 3).transpose(2, 0, 1)[None]], (1, 3, 64, 64))
    np.testing.assert_array_equal(adapters.semantic(PICTURE, first, classes=2), expected)
    mixed, _ = network(lambda x: [_halves(16, 16, 3).transpose(2, 0, 1)[None]])
    np.testing.assert_array_equal(
        adapters.semantic(PICTURE, mixed, classes=2, channels="first"), expected
    )
    numbers, _ = network(lambda x: [_halves(64, 64, 2 + 1)[None, ..., :2].argmax(-1)])
    np.testing.assert_array_equal(adapters.semantic(PICTURE, numbers), expected)
    # All three channels: the last row wins its own pixels.
    assert (adapters.semantic(PICTURE, last)[-1] == 2).all()


def test_semantic_undoes_letterbox_and_padding():
    net, seen = network(lambda x: [_halves(64, 64, 3)[None]])
    labels = adapters.semantic(PICTURE, net, resize="letterbox", fill=7)
    assert (np.rint(seen[0][0, 32:] * 255) == 7).all()
    assert set(np.unique(labels)) == {0, 1}  # the last row belonged to the filling
    free, seen = network(
        lambda x: [np.concatenate([x[..., :1], 1 - x[..., :1]], -1)], (1, None, None, 3)
    )
    picture = np.random.default_rng(1).integers(0, 256, (13, 21, 3), np.uint8)
    labels = adapters.semantic(picture, free, multiple_of=16)
    continued = np.pad(picture, [(0, 3), (0, 11), (0, 0)], mode="edge")
    np.testing.assert_allclose(255 * seen[0][0], continued, atol=1e-4)
    np.testing.assert_array_equal(labels, picture[..., 0] < 127.5)


def test_scores_are_enlarged_before_the_best_class_is_taken():
    """So that the border between two classes runs between two cells, not around them."""
    scores = np.float32([[[[3, 0], [0, 1]]]])
    net, _ = network(lambda x: [scores], (1, 1, 2, 3))
    (row,) = adapters.semantic(np.zeros((1, 80, 3), np.uint8), net)
    # Between the middles of the cells, 3 (1 - t) = t at t = 3/4: at 20 + 30 pixels.
    np.testing.assert_array_equal(row, np.arange(80) >= 50)


def test_order_mean_and_std_reach_the_network():
    net, seen = network(lambda x: [x], (1, None, None, 3))
    adapters.semantic(PICTURE, net, order="bgr", mean=[1, 2, 3], std=[4, 5, 6])
    expected = (PICTURE[..., ::-1] - np.float32([1, 2, 3])) / np.float32([4, 5, 6])
    np.testing.assert_allclose(seen[0][0], expected, rtol=1e-6)


def test_networks_of_whole_levels_get_no_fractions():
    answer = _halves(64, 64, 3)
    net, seen = network(lambda x: [answer[None]], dtype="uint8")
    adapters.semantic(PICTURE, net)
    levels = adapters.resized(PICTURE, (64, 64))
    np.testing.assert_array_equal(seen[0][0], levels)
    with pytest.raises(UsageError, match="takes whole levels .uint8.*mean 0 and std 1"):
        net(adapters.network_input(levels, net, std=255))


def test_semantic_names_what_it_expected():
    broken, _ = network(lambda x: [np.full((1, 64, 64, 1), 0.5, np.float32)])
    with pytest.raises(UsageError, match="broken values"):
        adapters.semantic(PICTURE, broken)
    flat, _ = network(lambda x: [np.zeros((1, 10), np.float32)])
    with pytest.raises(UsageError, match=r"\[1, 10\]; expected class scores \[1, H, W, C\]"):
        adapters.semantic(PICTURE, flat)
    net, _ = network(lambda x: [np.zeros((1, 64, 64, 3), np.float32)])
    with pytest.raises(UsageError, match="3 classes; 11 were expected"):
        adapters.espnet(PICTURE, net)
    with pytest.raises(UsageError, match="1 outputs .* as number 2"):
        adapters.semantic(PICTURE, net, output=2)
    for option in ({"resize": "crop"}, {"order": "gbr"}):
        with pytest.raises(UsageError, match=next(iter(option.values()))):
            adapters.semantic(PICTURE, net, **option)


OWN = """
import re
from pathlib import Path

import numpy as np
from mspfn_tf.tasks.adapters import network_input
from mspfn_tf.tasks.detection import Detections

def brightest(picture, network, *, side=4):
    (y, x), = np.argwhere(picture.sum(-1) == picture.sum(-1).max())[:1]
    return Detections([[x, y, x + side, y + side]], [0.9], ("lamp",))
"""


def test_an_adapter_of_ones_own(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(OWN)
    net, _ = network(lambda x: [x])
    adapter = adapters.find_adapter("detection", f"{path}:brightest", {"side": 9})
    found = adapter(PICTURE, net)
    assert isinstance(found, Detections)
    assert found.boxes[0, 2] - found.boxes[0, 0] == 9
    with pytest.raises(UsageError, match="has no option width; it has: side"):
        adapters.find_adapter("detection", f"{path}:brightest", {"width": 9})
    net, _ = network(lambda x: [x])
    path.write_text(OWN + "\n\ndef broken(picture, network):\n    return 1 / 0\n")
    with pytest.raises(UsageError, match=r"own.py:broken: ZeroDivisionError: .* \(own.py, line "):
        adapters.find_adapter("detection", f"{path}:broken")(PICTURE, net)
    for text, message in (("def f(", "SyntaxError"), ("import nosuch", "ModuleNotFoundError")):
        (tmp_path / "bad.py").write_text(text)
        with pytest.raises(UsageError, match=f"bad.py cannot be imported: {message}"):
            adapters.find_adapter("detection", f"{tmp_path}/bad.py:f")
    with pytest.raises(UsageError, match="no function darkest"):
        adapters.find_adapter("detection", f"{path}:darkest")
    with pytest.raises(UsageError, match="no such file"):
        adapters.find_adapter("detection", f"{tmp_path}/other.py:brightest")
    with pytest.raises(UsageError, match="no adapter 'yolox' for segmentation; there are: sem"):
        adapters.find_adapter("segmentation", "yolox")


def test_class_names_from_a_file(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("person\n???\ncar\n")
    assert class_names(str(path)) == ("person", None, "car")
    path.write_text("\n\n")
    with pytest.raises(UsageError, match="no class names"):
        class_names(str(path))
    with pytest.raises(UsageError, match="neither one of coco80"):
        class_names("nonsense")


def test_the_adapter_in_the_documentation(tmp_path):
    page = Path(__file__).resolve().parent.parent / "docs/tasks.md"
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)
    path = tmp_path / "my_adapters.py"
    path.write_text("import numpy as np\n" + code)
    # Centre and size in pixels of the input, then a score per class: a car, twice, and nothing.
    output = np.zeros((1, 6, 3), np.float32)
    output[0, :, 0] = 20, 16, 8, 12, 0.1, 0.9
    output[0, :, 1] = 20, 16, 8, 11, 0.0, 0.5
    net, _ = network(lambda x: [output], (1, 3, 64, 64))
    options = {"classes": ["cat", "car"]}
    found = adapters.find_adapter("detection", f"{path}:yolov8", options)(PICTURE, net)
    assert found.classes == ("car",)
    np.testing.assert_allclose(found.boxes, np.float32([[16, 10, 24, 22]]) / 0.8)


def test_scores_may_be_whole_numbers():
    scores = np.random.default_rng(1).integers(0, 256, (1, 16, 16, 5)).astype(np.uint8)
    whole, _ = network(lambda x: [scores])
    broken, _ = network(lambda x: [scores / np.float32(255)])
    np.testing.assert_array_equal(
        adapters.semantic(PICTURE, whole), adapters.semantic(PICTURE, broken)
    )


def test_channels_that_are_another_side_are_refused():
    """Else they would be rows, and a row of the picture the classes."""
    net, _ = network(lambda x: [np.zeros((1, 5, 64, 64), np.float32)])
    with pytest.raises(UsageError, match="makes 5x64 scores of 64x64 pixels.*option `channels`"):
        adapters.semantic(PICTURE, net, classes=5)
    assert adapters.semantic(PICTURE, net, classes=5, channels="first").shape == PICTURE.shape[:2]
    with pytest.raises(UsageError, match="channels must be 'first' or 'last'; received 'nchw'"):
        adapters.semantic(PICTURE, net, classes=5, channels="nchw")
    tiny, _ = network(lambda x: [np.zeros((1, 2, 1, 5), np.float32)], shape=(1, 40, 8, 3))
    assert adapters.semantic(PICTURE, tiny).shape == PICTURE.shape[:2]


def test_boxes_of_yolox_that_are_decoded_already_are_refused():
    output = encoded([(8, 8, 40, 40)], [0.9], [0], 64, 80)
    net, _ = network(lambda x: [output], (1, 3, 64, 64))
    assert adapters.yolox(PICTURE, net).classes == ("person",)
    output[..., 2:4] = 32
    with pytest.raises(UsageError, match="are they decoded already"):
        adapters.yolox(PICTURE, net)
