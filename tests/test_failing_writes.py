"""The disk is full at the n-th write, for every n: a message, the last good state, no leftovers."""

import argparse
import errno
import io
import json
import os
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from mspfn_tf import evaluation, files
from mspfn_tf.cli import main
from mspfn_tf.errors import UsageError
from mspfn_tf.export import (
    export_litert,
    export_onnx,
    export_openvino,
    litert,
    onnx,
    openvino,
    saved_model,
)
from mspfn_tf.pictures import write_picture
from mspfn_tf.restoring.file_restorer import FileRestorer, restore_all
from mspfn_tf.restoring.plan import plan
from mspfn_tf.sets.pairs import FolderPairs
from tests.export_models import PHONE, small_model, write_pairs
from tests.full_disk import every_write_fails, files_end_at
from tests.rain_pictures import same_names, write
from tests.reference_recipe import variables, write_checkpoint

pytestmark = pytest.mark.slow


@pytest.fixture
def pairs(tmp_path):
    return write_pairs(tmp_path / "pairs", count=3, size=(24, 24))


def darken(image):
    return np.maximum(image, 12) - 12


def test_evaluate(pairs, tmp_path, monkeypatch):
    configuration = {"model": "darken", "weights_sha256": "0"}

    def evaluate(output):
        return evaluation.evaluate(darken, FolderPairs(pairs), output, configuration)

    expected = evaluate(tmp_path / "whole")["images"]

    def act(at):
        try:
            evaluate(tmp_path / f"out{at}")
        except UsageError as error:
            assert "No space left on device" in str(error) and f"out{at}" in str(error)
            return True
        return False

    assert every_write_fails(monkeypatch, tmp_path, act) > 15
    for output in tmp_path.glob("out*"):  # each goes on from where it was
        assert evaluate(output)["images"] == expected
        assert json.loads((output / "scores.json").read_text())["count"] == 3


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_score(pairs, tmp_path, monkeypatch, capsys, number):
    output = tmp_path / "out"
    command = ["score", str(pairs / "input"), str(pairs / "target"), "--output", str(output)]
    assert main(command) == 0
    names = ("scores.csv", "scores.json")

    def act(at):
        before = {name: (output / name).read_bytes() for name in names}
        status = main([*command, "--overwrite"])
        assert {path.name for path in output.iterdir()} == set(names)
        if status:
            assert status == 2 and os.strerror(number) in capsys.readouterr().err
            # Two files cannot be replaced at once: each is the old one or the new one, whole.
            json.loads((output / "scores.json").read_text())
            assert (output / "scores.csv").read_bytes() == before["scores.csv"]
        return bool(status)

    assert every_write_fails(monkeypatch, tmp_path, act, number) > 6


def pretend(monkeypatch, verb, pairs, folder):
    """Replaces what takes time and writes nothing; returns the arguments of the command."""
    from mspfn_tf.datasets.preparing import prepare
    from mspfn_tf.export import benchmark, release
    from mspfn_tf.web import server

    if verb == "app":
        pages = {"a.html": b"page", "vendor/b.js": b"script"}
        monkeypatch.setattr(server, "site", lambda models: pages)
    if verb == "benchmark":
        monkeypatch.setattr(benchmark, "benchmark", lambda *arguments: [])
    if verb == "stats":
        prepare("real_rain", pairs / "input", folder)
        return ["real_rain", "--data_dir", str(folder)]
    if verb == "release":
        model = small_model(**PHONE)

        def write(model, path, *arguments, **options):
            for name in (path, path.with_name("model.json"), path.with_name("model_uint8.tflite")):
                name.write_bytes(b"a graph")

        facts = release.describe_source("mspfn_nano", model, (8, 8))
        monkeypatch.setattr(release, "open_source", lambda source: model)
        monkeypatch.setattr(release, "describe_source", lambda *arguments: facts)
        monkeypatch.setattr(release, "export_litert", write)
        monkeypatch.setattr(release, "export_onnx", write)
    return []


