import os
import subprocess
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from mspfn_tf.cli import main
from tests.rain_pictures import clean, left_clean, rainy, same_names, write

pytestmark = pytest.mark.slow


@pytest.fixture
def pairs(tmp_path):
    folder = tmp_path / "pairs"
    write(folder, {**same_names("train/", (1, 2, 3)), **same_names("test/", (4, 5))})
    return folder


def _prepare(name, source, data_dir, *arguments):
    arguments = ("--manual_dir", source, "--data_dir", data_dir, *arguments)
    return main(["prepare", name, *map(str, arguments)])


def _left_behind(data_dir):
    return sorted(path.name for path in data_dir.rglob("*"))


def test_builds_and_reports(pairs, tmp_path, capsys):
    data_dir = tmp_path / "tfds"
    assert _prepare("paired_folder", pairs, data_dir) == 0
    lines = capsys.readouterr().out.splitlines()
    target = data_dir / "paired_folder/1.0.0"
    assert lines[0] == f"paired_folder/1.0.0 (array_record) in {target}"
    assert [line.split()[:3] for line in lines[2:4]] == [["train", "3", "3"], ["test", "2", "2"]]
    assert lines[4:] == ["exact duplicates: none"]
    assert [path.name for path in data_dir.iterdir()] == ["paired_folder"]
    assert {path.name.partition(".")[0] for path in target.iterdir()} == {
        "dataset_info",
        "features",
        "paired_folder-train",
        "paired_folder-test",
    }
    source = tfds.data_source("paired_folder", data_dir=data_dir, split="test", download=False)
    assert {example["name"] for example in source} == {b"4", b"5"}


def test_both_formats_hold_the_same(pairs, tmp_path):
    examples = {}
    for file_format in ("array_record", "tfrecord"):
        data_dir = tmp_path / file_format
        assert _prepare("paired_folder", pairs, data_dir, "--file_format", file_format) == 0
        builder = tfds.builder_from_directory(data_dir / "paired_folder/1.0.0")
        read = builder.as_data_source if file_format == "array_record" else builder.as_dataset
        split = read(split="train")
        if file_format == "tfrecord":
            split = split.as_numpy_iterator()
        examples[file_format] = {example["name"]: example for example in split}
    assert examples["array_record"].keys() == examples["tfrecord"].keys() == {b"1", b"2", b"3"}
    for name, example in examples["array_record"].items():
        for side, truth in (("rainy", rainy(int(name))), ("clean", clean(int(name)))):
            np.testing.assert_array_equal(example[side], truth)
            np.testing.assert_array_equal(examples["tfrecord"][name][side], truth)


@pytest.mark.parametrize("file_format", ["array_record", "tfrecord"])
def test_tfds_load_reads_either_format(pairs, tmp_path, file_format):
    assert _prepare("paired_folder", pairs, tmp_path, "--file_format", file_format) == 0
    arguments = {"data_dir": tmp_path, "split": "train", "download": False}
    for number in (1, 2):  # in a new order when asked
        dataset = tfds.load("paired_folder", shuffle_files=number == 2, **arguments)
        examples = {example["name"]: example for example in dataset.as_numpy_iterator()}
        assert examples.keys() == {b"1", b"2", b"3"}
        np.testing.assert_array_equal(examples[b"2"]["rainy"], rainy(2))
    decoders = {"rainy": tfds.decode.SkipDecoding()}
    raw = tfds.load("paired_folder", decoders=decoders, as_supervised=True, **arguments)
    encoded, picture = next(iter(raw))
    assert encoded.dtype == "string"
    assert picture.dtype == "uint8"


def test_configurations(tmp_path):
    source = Path(__file__).parents[1] / "datasets/rain1200/dummy_data"
    assert _prepare("rain1200/heavy", source, tmp_path, "--allow_incomplete") == 0
    assert _prepare("rain1200", source, tmp_path, "--config", "light", "--allow_incomplete") == 0
    assert _prepare("rain1200", source, tmp_path, "--allow_incomplete") == 0
    folders = {path.name for path in (tmp_path / "rain1200").iterdir()}
    assert folders == {".config", "all", "heavy", "light"}
    default = tfds.data_source("rain1200", data_dir=tmp_path, split="train", download=False)
    assert len(default) == 6


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("rain9000", (), "no dataset is called 'rain9000'; there are: bdd_rain, camvid"),
        ("rain100h/older", (), "has no configuration 'older'; choose among: old, old_disjoint"),
        ("rain12", ("--config", "old"), "rain12 has no configuration 'old'; it has none"),
        ("rain100h/old", ("--config", "new"), "two configurations given"),
    ],
)
def test_wrong_names(name, arguments, message, pairs, tmp_path, capsys):
    assert _prepare(name, pairs, tmp_path / "tfds", *arguments) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "tfds").exists()


