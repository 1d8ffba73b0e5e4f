"""The sets with boxes or masks, on their dummy data and on wrong folders."""

import json
import os
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

import mspfn_tf.datasets  # noqa: F401 (registers the builders)
from mspfn_tf.cli import main
from mspfn_tf.errors import UsageError
from tests.make_labelled_dummy_data import DATASETS
from tests.test_builders import _case

pytestmark = pytest.mark.slow


CocoRainTest = _case("coco_rain", {"test": 2})
BddRainDetectionTest = _case("bdd_rain", {"test": 2}, "detection")
BddRainSegmentationTest = _case("bdd_rain", {"test": 2}, "segmentation")
CamvidTest = _case("camvid", {"train": 2, "validation": 1})


def _examples(name, tmp_path, source=None, split="test"):
    folder = source or DATASETS / name.partition("/")[0] / "dummy_data"
    builder = tfds.builder(
        name, source=folder, data_dir=tmp_path / "tfds", file_format="array_record"
    )
    builder.download_and_prepare()
    return builder, {example["name"].decode(): example for example in builder.as_data_source(split)}


def test_boxes_of_coco(tmp_path):
    builder, examples = _examples("coco_rain", tmp_path)
    assert set(examples) == {"000000000139", "000000000285"}
    objects = examples["000000000139"]["objects"]
    label = builder.info.features["objects"]["label"]
    assert [label.int2str(number) for number in objects["label"]] == ["person", "car"]
    # top, left, bottom, right as shares of 24x32 pixels
    np.testing.assert_allclose(objects["bbox"][0], [3 / 24, 2 / 32, 11 / 24, 12 / 32])
    np.testing.assert_allclose(objects["area"], [70.5, 70.5])
    assert list(examples["000000000285"]["objects"]["is_crowd"]) == [True]
    rainy = np.asarray(Image.open(DATASETS / "coco_rain/dummy_data/rainy/000000000139.png"))
    np.testing.assert_array_equal(examples["000000000139"]["rainy"], rainy)


def test_boxes_of_bdd_are_renamed_and_lanes_left_out(tmp_path):
    builder, examples = _examples("bdd_rain/detection", tmp_path)
    objects = examples["b1d0a191-28f0a0b2"]["objects"]
    names = builder.info.features["objects"]["label"].names
    assert [names[number] for number in objects["label"]] == ["bicycle"]
    np.testing.assert_allclose(objects["bbox"][0], [2 / 24, 3.5 / 32, 17 / 24, 21 / 32])


@pytest.mark.parametrize(
    ("name", "split", "mask"),
    [
        ("bdd_rain/segmentation", "test", "masks/b1c66a42-6f7d68ca_train_id.png"),
        ("camvid", "train", "trainannot/0001TP_006690.png"),
    ],
)
def test_masks_stay_class_numbers(tmp_path, name, split, mask):
    _, examples = _examples(name, tmp_path, split=split)
    path = DATASETS / name.partition("/")[0] / "dummy_data" / mask
    example = examples[path.stem.removesuffix("_train_id")]
    np.testing.assert_array_equal(example["mask"][..., 0], np.asarray(Image.open(path)))


def test_prepare_reports_a_labelled_set(tmp_path, capsys):
    folder = DATASETS / "camvid/dummy_data"
    command = ["prepare", "camvid", "--manual_dir", str(folder), "--data_dir", str(tmp_path)]
    assert main(command) == 0
    assert "validation         1       1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "split", "places"),
    [
        ("bdd_rain/segmentation", "test", ("rainy", "clean", "masks")),
        ("camvid", "train", ("train", "trainannot")),
    ],
)
def test_names_that_are_not_utf8_stand_as_escapes(tmp_path, name, split, places):
    source = tmp_path / "pictures"
    shutil.copytree(DATASETS / name.partition("/")[0] / "dummy_data", source)
    for place in places:
        first = sorted((source / place).iterdir())[0]
        first.rename(first.parent / os.fsdecode(b"0_\xe9" + first.suffix.encode()))
    _, examples = _examples(name, tmp_path, source, split)
    assert r"0_\udce9" in examples


@pytest.mark.parametrize(
    ("name", "split"),
    [("coco_rain", "test"), ("bdd_rain/segmentation", "test"), ("camvid", "train")],
)
def test_folders_that_archives_bring_along_do_not_matter(tmp_path, name, split):
    root = tmp_path / "pictures"
    shutil.copytree(DATASETS / name.partition("/")[0] / "dummy_data", root / "Set/version 1")
    (root / "__MACOSX/Set/rainy").mkdir(parents=True)
    assert len(_examples(name, tmp_path, root, split)[1]) == 2
    shutil.copytree(root / "Set/version 1", root / "Set/version 2")
    with pytest.raises(UsageError, match="version 1, .*version 2: name one of them"):
        _examples(name, tmp_path / "again", root, split)


@pytest.mark.parametrize(
    ("name", "remove", "message"),
    [
        ("coco_rain", "annotations.json", "annotations.json or .*instances_val2017.json"),
        ("coco_rain", "clean", "expected: .*clean/"),
        ("bdd_rain/segmentation", "masks/b1c66a42-6f7d68ca_train_id.png", "1 pictures have no"),
        ("camvid", "trainannot/0001TP_006690.png", "0001TP_006690"),
    ],
)
def test_what_is_missing_is_named(tmp_path, name, remove, message):
    folder = tmp_path / "pictures"
    shutil.copytree(DATASETS / name.partition("/")[0] / "dummy_data", folder)
    path = folder / remove
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(UsageError, match=message):
        _examples(name, tmp_path, folder)


def test_unknown_classes_are_named(tmp_path):
    folder = tmp_path / "pictures"
    shutil.copytree(DATASETS / "coco_rain/dummy_data", folder)
    text = (folder / "annotations.json").read_text()
    (folder / "annotations.json").write_text(text.replace('"car"', '"carriage"'))
    with pytest.raises(UsageError, match="unknown classes carriage; expected those of coco80"):
        _examples("coco_rain", tmp_path, folder)


def test_boxes_of_pictures_of_another_size_are_refused(tmp_path):
    folder = tmp_path / "pictures"
    shutil.copytree(DATASETS / "coco_rain/dummy_data", folder)
    content = json.loads((folder / "annotations.json").read_text())
    for entry in content["images"]:
        entry |= {"width": 320, "height": 240}
    (folder / "annotations.json").write_text(json.dumps(content))
    with pytest.raises(UsageError, match="labels are for 320x240 pixels, the picture has 32x24"):
        _examples("coco_rain", tmp_path, folder)


def test_two_pictures_of_one_name_are_refused(tmp_path):
    folder = tmp_path / "pictures"
    shutil.copytree(DATASETS / "camvid/dummy_data", folder)
    with Image.open(folder / "train/0001TP_006690.png") as picture:
        picture.save(folder / "train/0001TP_006690.jpg")
    with pytest.raises(UsageError, match="0001TP_006690.jpg and .*.png would be one example"):
        _examples("camvid", tmp_path, folder)
