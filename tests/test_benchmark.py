import json

import pytest

from mspfn_tf.cli import main
from mspfn_tf.export.benchmark import benchmark
from mspfn_tf.export.litert import convert
from mspfn_tf.export.outputs import card_path
from mspfn_tf.runtimes.openvino import computes_bfloat16
from mspfn_tf.weights_file import save_weights
from tests.export_models import PHONE, small_model

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "small.weights.h5"
    save_weights(small_model(**PHONE), path)
    return path


def test_measures_each_format(weights, tmp_path, capsys):
    output = tmp_path / "rows.json"
    formats = ["keras", "litert_float32", "litert_int8", "onnx", "openvino"]
    formats += ["openvino_bfloat16"] * computes_bfloat16()
    arguments = ["benchmark", "--model", str(weights), "--image_size", "32x32", "--threads", "1"]
    for name in formats:
        arguments += ["--format", name]
    assert main([*arguments, "--output", str(output)]) == 0

    found = json.loads(output.read_text())
    rows = {row["format"]: row for row in found["rows"]}
    assert list(rows) == formats
    assert found["machine"]["cores"] >= 1
    for row in rows.values():
        assert row["parameters"] == small_model(**PHONE).count_params()
        assert row["image_size"] == [32, 32]
        assert row["median_ms"] >= row["fastest_ms"] > 0
        assert row["gmacs"] == pytest.approx(row["multiply_adds"] / 1e6 / row["median_ms"])
        assert row["bytes"] > 10_000
    # What LiteRT needs is far from what TensorFlow needs, and each is measured for itself.
    assert rows["litert_float32"]["peak_mb"] < rows["keras"]["peak_mb"] / 3
    printed = capsys.readouterr().out
    assert "median ms" in printed
    assert all(name in printed for name in formats)


def test_a_processor_without_bfloat16_is_left_out(weights, monkeypatch):
    monkeypatch.setattr("mspfn_tf.runtimes.openvino.computes_bfloat16", lambda: False)
    (row,) = benchmark(weights, (32, 32), [1], ["openvino_bfloat16"])
    assert row["left_out"] == "a processor with instructions for bfloat16"


def test_measures_a_tflite_file_as_it_is(weights, tmp_path):
    from mspfn_tf.model_files import load_model

    path = tmp_path / "small.tflite"
    path.write_bytes(convert(load_model(weights), (40, 48)))
    (row,) = benchmark(path, threads=[2])
    assert row["image_size"] == [40, 48]
    assert row["threads"] == 2
    assert row["multiply_adds"] is None
    assert "gmacs" not in row
    assert row["median_ms"] > 0


@pytest.mark.parametrize("others", [None, "onnx"])
@pytest.mark.parametrize("name", ["small.tflite", "small_uint8.tflite"])
def test_the_description_beside_a_file_is_read(tmp_path, name, others):
    if others is not None:  # took the name before
        (tmp_path / "small.json").write_text(json.dumps({"format": others, "parameters": 5}))
    path = tmp_path / "small.tflite"
    card = {"format": "litert", "quantization": "none", "parameters": 7, "multiply_adds": 2e6}
    card_path(path, "litert").write_text(json.dumps(card))
    (tmp_path / name).write_bytes(convert(small_model(**PHONE), (16, 16)))
    (row,) = benchmark(tmp_path / name, threads=[1])
    assert row["parameters"] == 7
    assert row["gmacs"] == pytest.approx(2 / row["median_ms"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "mspfn_giant"], "unknown preset"),
        (["--model", "nowhere.weights.h5"], "no model file"),
        (["--model", "nowhere.tflite"], "no model file"),
        (["--preset", "mspfn_nano", "--threads", "0"], "at least 1"),
        (["--preset", "mspfn_nano", "--format", "gguf"], "gguf"),
        (["--preset", "mspfn_nano", "--image_size", "30x32"], "multiples of 8"),
    ],
)
def test_refuses(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["benchmark", *arguments, "--output", "rows.json"]) == 2
    printed = capsys.readouterr()
    assert message in printed.err and not printed.out
    assert not any(tmp_path.iterdir())


def test_speed_prints_the_network_beside_sgemm(tmp_path, capsys):
    from benchmarks import speed

    output = tmp_path / "speed.json"
    options = ["--preset", "mspfn_nano", "--image_size", "32x32", "--runs", "1"]
    assert speed.main([*options, "--sgemm_side", "64", "--output", str(output)]) == 0
    figures = json.loads(output.read_text())
    assert len(figures["sgemm_gmacs"]) == 2
    assert figures["mspfn_nano"]["gmacs"] > 0
    assert "mspfn_nano" in capsys.readouterr().out
