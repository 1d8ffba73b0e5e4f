"""Where exports write: one at a time, all files or none, and nothing of killed ones stays."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mspfn_tf.errors import UsageError
from mspfn_tf.export.outputs import card_path, outputs

ROOT = Path(__file__).resolve().parent.parent
HOLDER = """\
import sys
from pathlib import Path
from mspfn_tf.export.outputs import outputs
with outputs(Path(sys.argv[1], "a.onnx"), overwrite=True) as (path,):
    path.write_text("half")
    print("at work", flush=True)
    sys.stdin.read()
"""


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_all_or_none(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    with pytest.raises(ZeroDivisionError), outputs(a, b, overwrite=False) as (one, other):
        one.write_text("1")
        other.write_text("2")
        raise ZeroDivisionError
    assert not names(tmp_path)
    with outputs(a, overwrite=False, folder=tmp_path / "c") as (folder, one):
        (folder / "d").write_text("1")
        one.write_text("2")
    assert names(tmp_path) == {"a", "c"}
    with pytest.raises(UsageError, match="a exists already"), outputs(b, a, overwrite=False):
        pytest.fail("begun")
    assert names(tmp_path) == {"a", "c"}


def test_exports_of_two_formats_do_not_share_a_description(tmp_path):
    assert card_path(tmp_path / "a.tflite", "litert") == tmp_path / "a.json"
    assert card_path(tmp_path / "a", "saved_model") == tmp_path / "a.json"
    (tmp_path / "a.json").write_text('{"format": "litert"}')
    assert card_path(tmp_path / "a.tflite", "litert") == tmp_path / "a.json"
    assert card_path(tmp_path / "a.onnx", "onnx") == tmp_path / "a.onnx.json"
    assert card_path(tmp_path / "a", "saved_model") == tmp_path / "a.saved_model.json"
    assert card_path(tmp_path / "b.v2", "saved_model") == tmp_path / "b.v2.json"
    (tmp_path / "a.json").write_text("[]")  # none of ours: it stands in the way, which is told
    assert card_path(tmp_path / "a.onnx", "onnx") == tmp_path / "a.json"


@pytest.mark.parametrize("failing", ["a", "b", "c", "f"])
@pytest.mark.parametrize("links", [True, False])
def test_all_or_none_where_one_cannot_take_its_place(tmp_path, monkeypatch, failing, links):
    a, b, c = (tmp_path / name for name in "abc")
    (tmp_path / "f").mkdir()
    for path in (a, b, tmp_path / "f" / "mark"):
        path.write_text("old")

    def moved(move):
        def replace(source, target, *rest):
            if Path(target).name == failing and (Path(source) / "mark").exists() == (
                failing == "f"
            ):
                monkeypatch.undo()  # what stood there may come back
                raise PermissionError(13, "Permission denied")
            return move(source, target, *rest)

        return replace

    if not links:
        monkeypatch.setattr(os, "link", lambda *paths: os.stat(tmp_path / "nothing"))
    monkeypatch.setattr(os, "replace", moved(os.replace))
    monkeypatch.setattr(os, "rename", moved(os.rename))
    with (
        pytest.raises(UsageError, match=f"cannot write .*{failing}: Permission denied"),
        outputs(a, b, c, overwrite=True, folder=tmp_path / "f", mark="mark") as (folder, *paths),
    ):
        (folder / "mark").write_text("new")
        for path in paths:
            path.write_text("new")
    assert names(tmp_path) == {"a", "b", "f"}
    assert {path.read_text() for path in (a, b, tmp_path / "f" / "mark")} == {"old"}


def test_a_folder_in_the_place_of_a_file_is_refused_before_the_work(tmp_path):
    (tmp_path / "a").mkdir()
    for overwrite in (False, True):
        with (
            pytest.raises(UsageError, match="a is a folder: choose"),
            outputs(tmp_path / "a", tmp_path / "b", overwrite=overwrite),
        ):
            pytest.fail("begun")
    assert names(tmp_path) == {"a"}


@pytest.mark.parametrize("content", ['{"my": "data"}', "[]", '{"format": "A4"}', "no JSON"])
def test_what_is_no_description_is_not_replaced_by_one(tmp_path, content):
    card = tmp_path / "a.json"
    card.write_text(content)
    with (
        pytest.raises(UsageError, match="a.json exists already and is no description"),
        outputs(tmp_path / "a.onnx", card, overwrite=True),
    ):
        pytest.fail("begun")
    assert card.read_text() == content
    card.write_text('{"format": "onnx"}')
    with outputs(tmp_path / "a.onnx", card, overwrite=True):
        pass


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="nothing is locked on Windows")
def test_a_second_export_is_refused_and_a_killed_one_leaves_nothing(tmp_path):
    other = subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert other.stdout.readline() == b"at work\n"
        message = f"in use by mspfn export, process {other.pid} on "
        with pytest.raises(UsageError, match=message), outputs(tmp_path / "b", overwrite=True):
            pytest.fail("begun")
    finally:
        other.kill()
        other.communicate()
    assert any(name.startswith(".partial-") for name in names(tmp_path))
    with outputs(tmp_path / "b", overwrite=True) as (path,):
        path.write_text("whole")
    assert names(tmp_path) == {"b"}