@pytest.mark.parametrize(
    ("verb", "number"),
    [("app", errno.EDQUOT), ("benchmark", errno.EROFS), ("stats", errno.ENOSPC),
     ("release", errno.ENOSPC)],
)  # fmt: skip
def test_other_verbs(pairs, tmp_path, monkeypatch, capsys, verb, number):
    options = pretend(monkeypatch, verb, pairs, tmp_path / "prepared")

    def act(at):
        output = str(tmp_path / f"out{at}")
        command = [verb, output] if verb == "release" else [verb, *options, "--output", output]
        status = main(command)
        error = capsys.readouterr().err
        if status:
            assert status == 2 and output in error and os.strerror(number) in error, error
        return bool(status)

    assert every_write_fails(monkeypatch, tmp_path, act, number) > 3


@pytest.mark.parametrize("verb", ["benchmark", "release", "score", "stats", "convert"])
def test_what_a_killed_process_left_goes_when_the_next_one_starts(
    pairs, tmp_path, monkeypatch, verb
):
    options = pretend(monkeypatch, verb, pairs, tmp_path / "prepared")
    output = tmp_path / "out" / "a.weights.h5"
    output.parent.mkdir()
    left = output.parent / f".partial-{files._host()}-99999999-5-0123abcd"
    left.mkdir()
    if verb == "score":
        options = [str(pairs / "input"), str(pairs / "target")]
    if verb == "convert":
        prefix = write_checkpoint(tmp_path, variables("M17N1", 1))
        options = [prefix, "--preset", "mspfn_m17n1", "--blocks", "1"]
    to = output.parent if verb in ("score", "stats") else output
    assert main([verb, *options, *(["--output"] if verb != "release" else []), str(to)]) == 0
    assert not left.exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EPIPE])
def test_standard_output(tmp_path, monkeypatch, capsys, number):
    """What `mspfn restore` gives to standard output does not fit."""

    class Output(io.BytesIO):
        def write(self, data):
            raise OSError(number, os.strerror(number))

    write_picture(tmp_path / "a.png", np.full((8, 9, 3), 100, np.uint8))
    monkeypatch.setattr(
        "sys.stdout", argparse.Namespace(buffer=Output(), isatty=lambda: False, flush=lambda: None)
    )
    status = main(["restore", str(tmp_path / "a.png"), "--output", "-", "--preset", "mspfn_nano"])
    said = {errno.ENOSPC: "cannot write standard output: No space left on device",
            errno.EPIPE: "the reader of standard output has gone"}  # fmt: skip
    assert status == {errno.ENOSPC: 2, errno.EPIPE: 1}[number]
    assert said[number] in capsys.readouterr().err


def test_standard_input(tmp_path, monkeypatch, capsys):
    """The temporary folder, where it is put, is full."""

    class Input(io.BytesIO):
        def read(self, *size):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("sys.stdin", argparse.Namespace(buffer=Input()))
    command = ["restore", "-", "--output", str(tmp_path / "b.png"), "--preset", "mspfn_nano"]
    assert main(command) == 2
    assert "No space left on device" in capsys.readouterr().err


def test_export(tmp_path, monkeypatch):
    model = small_model()
    monkeypatch.setattr(saved_model, "check_saved_model", lambda *arguments: {"problems": []})

    def write(model, directory, max_pixels):
        """As long as it takes to write a file of each kind."""
        Path(directory, "variables").mkdir()
        Path(directory, "saved_model.pb").write_bytes(b"graph")

    monkeypatch.setattr(saved_model, "write_saved_model", write)
    output = tmp_path / "saved"
    saved_model.export_saved_model(model, output)

    def act(at):
        try:
            saved_model.export_saved_model(model, output, overwrite=True)
        except UsageError as error:
            assert "No space left on device" in str(error) and str(tmp_path) in str(error)
            return True
        finally:
            assert {path.name for path in tmp_path.iterdir()} == {"saved", "saved.json"}
            assert (output / "saved_model.pb").read_bytes() == b"graph"
            json.loads((tmp_path / "saved.json").read_text())
        return False

    assert every_write_fails(monkeypatch, tmp_path, act) > 6


