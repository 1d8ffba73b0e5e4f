import json

import numpy as np
import pytest

from mspfn_tf.cli import main
from mspfn_tf.export import verification
from mspfn_tf.export.calibration import Patch
from mspfn_tf.weights_file import save_weights
from tests.export_models import PHONE, small_model, write_pairs

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    save_weights(small_model(**PHONE), folder / "small.weights.h5")
    return folder / "small.weights.h5", write_pairs(folder / "pairs")


@pytest.fixture
def command(files, tmp_path, monkeypatch):
    weights, pairs = files
    monkeypatch.chdir(tmp_path)

    def run(*options, output="out.tflite", model=str(weights), calibration=str(pairs)):
        return main(
            ["export", "--format", "litert", "--output", output, "--calibration", calibration]
            + (["--model", model] if model else [])
            + list(options)
        )

    return run


def test_exports_and_says_what(command, tmp_path, capsys):
    assert command("--image_size", "32x48", "--quantize", "float16") == 0
    printed = capsys.readouterr().out
    assert "out.tflite: float32 pictures" in printed
    assert "largest difference" in printed
    assert json.loads((tmp_path / "out.json").read_text())["quantization"] == "float16"


def test_status_1_for_what_falls_short(command, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(verification.BOUNDS, "none", {"agreement_db": 200.0})
    assert command("--image_size", "32x32") == 1
    assert "expected at least 200" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())
    assert command("--image_size", "32x32", "--force") == 0
    assert "kept although" in capsys.readouterr().err
    assert json.loads((tmp_path / "out.json").read_text())["forced"]


@pytest.mark.parametrize(
    ("options", "arguments", "message"),
    [
        (["--preset", "mspfn_giant"], {"model": None}, "unknown preset"),
        (["--image_size", "30x32"], {}, "multiples of 8"),
        ([], {"calibration": "empty"}, "no pictures"),
        ([], {"output": "out.txt"}, "must end in .tflite"),
        ([], {"output": "there.tflite"}, "--overwrite"),
        ([], {"output": "there.tflite/out.tflite"}, "cannot write"),
        ([], {"model": "nowhere.weights.h5"}, "no model file"),
        (["--format", "saved_model", "--quantize", "int8"], {"output": "out"}, "is float32"),
        (["--format", "saved_model", "--image_size", "8x8"], {"output": "out"}, "any size"),
    ],
)
def test_status_2_for_wrong_usage(command, tmp_path, capsys, options, arguments, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "there.tflite").touch()
    before = sorted(tmp_path.rglob("*"))
    assert command(*options, **arguments) == 2
    assert message in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("text", ["256", "256x", "axb", "256x256x3", "-8x8"])
def test_sizes_of_another_form(command, text, capsys):
    with pytest.raises(SystemExit) as stopped:
        command(f"--image_size={text}")
    assert stopped.value.code == 2
    assert "HxW" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["none", "dynamic"])
def test_a_value_that_is_no_number_falls_short_in_any_picture(kind):
    patches = [Patch(np.full((8, 8, 3), level, np.uint8)) for level in (10, 20, 30)]
    expected = [patch.batch for patch in patches]
    bounds = verification.BOUNDS[kind]
    assert verification.compare(expected, expected, patches, bounds)["problems"] == []
    for number in range(3):
        found = [picture.copy() for picture in expected]
        found[number][0, 3, 3, 1] = np.nan
        assert verification.compare(expected, found, patches, bounds)["problems"]
