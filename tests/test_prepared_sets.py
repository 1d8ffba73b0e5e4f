"""Prepared sets are opened, or it is said what is wrong with them."""

import json
import random
import shutil

import numpy as np
import pytest

from mspfn_tf.errors import UsageError
from mspfn_tf.sets.prepared import Examples, picture_files, prepared_folder
from mspfn_tf.training.pair_source import PairSource
from tests.pair_sets import prepare


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("tfds")
    prepare(data_dir)
    prepare(data_dir, name="sequential", file_format="tfrecord")
    return data_dir


@pytest.fixture
def data_dir(whole, tmp_path):
    """A copy to spoil."""
    import shutil

    shutil.copytree(whole, tmp_path / "tfds")
    return tmp_path / "tfds"


@pytest.mark.parametrize("name", ["tiny", "sequential"])
def test_examples(whole, name):
    examples = Examples(name, "train", whole)
    assert len(examples) == len(list(examples)) == 10
    assert sorted(examples.features) == ["clean", "name", "rainy"]
    assert examples[3]["rainy"].startswith(b"\x89PNG")
    with pytest.raises(IndexError):
        examples[10]


def test_the_newest_version(data_dir):
    (data_dir / "tiny/1.10.0").mkdir()
    (data_dir / "tiny/1.9.0").mkdir()
    for name in ("1.10.0", "1.9.0"):
        (data_dir / "tiny" / name / "dataset_info.json").touch()
    (data_dir / "tiny/.partial-1-2-3.0.0").mkdir()
    (data_dir / "tiny/.partial-1-2-3.0.0/dataset_info.json").touch()
    for copy in ("1.10.0.20260131", "1.10.0.old"):
        shutil.copytree(data_dir / "tiny/1.10.0", data_dir / "tiny" / copy)
    assert prepared_folder("tiny", data_dir).name == "1.10.0"


def test_the_home_folder_is_that_of_prepare(whole, monkeypatch):
    monkeypatch.setenv("HOME", str(whole))
    assert prepared_folder("tiny", "~") == whole / "tiny/1.0.0"
    assert len(Examples("tiny", "train", "~/../" + whole.name)) == 10


def test_what_is_not_there(whole):
    with pytest.raises(UsageError, match="dataset 'none' is not prepared in .*run mspfn prepare"):
        Examples("none", "train", whole)
    with pytest.raises(UsageError, match="has no split 'test', only: train, validation"):
        Examples("tiny", "test", whole)


def test_sets_without_clean_pictures(tmp_path):
    from mspfn_tf.datasets.preparing import prepare as build
    from tests.rain_pictures import rainy, write

    write(tmp_path / "photographs", {"a/1.png": rainy(1)})
    build("real_rain", tmp_path / "photographs", tmp_path / "tfds")
    with pytest.raises(UsageError, match="'real_rain' holds photographs without a clean side"):
        PairSource("real_rain", "test", tmp_path / "tfds")
    (example,) = Examples("real_rain", "test", tmp_path / "tfds", paired=False)
    assert example["name"] == b"1"


def test_pictures_as_files(tmp_path):
    from mspfn_tf.datasets.preparing import prepare as build
    from mspfn_tf.pictures import read_rgb
    from tests.rain_pictures import rainy, write

    write(tmp_path / "photographs", {"a/1.png": rainy(1), "b/2.jpg": rainy(2), "b/3.png": rainy(3)})
    build("real_rain", tmp_path / "photographs", tmp_path / "tfds")
    examples = Examples("real_rain", "test", tmp_path / "tfds", paired=False)
    files = picture_files(examples, tmp_path / "files")
    names = sorted(path.relative_to(tmp_path / "files").as_posix() for path in files)
    assert names == ["a/1.png", "b/2.jpg", "b/3.png"]
    np.testing.assert_array_equal(read_rgb(tmp_path / "files/b/3.png"), rainy(3))
    with pytest.raises(UsageError, match="no 'clean' pictures"):
        picture_files(examples, tmp_path / "files", "clean")


@pytest.mark.parametrize("name", ["../1", "/etc/1", "a/../../1", ""])
def test_names_that_lead_out_of_the_folder_are_refused(whole, tmp_path, name):
    examples = Examples("tiny", "train", whole)
    examples._examples = [{"rainy": b"-", "name": name.encode()}] * 10
    with pytest.raises(UsageError, match="example 0: refused"):
        picture_files(examples, tmp_path / "files")
    assert not (tmp_path / "files").exists()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda found: found["featuresDict"]["features"]["name"].update(
            pythonClassName="antigravity.Feature"
        ),
        lambda found: found["featuresDict"]["features"]["name"].update(
            text=None, jsonFeature={"json": json.dumps({"inner": [{"type": "antigravity.X"}]})}
        ),
        lambda found: found.update(type="antigravity.Feature"),
    ],
)
def test_features_that_would_import_something_are_refused(data_dir, spoil):
    path = data_dir / "tiny/1.0.0/features.json"
    found = json.loads(path.read_text())
    spoil(found)
    path.write_text(json.dumps(found))
    with pytest.raises(UsageError, match=r"features\.json: refused: it would import 'antigravity"):
        Examples("tiny", "train", data_dir)


@pytest.mark.parametrize("name", ["tiny", "sequential"])
@pytest.mark.parametrize("pattern", ["features.json", "dataset_info.json", "*-train.*"])
def test_damage_gives_messages(data_dir, name, pattern):
    (path,) = (data_dir / name / "1.0.0").glob(pattern)
    whole = path.read_bytes()
    rng = random.Random(0)
    refused = 0
    for kind in ["empty", "gone", *["cut", "flipped", "overwritten"] * 5]:
        data = bytearray(whole)
        place = rng.randrange(len(data))
        if kind in ("empty", "cut"):
            del data[0 if kind == "empty" else place :]
        elif kind == "flipped":
            data[place] ^= 1 << rng.randrange(8)
        elif kind == "overwritten":
            data[place : place + 20] = rng.randbytes(20)
        path.write_bytes(data)
        if kind == "gone":
            path.unlink()
        try:
            source = PairSource(name, "train", data_dir)
            for index in range(len(source)):
                rainy, clean = source[index]
                np.testing.assert_array_equal(rainy, 255 - clean)
        except UsageError as error:
            refused += 1
            assert name in str(error)
    assert refused >= 8
