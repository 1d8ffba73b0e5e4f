"""Where exports write: one at a time, all files or none, and nothing of killed ones stays."""

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
