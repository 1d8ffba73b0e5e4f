"""`mspfn evaluate-task` with networks that are trained, or written, in the test."""

import csv
import json
import os
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from mspfn_tf import metrics
from mspfn_tf.cli import main
from mspfn_tf.pictures import read_rgb
from mspfn_tf.restorer import Restorer
from mspfn_tf.tasks import evaluation
from tests.full_disk import every_write_fails

pytestmark = pytest.mark.slow


COLOURS = np.array([[60, 60, 60], [200, 40, 40], [40, 60, 200]], np.uint8)
DETECTOR = '''
import numpy as np
from mspfn_tf.tasks.adapters import network_input
from mspfn_tf.tasks.detection import Detections

def blocks(picture, network, *, names=("red", "blue")):
    """The rectangle around all pixels of a class, with the mean probability as its score."""
    (probabilities,) = network(network_input(picture, network, std=255))
    labels = probabilities[0].argmax(-1)
    boxes, scores, classes = [], [], []
    for number, name in enumerate(names, 1):
        rows, columns = np.nonzero(labels == number)
        if len(rows):
            boxes.append([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            scores.append(float(probabilities[0, rows, columns, number].mean()))
            classes.append(name)
    return Detections(boxes, scores, classes, tuple(names))
'''


def _scene(rng, size=(40, 56)):
    """(picture, mask, boxes): a red and a blue block on grey, with noise."""
    mask = np.zeros(size, np.uint8)
    boxes = {}
    for number, left in ((1, 2), (2, 30)):
        x, y = left + int(rng.integers(0, 8)), int(rng.integers(2, 16))
        mask[y : y + 20, x : x + 16] = number
        boxes[number] = [x, y, 16, 20]
    noise = rng.normal(0, 12, (*size, 3))
    return np.clip(COLOURS[mask] + noise, 0, 190).astype(np.uint8), mask, boxes


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory):
    """A network of one conv, trained here to tell the three colours."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((None, None, 3))
    scores = keras.layers.Conv2D(3, 3, padding="same", activation="softmax")(inputs)
    network = keras.Model(inputs, scores)
    network.compile(keras.optimizers.Adam(0.1), "sparse_categorical_crossentropy")
    rng = np.random.default_rng(0)
    pictures, masks, _ = zip(*(_scene(rng) for _ in range(12)), strict=True)
    network.fit(np.float32(pictures) / 255, np.array(masks), epochs=25, batch_size=4, verbose=0)
    path = tmp_path_factory.mktemp("network") / "segmenter.keras"
    network.save(path)
    return path


@pytest.fixture(scope="module")
def derainer(tmp_path_factory):
    """Takes away the veil of `data`, exactly."""
    inputs = keras.Input((None, None, 3))
    path = tmp_path_factory.mktemp("model") / "derainer.keras"
    keras.Model(inputs, keras.layers.Rescaling(2.0, offset=-1.0)(inputs)).save(path)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Clean pictures, the same behind a bright veil (as half of them and half white), labels."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("clean", "rainy", "masks"):
        (folder / name).mkdir()
    rng = np.random.default_rng(1)
    images, annotations = [], []
    for number in range(4):
        clean, mask, boxes = _scene(rng)
        clean |= 1  # odd levels: half of them and half white is whole
        rainy = ((clean.astype(int) + 255) // 2).astype(np.uint8)
        Image.fromarray(clean).save(folder / f"clean/{number}.png")
        Image.fromarray(rainy).save(folder / f"rainy/{number}.png")
        mask[:2] = 255
        Image.fromarray(mask).save(folder / f"masks/{number}.png")
        images.append({"id": number, "file_name": f"{number}.jpg"})
        annotations += [
            {"image_id": number, "category_id": c, "bbox": b, "id": 2 * number + c}
            for c, b in boxes.items()
        ]
    categories = [{"id": 1, "name": "red"}, {"id": 2, "name": "blue"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "boxes.json").write_text(json.dumps(content))
    (folder / "adapters.py").write_text(DETECTOR)
    return folder


def run(*arguments):
    return main(["evaluate-task", *map(str, arguments)])


def segmentation(data, segmenter, derainer, output, *more):
    return run(
        *("--task", "segmentation", "--model_for_task", segmenter, "--model", derainer),
        *("--adapter", "semantic", "--classes", 3, "--output", output),
        *(more or ("--pictures", data / "rainy", "--clean", data / "clean",
                   "--labels", data / "masks")),
    )  # fmt: skip


def detection(data, segmenter, derainer, output, *more):
    return run(
        *("--task", "detection", "--model_for_task", segmenter, "--model", derainer),
        *("--adapter", f"{data / 'adapters.py'}:blocks", "--output", output),
        *("--pictures", data / "rainy", *more),
    )


def read(output):
    return json.loads((output / "task_scores.json").read_text())


def test_segmentation(data, segmenter, derainer, tmp_path, capsys):
    assert segmentation(data, segmenter, derainer, tmp_path) == 0
    scores = read(tmp_path)
    rainy, derained, clean = (scores["scores"][v] for v in ("rainy", "derained", "clean"))
    assert rainy["miou"] < 0.6 < 0.9 < clean["miou"]
    assert derained == clean  # the veil is taken away exactly
    assert scores["input"]["psnr"] < 10
    assert scores["output"]["psnr"] == "inf"
    clean0, rainy0 = (read_rgb(data / f"{name}/0.png") for name in ("clean", "rainy"))
    assert scores["images"][0]["rainy_psnr"] == pytest.approx(metrics.psnr(clean0, rainy0))
    with open(tmp_path / "task_scores.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["0", "1", "2", "3"]
    assert float(rows[2]["rainy_miou"]) == scores["images"][2]["rainy_miou"]
    with Image.open(tmp_path / "task_sheet.png") as sheet:
        assert sheet.width == 4 * 56 + 3 * 8  # rainy, derained, clean, labels
    text = capsys.readouterr().out
    assert f"{clean['miou']:.3f}" in text
    assert not list(tmp_path.glob("*.jsonl"))


def test_detection(data, segmenter, derainer, tmp_path):
    labels = ("--labels", data / "boxes.json", "--clean", data / "clean")
    assert detection(data, segmenter, derainer, tmp_path, *labels) == 0
    scores = read(tmp_path)["scores"]
    assert scores["clean"]["map_50"] == pytest.approx(1)
    assert scores["clean"]["recall"] == 1
    assert scores["clean"]["iou"] > 0.9
    assert scores["derained"] == scores["clean"]
    assert scores["rainy"]["map_50"] < 0.5
    assert (tmp_path / "task_sheet.png").is_file()


def test_without_labels_the_clean_pictures_are_the_reference(data, segmenter, derainer, tmp_path):
    clean = ("--clean", data / "clean")
    assert detection(data, segmenter, derainer, tmp_path / "boxes", *clean) == 0
    scores = read(tmp_path / "boxes")
    assert scores["truth"] == "the network's output on clean pictures"
    assert scores["scores"]["clean"]["map"] == pytest.approx(1)
    assert scores["scores"]["rainy"]["map"] < 1
    more = ("--pictures", data / "rainy", *clean)
    assert segmentation(data, segmenter, derainer, tmp_path / "masks", *more) == 0
    assert read(tmp_path / "masks")["scores"]["clean"]["miou"] == 1


def test_rain_is_drawn_and_repeats(data, segmenter, derainer, tmp_path):
    more = ("--pictures", data / "clean", "--labels", data / "masks", "--rain", "heavy")
    assert segmentation(data, segmenter, derainer, tmp_path / "a", *more) == 0
    assert segmentation(data, segmenter, derainer, tmp_path / "b", *more) == 0
    first, second = read(tmp_path / "a"), read(tmp_path / "b")
    assert first["images"] == second["images"]
    assert first["scores"]["rainy"]["miou"] < first["scores"]["clean"]["miou"]
    assert first["input"]["psnr"] < 30
    assert segmentation(data, segmenter, derainer, tmp_path / "c", *more, "--seed", 1) == 0
    assert read(tmp_path / "c")["images"] != first["images"]


def test_rainy_pictures_with_labels_alone(data, segmenter, derainer, tmp_path):
    more = ("--pictures", data / "rainy", "--labels", data / "masks")
    assert segmentation(data, segmenter, derainer, tmp_path, *more) == 0
    scores = read(tmp_path)
    assert set(scores["scores"]) == {"rainy", "derained"}
    assert "input" not in scores


def test_an_interrupted_run_continues(data, segmenter, derainer, tmp_path, monkeypatch):
    assert segmentation(data, segmenter, derainer, tmp_path / "whole") == 0
    record, judged = evaluation._Run.record, []

    def interrupted(self, index):
        if len(judged) == 2:
            raise KeyboardInterrupt
        judged.append(index)
        return record(self, index)

    monkeypatch.setattr(evaluation._Run, "record", interrupted)
    assert segmentation(data, segmenter, derainer, tmp_path / "parts") == 130
    with open(tmp_path / "parts/partial.jsonl", "a") as file:
        file.write('{"index": 2, "na')  # a torn line, as a killed process leaves it
    judged.clear()
    monkeypatch.setattr(evaluation._Run, "record", lambda s, i: judged.append(i) or record(s, i))
    assert segmentation(data, segmenter, derainer, tmp_path / "parts") == 0
    assert judged == [2, 3]
    whole, parts = read(tmp_path / "whole"), read(tmp_path / "parts")
    assert parts["images"] == whole["images"]
    assert parts["scores"] == whole["scores"]
    judged.clear()
    assert segmentation(data, segmenter, derainer, tmp_path / "parts") == 0
    assert not judged


def test_another_configuration_is_refused(data, segmenter, derainer, tmp_path, capsys):
    more = ("--pictures", data / "clean", "--labels", data / "masks", "--rain", "light")
    assert segmentation(data, segmenter, derainer, tmp_path, *more) == 0
    assert segmentation(data, segmenter, derainer, tmp_path, *more, "--seed", 5) == 2
    assert "seed (there 0, now 5)" in capsys.readouterr().err


def test_pictures_that_changed_are_another_configuration(
    data, segmenter, derainer, tmp_path, capsys
):
    """Also at an equal size of their files."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for path in (data / "clean").iterdir():
        Image.open(path).save(pictures / f"{path.stem}.bmp")
    more = ("--pictures", pictures, "--labels", data / "masks", "--rain", "light")
    assert segmentation(data, segmenter, derainer, tmp_path / "out", *more) == 0
    for path in pictures.iterdir():
        Image.fromarray(255 - read_rgb(path)).save(path)
    assert segmentation(data, segmenter, derainer, tmp_path / "out", *more) == 2
    assert "another configuration: files (there" in capsys.readouterr().err


