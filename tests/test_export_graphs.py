"""ONNX and OpenVINO files: written, checked, run, refused."""

import configparser
import json
import shutil
import sys
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import openvino
import pytest

from mspfn_tf.cli import main
from mspfn_tf.errors import UsageError
from mspfn_tf.export import VerificationError, export_onnx, export_openvino, verification
from mspfn_tf.export.description import open_source
from mspfn_tf.restorer import Restorer
from mspfn_tf.runtimes import Runtime, open_runtime
from mspfn_tf.weights_file import save_weights
from tests.export_models import PHONE, small_model, write_pairs

pytestmark = pytest.mark.slow


EXPORTS = {".onnx": export_onnx, ".xml": export_openvino}
NETWORKS = {
    "picture": {**PHONE, "attention": "picture"},
    # Twelve statistics: in the order of texts, 10 is before 2.
    "block": {**PHONE, "blocks": 4, "hidden": (8, 8, 8)},
}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("pictures") / "pairs")


@pytest.fixture(scope="module")
def exported(pairs, tmp_path_factory):
    """A function that returns (model, path, description), each made once."""
    made = {}

    def make(network, suffix):
        if (network, suffix) not in made:
            model = small_model(**NETWORKS[network])
            path = tmp_path_factory.mktemp("exported") / f"net{suffix}"
            made[network, suffix] = model, path, EXPORTS[suffix](model, path, calibration=pairs)
        return made[network, suffix]

    return make


@pytest.mark.parametrize("suffix", EXPORTS)
@pytest.mark.parametrize("network", NETWORKS)
def test_restores_whole_and_in_tiles_as_keras_does(exported, network, suffix):
    model, path, description = exported(network, suffix)
    assert description == json.loads(path.with_suffix(".json").read_text())
    assert description["verified"]
    assert description["parity"]["guided_max_error"] < 1e-5
    # Far from black and white: files clip each tile, Keras models do not.
    rainy = np.random.default_rng(3).integers(100, 156, (90, 141, 3), np.uint8)
    for tile in (None, 48):
        expected = Restorer(model, tile=tile, overlap=16)(rainy).astype(int)
        found = Restorer(path, tile=tile, overlap=16)(rainy)
        assert np.abs(found - expected).max() <= 1  # a value at a half may round either way
    runtime = open_runtime(path)
    assert runtime.statistics == ("given" if network == "picture" else "iterated")
    assert runtime.needs_statistics
    # Not the guess for files of which nothing is known: this network works on a few channels.
    assert 64 <= runtime.bytes_per_pixel < 1000 < Runtime.bytes_per_pixel


def test_the_onnx_file_is_plain(exported):
    _, path, description = exported("block", ".onnx")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (rainy,), (derained,) = session.get_inputs(), session.get_outputs()
    assert (rainy.name, rainy.type, rainy.shape[1]) == ("rainy", "tensor(float)", 3)
    assert (derained.name, derained.type) == ("derained", "tensor(float)")
    assert rainy.shape == derained.shape == description["input"]["shape"]
    noise = np.random.default_rng(0).random((2, 3, 32, 40), np.float32)
    (found,) = session.run(None, {"rainy": noise})
    assert found.shape == noise.shape
    assert found.min() >= 0 and found.max() <= 1
    kinds = {entry.domain for entry in onnx.load(path).opset_import}
    assert kinds <= {"", "ai.onnx.ml"}


@pytest.mark.parametrize("network", NETWORKS)
def test_opencv_derains_sizes_of_all_kinds(exported, network):
    cv2 = pytest.importorskip("cv2", minversion="5.0")
    _, path, _ = exported(network, ".onnx")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for height, width in ((8, 8), (16, 16), (24, 40), (48, 40), (56, 96), (64, 96)):
        rainy = np.random.default_rng(3).random((1, 3, height, width), np.float32)
        (expected,) = session.run(None, {"rainy": rainy})
        net = cv2.dnn.readNetFromONNX(str(path))
        net.setInput(rainy)
        assert np.abs(net.forward() - expected).max() < 1e-5


def test_openvino_finds_input_and_output_by_their_names(exported):
    _, path, description = exported("picture", ".xml")
    assert (description["input"]["name"], description["output"]["name"]) == ("rainy", "derained")
    network = openvino.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    rainy = np.random.default_rng(0).random((40, 48, 3), np.float32)
    derained = network({"rainy": rainy.transpose(2, 0, 1)[None]})["derained"]
    assert np.abs(derained[0].transpose(1, 2, 0) - Restorer(path)(rainy)).max() < 1e-6


