"""One small network in every format, and what is refused."""

import keras
import numpy as np
import pytest

from mspfn_tf.errors import UsageError
from mspfn_tf.runtimes import trial
from mspfn_tf.tasks.networks import open_network
from tests.hostile_graphs import endless, huge, outside, write
from tests.mutated_models import bounded, mutated, random_of

pytestmark = pytest.mark.slow


X = np.random.default_rng(0).random((1, 16, 24, 3), np.float32)


@pytest.fixture(scope="module")
def model():
    """Two outputs, so that their order shows."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((16, 24, 3), batch_size=1, name="picture")
    features = keras.layers.Conv2D(4, 3, padding="same", name="a_scores")(inputs)
    mean = keras.layers.GlobalAveragePooling2D(name="b_mean")(features)
    return keras.Model(inputs, [features, mean])


def _write(model, folder, kind):
    path = folder / f"network{kind}"
    if kind == ".keras":
        model.save(path)
    elif kind == ".tflite":
        import tensorflow as tf

        path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    elif kind == ".onnx":
        _write_onnx(model, path)
    else:
        model.export(path, format="tf_saved_model", verbose=False)
    return path


def _write_onnx(model, path, channels_first=False):
    """The same conv and mean, node by node."""
    from onnx import TensorProto, checker, helper, numpy_helper, save

    kernel, bias = (np.asarray(w) for w in model.layers[1].weights)
    picture = [1, 3, 16, 24] if channels_first else [1, 16, 24, 3]
    turn = (
        [] if channels_first else [helper.make_node("Transpose", ["x"], ["t"], perm=(0, 3, 1, 2))]
    )
    nodes = [
        *(() if channels_first else turn),
        helper.make_node("Conv", ["x" if channels_first else "t", "k", "b"], ["c"], pads=[1] * 4),
        helper.make_node("Transpose", ["c"], ["scores"], perm=(0, 2, 3, 1)),
        helper.make_node("ReduceMean", ["scores", "axes"], ["mean"], keepdims=0),
    ]
    weights = {"k": kernel.transpose(3, 2, 0, 1), "b": bias, "axes": np.array([1, 2])}
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, picture)],
        [
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 16, 24, 4]),
            helper.make_tensor_value_info("mean", TensorProto.FLOAT, [1, 4]),
        ],
        [numpy_helper.from_array(np.ascontiguousarray(v), n) for n, v in weights.items()],
    )
    opset = [helper.make_opsetid("", 18)]
    proto = helper.make_model(graph, opset_imports=opset, ir_version=9)
    checker.check_model(proto)
    save(proto, path)


@pytest.mark.parametrize("kind", [".keras", ".tflite", ".onnx", "_saved_model"])
def test_every_format_gives_the_same(model, tmp_path, kind):
    expected = [np.asarray(y) for y in model(X)]
    network = open_network(_write(model, tmp_path, kind))
    assert network.size == (16, 24)
    assert not network.channels_first
    outputs = sorted(network(X), key=lambda y: -y.ndim)
    for output, wanted in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(output, wanted, atol=1e-5)


def test_channels_first(model, tmp_path):
    _write_onnx(model, tmp_path / "n.onnx", channels_first=True)
    network = open_network(tmp_path / "n.onnx")
    assert network.channels_first
    assert network.size == (16, 24)
    np.testing.assert_allclose(
        network(X.transpose(0, 3, 1, 2))[0], np.asarray(model(X)[0]), atol=1e-5
    )
    with pytest.raises(UsageError, match=r"\[1, 16, 24, 3\]; expected \[1, 3, 16, 24\]"):
        network(X)


@pytest.mark.filterwarnings("ignore:Statistics for quantized inputs")
def test_a_quantised_network_takes_and_gives_floats(model, tmp_path):
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([X * k] for k in (0.0, 0.5, 1.0))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    path = tmp_path / "int8.tflite"
    path.write_bytes(converter.convert())
    network = open_network(path)
    assert network.dtype == np.int8
    scores = max(network(X), key=np.ndim)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, np.asarray(model(X)[0]), atol=0.05)


def test_a_keras_model_of_free_size():
    inputs = keras.Input((None, None, 3))
    network = open_network(keras.Model(inputs, inputs * 2))
    assert network.size is None
    np.testing.assert_allclose(network(X)[0], 2 * X)


def test_what_is_no_network_is_refused(tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"no network")
    (tmp_path / "bad.tflite").write_bytes(b"no network")
    (tmp_path / "bad.keras").write_bytes(b"no network")
    (tmp_path / "bad.weights.h5").write_bytes(b"no network")
    (tmp_path / "photo.jpg").touch()
    for name in ("bad.onnx", "bad.tflite", "bad.keras", "bad.weights.h5", "photo.jpg", "none.onnx"):
        with pytest.raises(UsageError, match=name):
            open_network(tmp_path / name)
    inputs = keras.Input((8, 8, 1))
    with pytest.raises(UsageError, match=r"expected one picture, \[1, H, W, 3\]"):
        open_network(keras.Model(inputs, inputs * 2))
    two = [keras.Input((8, 8, 3)), keras.Input((8, 8, 3))]
    with pytest.raises(UsageError, match="2 inputs"):
        open_network(keras.Model(two, two[0] + two[1]))
    with pytest.raises(UsageError, match="received int"):
        open_network(3)


def test_values_that_are_not_finite_are_refused():
    inputs = keras.Input((None, None, 3))
    network = open_network(keras.Model(inputs, keras.ops.log(inputs - 2)))
    with pytest.raises(UsageError, match="not finite"):
        network(X)


# === Files from strangers ===


def test_graphs_that_take_all_memory_or_never_end(tmp_path, monkeypatch):
    with bounded(), pytest.raises(UsageError, match="huge.onnx"):
        open_network(write(tmp_path / "huge.onnx", huge()))
    monkeypatch.setattr(trial, "SECONDS", 5.0)
    with pytest.raises(UsageError, match="endless.onnx: its first pictures took longer than 5 s"):
        open_network(write(tmp_path / "endless.onnx", endless()))


def test_weights_beside_the_file_are_taken_and_others_refused(tmp_path):
    from onnx import helper

    folder = tmp_path / "folder"
    folder.mkdir()
    for path in (tmp_path / "secret", folder / "weights"):
        path.write_bytes(np.float32(0.5).tobytes())
    nodes = [helper.make_node("Mul", ["x", "half"], ["y"])]
    path = write(folder / "a.onnx", nodes, [outside("half", "weights")])
    picture = X.transpose(0, 3, 1, 2)
    np.testing.assert_allclose(open_network(path)(picture)[0], picture / 2)
    for location in ("../secret", str(tmp_path / "secret")):
        write(path, nodes, [outside("half", location)])
        with pytest.raises(UsageError, match="cannot load .*a.onnx"):
            open_network(path)


def test_saved_models_that_write_files_are_refused(tmp_path, monkeypatch):
    import tensorflow as tf

    module = tf.Module()

    def serve(picture):
        with tf.control_dependencies([tf.io.write_file("written.txt", "written")]):
            return {"scores": tf.identity(picture)}

    spec = [tf.TensorSpec([1, 16, 24, 3], tf.float32, "picture")]
    module.serve = tf.function(serve, input_signature=spec, autograph=False)
    tf.saved_model.save(module, str(tmp_path / "evil"), {"serving_default": module.serve})
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="evil is refused: .*'WriteFile'"):
        open_network(tmp_path / "evil")
    assert not (tmp_path / "written.txt").exists()


@pytest.mark.parametrize("config", ['{"classes": 1000000, "blocks": [2, 8]}',
                                    '{"classes": 12, "blocks": [1000000, 8]}',
                                    '{"classes": 12, "blocks": 3}', "[]"])  # fmt: skip
def test_what_an_espnet_file_declares_is_not_built(tmp_path, config):
    import h5py

    from mspfn_tf.tasks.espnet import ESPNet, save_espnet

    path = tmp_path / "e.weights.h5"
    save_espnet(ESPNet(classes=5, blocks=(0, 0)), path)
    open_network(path)
    with h5py.File(path, "r+") as file:
        file.attrs["espnet_config"] = config
    with bounded(), pytest.raises(UsageError, match="no weights of ESPNet"):
        open_network(path)


@pytest.mark.parametrize("kind", [".tflite", ".onnx", ".keras"])
def test_damaged_files_give_scores_or_a_message(model, tmp_path, monkeypatch, kind):
    monkeypatch.setattr(trial, "most_bytes", lambda: 500_000_000)
    path = _write(model, tmp_path, kind)
    content, random = path.read_bytes(), random_of(28)
    for _ in range(12):
        path.write_bytes(mutated(content, random))
        with bounded():
            try:
                network = open_network(path)
                network(np.zeros([side or 16 for side in network.shape], network.dtype))
            except UsageError as error:
                assert path.name in str(error)