def test_texts_that_changed_are_another_configuration(data, segmenter, derainer, tmp_path, capsys):
    """Those of an own adapter, of class maps and of class names."""
    adapters = tmp_path / "adapters.py"
    adapters.write_text(DETECTOR)
    names, renamed = tmp_path / "names.txt", tmp_path / "renamed.json"
    renamed.write_text("{}")
    more = ("--labels", data / "boxes.json", "--class_map", renamed)

    def again():
        return run(
            *("--task", "detection", "--model_for_task", segmenter, "--model", derainer),
            *("--adapter", f"{adapters}:blocks", "--output", tmp_path / "out"),
            *("--pictures", data / "rainy", *more),
        )

    assert again() == 0
    renamed.write_text('{"red": null}')
    assert again() == 2
    assert "another configuration: class_map (there {}, now" in capsys.readouterr().err
    renamed.write_text("{}")
    adapters.write_text(DETECTOR + "\n# changed\n")
    assert again() == 2
    assert "another configuration: adapter_sha256 (there" in capsys.readouterr().err

    def named():
        options = json.dumps({"classes": str(names)})
        return run(
            *("--task", "segmentation", "--model_for_task", segmenter, "--model", derainer),
            *("--adapter", "semantic", "--adapter_arguments", options, "--classes", 3),
            *("--output", tmp_path / "named", "--pictures", data / "rainy"),
            *("--labels", data / "masks"),
        )

    names.write_text("gray\nred\nblue\n")
    assert named() == 0
    names.write_text("gray\nblue\nred\n")
    assert named() == 2
    assert "another configuration: adapter_arguments (there" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options, message",
    [
        ({"mean": [1, 2]}, "adapter semantic with {'mean': [1, 2]}: ValueError"),
        ({"mean": "abc"}, "could not convert string to float"),
        ({"output": "x"}, "adapter semantic with {'output': 'x'}: TypeError"),
        ({"classes": 2.5}, "classes 2.5: expected a name"),
    ],
)
def test_options_that_an_adapter_cannot_take(
    data, segmenter, derainer, tmp_path, capsys, options, message
):
    more = ("--pictures", data / "rainy", "--labels", data / "masks")
    more += ("--adapter_arguments", json.dumps(options))
    assert segmentation(data, segmenter, derainer, tmp_path / "out", *more) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.rglob("partial.jsonl"))


