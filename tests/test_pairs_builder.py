import shutil
import zipfile

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

import mspfn_tf.datasets  # noqa: F401 (registers the builders)
from mspfn_tf.datasets.layouts import SameNames
from mspfn_tf.datasets.pair_set import PairSet, Split
from mspfn_tf.datasets.pairs_builder import PairsBuilder
from mspfn_tf.errors import UsageError
from tests.rain_pictures import clean, left_clean, rainy, same_names, write


def _build(name, source, tmp_path, **arguments):
    arguments = {"file_format": "array_record", "allow_incomplete": True, **arguments}
    builder = tfds.builder(name, source=source, data_dir=tmp_path / "tfds", **arguments)
    builder.download_and_prepare()
    return builder


def _scenes(builder):
    return {
        split: {
            example["name"].decode(): example["scene"].decode()
            for example in builder.as_data_source(split)
        }
        for split in builder.info.splits
    }


def test_pixels_survive(tmp_path):
    write(tmp_path, {"train/input/a.png": rainy(1), "train/target/a.bmp": clean(1)})
    Image.fromarray(rainy(2)).save(tmp_path / "train/input/b.jpg", quality=50)
    Image.fromarray(clean(2)).save(tmp_path / "train/target/b.png")
    (a, b) = _build("paired_folder", tmp_path, tmp_path).as_data_source("train")
    if a["name"] == b"b":
        a, b = b, a
    np.testing.assert_array_equal(a["rainy"], rainy(1))
    np.testing.assert_array_equal(a["clean"], clean(1))
    np.testing.assert_array_equal(b["rainy"], Image.open(tmp_path / "train/input/b.jpg"))
    np.testing.assert_array_equal(b["clean"], clean(2))


def test_halves_of_odd_pictures(tmp_path):
    picture = np.concatenate([left_clean(1), rainy(9)[:, :1]], axis=1)
    write(tmp_path, {"training/1.png": picture})
    (example,) = _build("rain800", tmp_path, tmp_path).as_data_source("train")
    np.testing.assert_array_equal(example["clean"], clean(1))
    np.testing.assert_array_equal(example["rainy"], rainy(1))


def test_validation_scenes_are_disjoint_from_training(tmp_path):
    pictures = {f"training/{n}.png": left_clean(n % 40, n) for n in range(1, 121)}
    pictures["test_syn/1.png"] = left_clean(1)
    pictures["test_syn/2.png"] = left_clean(77)
    write(tmp_path, pictures)
    scenes = _scenes(_build("rain800", tmp_path, tmp_path))
    assert scenes["train"].keys() | scenes["validation"].keys() == {str(n) for n in range(1, 121)}
    assert not set(scenes["train"].values()) & set(scenes["validation"].values())
    assert scenes["train"]["81"] == scenes["train"]["41"] == scenes["train"]["1"] == "1"
    assert scenes["test"] == {"1": "1", "2": "test/2"}  # picture 1 is a training scene


def test_scene_numbers_of_other_splits_do_not_clash(tmp_path):
    write(tmp_path, {**same_names("train/", (1,)), **same_names("test/", (1,))})
    scenes = _scenes(_build("paired_folder", tmp_path, tmp_path))
    assert scenes == {"train": {"1": "1"}, "test": {"1": "test/1"}}


def test_wrong_counts(tmp_path):
    write(tmp_path, {"training/1.png": left_clean(1), "test_syn/1.png": left_clean(2)})
    with pytest.raises(UsageError) as error:
        _build("rain800", tmp_path, tmp_path, allow_incomplete=False)
    assert "train: 1 pairs, expected 700" in str(error.value)
    assert "test: 1 pairs, expected 100" in str(error.value)
    assert "allow_incomplete=True" in str(error.value)


