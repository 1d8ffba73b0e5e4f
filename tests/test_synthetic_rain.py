"""The builder of `synthetic_rain`, over scenes that the project draws itself."""

import dataclasses
import shutil
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from mspfn_tf.datasets.scenes import in_validation
from mspfn_tf.datasets.synthetic_rain import synthetic_rain_dataset_builder
from mspfn_tf.datasets.synthetic_rain.contact_sheet import draw_scene
from mspfn_tf.datasets.synthetic_rain.parameters import PRESETS
from mspfn_tf.datasets.synthetic_rain.synthetic_rain_dataset_builder import Builder, RainConfig
from mspfn_tf.errors import UsageError

pytestmark = pytest.mark.slow


# The names decide on the split.
BACKGROUNDS = [f"scene{number}" for number in range(10)]
STREAKS = [f"streaks/{number}.png" for number in range(12)]
TRAIN = [name for name in BACKGROUNDS if not in_validation(name)]
VALIDATION = [name for name in BACKGROUNDS if in_validation(name)]


def write_scene(path, number, size=(40, 56)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw_scene(np.random.default_rng(number), size)).save(path)


def write_pictures(folder):
    for number, name in enumerate(BACKGROUNDS):
        write_scene(folder / "backgrounds" / f"{name}.png", number)
    for number, name in enumerate(STREAKS):
        picture = np.zeros((30, 50), np.uint8)
        # The level tells which file a layer is from.
        picture[5:20, number::7] = 200 + number
        (folder / "streaks").mkdir(exist_ok=True)
        Image.fromarray(picture).save(folder / name)


@pytest.fixture
def manual_dir(tmp_path):
    folder = tmp_path / "manual"
    write_pictures(folder)
    return folder


def prepare(manual_dir, tmp_path, config="light", **options):
    builder = Builder(
        source=manual_dir,
        data_dir=tmp_path / "data",
        config=config,
        file_format="array_record",
        **options,
    )
    builder.download_and_prepare()
    return builder


def examples(builder, split):
    found = {}
    for example in builder.as_data_source(split):
        texts = {key: example[key].decode() for key in ("name", "scene")}
        found[texts["name"]] = example | texts
    return found


def one_of_each(name="one", **changes):
    parameters = dataclasses.replace(PRESETS["light"], rain_free=0.0, kinds=(0.0, 0.0, 1.0))
    return RainConfig(name=name, **{"parameters": parameters, "variants": 1, **changes})


class SyntheticRainTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = Builder
    SPLITS = {"train": 4 * len(TRAIN), "validation": 4 * len(VALIDATION)}  # noqa: RUF012

    @classmethod
    def setUpClass(cls):
        cls.EXAMPLE_DIR = Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, cls.EXAMPLE_DIR)
        write_pictures(cls.EXAMPLE_DIR)
        super().setUpClass()


def test_names_leave_scenes_for_both_splits():
    assert TRAIN and VALIDATION
    assert {in_validation(name) for name in STREAKS} == {False, True}


def test_pairs_are_the_clean_picture_and_rain_on_it(manual_dir, tmp_path):
    builder = prepare(manual_dir, tmp_path, "heavy")
    found = examples(builder, "train") | examples(builder, "validation")
    assert set(found) == {f"{name}_{variant}" for name in BACKGROUNDS for variant in range(4)}
    dry = 0
    for name, example in found.items():
        file = manual_dir / "backgrounds" / f"{name[:-2]}.png"
        np.testing.assert_array_equal(example["clean"], np.asarray(Image.open(file)))
        assert example["rainy"].shape == example["clean"].shape
        assert example["scene"] == name[:-2]
        dry += (example["rainy"] == example["clean"]).all()
    assert dry <= 8
    rainy = [found[f"{BACKGROUNDS[0]}_{variant}"]["rainy"] for variant in range(4)]
    assert len({picture.tobytes() for picture in rainy}) >= 3


def test_builds_are_equal_to_the_bit(manual_dir, tmp_path):
    first = examples(prepare(manual_dir, tmp_path / "first"), "train")
    again = examples(prepare(manual_dir, tmp_path / "again"), "train")
    assert first.keys() == again.keys()
    for name, example in first.items():
        np.testing.assert_array_equal(example["rainy"], again[name]["rainy"])


