import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import mspfn_tf
from mspfn_tf import metrics
from mspfn_tf.cli import main
from mspfn_tf.files import locked, sha256
from mspfn_tf.pictures import read_rgb
from mspfn_tf.weights_file import save_weights
from tests.shared_data import shared

DUMMY_RAIN800 = Path(__file__).resolve().parents[1] / "datasets/rain800/dummy_data"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A file of the least model of which tiles, turns and crops change the result."""
    inputs = keras.Input((None, None, 3))
    mean = keras.layers.GlobalAveragePooling2D(keepdims=True)(inputs)
    edges = keras.layers.DepthwiseConv2D(3, padding="same", depthwise_initializer="ones")(inputs)
    outputs = keras.layers.Subtract()([edges * 0.15, mean * 0.3])
    path = tmp_path_factory.mktemp("model") / "small.keras"
    keras.Model(inputs, outputs).save(path)
    return path


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A small network of this package as a weights file."""
    keras.utils.set_random_seed(0)
    path = tmp_path_factory.mktemp("network") / "small.weights.h5"
    save_weights(mspfn_tf.MSPFN(width=4, blocks=1, rcabs=(1, 1, 1), hidden=(4, 4, 4)), path)
    return path


@pytest.fixture
def pairs(tmp_path):
    """Three pairs of unusual sizes, named as those of Rain100H."""
    random = np.random.default_rng(0)
    for number, shape in ((1, (16, 24, 3)), (2, (29, 19, 3)), (3, (17, 17, 3))):
        clean = random.integers(0, 200, shape).astype(np.uint8)
        for path, picture in (
            (f"input/rain-00{number}.png", clean + np.uint8(30)),
            (f"target/norain-00{number}.png", clean),
        ):
            path = tmp_path / "pairs" / path
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(path)
    return tmp_path / "pairs"


def evaluate(*arguments):
    return main(["evaluate", *map(str, arguments)])


def read(output):
    return json.loads((output / "scores.json").read_text())


@pytest.mark.slow
def test_evaluates_a_folder_of_pairs(pairs, network, tmp_path, capsys):
    assert evaluate("--pairs", pairs, "--model", network, "--output", tmp_path / "out") == 0
    scores = read(tmp_path / "out")
    assert scores["model"] == "small.weights.h5"
    assert scores["weights_sha256"] == sha256(network)
    assert scores["configuration"]["tile"] == "whole"
    assert scores["versions"].keys() >= {"keras", "tensorflow"}
    assert [image["name"] for image in scores["images"]] == ["rain-001", "rain-002", "rain-003"]
    restore = mspfn_tf.Restorer(network)
    for number, image in enumerate(scores["images"], 1):
        rainy = np.asarray(Image.open(pairs / f"input/rain-00{number}.png"))
        clean = np.asarray(Image.open(pairs / f"target/norain-00{number}.png"))
        assert image["psnr"] == pytest.approx(metrics.psnr(clean, restore(rainy)), abs=1e-6)
    text = capsys.readouterr().out
    assert f"rainy input  matlab_y  {scores['input']['psnr']:.3f} / " in text
    assert f"output       rgb       {scores['output_rgb']['psnr']:.3f} / " in text


@pytest.mark.filterwarnings("ignore:.*cannot be given the statistics")
def test_tiles_ensemble_and_crop_reach_the_restorer(pairs, model, tmp_path):
    common = ("--pairs", pairs, "--model", model)
    options = ("--tile", 16, "--overlap", 8, "--ensemble", 8, "--crop_multiple", 8)
    assert evaluate(*common, "--output", tmp_path / "out", *options) == 0
    scores = read(tmp_path / "out")
    configuration = scores["configuration"]
    assert [configuration[key] for key in ("tile", "overlap", "ensemble", "crop_multiple")] == [
        16,
        8,
        8,
        8,
    ]
    rainy = np.asarray(Image.open(pairs / "input/rain-002.png"))[:24, :16]
    clean = np.asarray(Image.open(pairs / "target/norain-002.png"))[:24, :16]
    restored = mspfn_tf.Restorer(model, tile=16, overlap=8, ensemble=8)(rainy)
    assert scores["images"][1]["psnr"] == pytest.approx(metrics.psnr(clean, restored), abs=1e-6)
    # The folder stays that of its configuration.
    assert evaluate(*common, "--output", tmp_path / "out") == 2