@pytest.mark.parametrize("suffix", [".tflite", ".onnx", ".xml"])
def test_export_of_files(pairs, tmp_path, monkeypatch, suffix):
    """What takes time and writes nothing is made once."""
    kind = {".tflite": litert, ".onnx": onnx, ".xml": openvino}[suffix]
    model = small_model(**PHONE)
    parity = {"pictures": 1, "max_error": 0.0, "agreement_db": 99.0, "problems": []}
    checks = ("check_litert", "_structure_problems") if suffix == ".tflite" else ("check_graph",)
    monkeypatch.setattr(kind, checks[0], lambda *arguments: dict(parity))
    if suffix == ".xml":

        def write(model, path, *arguments):
            path.write_bytes(b"graph")
            path.with_suffix(".bin").write_bytes(b"weights")

        monkeypatch.setattr(kind, "write", write)
    else:
        content = litert.convert(model, (64, 96)) if suffix == ".tflite" else b"graph"
        monkeypatch.setattr(kind, "convert", lambda *arguments: content)
    folder = tmp_path / "exported"
    export = {".tflite": export_litert, ".onnx": export_onnx, ".xml": export_openvino}[suffix]

    def act(at):
        before = {path.name: path.read_bytes() for path in folder.iterdir()} if at > 1 else {}
        try:
            export(model, folder / f"net{suffix}", calibration=pairs, overwrite=True)
        except UsageError as error:
            assert "No space left on device" in str(error) and "exported" in str(error)
            # Several files cannot be replaced at once: each is the old one or the new one, whole.
            after = {path.name: path.read_bytes() for path in folder.iterdir()}
            assert all(after[name] == before[name] for name in before if not name.endswith("json"))
            return True
        json.loads((folder / "net.json").read_text())
        return False

    assert act(1) is False
    assert every_write_fails(monkeypatch, tmp_path, act) > 6