@pytest.mark.parametrize("suffix", EXPORTS)
def test_channels_last_in_half_the_bytes(exported, pairs, tmp_path, suffix):
    model, path, _ = exported("block", suffix)
    half = tmp_path / f"half{suffix}"
    description = EXPORTS[suffix](model, half, layout="nhwc", quantize="float16", calibration=pairs)
    assert description["input"]["shape"] == ["batch", "height", "width", 3]
    weights = [file.with_suffix(".bin") if suffix == ".xml" else file for file in (path, half)]
    assert weights[1].stat().st_size < 0.75 * weights[0].stat().st_size
    rainy = np.random.default_rng(3).random((40, 48, 3), np.float32)
    found, expected = Restorer(half)(rainy), Restorer(path)(rainy)
    assert 0 < np.abs(found - expected).max() < 2e-3


@pytest.mark.parametrize("arguments", [{}, {"reduction": None}], ids=["paper", "no attention"])
def test_networks_of_the_paper_and_without_attention(pairs, tmp_path, arguments):
    model = small_model(**arguments)
    description = export_onnx(model, tmp_path / "net.onnx", calibration=pairs)
    assert description["verified"]
    runtime = open_runtime(tmp_path / "net.onnx")
    assert runtime.statistics == (None if arguments else "iterated")


def test_by_the_command(pairs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_weights(small_model(**PHONE), "small.weights.h5")
    command = ["export", "--model", "small.weights.h5", "--calibration", str(pairs)]
    assert main([*command, "--format", "onnx", "--output", "net.onnx"]) == 0
    assert "net.onnx" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "net.json",
        "net.onnx",
        "small.weights.h5",
    ]
    for options, message in (
        (["--format", "onnx", "--output", "net.onnx"], "--overwrite"),
        (["--format", "onnx", "--output", "net.tflite"], "must end in .onnx"),
        (["--format", "openvino", "--output", "net.onnx"], "must end in .xml"),
        (["--format", "onnx", "--output", "new.onnx", "--quantize", "int8"], "none, float16"),
        (["--format", "onnx", "--output", "new.onnx", "--image_size", "64x64"], "litert"),
        (["--format", "litert", "--output", "new.tflite", "--layout", "nchw"], "NHWC"),
    ):
        assert main([*command, *options]) == 2
        assert message in capsys.readouterr().err
    monkeypatch.setitem(verification.BOUNDS, "none", {"max_error": -1.0})
    content = (tmp_path / "net.onnx").read_bytes()
    monkeypatch.setattr("mspfn_tf.export.onnx.convert", lambda *arguments: content)
    assert main([*command, "--format", "onnx", "--output", "new.onnx"]) == 1
    assert "max_error" in capsys.readouterr().err
    assert not (tmp_path / "new.onnx").exists()


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16", "bfloat16", "float64"])
def test_what_was_trained_in_another_precision_is_exported_in_float32(dtype):
    model = small_model(**PHONE, dtype=dtype)
    opened = open_source(model)
    assert {weight.dtype for weight in opened.weights} == {"float32"}
    assert opened.get_config() == {**model.get_config(), "dtype": "float32"}
    for weight, other in zip(opened.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, other.astype(np.float32))