def test_a_bad_picture_is_named_and_the_rest_done(data, segmenter, derainer, tmp_path, capsys):
    folder = tmp_path / "rainy"
    folder.mkdir()
    for path in (data / "rainy").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "2.png").write_bytes(b"no picture")
    more = ("--pictures", folder, "--labels", data / "masks")
    assert segmentation(data, segmenter, derainer, tmp_path / "out", *more) == 1
    error = capsys.readouterr().err
    assert "failed: 2: " in error
    assert "3 judged, 1 failed" in error
    assert read(tmp_path / "out")["count"] == 3
    (folder / "2.png").write_bytes((data / "rainy/2.png").read_bytes())


def _wrong_labels(tmp_path, data):
    content = json.loads((data / "boxes.json").read_text())
    content["categories"][1]["name"] = "sky"
    path = tmp_path / "sky.json"
    path.write_text(json.dumps(content))
    return path


def test_classes_that_the_network_does_not_know(data, segmenter, derainer, tmp_path, capsys):
    labels = ("--labels", _wrong_labels(tmp_path, data))
    assert detection(data, segmenter, derainer, tmp_path / "a", *labels) == 2
    assert "does not know: sky. It knows: red, blue" in capsys.readouterr().err
    (tmp_path / "map.json").write_text('{"sky": "blue"}')
    mapped = (*labels, "--class_map", tmp_path / "map.json", "--clean", data / "clean")
    assert detection(data, segmenter, derainer, tmp_path / "b", *mapped) == 0
    assert read(tmp_path / "b")["scores"]["clean"]["map_50"] == pytest.approx(1)
    (tmp_path / "none.json").write_text('{"sky": null}')
    without = (*labels, "--class_map", tmp_path / "none.json", "--clean", data / "clean")
    assert detection(data, segmenter, derainer, tmp_path / "c", *without) == 0
    # Only red is judged: blue detections are neither right nor wrong.
    assert read(tmp_path / "c")["scores"]["clean"]["precision"] == 1
    assert read(tmp_path / "c")["scores"]["clean"]["matched"] == 4


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ((), "nothing to compare with"),
        (("--labels", "masks", "--rain", "light", "--clean", "clean"), "leave it out"),
        (("--labels", "boxes.json"), "expected a folder of masks"),
        (("--labels", "clean", "--clean", "masks", "--classes", 0), "--classes 0"),
        (("--labels", "masks", "--adapter_arguments", "3"), "expected a JSON object"),
        (("--labels", "masks", "--adapter_arguments", '{"klass": 3}'), "no option klass"),
        (("--labels", "masks", "--adapter", "yolox"), "no adapter 'yolox' for segmentation"),
        (("--labels", "masks", "--class_map", "x"), "goes with --task detection"),
        (("--labels", "masks", "--model_for_task", "none.onnx"), "none.onnx: no such file"),
        (("--labels", "masks", "--model", "none.keras"), "none.keras: no such file"),
        (("--labels", "masks", "--seed", -1), "must not be negative"),
        (("--labels", "masks", "--seed", 3), "give --rain as well"),
        (("--labels", "masks", "--score_threshold", 0.3), "goes with --task detection"),
    ],
)
def test_wrong_usage_writes_nothing(
    data, segmenter, derainer, tmp_path, capsys, monkeypatch, more, message
):
    monkeypatch.chdir(data)
    usual = ("--pictures", data / "rainy")
    assert segmentation(data, segmenter, derainer, tmp_path / "out", *usual, *more) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--void", 7), "--void goes with --task segmentation"),
        (("--class_map", "bdd100k_to_coco"), "give --labels as well"),
    ],
)
def test_options_without_effect_are_refused(
    data, segmenter, derainer, tmp_path, capsys, more, message
):
    more = ("--clean", data / "clean", *more)
    assert detection(data, segmenter, derainer, tmp_path / "out", *more) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_output_is_no_folder_of_inputs(data, segmenter, derainer, capsys):
    usual = ("--pictures", data / "rainy", "--labels", data / "masks")
    assert segmentation(data, segmenter, derainer, data / "rainy/out", *usual) == 2
    assert "is within the input folder" in capsys.readouterr().err
    assert not (data / "rainy/out").exists()