def test_scores_are_those_of_what_people_get(pairs, model, tmp_path):
    """`mspfn evaluate` and `mspfn restore` give the same pixels."""
    assert evaluate("--pairs", pairs, "--model", model, "--output", tmp_path / "out") == 0
    restored = tmp_path / "restored"
    assert (
        main(["restore", str(pairs / "input"), "--model", str(model), "--output", str(restored)])
        == 0
    )
    for image in read(tmp_path / "out")["images"]:
        clean = read_rgb(pairs / "target" / f"no{image['name']}.png")
        derained = read_rgb(restored / f"{image['name']}.png")
        assert image["psnr"] == pytest.approx(metrics.psnr(clean, derained), abs=1e-6)


def test_changed_pictures_are_noticed(pairs, model, tmp_path, capsys, monkeypatch):
    command = ("--model", model, "--output", tmp_path / "out")
    assert evaluate("--pairs", pairs, *command) == 0
    first = read(tmp_path / "out")
    monkeypatch.chdir(pairs.parent)  # another spelling of the same folder is the same
    assert evaluate("--pairs", f"./{pairs.name}", *command) == 0
    assert read(tmp_path / "out") == first
    # The same sizes, other pixels.
    path = pairs / "input/rain-002.png"
    Image.fromarray(255 - read_rgb(path)).save(path)
    assert evaluate("--pairs", pairs, *command) == 2
    assert "another configuration: files" in capsys.readouterr().err


