"""Where exports write: one at a time, all files or none, and nothing of killed ones stays."""

import subprocess
import sys
from pathlib import Path

import pytest

from mspfn_tf.errors import UsageError
from mspfn_tf.export.outputs import outputs

ROOT = Path(__file__).resolve().parent.parent
HOLDER = """\
import sys
from pathlib import Path
from mspfn_tf.export.outputs import outputs
with outputs(Path(sys.argv[1], "a.onnx"), format="onnx", overwrite=True) as (path,):
    path.write_text("half")
    print("at work", flush=True)
    sys.stdin.read()
"""


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_all_or_none(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    form = {"format": "onnx", "overwrite": False}
    with (
        pytest.raises(ZeroDivisionError),
        outputs(a, b, format="onnx", overwrite=False) as (one, other),
    ):
        one.write_text("1")
        other.write_text("2")
        raise ZeroDivisionError
    assert not names(tmp_path)
    with outputs(a, **form, folder=tmp_path / "c") as (folder, one):
        (folder / "d").write_text("1")
        one.write_text("2")
    assert names(tmp_path) == {"a", "c"}
    with (
        pytest.raises(UsageError, match="a exists already"),
        outputs(b, a, format="onnx", overwrite=False),
    ):
        pytest.fail("begun")
    assert names(tmp_path) == {"a", "c"}


def test_exports_of_two_formats_do_not_share_a_description(tmp_path):
    card = tmp_path / "a.json"
    with outputs(card, format="litert", overwrite=False) as (path,):
        path.write_text('{"format": "litert"}')
    for overwrite in (False, True):
        message = "a.json describes an export of the format litert: choose another name"
        other = outputs(card, format="onnx", overwrite=overwrite)
        with pytest.raises(UsageError, match=message), other:
            pytest.fail("begun")
    with outputs(card, format="litert", overwrite=True) as (path,):
        path.write_text("again")


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
        with (
            pytest.raises(UsageError, match=message),
            outputs(tmp_path / "b", format="onnx", overwrite=True),
        ):
            pytest.fail("begun")
    finally:
        other.kill()
        other.communicate()
    assert any(name.startswith(".partial-") for name in names(tmp_path))
    with outputs(tmp_path / "b", format="onnx", overwrite=True) as (path,):
        path.write_text("whole")
    assert names(tmp_path) == {"b"}