def test_dry_variants_are_not_reported_as_duplicates(manual_dir, tmp_path):
    parameters = dataclasses.replace(PRESETS["light"], rain_free=1.0)
    config = RainConfig(name="dry", parameters=parameters, variants=3)
    builder = prepare(manual_dir, tmp_path, config)
    hashes = builder.hashes["train"] | builder.hashes["validation"]
    assert len(set(hashes.values())) == len(hashes) == len(BACKGROUNDS)
    for example in examples(builder, "train").values():
        np.testing.assert_array_equal(example["rainy"], example["clean"])


def test_another_seed_is_other_rain(manual_dir, tmp_path):
    first, other = (
        examples(prepare(manual_dir, tmp_path / str(seed), one_of_each(seed=seed)), "train")
        for seed in (0, 1)
    )
    assert first.keys() == other.keys()
    assert all((first[name]["rainy"] != other[name]["rainy"]).any() for name in first)


def test_a_background_more_changes_no_other_example(manual_dir, tmp_path):
    before = examples(prepare(manual_dir, tmp_path / "before"), "train")
    write_scene(manual_dir / "backgrounds" / "added.png", 77)
    after = examples(prepare(manual_dir, tmp_path / "after"), "train")
    assert len(after) == len(before) + (0 if in_validation("added") else 4)
    for name, example in before.items():
        np.testing.assert_array_equal(example["rainy"], after[name]["rainy"])


def test_splits_share_neither_scenes_nor_streaks(manual_dir, tmp_path, monkeypatch):
    used = []

    def spy(clean, rng, parameters, streak_pictures):
        used.append({int(picture.max()) - 200 for picture in streak_pictures})
        return clean

    monkeypatch.setattr(synthetic_rain_dataset_builder, "rain", spy)
    # A second picture of a validation scene, under a name that would train.
    copy = next(f"zcopy{n}" for n in range(100) if not in_validation(f"zcopy{n}"))
    scene = BACKGROUNDS.index(VALIDATION[0])
    write_scene(manual_dir / "backgrounds" / f"{copy}.jpg", scene)
    builder = prepare(manual_dir, tmp_path, one_of_each())
    train, validation = (examples(builder, split) for split in ("train", "validation"))
    assert {example["scene"] for example in train.values()} == set(TRAIN)
    assert {example["scene"] for example in validation.values()} == set(VALIDATION)
    assert f"{copy}_0" in validation
    assert builder.scenes["validation"][f"{copy}_0"] == VALIDATION[0]
    files = {frozenset(numbers) for numbers in used}
    assert len(files) == 2
    first, second = files
    assert not first & second
    assert first | second == set(range(12))


def test_without_streak_files(manual_dir, tmp_path):
    shutil.rmtree(manual_dir / "streaks")
    found = examples(prepare(manual_dir, tmp_path, one_of_each()), "train")
    assert all((example["rainy"] != example["clean"]).any() for example in found.values())


def test_streak_files_alone_can_be_the_rain(manual_dir, tmp_path):
    with_files = examples(prepare(manual_dir, tmp_path / "with", one_of_each()), "train")
    shutil.rmtree(manual_dir / "streaks")
    without = examples(prepare(manual_dir, tmp_path / "without", one_of_each()), "train")
    assert all((with_files[name]["rainy"] != without[name]["rainy"]).any() for name in without)


def test_folders_below_and_archives_are_found(manual_dir, tmp_path):
    with zipfile.ZipFile(manual_dir / "streaks.zip", "w") as archive:
        for name in STREAKS:
            archive.write(manual_dir / name, Path(name).name)
    shutil.rmtree(manual_dir / "streaks")
    write_scene(manual_dir / "backgrounds" / "town" / "scene0.png", 50)
    builder = prepare(manual_dir, tmp_path, one_of_each())
    names = set(examples(builder, "train")) | set(examples(builder, "validation"))
    assert {"scene0_0", "town/scene0_0"} <= names