def test_a_command_that_was_wrong_may_be_put_right(data, segmenter, derainer, tmp_path, capsys):
    usual = ("--pictures", data / "rainy", "--labels", data / "masks")
    wrong = ("--adapter_arguments", '{"order": "nchw"}')
    assert segmentation(data, segmenter, derainer, tmp_path / "out", *usual, *wrong) == 2
    assert segmentation(data, segmenter, derainer, tmp_path / "out", *usual, "--void", 7) == 2
    assert segmentation(data, segmenter, derainer, tmp_path / "out", *usual) == 0


def test_values_outside_the_classes_are_an_error(data, segmenter, derainer, tmp_path, capsys):
    more = ("--pictures", data / "rainy", "--labels", data / "masks", "--void", 7)
    assert segmentation(data, segmenter, derainer, tmp_path / "out", *more) == 2
    told = capsys.readouterr().err
    assert "picture 0: true labels hold the value 255; expected classes 0 to 2" in told


def test_wrong_masks_are_found_before_the_work(
    data, segmenter, derainer, tmp_path, capsys, monkeypatch
):
    shutil.copytree(data / "masks", tmp_path / "masks")
    Image.fromarray(np.full((40, 56), 9, np.uint8)).save(tmp_path / "masks/3.png")
    more = ("--pictures", data / "rainy", "--labels", tmp_path / "masks")
    monkeypatch.setattr(evaluation._Run, "answer", lambda *_: pytest.fail("this is the work"))
    assert segmentation(data, segmenter, derainer, tmp_path / "out", *more) == 2
    assert "picture 3: true labels hold the value 9" in capsys.readouterr().err
    assert not list(tmp_path.rglob("partial.jsonl"))
    # A mask that cannot be used is found before its picture is derained.
    monkeypatch.setattr(Restorer, "__call__", lambda *_: pytest.fail("this is the work"))
    for path in (tmp_path / "masks").iterdir():
        Image.fromarray(np.zeros((40, 56, 3), np.uint8)).save(path)
    assert segmentation(data, segmenter, derainer, tmp_path / "out", *more) == 2
    assert "mode RGB; expected one channel" in capsys.readouterr().err