def test_nothing_is_overwritten_unasked(pairs, tmp_path, capsys):
    assert _prepare("paired_folder", pairs, tmp_path) == 0
    write(pairs, same_names("train/", (7,)))
    assert _prepare("paired_folder", pairs, tmp_path) == 2
    assert "exists already" in capsys.readouterr().err
    assert _prepare("paired_folder", pairs, tmp_path, "--overwrite") == 0
    source = tfds.data_source("paired_folder", data_dir=tmp_path, split="train", download=False)
    assert len(source) == 4


def test_a_failed_build_leaves_the_old_one(pairs, tmp_path):
    assert _prepare("paired_folder", pairs, tmp_path) == 0
    before = _left_behind(tmp_path / "paired_folder")
    (pairs / "train/input/1.png").write_text("no picture")
    assert _prepare("paired_folder", pairs, tmp_path, "--overwrite") == 2
    assert _left_behind(tmp_path / "paired_folder") == before
    source = tfds.data_source("paired_folder", data_dir=tmp_path, split="train", download=False)
    assert len(source) == 3


def _unpaired(folder):
    (folder / "train/target/2.png").unlink()
    return "train/input/2.png"


def _mismatched(folder):
    Image.fromarray(clean(2)[:, :7]).save(folder / "train/target/2.png")
    return "train/input/2.png (20x16) and"


