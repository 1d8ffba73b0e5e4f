import json

import pytest

from mspfn_tf import presets
from mspfn_tf.errors import UsageError
from mspfn_tf.files import sha256
from mspfn_tf.model_files import load_model
from mspfn_tf.weights_file import save_weights
from tests.export_models import PHONE, small_model, write_pairs
from tools import release

pytestmark = pytest.mark.slow


# Of few layers: it is converted into nine files.
SMALL = {"width": 8, "blocks": 1, "rcabs": (1, 0, 0), "hidden": None, **PHONE}
SMALL["attention"] = "picture"


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """An empty folder of shipped weights, a preset of a small network, and weights of it."""
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setattr(presets, "WEIGHTS", folder)
    monkeypatch.setitem(presets.PRESETS["mspfn_nano"], "arguments", SMALL)
    monkeypatch.setitem(presets.PRESETS["mspfn_nano"], "weights", None)
    weights = tmp_path / "trained.weights.h5"
    save_weights(small_model(**SMALL), weights)
    return folder, weights, write_pairs(tmp_path / "pairs")


def test_ships_weights_and_scores(shipped, tmp_path, capsys):
    folder, weights, pairs = shipped
    training = tmp_path / "training.json"
    training.write_text(json.dumps({"training_data": "made-up rain", "steps": 3}))
    options = ["--weights", str(weights), "--training", str(training), "--image_size", "40x48"]
    assert release.main(["mspfn_nano", *options, "--calibration", str(pairs)]) == 0

    card = json.loads((folder / "mspfn_nano.json").read_text())
    assert card["training"]["steps"] == 3
    entry = card["weights"]
    assert entry["training_data"] == "made-up rain"
    assert entry["sha256"] == sha256(folder / entry["file"])
    half, single = entry["tflite"], entry["tflite_float32"]
    for lite in (half, single):
        assert lite["sha256"] == sha256(folder / lite["file"])
        assert lite["image_size"] == [40, 48]
    # The weights are float16 in either: in half the bytes, or unpacked already.
    assert (half["quantization"], single["quantization"]) == ("float16", "none")
    assert (folder / half["file"]).stat().st_size < (folder / single["file"]).stat().st_size
    graph, weights_of_graph = entry["openvino"], entry["openvino_weights"]
    others = [entry[key] for key in ("tflite_tiles", "tflite_int8", "tflite_int8_tiles")]
    for file in (graph, weights_of_graph, *others):
        assert file["sha256"] == sha256(folder / file["file"])
    assert [file["quantization"] for file in others] == ["float16", "int8", "int8"]
    assert all(file["parity"]["agreement_db"] > 38 for file in others[1:])
    assert graph["parity"]["max_error"] < 1e-5
    assert sorted(path.name for path in folder.iterdir()) == [
        "mspfn_nano.bin",
        "mspfn_nano.float32.tflite",
        "mspfn_nano.int8.tflite",
        "mspfn_nano.int8.tiles.tflite",
        "mspfn_nano.json",
        "mspfn_nano.tflite",
        "mspfn_nano.tiles.tflite",
        "mspfn_nano.weights.h5",
        "mspfn_nano.xml",
    ]
    # Stored in half the bytes, loaded as float32.
    assert (folder / entry["file"]).stat().st_size < weights.stat().st_size
    assert load_model(folder / entry["file"]).count_params() == load_model(weights).count_params()

    scores = tmp_path / "scores.json"
    measured = {
        "weights_sha256": entry["sha256"],
        "protocol": "matlab_y",
        "count": 2,
        "input": {"psnr": 20.0, "ssim": 0.7},
        "output": {"psnr": 25.0, "ssim": 0.8},
        "output_rgb": {"psnr": 24.0, "ssim": 0.8},
    }
    scores.write_text(json.dumps(measured))
    assert release.main(["mspfn_nano", "--scores", f"Rain800={scores}"]) == 0
    card = json.loads((folder / "mspfn_nano.json").read_text())
    assert card["scores"]["Rain800"]["psnr"] == 25.0
    assert card["weights"] == entry

    scores.write_text(json.dumps({**measured, "weights_sha256": "0" * 64}))
    capsys.readouterr()
    assert release.main(["mspfn_nano", "--scores", f"Rain800={scores}"]) == 2
    assert "other weights" in capsys.readouterr().err


def test_refuses_weights_of_another_network(shipped, tmp_path):
    folder, _, pairs = shipped
    other = tmp_path / "other.weights.h5"
    save_weights(small_model(**{**SMALL, "hidden": (2, 2, 2)}), other)
    with pytest.raises(UsageError, match="hidden"):
        release.ship_weights("mspfn_nano", other, (32, 32), calibration=pairs)
    assert not any(folder.iterdir())