def test_export_names_where_temporary_files_go(tmp_path, monkeypatch):
    """It may be that disk which is full, and not the one of the output."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(onnx, "convert", full)
    with pytest.raises(
        UsageError, match="net.onnx: No space left .* there or in .*temporary, .*TM"
    ):
        export_onnx(small_model(), tmp_path / "net.onnx")


def test_openvino_finds_the_disk_full(tmp_path, monkeypatch):
    """Its own writer tells nothing but that a stream failed."""
    image = keras.Input((8, 8, 3))
    conv = keras.Model([image], keras.layers.Conv2D(3, 3, padding="same")(image))
    monkeypatch.setattr(openvino.graphs, "open_graph", lambda *arguments, **options: (conv, {}))
    with (
        files_end_at(100),
        pytest.raises(
            UsageError, match="net.xml: No space left .* there or in .*, where temporary files go"
        ),
    ):
        export_openvino(small_model(**PHONE), tmp_path / "net.xml")
    assert not list(tmp_path.iterdir())


def test_restore(tmp_path, monkeypatch):
    for name in ("a.png", "b.jpg", "c.tif"):
        write_picture(tmp_path / "in" / name, np.full((8, 9, 3), 100, np.uint8))

    def restore(output):
        planned = plan([tmp_path / "in"], output, resume=True)
        return list(restore_all(planned, FileRestorer(darken), workers=1))

    restore(tmp_path / "whole")
    expected = {path.name: path.read_bytes() for path in (tmp_path / "whole").iterdir()}

    def act(at):
        try:
            found = restore(tmp_path / f"out{at}")
        except UsageError as error:
            assert "No space left on device" in str(error) and f"out{at}" in str(error)
            return True
        failed = [outcome for outcome in found if outcome.status == "failed"]
        for outcome in failed:
            assert "No space left on device" in outcome.message, outcome.message
            assert outcome.job.target.name in outcome.message
        return bool(failed)

    assert every_write_fails(monkeypatch, tmp_path, act) > 8
    for output in tmp_path.glob("out*"):  # each goes on from where it was
        restore(output)
        assert {path.name: path.read_bytes() for path in output.iterdir()} == expected


def test_bulk(tmp_path, monkeypatch):
    from mspfn_tf.bulk import restore_archive, workers

    for name in ("a.png", "b.jpg"):
        write_picture(tmp_path / "in" / name, np.full((8, 9, 3), 100, np.uint8))
    model = workers.Model("mspfn_nano", threads=1)
    restorer = model.restorer()
    monkeypatch.setattr(workers.Model, "restorer", lambda self: restorer)

    def restore(output, resume=False):
        return restore_archive(tmp_path / "in", output, model, batch_rows=1, resume=resume)

    restore(tmp_path / "whole")

    def pictures(output):
        return {path.name: path.read_bytes() for path in output.glob("[ab].*")}

    def act(at):
        try:
            summary = restore(tmp_path / f"out{at}")
        except UsageError as error:
            assert "No space left on device" in str(error) and f"out{at}" in str(error)
            return True
        if summary.stopped:
            assert "No space left on device" in summary.stopped and f"out{at}" in summary.stopped
        return summary.stopped is not None

    assert every_write_fails(monkeypatch, tmp_path, act) > 15
    for output in tmp_path.glob("out*"):
        begun = (output / ".mspfn_bulk" / "run.json").exists()
        restore(output, resume=begun)
        assert pictures(output) == pictures(tmp_path / "whole")


def test_prepare(tmp_path, monkeypatch, capsys):
    source, data_dir = tmp_path / "rain", tmp_path / "tfds"
    write(source, {**same_names("train/", (1, 2)), **same_names("test/", (3,))})
    command = ["prepare", "paired_folder", "--manual_dir", str(source)]

    def act(at):
        status = main([*command, "--data_dir", str(data_dir / str(at))])
        error = capsys.readouterr().err
        if status:
            assert status == 2 and "No space left on device" in error, error
            assert str(data_dir / str(at)) in error
            assert not list((data_dir / str(at)).rglob("dataset_info.json"))
        return bool(status)

    failed = every_write_fails(monkeypatch, tmp_path, act)
    assert failed > 4
    for at in range(1, failed + 1):  # each can be done again
        assert main([*command, "--data_dir", str(data_dir / str(at))]) == 0


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
def test_convert(tmp_path, monkeypatch, capsys, suffix):
    prefix = write_checkpoint(tmp_path, variables("M17N1", 1))
    command = ["convert", prefix, "--preset", "mspfn_m17n1", "--blocks", "1", "--output"]
    output = tmp_path / f"converted{suffix}"

    def full(self, path, *arguments, **options):
        with open(self if suffix == ".weights.h5" else path, "wb") as file:
            file.write(b"half a file")
        raise OSError(28, "No space left on device")

    if suffix == ".weights.h5":
        monkeypatch.setattr(Path, "write_bytes", full)
    else:
        monkeypatch.setattr(keras.Model, "save", full)
    before = set(tmp_path.iterdir())
    assert main([*command, str(output)]) == 2
    error = capsys.readouterr().err
    assert f"cannot write {output}: No space left on device" in error
    assert set(tmp_path.iterdir()) == before


def test_names_that_are_not_utf8(tmp_path, capsys):
    folders = [tmp_path / name for name in ("input", "target")]
    random = np.random.default_rng(0)
    for folder in folders:
        folder.mkdir()
        file = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (16, 16, 3), np.uint8)).save(file, "PNG")
        try:
            with open(os.fsencode(folder) + b"/a\xff.png", "wb") as stream:
                stream.write(file.getvalue())
        except OSError:
            pytest.skip("this file system takes UTF-8 names only")
    output = tmp_path / "out"
    assert main(["score", *map(str, folders), "--output", str(output)]) == 0
    scores = json.loads((output / "scores.json").read_text(encoding="utf-8"))
    assert os.fsencode(scores["images"][0]["name"]) == b"a\xff"
    assert '"a\\udcff",' in (output / "scores.csv").read_text(encoding="utf-8")
    assert main(["score", str(folders[0]), str(folders[0])]) == 0
    assert "infinite: a\\udcff" in capsys.readouterr().out
    restored = evaluation.evaluate(darken, FolderPairs(tmp_path), tmp_path / "all", {"model": "x"})
    assert restored["count"] == 1 and (tmp_path / "all" / "sheet.png").is_file()