class TwoVersions(PairsBuilder):
    """A set that was published twice."""

    SETS = {
        version: PairSet(
            {
                "train": Split(train, (SameNames("train/"),)),
                "test": Split(test, (SameNames("test/"),)),
            },
            f"The {version} version.",
        )
        for version, train, test in (("first", 2, 1), ("second", 3, 2))
    }


def test_the_version_that_fits_is_named(tmp_path):
    write(tmp_path, {**same_names("train/", (1, 2, 3)), **same_names("test/", (4, 5))})
    with pytest.raises(UsageError, match=r"these are the counts of two_versions/second"):
        _build("two_versions/first", tmp_path, tmp_path, allow_incomplete=False)
    builder = _build("two_versions/second", tmp_path, tmp_path, allow_incomplete=False)
    assert {name: split.num_examples for name, split in builder.info.splits.items()} == {
        "train": 3,
        "test": 2,
    }


def test_nothing_there(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError) as error:
        _build("rain1400", tmp_path / "empty", tmp_path)
    for place in ("training/rainy_image/<scene>_<streaks>.*", "testing/ground_truth/<scene>.*"):
        assert f"{place}" in str(error.value)
    assert "https://xueyangfu.github.io" in str(error.value)


def test_a_split_that_may_be_missing_and_lies_in_an_archive_that_is_not_read_is_told(
    tmp_path, caplog
):
    write(tmp_path, same_names("train/", (1,)))
    (tmp_path / "test.rar").write_bytes(b"-")
    _build("paired_folder", tmp_path, tmp_path, allow_incomplete=False)
    assert f"without validation, test; {tmp_path}/test.rar: .rar archives" in caplog.text


def test_every_bad_pair_is_named(tmp_path):
    write(tmp_path, same_names("train/", (1, 2, 3, 4)))
    (tmp_path / "train/input/2.png").write_text("no picture")
    Image.fromarray(clean(3)[:8]).save(tmp_path / "train/target/3.png")
    with pytest.raises(UsageError) as error:
        _build("paired_folder", tmp_path, tmp_path)
    assert "2 bad pairs" in str(error.value)
    assert f"{tmp_path}/train/input/2.png: unreadable picture" in str(error.value)
    assert "train/input/3.png (20x16) and" in str(error.value)
    assert "train/target/3.png (20x8) differ in size" in str(error.value)


def test_a_set_that_is_there_twice(tmp_path):
    write(tmp_path, {**same_names("a/Rain12/", (1,)), **same_names("b/Rain12/", (1,))})
    with pytest.raises(UsageError, match="is there more than once") as error:
        _build("rain12", tmp_path, tmp_path)
    assert f"{tmp_path}/a" in str(error.value) and f"{tmp_path}/b" in str(error.value)


def test_manual_dir_may_hold_one_folder_per_dataset(tmp_path):
    write(tmp_path, {"manual/other/1.png": clean(5)})
    write(tmp_path, same_names("manual/paired_folder/train/", (1, 2)))
    builder = tfds.builder("paired_folder", data_dir=tmp_path / "tfds")
    config = tfds.download.DownloadConfig(manual_dir=tmp_path / "manual")
    builder.download_and_prepare(download_config=config)
    assert builder.info.splits["train"].num_examples == 2


def test_an_empty_manual_dir_is_told_what_belongs_there(tmp_path):
    (tmp_path / "empty").mkdir()
    builder = tfds.builder("rain12", data_dir=tmp_path / "tfds")
    config = tfds.download.DownloadConfig(manual_dir=tmp_path / "empty")
    with pytest.raises(AssertionError, match=r"test: <n>_in\.\* with <n>_GT\.\*"):
        builder.download_and_prepare(download_config=config)


def test_an_archive_beside_its_extracted_folder_is_no_second_set(tmp_path):
    write(tmp_path, same_names("Rain12/", (1, 2)))
    with zipfile.ZipFile(tmp_path / "Rain12.zip", "w") as archive:
        for path in (tmp_path / "Rain12").rglob("*.png"):
            archive.write(path, path.relative_to(tmp_path))
    builder = _build("rain12", tmp_path, tmp_path)
    assert builder.info.splits["test"].num_examples == 2