def test_a_missing_label_is_named(data, segmenter, derainer, tmp_path, capsys):
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks/0.png").write_bytes((data / "masks/0.png").read_bytes())
    more = ("--pictures", data / "rainy", "--labels", tmp_path / "masks")
    assert segmentation(data, segmenter, derainer, tmp_path / "out", *more) == 2
    assert "3 pictures have no mask, or several:\n  1\n  2\n  3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("picture[..., 0]", "returned ndarray; expected Detections"),
        ("3", "returned int; expected Detections"),
        ("D([[1, 1, 9, 9]], [float('nan')], ['red'])", "scores that are not finite"),
        ("D([[1, 1, 9, 9]], [17], ['red'], ['red'])", "the score 17; expected 0 to 1"),
        ("D([[1, 1, 9, 9]], [0.9], [picture[0, 0, 0]])", "expected a name"),
    ],
)
def test_what_an_adapter_returns_is_checked(
    data, segmenter, derainer, tmp_path, capsys, answer, message
):
    Path(tmp_path / "own.py").write_text(
        "from mspfn_tf.tasks.detection import Detections as D\n"
        f"def f(picture, network):\n    return {answer}\n"
    )
    code = run(
        *("--task", "detection", "--model_for_task", segmenter, "--model", derainer),
        *("--adapter", f"{tmp_path / 'own.py'}:f", "--output", tmp_path / "out"),
        *("--pictures", data / "rainy", "--labels", data / "boxes.json"),
    )
    assert code == 2
    told = capsys.readouterr().err
    assert "error: picture 0: the adapter" in told and message in told