def test_a_folder_named_like_a_preset_is_not_the_preset(pairs, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mspfn_nano").mkdir()
    assert evaluate("--pairs", pairs, "--preset", "mspfn_nano", "--output", "out") == 0
    scores = read(Path("out"))
    assert scores["model"] == "mspfn_nano"
    assert scores["weights_sha256"] == mspfn_tf.PRESETS["mspfn_nano"]["weights"]["sha256"]
    assert scores["configuration"]["runtime"] == "litert"


def test_two_at_once_are_refused(pairs, model, tmp_path, capsys):
    with locked(tmp_path / "out", "evaluate"):
        assert evaluate("--pairs", pairs, "--model", model, "--output", tmp_path / "out") == 2
    assert f"in use by mspfn evaluate, process {os.getpid()}" in capsys.readouterr().err


def test_a_damaged_partial_file_is_named(pairs, model, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/partial.jsonl").write_text('{"a": 1\n[]\n')
    assert evaluate("--pairs", pairs, "--model", model, "--output", tmp_path / "out") == 2
    assert "partial.jsonl is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("file_format", ["array_record", "tfrecord"])
def test_evaluates_a_prepared_dataset(model, tmp_path, file_format):
    data = tmp_path / "data"
    prepare = ["prepare", "rain800", "--manual_dir", str(DUMMY_RAIN800), "--data_dir", str(data)]
    assert main([*prepare, "--allow_incomplete", "--file_format", file_format]) == 0
    command = ("--dataset", "rain800", "--split", "test", "--data_dir", data, "--model", model)
    assert evaluate(*command, "--output", tmp_path / "out") == 0
    scores = read(tmp_path / "out")
    assert scores["configuration"]["dataset"] == "rain800"
    assert scores["configuration"]["split"] == "test"
    assert scores["count"] == 2
    expected = []
    for path in sorted(DUMMY_RAIN800.glob("rain/test_syn/*.jpg")):
        both = np.asarray(Image.open(path))  # left clean, right rainy
        clean, rainy = np.split(both[:, : both.shape[1] // 2 * 2], 2, axis=1)
        expected.append(metrics.psnr(clean, rainy))
    found = sorted(image["input_psnr"] for image in scores["images"])
    assert found == pytest.approx(sorted(expected), abs=1e-6)


def test_evaluates_a_tflite_model_without_tensorflow(pairs, tmp_path):
    import tensorflow as tf

    inputs = keras.Input((24, 24, 3), batch_size=1)
    network = keras.Model(inputs, keras.layers.Rescaling(0.9)(inputs))
    path = tmp_path / "small.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(network).convert())
    command = ["evaluate", "--pairs", pairs, "--model", path, "--output", tmp_path / "out"]
    result = subprocess.run(
        [sys.executable, "-m", "mspfn_tf", *map(str, command), "--overlap", "8"],
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    scores = read(tmp_path / "out")
    assert scores["command"].startswith("mspfn evaluate --pairs ")
    assert scores["configuration"]["runtime"] == "litert"
    assert "ai-edge-litert" in scores["versions"]
    assert not {"tensorflow", "keras"} & scores["versions"].keys()
    rainy = np.asarray(Image.open(pairs / "input/rain-001.png"))
    clean = np.asarray(Image.open(pairs / "target/norain-001.png"))
    darker = np.rint(rainy * np.float32(0.9)).astype(np.uint8)
    assert scores["images"][0]["psnr"] == pytest.approx(metrics.psnr(clean, darker), abs=0.02)


def test_pairs_that_fail_are_named_and_counted(pairs, model, tmp_path, capsys):
    (pairs / "input/rain-002.png").write_bytes(b"no picture")
    assert evaluate("--pairs", pairs, "--model", model, "--output", tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert "failed: rain-002" in error
    assert "2 scored, 1 failed" in error
    assert read(tmp_path / "out")["count"] == 2


def test_a_pair_that_is_a_link_to_nothing_fails_alone(pairs, model, tmp_path, capsys):
    os.remove(pairs / "input/rain-001.png")
    (pairs / "input/rain-001.png").symlink_to(tmp_path / "not there.png")
    assert evaluate("--pairs", pairs, "--model", model, "--output", tmp_path / "out") == 1
    assert "input/rain-001.png: no such file" in capsys.readouterr().err
    assert [failure["name"] for failure in read(tmp_path / "out")["failed"]] == ["rain-001"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--preset", "nonsense"), "unknown preset 'nonsense'"),
        (("--strength", "2"), "strength must lie in"),
        (("--model", "missing.keras"), "missing.keras: no such file"),
        (("--model", "mspfn_nano"), "Did you mean --preset mspfn_nano?"),
        (("--model", "hf://owner"), "expected hf://owner/name"),
        (("--preset", "mspfn"), "choose --preset mspfn_mobile"),
        (("--split", "test"), "--split goes with --dataset"),
        (("--tile", "12"), "tile must be a multiple of 8"),
    ],
)
def test_wrong_usage_writes_nothing(pairs, model, tmp_path, capsys, arguments, message):
    if "--preset" not in arguments and "--model" not in arguments:
        arguments = ("--model", model, *arguments)
    assert evaluate("--pairs", pairs, "--output", tmp_path / "out", *arguments) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("verb", ["evaluate", "bulk"])
def test_the_output_is_no_folder_of_inputs(pairs, model, capsys, verb):
    output = pairs / "input/scores"
    command = [verb, "--pairs", pairs, "--model", model, "--output", output]
    assert main([*map(str, command), *(["--local"] if verb == "bulk" else [])]) == 2
    assert "is within the input folder" in capsys.readouterr().err
    assert not output.exists()


def test_dataset_needs_split_and_folder(tmp_path, capsys):
    assert evaluate("--dataset", "rain800", "--output", tmp_path / "out") == 2
    assert "--dataset needs --split" in capsys.readouterr().err
    whole = ("--dataset", "rain800", "--split", "test", "--data_dir", tmp_path)
    assert evaluate(*whole, "--allow_unmatched", "--output", tmp_path / "out") == 2
    assert "--allow_unmatched goes with --pairs" in capsys.readouterr().err


def test_unmatched_pairs_fail_unless_allowed(pairs, model, tmp_path, capsys):
    (pairs / "target/norain-002.png").unlink()
    common = ("--pairs", pairs, "--model", model, "--output", tmp_path / "out")
    assert evaluate(*common) == 2
    assert "rain-002.png: no target" in capsys.readouterr().err
    assert evaluate(*common, "--allow_unmatched") == 0
    assert read(tmp_path / "out")["count"] == 2


def test_the_input_of_a_published_test_set(model, tmp_path):
    """Four pictures of Rain100H: the rainy input scores what it does without this command."""
    source = shared("data/Rain100H")
    for part in ("input", "target"):
        (tmp_path / part).mkdir()
        for number in range(1, 101, 25):
            (tmp_path / part / f"{number}.png").symlink_to(source / part / f"{number}.png")
    assert evaluate("--pairs", tmp_path, "--model", model, "--output", tmp_path / "out") == 0
    expected = [
        metrics.psnr(
            read_rgb(source / f"target/{number}.png"), read_rgb(source / f"input/{number}.png")
        )
        for number in range(1, 101, 25)
    ]
    assert read(tmp_path / "out")["input"]["psnr"] == pytest.approx(np.mean(expected), abs=1e-5)
