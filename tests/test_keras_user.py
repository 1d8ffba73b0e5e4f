"""What a Keras user tries first works, or is answered clearly."""

import subprocess
import sys
import warnings

import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf

from mspfn_tf.errors import UsageError
from mspfn_tf.keras_metrics import PSNR
from mspfn_tf.losses import CharbonnierLoss, DerainLoss
from mspfn_tf.model import MSPFN
from mspfn_tf.training.patch_stream import PatchStream, tf_dataset
from tests.export_models import PHONE, small_model

pytestmark = pytest.mark.slow


class Pairs:
    """Five pairs in memory, as `PatchStream` reads them."""

    def __len__(self):
        return 5

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        clean = np.full((48, 56, 3), rng.integers(40, 200), np.uint8)
        rain = (rng.random((48, 56, 1)) < 0.1) * 50
        return (clean + rain).astype(np.uint8), clean

    def name(self, index):
        return str(index)


class PatchDataset(keras.utils.PyDataset):
    """The same stream as a `PyDataset`."""

    def __init__(self, stream, steps):
        super().__init__()
        self.stream, self.steps = stream, steps

    def __len__(self):
        return self.steps

    def __getitem__(self, step):
        return self.stream.batch(step, 32)


@pytest.fixture(scope="module")
def model():
    return small_model(**PHONE)


@pytest.fixture
def stream():
    return PatchStream([Pairs()], [1.0], batch_size=2, seed=0)


def noise(size=(32, 40)):
    return np.random.default_rng(1).random((1, *size, 3), np.float32)


def test_summary_counts_the_weights(model):
    lines = []
    model.summary(print_fn=lambda line, **options: lines.append(line))
    assert f"Total params: {model.count_params():,}" in "\n".join(lines)


def test_load_model_in_a_fresh_process(model, tmp_path):
    path = tmp_path / "net.keras"
    model.save(path)
    np.save(tmp_path / "in.npy", noise())
    program = (
        "import keras, numpy, mspfn_tf.model\n"
        "model = keras.models.load_model('net.keras')\n"
        "numpy.save('out.npy', model.predict(numpy.load('in.npy'), verbose=0))\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path)
    expected = keras.ops.convert_to_numpy(model(noise()))
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["tf.data", "PyDataset"])
def test_fit_evaluate_predict(stream, kind):
    model = small_model(**PHONE)
    model.compile(keras.optimizers.Adam(1e-3), loss=DerainLoss(), metrics=[PSNR()])

    def data(steps):
        if kind == "PyDataset":
            return PatchDataset(stream, steps)
        return tf_dataset(stream, 0, steps, 32)

    before = model.evaluate(data(3), verbose=0, return_dict=True)
    model.fit(data(12), epochs=1, shuffle=False, verbose=0)
    after = model.evaluate(data(3), verbose=0, return_dict=True)
    assert after["loss"] < before["loss"]
    assert np.isfinite(after["psnr"])
    found = model.predict(data(2), verbose=0)
    assert found.shape == (4, 32, 32, 3)
    rainy, _ = stream.batch(0, 32)
    np.testing.assert_allclose(found[:2], model(rainy), atol=1e-5)


def test_fit_on_arrays():
    rainy, clean = noise(), noise() * 0.9
    model = small_model(**PHONE)
    model.compile("adam", loss=CharbonnierLoss())
    assert np.isfinite(model.fit(rainy, clean, verbose=0).history["loss"][0])


def test_export_as_saved_model(model, tmp_path):
    model.export(tmp_path / "saved", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    found = loaded.serve(noise())
    np.testing.assert_allclose(found, model(noise()), atol=1e-5)


def test_export_as_onnx_before_the_first_run(tmp_path):
    config = small_model(**PHONE).get_config()
    model = MSPFN.from_config(config)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Keras' own exporter
        model.export(tmp_path / "net.onnx", format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    (given,) = session.get_inputs()
    (found,) = session.run(None, {given.name: noise()})
    np.testing.assert_allclose(found, model(noise()), atol=1e-5)


def test_export_as_litert(model, tmp_path):
    from ai_edge_litert.interpreter import Interpreter

    path = tmp_path / "net.tflite"
    model.export(path, format="litert", verbose=False)
    interpreter = Interpreter(model_path=str(path))
    (given,) = interpreter.get_input_details()
    interpreter.resize_tensor_input(given["index"], noise().shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(given["index"], noise())
    interpreter.invoke()
    found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(found, model(noise()), atol=1e-5)


def test_quantize_names_the_way(model):
    before = model.get_weights()
    with pytest.raises(UsageError, match="export_litert.*quantize='int8'"):
        model.quantize("int8")
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
