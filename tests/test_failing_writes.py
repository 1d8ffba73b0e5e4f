"""The disk is full at the n-th write, for every n: a message, the last good state, no leftovers."""

import builtins
import io
import itertools
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mspfn_tf import evaluation
from mspfn_tf.cli import main
from mspfn_tf.errors import UsageError
from mspfn_tf.export import saved_model
from mspfn_tf.sets.pairs import FolderPairs
from tests.export_models import small_model, write_pairs
from tests.full_disk import FullDisk

pytestmark = pytest.mark.slow


class Full(FullDisk):
    """The `at`-th write (1, 2, ...) of this process finds the disk full."""

    def __init__(self, monkeypatch, at, folder):
        self.folder = str(folder)
        functions = (
            (os, "fsync"), (os, "replace"), (os, "pwrite"), (Path, "touch"), (Path, "mkdir"),
            (Path, "rename"),
        )  # fmt: skip
        super().__init__(monkeypatch, at, functions)
        opened = builtins.open

        def open_(file, mode="r", *arguments, **options):
            if self.folder not in str(file) or not set(mode) & set("wax+"):
                return opened(file, mode, *arguments, **options)
            self.check(file)
            return Stream(opened(file, mode, *arguments, **options), self)

        monkeypatch.setattr(builtins, "open", open_)
        monkeypatch.setattr(io, "open", open_)


class Stream:
    """A file that asks before every write."""

    def __init__(self, stream, full):
        self._stream, self._full = stream, full

    def write(self, data):
        self._full.check(self._stream.name)
        return self._stream.write(data)

    def __getattr__(self, name):
        return getattr(self._stream, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._stream.close()


def every_write_fails(monkeypatch, folder, act):
    """Calls `act(n)` with the n-th write failing, until none is left; returns how many failed."""
    for at in itertools.count(1):
        with monkeypatch.context() as patched:
            full = Full(patched, at, folder)
            failed = act(at)
        assert not list(folder.rglob(".partial-*")), at
        if full.count < at:
            assert not failed
            return at - 1
        assert failed, at
    raise AssertionError


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


def test_score(pairs, tmp_path, monkeypatch, capsys):
    output = tmp_path / "out"
    command = ["score", str(pairs / "input"), str(pairs / "target"), "--output", str(output)]
    assert main(command) == 0
    names = ("scores.csv", "scores.json")

    def act(at):
        before = {name: (output / name).read_bytes() for name in names}
        status = main([*command, "--overwrite"])
        assert {path.name for path in output.iterdir()} == set(names)
        if status:
            assert status == 2 and "No space left on device" in capsys.readouterr().err
            # Two files cannot be replaced at once: each is the old one or the new one, whole.
            json.loads((output / "scores.json").read_text())
            assert (output / "scores.csv").read_bytes() == before["scores.csv"]
        return bool(status)

    assert every_write_fails(monkeypatch, tmp_path, act) > 6


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
            assert "No space left on device" in str(error) and "saved" in str(error)
            return True
        finally:
            assert {path.name for path in tmp_path.iterdir()} == {"saved", "saved.json"}
            assert (output / "saved_model.pb").read_bytes() == b"graph"
            json.loads((tmp_path / "saved.json").read_text())
        return False

    assert every_write_fails(monkeypatch, tmp_path, act) > 6


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
    assert "a\\udcff," in (output / "scores.csv").read_text(encoding="utf-8")
    assert main(["score", str(folders[0]), str(folders[0])]) == 0
    assert "infinite: a\\udcff" in capsys.readouterr().out
    restored = evaluation.evaluate(darken, FolderPairs(tmp_path), tmp_path / "all", {"model": "x"})
    assert restored["count"] == 1 and (tmp_path / "all" / "sheet.png").is_file()