def _unreadable(folder):
    data = (folder / "test/input/4.png").read_bytes()
    (folder / "test/input/4.png").write_bytes(data[: len(data) // 2])
    return "test/input/4.png: unreadable picture"


@pytest.mark.parametrize("spoil", [_unpaired, _mismatched, _unreadable])
def test_bad_pictures(spoil, pairs, tmp_path, capsys):
    message = spoil(pairs)
    assert _prepare("paired_folder", pairs, tmp_path / "tfds", "--allow_incomplete") == 2
    error = capsys.readouterr().err
    assert error.startswith("mspfn prepare: error: ") and message in error
    assert not (tmp_path / "tfds").exists()


def test_missing_folders(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert _prepare("rain100l", tmp_path / "empty", tmp_path / "tfds", "--allow_incomplete") == 2
    error = capsys.readouterr().err
    for place in ("RainTrainL/rain-<n>.* with RainTrainL/norain-<n>.*", "Rain100L/rainy/rain-<n>"):
        assert f"{tmp_path}/empty/{place}" in error
    assert _left_behind(tmp_path / "tfds") == []
    assert _prepare("rain100l", tmp_path / "nowhere", tmp_path / "tfds") == 2
    assert "nowhere: no such folder or archive" in capsys.readouterr().err


def test_incomplete_sets_need_leave(tmp_path, capsys):
    write(tmp_path / "set", same_names("Rain100L/", (1, 2)))
    assert _prepare("rain100l", tmp_path / "set", tmp_path / "tfds") == 2
    error = capsys.readouterr().err
    assert "test: 2 pairs, expected 100" in error and "RainTrainL/" in error
    assert "--allow_incomplete" in error
    assert _prepare("rain100l", tmp_path / "set", tmp_path / "tfds", "--allow_incomplete") == 0
    assert capsys.readouterr().out.startswith("rain100l/old/1.0.0 (array_record)")


def test_archives(pairs, tmp_path):
    archive = tmp_path / "downloads/pairs.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as file:
        for path in pairs.rglob("*.png"):
            file.write(path, path.relative_to(pairs.parent))
    for number, source in enumerate((archive, archive.parent)):
        data_dir = tmp_path / str(number)
        assert _prepare("paired_folder", source, data_dir) == 0
        found = tfds.data_source("paired_folder", data_dir=data_dir, split="train", download=False)
        assert len(found) == 3


def test_duplicates_and_shared_pictures_are_reported(tmp_path, capsys):
    pictures = {f"RainTrainH/norain-{n}.png": clean(scene) for n, scene in ((1, 1), (2, 1), (3, 4))}
    pictures |= {f"RainTrainH/rain-{n}.png": rainy(scene) for n, scene in ((1, 1), (2, 1), (3, 4))}
    pictures |= same_names("Rain100H/", (4, 5))
    write(tmp_path / "set", pictures)
    arguments = (tmp_path / "set", tmp_path / "tfds", "--allow_incomplete")
    assert _prepare("rain100h", *arguments) == 0
    report = capsys.readouterr().out.splitlines()[4:]
    assert report == [
        "exact duplicates: 2",
        "  train/1 = train/2",
        "  train/3 = test/4",
        "clean pictures shared by train and test: 1 (1 and 1 pairs)",
        "  train/3 = test/4",
        "scenes shared by train and test: 1 (1 and 1 pairs)",
        "  train/3 = test/4",
    ]
    assert _prepare("rain100h/old_disjoint", *arguments) == 0
    assert capsys.readouterr().out.splitlines()[4:] == [
        "exact duplicates: 1",
        "  train/1 = train/2",
    ]


_WITHOUT_TENSORFLOW = """
import importlib.machinery, sys

find_spec = importlib.machinery.PathFinder.find_spec

def find_the_others(name, path=None, target=None):
    hidden = name in ("tensorflow", "apache_beam", "keras")
    return None if hidden else find_spec(name, path, target)

importlib.machinery.PathFinder.find_spec = find_the_others

from mspfn_tf.cli import main

source, data_dir = sys.argv[1:]
status = main(["prepare", "paired_folder", "--manual_dir", source, "--data_dir", data_dir])
assert status == 0, status

import tensorflow_datasets as tfds

pairs = tfds.builder_from_directory(f"{data_dir}/paired_folder/1.0.0").as_data_source("train")
print(sorted((pair["name"].decode(), int(pair["rainy"].sum())) for pair in pairs))
assert "tensorflow" not in sys.modules
"""


def test_neither_tensorflow_nor_beam_is_needed(pairs, tmp_path):
    command = [sys.executable, "-c", _WITHOUT_TENSORFLOW, pairs, tmp_path / "tfds"]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = [(str(scene), int(rainy(scene).sum())) for scene in (1, 2, 3)]
    assert done.stdout.splitlines()[-1] == repr(expected)


def _many_scenes(folder):
    """A set like Rain1400: 6 scenes under 3 rains train, one of them tests."""
    pictures = {}
    for name, scenes in (("training", range(1, 7)), ("testing", (901,))):
        at = f"rainy_image_dataset/{name}"
        pictures |= {
            f"{at}/rainy_image/{n}_{t}.png": rainy(n, t) for n in scenes for t in (1, 2, 3)
        }
        pictures |= {f"{at}/ground_truth/{n}.png": clean(n) for n in scenes}
    write(folder, pictures)


def test_samples_stand_beside_the_whole(tmp_path, capsys):
    _many_scenes(tmp_path / "set")
    arguments = (tmp_path / "set", tmp_path / "tfds", "--allow_incomplete")
    assert _prepare("rain1400", *arguments) == 0
    assert _prepare("rain1400", *arguments, "--sample", 7) == 0
    told = capsys.readouterr()
    assert "rain1400/published_sample_7/1.0.0 (array_record) in" in told.out
    assert "custom data configuration" not in told.err  # TFDS says so of what it does not know
    folder = tmp_path / "tfds/rain1400"
    assert {path.name for path in folder.iterdir()} == {
        ".config",
        "published",
        "published_sample_7",
    }
    arguments = {"data_dir": tmp_path / "tfds", "download": False}
    part = tfds.data_source("rain1400/published_sample_7", split="train", **arguments)
    scenes = [example["scene"] for example in part]
    assert len(scenes) == 7 and len(set(scenes)) == 6
    tests = tfds.data_source("rain1400/published_sample_7", split="test", **arguments)
    assert len(tests) == 3
    assert len(tfds.data_source("rain1400", split="train", **arguments)) == 18


def test_a_sample_of_more_than_there_are_is_said(pairs, tmp_path, capsys):
    assert _prepare("paired_folder", pairs, tmp_path / "tfds", "--sample", 3) == 0
    assert "fewer training pairs" not in capsys.readouterr().out
    assert _prepare("paired_folder", pairs, tmp_path / "tfds", "--sample", 99) == 0
    assert "fewer training pairs than the 99 that" in capsys.readouterr().out


def test_samples_of_sets_without_configurations(pairs, tmp_path):
    assert _prepare("paired_folder", pairs, tmp_path / "tfds", "--sample", 2) == 0
    assert _prepare("paired_folder", pairs, tmp_path / "tfds") == 0
    arguments = {"data_dir": tmp_path / "tfds", "split": "train", "download": False}
    write(tmp_path / "rain", {f"training/{n}.png": left_clean(n) for n in (1, 2, 3)})
    options = ("--sample", 2, "--allow_incomplete")
    assert _prepare("rain800", tmp_path / "rain", tmp_path / "tfds", *options) == 0
    assert len(tfds.data_source("rain800/sample_2", **arguments)) == 2
    assert len(tfds.data_source("paired_folder/sample_2", **arguments)) == 2
    assert len(tfds.data_source("paired_folder", **arguments)) == 3


@pytest.mark.parametrize(
    ("name", "sample", "message"),
    [
        ("paired_folder", 0, "sample must be at least 1. Received: 0"),
        ("real_rain", 3, "real_rain has no training pairs to sample"),
        ("rain12", 3, "rain12 has no training pairs to sample"),
        ("synthetic_rain", 3, "synthetic_rain makes its pairs itself"),
    ],
)
def test_what_cannot_be_sampled(name, sample, message, pairs, tmp_path, capsys):
    assert _prepare(name, pairs, tmp_path / "tfds", "--sample", sample) == 2
    assert message in capsys.readouterr().err
    assert _left_behind(tmp_path / "tfds") == []


def test_what_was_found_is_told_where_it_fails(pairs, tmp_path, capsys):
    (pairs / "test/input/4.png").write_text("no picture")
    assert _prepare("paired_folder", pairs, tmp_path / "tfds") == 2
    error = capsys.readouterr().err
    assert error.index("1 bad pairs") < error.index("found so far:")
    assert f"train: 3 pairs, the rainy ones in {pairs}/train/input" in error
    assert "train: 3 of 3 pairs are sound" in error
    assert "test: 1 of 2 pairs are sound" in error


def test_archives_of_other_kinds_are_named_where_something_is_missing(pairs, tmp_path, capsys):
    (pairs / "train.rar").write_bytes(b"-")
    assert _prepare("paired_folder", pairs, tmp_path / "tfds") == 0
    assert _prepare("rain100l", pairs, tmp_path / "tfds") == 2
    assert "train.rar: .rar archives are not read here" in capsys.readouterr().err


def test_what_a_killed_run_left_is_cleared(pairs, tmp_path, monkeypatch):
    from mspfn_tf import files

    target = tmp_path / "tfds/paired_folder/1.0.0"
    left = files.partial_path(target)
    dead = left.with_name(left.name.replace(f"-{os.getpid()}-", "-4194303-"))
    (dead / ".build/unpacked").mkdir(parents=True)
    assert _prepare("paired_folder", pairs, tmp_path / "tfds") == 0
    assert not dead.exists()
    assert [path.name for path in target.parent.iterdir()] == ["1.0.0"]


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tar.xz"])
def test_tars(pairs, tmp_path, suffix):
    path = tmp_path / f"pairs.{suffix}"
    with tarfile.open(path, f"w:{suffix[4:]}") as archive:
        archive.add(pairs, "pairs")
    data_dir = tmp_path / "tfds"
    assert _prepare("paired_folder", path, data_dir) == 0
    assert [file.name for file in data_dir.iterdir()] == ["paired_folder"]
    found = tfds.data_source("paired_folder", data_dir=data_dir, split="train", download=False)
    for example in found:
        np.testing.assert_array_equal(example["rainy"], rainy(int(example["name"])))


def test_records_that_cannot_be_written(pairs, tmp_path, capsys, monkeypatch):
    """The writers of records raise no OSError where the disk is full."""

    def full(self, **arguments):
        raise RuntimeError("Failed to finalize writing of split\nmore")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", full)
    assert _prepare("paired_folder", pairs, tmp_path / "tfds") == 2
    told = capsys.readouterr().err
    assert "the records cannot be written (Failed to finalize writing of split)" in told
    assert "MB are free there" in told and not _left_behind(tmp_path / "tfds")


def test_progress(pairs, tmp_path):
    from mspfn_tf.datasets.preparing import prepare

    told = []
    with tarfile.open(tmp_path / "pairs.tar.gz", "w:gz") as archive:
        archive.add(pairs, "pairs")
    prepared = prepare(
        "paired_folder",
        tmp_path / "pairs.tar.gz",
        tmp_path / "tfds",
        progress=lambda *step: told.append(step),
    )
    assert prepared.splits["train"].pairs == 3
    assert told[-5:] == [
        *(("writing train", n, 3) for n in (1, 2, 3)),
        *(("writing test", n, 2) for n in (1, 2)),
    ]
    parts = list(dict.fromkeys(what for what, _, _ in told))
    assert parts == ["unpacking pairs.tar.gz", "pairing files", "writing train", "writing test"]


def test_pictures_that_restoring_would_refuse_are_refused(pairs, tmp_path, capsys):
    with open(pairs / "train/input/2.png", "rb") as file:
        data = bytearray(file.read())
    # 11,000 x 11,000 pixels by its header, whose checksum fits.
    data[16:24] = (11_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    (pairs / "train/input/2.png").write_bytes(data)
    assert _prepare("paired_folder", pairs, tmp_path / "tfds") == 2
    error = capsys.readouterr().err
    assert "train/input/2.png: unreadable picture (Image size (121000000 pixels) exceeds" in error