def test_frames_of_clips_are_numbered_in_order(tmp_path):
    frames = {f"t1_Rain_{r:02d}/{n}.png": rainy(n, r) for r in (1, 2) for n in (2, 10, 1)}
    frames |= {f"t1_GT/{n}.png": clean(n) for n in (2, 10, 1)}
    write(tmp_path, {f"Dataset_Training_Synthetic/{path}": p for path, p in frames.items()})
    found = {
        (example["clip"].decode(), int(example["frame"])): example["name"].decode()
        for example in _build("ntu_rain", tmp_path, tmp_path).as_data_source("train")
    }
    assert found == {
        (f"t1_0{r}", frame): f"t1_0{r}_{name}"
        for r in (1, 2)
        for frame, name in enumerate(("1", "2", "10"))
    }


def test_the_truth_of_gt_rain(tmp_path):
    at = "GT-RAIN_train/Gurutto_1-2/Gurutto_1-2-Webcam"
    write(tmp_path, {f"{at}-R-{n:03d}.png": rainy(n) for n in (0, 1)})
    write(tmp_path, {f"{at}-C-{n:03d}.png": clean(n) for n in (0, 1)})
    at = "GT-RAIN_train/Hakone_0-0/Hakone_0-0-Webcam"
    write(tmp_path, {f"{at}-R-{n:03d}.png": rainy(7, n) for n in (0, 1)})
    write(tmp_path, {f"{at}-C-000.png": clean(7)})
    for example in _build("gt_rain", tmp_path, tmp_path).as_data_source("train"):
        scene, number = example["scene"].decode(), int(example["name"].decode()[-1])
        truth = clean(number) if scene == "Gurutto_1-2" else clean(7)
        np.testing.assert_array_equal(example["clean"], truth)


@pytest.mark.parametrize("archives", [False, True])
def test_rain_cityscapes_as_the_two_downloads(tmp_path, archives):
    rain = "_rain_alpha_0.02_beta_0.01_dropsize_0.005_pattern_7.png"
    name = "aachen/aachen_000004_000019_leftImg8bit"
    pictures = {
        f"leftImg8bit_trainval_rain/leftImg8bit_rain/train/{name}{rain}": rainy(1),
        f"leftImg8bit_trainvaltest/leftImg8bit/train/{name}.png": clean(1),
    }
    write(tmp_path / "set", pictures)
    if archives:
        for top in ("leftImg8bit_trainval_rain", "leftImg8bit_trainvaltest"):
            with zipfile.ZipFile(tmp_path / f"set/{top}.zip", "w") as archive:
                for path in (tmp_path / "set" / top).rglob("*.png"):
                    archive.write(path, path.relative_to(tmp_path / "set" / top))
            shutil.rmtree(tmp_path / "set" / top)
    (example,) = _build("rain_cityscapes", tmp_path / "set", tmp_path).as_data_source("train")
    assert example["name"] == b"aachen_000004_000019_0.02_0.01_0.005_7"
    assert example["scene"] == b"aachen_000004_000019"
    np.testing.assert_array_equal(example["clean"], clean(1))


def test_validated_configurations_hold_what_the_others_do(tmp_path):
    pictures = {f"RainTrainL/rain-{n}.png": rainy(n, n) for n in range(1, 41)}
    pictures |= {f"RainTrainL/norain-{n}.png": clean(n) for n in range(1, 41)}
    write(tmp_path, pictures | same_names("Rain100L/", (99,)))
    old = _scenes(_build("rain100l/old", tmp_path, tmp_path))
    validated = _scenes(_build("rain100l/old_validated", tmp_path, tmp_path))
    assert set(old) == {"train", "test"}
    assert validated["train"] | validated["validation"] == old["train"]
    assert set(validated["validation"]) == {"9", "12", "15", "32", "34"}