@pytest.mark.parametrize("folders", ["Backgrounds Streaks", "a/b/backgrounds a/b/STREAKS"])
def test_neither_case_nor_folders_above_matter(manual_dir, tmp_path, folders):
    whole = prepare(manual_dir, tmp_path / "whole")
    for folder, to in zip(("backgrounds", "streaks"), folders.split(), strict=True):
        (tmp_path / "other" / to).parent.mkdir(parents=True, exist_ok=True)
        (manual_dir / folder).rename(tmp_path / "other" / to)
    other = prepare(tmp_path / "other", tmp_path)
    assert other.found[0] == "10 backgrounds, 12 streak pictures"
    assert other.hashes == whole.hashes and other.scenes == whole.scenes


def test_backgrounds_in_two_places(manual_dir, tmp_path):
    for folder in ("a", "b"):
        shutil.copytree(manual_dir / "backgrounds", tmp_path / "two" / folder / "backgrounds")
    with pytest.raises(UsageError, match="backgrounds are there more than once"):
        prepare(tmp_path / "two", tmp_path)
    write_scene(tmp_path / "two/backgrounds/scene0.png", 0)  # the one at the root counts
    assert len(prepare(tmp_path / "two", tmp_path).hashes["train"]) == 4


@pytest.mark.parametrize("name", [TRAIN[0], VALIDATION[0]])
def test_a_single_background_trains(tmp_path, name):
    write_scene(tmp_path / "manual" / "backgrounds" / f"{name}.png", 0)
    builder = prepare(tmp_path / "manual", tmp_path)
    assert set(builder.info.splits) == {"train"}
    assert builder.info.splits["train"].num_examples == 4


def test_large_backgrounds_are_reduced(tmp_path):
    write_scene(tmp_path / "manual" / "backgrounds" / "large.png", 0, (60, 120))
    builder = prepare(tmp_path / "manual", tmp_path, one_of_each(longest_side=80))
    (example,) = examples(builder, "train").values()
    assert example["rainy"].shape == example["clean"].shape == (40, 80, 3)


def test_the_bytes_of_clean_jpegs_stay(tmp_path):
    path = tmp_path / "manual" / "backgrounds" / "photograph.jpg"
    write_scene(path, 0)
    builder = prepare(tmp_path / "manual", tmp_path, one_of_each())
    raw = builder.as_data_source("train", decoders={"clean": tfds.decode.SkipDecoding()})
    assert raw[0]["clean"] == path.read_bytes()


def test_missing_backgrounds_are_told(tmp_path):
    (tmp_path / "manual" / "streaks").mkdir(parents=True)
    with pytest.raises(UsageError) as error:
        prepare(tmp_path / "manual", tmp_path)
    message = str(error.value)
    assert f"{tmp_path}/manual/backgrounds/" in message
    assert f"{tmp_path}/manual/backgrounds.zip" in message
    assert f"{tmp_path}/manual/streaks/" in message
    assert ".png" in message


def test_unreadable_pictures_are_named(manual_dir, tmp_path):
    for name in ("scene2.png", "scene5.png"):
        (manual_dir / "backgrounds" / name).write_bytes(b"no picture")
    with pytest.raises(UsageError) as error:
        prepare(manual_dir, tmp_path)
    assert "2 bad backgrounds" in str(error.value)
    assert all(name in str(error.value) for name in ("scene2.png", "scene5.png"))
    assert not list((tmp_path / "data").rglob("*.array_record*"))


def test_unreadable_streaks_are_named(manual_dir, tmp_path):
    (manual_dir / "streaks" / "3.png").write_bytes(b"no picture")
    with pytest.raises(UsageError, match=r"streaks/3\.png"):
        prepare(manual_dir, tmp_path)


def test_names_that_differ_in_their_suffix_alone_are_refused(manual_dir, tmp_path):
    write_scene(manual_dir / "backgrounds" / "scene1.jpg", 50)
    with pytest.raises(UsageError, match=r"scene1\.jpg and .*scene1\.png"):
        prepare(manual_dir, tmp_path)


@pytest.mark.parametrize("name", ["variants", "longest_side"])
def test_impossible_configurations_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1. Received: 0"):
        RainConfig(name="none", **{name: 0})