def test_boxes_of_pictures_of_another_size_fail_by_name(
    data, segmenter, derainer, tmp_path, capsys
):
    content = json.loads((data / "boxes.json").read_text())
    content["images"][1] |= {"width": 112, "height": 80}
    (tmp_path / "boxes.json").write_text(json.dumps(content))
    more = ("--labels", tmp_path / "boxes.json")
    assert detection(data, segmenter, derainer, tmp_path / "out", *more) == 1
    assert "the labels are for 112x80 pixels" in capsys.readouterr().err
    (failure,) = read(tmp_path / "out")["failed"]
    assert failure["name"] == "1"


def test_links_to_nothing_fail_by_name(data, segmenter, derainer, tmp_path, capsys):
    for folder in ("rainy", "masks"):
        shutil.copytree(data / folder, tmp_path / folder)
    for name in ("rainy/0.png", "masks/1.png"):
        (tmp_path / name).unlink()
        (tmp_path / name).symlink_to(tmp_path / "nothing.png")
    more = ("--pictures", tmp_path / "rainy", "--labels", tmp_path / "masks")
    assert segmentation(data, segmenter, derainer, tmp_path / "out", *more) == 1
    error = capsys.readouterr().err
    assert "rainy/0.png" in error and "masks/1.png" in error
    assert [failure["name"] for failure in read(tmp_path / "out")["failed"]] == ["0", "1"]


def test_every_write_that_fails_is_told_and_the_run_goes_on(
    data, segmenter, derainer, tmp_path, monkeypatch, capsys
):
    whole = tmp_path / "whole"
    assert segmentation(data, segmenter, derainer, whole) == 0
    found, record = {}, evaluation._Run.record

    def remembered(self, index):  # what takes time and writes nothing is made once
        if index not in found:
            found[index] = record(self, index)
        return found[index]

    monkeypatch.setattr(evaluation._Run, "record", remembered)

    def act(at):
        status = segmentation(data, segmenter, derainer, tmp_path / f"out{at}")
        error = capsys.readouterr().err
        if status:
            assert status == 2 and "No space left on device" in error, error
            assert f"out{at}" in error
        return bool(status)

    assert every_write_fails(monkeypatch, tmp_path, act) > 10
    for output in tmp_path.glob("out*"):
        assert segmentation(data, segmenter, derainer, output) == 0
        assert read(output)["images"] == read(whole)["images"]


@pytest.mark.parametrize("name", ["task_scores.json", "partial.jsonl"])
@pytest.mark.parametrize("content", [b"{", b"\xff\xfe\n", b"[]\n", b'{"configuration": 3}\n'])
def test_damaged_results_are_named(data, segmenter, derainer, tmp_path, capsys, name, content):
    (tmp_path / name).write_bytes(content)
    status = segmentation(data, segmenter, derainer, tmp_path)
    if status:  # a torn line is what a killed run may leave
        assert status == 2 and str(tmp_path) in capsys.readouterr().err
    else:
        assert (name, content) == ("partial.jsonl", b"{")


def test_names_are_written_as_text(data, segmenter, derainer, tmp_path):
    """A spreadsheet takes none for a formula, and bytes that are no UTF-8 are told as escapes."""
    folders = [tmp_path / name for name in ("rainy", "masks")]
    for folder in folders:
        folder.mkdir()
        content = (data / folder.name / "0.png").read_bytes()
        for name in (b"=1+1.png", b"a\xff.png"):
            try:
                with open(os.fsencode(folder) + b"/" + name, "wb") as file:
                    file.write(content)
            except OSError:
                pytest.skip("this file system takes UTF-8 names only")
    more = ("--pictures", folders[0], "--labels", folders[1])
    assert segmentation(data, segmenter, derainer, tmp_path / "out", *more) == 0
    with open(tmp_path / "out" / "task_scores.csv", newline="", encoding="utf-8") as file:
        assert [row["name"] for row in csv.DictReader(file)] == ["'=1+1", "a\\udcff"]
    assert read(tmp_path / "out")["count"] == 2