def test_other_backends_are_refused(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(UsageError, match="KERAS_BACKEND is jax: set KERAS_BACKEND=tensorflow"):
        open_source("mspfn_nano")


def test_a_wrong_layout_is_refused():
    with pytest.raises(UsageError, match="layout must be one of nchw, nhwc"):
        export_onnx("mspfn_nano", "net.onnx", layout="chw")


@pytest.mark.parametrize("suffix", EXPORTS)
def test_what_falls_short_is_not_written(exported, pairs, tmp_path, monkeypatch, suffix):
    model, path, _ = exported("block", suffix)

    def write(model, written, *arguments):
        for end in (".xml", ".bin"):
            shutil.copy(path.with_suffix(end), written.with_suffix(end))

    # The file that was made once, instead of another like it.
    monkeypatch.setattr("mspfn_tf.export.onnx.convert", lambda *arguments: path.read_bytes())
    monkeypatch.setattr("mspfn_tf.export.openvino.write", write)
    monkeypatch.setitem(verification.BOUNDS, "none", {"max_error": -1.0})
    with pytest.raises(VerificationError, match="expected at most -1"):
        EXPORTS[suffix](model, tmp_path / f"net{suffix}", calibration=pairs)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("suffix", "module", "extra"),
    [
        (".onnx", "tf2onnx", "onnx"),
        (".xml", "openvino", "openvino"),
        (".xml", "scipy", "openvino"),  # Keras' exporter imports it
    ],
)
def test_a_missing_extra_is_named(pairs, tmp_path, monkeypatch, suffix, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match=rf'pip install "mspfn_tf\[{extra}\]"'):
        EXPORTS[suffix]("mspfn_nano", tmp_path / f"net{suffix}", calibration=pairs)
    assert not any(tmp_path.iterdir())
    settings = configparser.ConfigParser()
    settings.read(Path(__file__).parent.parent / "setup.cfg", encoding="utf-8")
    assert f"\n{module} >= " in settings["options.extras_require"][extra]


@pytest.mark.parametrize(("suffix", "module"), [(".onnx", "onnxruntime"), (".xml", "openvino")])
def test_a_missing_runtime_is_named(exported, monkeypatch, suffix, module):
    _, path, _ = exported("block", suffix)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match=f"{module} is not installed"):
        Restorer(path)


@pytest.mark.parametrize("suffix", EXPORTS)
def test_damaged_files_are_refused(exported, tmp_path, suffix):
    _, path, _ = exported("block", suffix)
    broken = tmp_path / path.name
    content = path.read_bytes()
    for damaged in (b"", b"no graph", content[: len(content) // 2]):
        broken.write_bytes(damaged)
        if suffix == ".xml":
            broken.with_suffix(".bin").write_bytes(path.with_suffix(".bin").read_bytes())
        with pytest.raises(UsageError, match="cannot load"):
            Restorer(broken)
    if suffix == ".xml":
        broken.write_bytes(content)
        broken.with_suffix(".bin").write_bytes(b"short")
        with pytest.raises(UsageError, match="cannot load"):
            Restorer(broken)
        broken.with_suffix(".bin").unlink()
        with pytest.raises(UsageError, match="no model file .*bin"):
            Restorer(broken)
    with pytest.raises(UsageError, match="no model file"):
        Restorer(tmp_path / f"nowhere{suffix}")
    with pytest.raises(UsageError, match="is no Keras model"):
        Restorer(path, runtime="keras")


def write_onnx(path, shape, number=onnx.TensorProto.FLOAT, inputs=1):
    """A network of another maker: halves what it is given."""
    names = [f"x{n}" for n in range(inputs)]
    half = onnx.helper.make_tensor("half", number, [], [0.5])
    nodes = [onnx.helper.make_node("Mul", ["x0", "half"], ["y"])]
    values = [onnx.helper.make_tensor_value_info(name, number, shape) for name in names]
    outputs = [onnx.helper.make_tensor_value_info("y", number, shape)]
    graph = onnx.helper.make_graph(nodes, "half", values, outputs, [half])
    opset = [onnx.helper.make_opsetid("", 15)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


@pytest.mark.parametrize("shape", [["b", 3, "h", "w"], [1, "h", "w", 3], [1, 3, 16, 24]])
def test_networks_of_others_run(tmp_path, shape):
    restorer = Restorer(write_onnx(tmp_path / "half.onnx", shape))
    rainy = np.random.default_rng(0).random((30, 20, 3), np.float32)
    np.testing.assert_allclose(restorer(rainy), rainy / 2, atol=1e-6)
    assert restorer.runtime.statistics is None


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ([1, 3, 16], {}, r"expected pictures \[batch, 3, H, W\] or"),
        ([1, 4, 16, 16], {}, "expected pictures"),
        ([1, 3, 16, 16], {"inputs": 2}, "2 inputs"),
        ([1, 3, 16, 16], {"number": onnx.TensorProto.DOUBLE}, "expected float or float16"),
        ([1, 3, "h", 16], {}, "both fixed or both free"),
    ],
)
def test_networks_that_are_none_of_pictures(tmp_path, shape, options, message):
    path = write_onnx(tmp_path / "other.onnx", shape, **options)
    with pytest.raises(UsageError, match=message):
        Restorer(path)
