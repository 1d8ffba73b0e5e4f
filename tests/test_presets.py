"""What ships is what was built, and says so."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mspfn_tf
from mspfn_tf import presets
from mspfn_tf.cli import main

ROOT = Path(mspfn_tf.__file__).resolve().parent


def test_verify(capsys):
    assert main(["info", "--verify"]) == 0
    lines = capsys.readouterr().out.splitlines()
    shipped = [preset["weights"] for preset in presets.PRESETS.values() if preset["weights"]]
    lite = ("tflite", "tflite_float32", "tflite_tiles", "tflite_int8", "tflite_int8_tiles")
    kinds = (*lite, "openvino", "openvino_weights")
    files = [entry["file"] for one in shipped for entry in (one, *(one[kind] for kind in kinds))]
    assert [line.split()[1] for line in lines[:-1]] == files
    assert lines[-1] == f"{len(files)} files are as they were shipped, 0 are not"


@pytest.mark.parametrize("verb", ["info", "export --format litert --output x.tflite", "benchmark"])
def test_a_folder_is_no_preset(tmp_path, capsys, verb):
    assert main([*verb.split(), "--preset", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert f"unknown preset '{tmp_path}'" in said and f"give --model {tmp_path}" in said
    assert "directory" not in said  # what it was, and was refused


def test_verify_names_what_was_changed(tmp_path, monkeypatch, capsys):
    shutil.copytree(presets.WEIGHTS, tmp_path / "weights")
    monkeypatch.setattr(presets, "WEIGHTS", (tmp_path / "weights").resolve())
    changed = sorted((tmp_path / "weights").glob("*.weights.h5"))[0]
    content = bytearray(changed.read_bytes())
    content[len(content) // 2] ^= 1
    changed.write_bytes(content)
    missing = sorted((tmp_path / "weights").glob("*.tflite"))[0]
    missing.unlink()
    assert main(["info", "--verify"]) == 1
    said = capsys.readouterr()
    assert f"{changed} is damaged or was changed" in said.err
    assert f"cannot read {missing}" in said.err
    assert "2 are not" in said.out


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"weights": 3}',
        b'{"weights": {"file": "../../evil.h5", "sha256": "0"}}',
        b'{"weights": {"file": 3, "sha256": "0"}}',
        b'{"weights": null, "scores": {"Rain100H": {"psnr": "high", "ssim": 1}}}',
        b'{"weights": null, "scores": {"Rain100H": null}}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_card_is_a_message(tmp_path, content):
    """The package is imported from a copy, as the cards are read at import."""
    package = tmp_path / "mspfn_tf"
    shutil.copytree(ROOT, package, ignore=shutil.ignore_patterns("__pycache__", "*.h5", "*.tflite"))
    name = next(name for name, preset in presets.PRESETS.items() if preset["weights"])
    (package / "weights" / f"{name}.json").write_bytes(content)

    def mspfn(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "mspfn_tf", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    listed = mspfn("info")
    assert listed.returncode == 0, listed.stderr
    assert f"{name}.json is damaged" in listed.stderr and "Traceback" not in listed.stderr
    verified = mspfn("info", "--verify")
    assert verified.returncode == 1 and f"{name}.json is damaged" in verified.stderr


def test_weights_of_a_damaged_card_are_not_looked_for(monkeypatch):
    name = next(iter(presets.PRESETS))
    monkeypatch.setitem(presets.damaged_cards, name, "card.json is damaged: install again")
    with pytest.raises(ValueError, match="card.json is damaged"):
        presets.weights_path(name)


def test_cards_are_whole():
    assert presets.damaged_cards == {}
    for name, preset in presets.PRESETS.items():
        if preset["weights"]:
            card = json.loads((presets.WEIGHTS / f"{name}.json").read_text())
            assert card["weights"]["sha256"] == preset["weights"]["sha256"]
