"""The network: sizes, arguments, parity with the published graph, gradients, saving, backends."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from mspfn_tf import MSPFN, PRESETS, load_reference_checkpoint
from mspfn_tf.complexity import multiply_adds
from mspfn_tf.layers import Blocks, ConvLSTM, Smooth
from mspfn_tf.losses import DerainLoss, EdgeLoss
from mspfn_tf.model_files import load_model
from mspfn_tf.weights_file import load_weights, save_weights
from tests.reference_recipe import variables, write_checkpoint

TINY = {"width": 8, "blocks": 1, "rcabs": (1, 1, 1), "hidden": (4, 4, 4)}
STYLES = {
    "paper": {},
    "recurrent": {"recurrent_steps": 3},
    "phone": {"stem": 2, "activation": "relu", "upsampling": "subpixel"},
    "nearest": {"stem": 2, "activation": "relu", "upsampling": "nearest"},
    "without ConvLSTM": {"hidden": None},
    "without attention": {"reduction": None},
}
ROOT = Path(__file__).resolve().parent.parent
REFERENCE = np.load(Path(__file__).with_name("reference_values.npz"))


def rgb(name):
    """A picture of the reference values, float32 RGB in [0, 1]."""
    return (REFERENCE[name][..., ::-1] / 255.0).astype(np.float32)


def picture(height=16, width=24, batch=1, seed=0):
    return np.random.default_rng(seed).random((batch, height, width, 3), dtype=np.float32)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Models of both published layouts, 2 blocks, filled from TensorFlow 1 checkpoints."""
    models = {}
    for layout, rcabs in (("M17N1", (1, 1, 1)), ("MSPFN", (1, 3, 3))):
        folder = tmp_path_factory.mktemp(layout)
        models[layout] = MSPFN(blocks=2, rcabs=rcabs)
        load_reference_checkpoint(
            models[layout], write_checkpoint(folder, variables(layout, blocks=2))
        )
    return models


@pytest.mark.parametrize(
    "layout, size", [("M17N1", "64x96"), ("M17N1", "40x56"), ("MSPFN", "40x56")]
)
def test_parity_with_the_published_graph(published, layout, size):
    rainy = rgb(f"{layout.lower()}_rainy_{size}")
    derained = published[layout](rainy).numpy()
    # In the graph's own range [-1, 1] and channel order.
    rain = 2 * (rainy - derained)[..., ::-1]
    np.testing.assert_allclose(rain, REFERENCE[f"{layout.lower()}_rain_{size}"], rtol=0, atol=5e-6)


def test_losses_of_the_published_graph(published):
    rainy, clean = rgb("mspfn_rainy_40x56"), rgb("mspfn_clean_40x56")
    derained = published["MSPFN"](rainy)
    loss, edges = (float(f(clean, derained)) for f in (DerainLoss(), EdgeLoss()))
    assert loss == pytest.approx(float(REFERENCE["mspfn_train_loss_40x56"]), rel=1e-6)
    assert edges == pytest.approx(float(REFERENCE["mspfn_edge_loss_40x56"]), rel=1e-6)


@pytest.mark.parametrize(
    "name",
    ["mspfn_nano", "mspfn_mobile"]
    + [pytest.param(name, marks=pytest.mark.slow) for name in ("mspfn", "mspfn_m17n1")],
)
def test_preset_has_the_parameters_it_tells(name):
    model = MSPFN.from_preset(name, load_weights=False)
    assert model.count_params() == PRESETS[name]["parameters"]
    assert multiply_adds(model, (256, 256)) == PRESETS[name]["multiply_adds_256"]
    assert model.name == name


def test_published_parameter_counts():
    assert PRESETS["mspfn"]["parameters"] == 17_769_728
    assert PRESETS["mspfn_m17n1"]["parameters"] == 12_597_376


def test_unknown_preset_lists_the_known_ones():
    with pytest.raises(ValueError, match="mspfn_m17n1"):
        MSPFN.from_preset("mspfn_giant")


@pytest.mark.slow
@pytest.mark.parametrize(
    "style",
    [
        style if style == "phone" else pytest.param(style, marks=pytest.mark.slow)
        for style in STYLES
    ],
)
def test_every_size_of_eights_and_every_gradient(style):
    keras.utils.set_random_seed(1)
    model = MSPFN(**{**TINY, "reduction": 1, **STYLES[style]})
    for height, width in ((8, 8), (16, 40), (40, 24)):
        assert model(picture(height, width)).shape == (1, height, width, 3)
    rainy, clean = picture(), picture(seed=1)
    with tf.GradientTape() as tape:
        loss = DerainLoss()(clean, model(rainy, training=True))
    for variable, gradient in zip(
        model.trainable_variables,
        tape.gradient(loss, model.trainable_variables),
        strict=True,
    ):
        assert gradient is not None, variable.path
        assert np.all(np.isfinite(gradient)), variable.path
        # A slope has no gradient where no feature of a tiny attention is negative.
        assert np.any(gradient) or variable.path.endswith("alpha"), variable.path


def test_recurrent_steps_recur():
    once, thrice = (MSPFN(**TINY, recurrent_steps=steps) for steps in (1, 3))
    names = {variable.path for variable in thrice.weights} - {v.path for v in once.weights}
    assert {name.split("/")[1] for name in names} == {
        "forget",
        *(f"{gate}_hidden" for gate in ("input", "candidate", "forget", "output")),
    }
    shared = {variable.path: variable for variable in thrice.weights}
    for variable in once.weights:
        shared[variable.path].assign(variable)
    assert np.abs(once(picture()).numpy() - thrice(picture()).numpy()).max() > 0


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_the_cell_is_that_of_its_formula(activation):
    """On one pixel, a 3x3 conv is the middle of its kernel."""
    layer = ConvLSTM(2, steps=3, activation=activation, kernel_initializer="random_normal")
    x = np.random.default_rng(0).normal(size=(1, 1, 1, 3)).astype(np.float32)
    layer.build(x.shape)
    for weight in layer.weights:  # far enough from zero for every gate to count
        weight.assign(weight + keras.random.normal(weight.shape, seed=len(weight.path)))
    found = np.asarray(layer(x)).ravel()
    act = np.tanh if activation == "tanh" else lambda v: np.maximum(v, 0)
    middle = {name: conv.kernel.numpy()[1, 1] for name, conv in layer.input_convs.items()}
    inner = {name: conv.kernel.numpy()[1, 1] for name, conv in layer.hidden_convs.items()}
    c, h = np.zeros(2), np.zeros(2)
    for _ in range(3):
        i, j, f, o = (
            x.ravel() @ middle[gate] + layer.input_convs[gate].bias.numpy() + h @ inner[gate]
            for gate in ("input", "candidate", "forget", "output")
        )
        c = c / (1 + np.exp(-f - 1)) + act(j) / (1 + np.exp(-i))
        h = act(c) / (1 + np.exp(-o))
    np.testing.assert_allclose(found, h, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("activation, cell", [("relu", "relu"), ("prelu", "tanh")])
def test_the_cells_of_both_styles(activation, cell):
    layer = MSPFN(**TINY, activation=activation).get_layer("recurrent_full_convlstm")
    assert layer.activation == cell
    # The published one starts with kernels of 1e-3.
    assert (0 < np.std(layer.input_convs["input"].kernel) < 2e-3) == (cell == "tanh")


def test_smoothing_is_binomial():
    impulse = np.zeros((1, 5, 5, 2), np.float32)
    impulse[0, 2, 2] = 16, 32
    found = np.asarray(Smooth()(impulse))[0, 1:4, 1:4]
    np.testing.assert_allclose(found, np.multiply.outer(np.outer([1, 2, 1], [1, 2, 1]), [1, 2]))


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"width": 6}, ["width", "6", "reduction=4"]),
        ({"width": 8.0}, ["width", "8.0", "float"]),
        ({"blocks": 0}, ["blocks", "at least 1", "0"]),
        ({"rcabs": (1, 3)}, ["rcabs", "three", "(1, 3)"]),
        ({"rcabs": (1, 3, -1)}, ["rcabs[2]", "-1"]),
        ({"hidden": 64}, ["hidden", "64"]),
        ({"reduction": 0}, ["reduction", "0"]),
        ({"recurrent_steps": True}, ["recurrent_steps", "True"]),
        ({"stem": 3}, ["stem", "3"]),
        ({"activation": "tanh"}, ["activation", "'tanh'"]),
        ({"upsampling": "bicubic"}, ["upsampling", "'bicubic'"]),
        ({"image_size": (64, 60)}, ["image_size", "(64, 60)", "Restorer"]),
        ({"image_size": 64}, ["image_size", "64"]),
    ],
)
def test_wrong_arguments_name_argument_rule_and_value(arguments, words):
    with pytest.raises(ValueError) as error:
        MSPFN(**{**TINY, **arguments})
    for word in words:
        assert word in str(error.value)


def test_sizes_that_are_no_eights_hint_at_the_restorer():
    model = MSPFN(**TINY)
    for call in (model, model.predict_on_batch):
        with pytest.raises(ValueError, match=r"(?s)multiples of 8.*17x24.*Restorer"):
            call(picture(17, 24))


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("style", ["paper", "phone"])
def test_mixed_precision_keeps_the_image_exact(policy, style):
    model = MSPFN(**TINY, **STYLES[style], dtype=policy)
    for name in ("pyramid_quarter", "pyramid_half", "rain", "rain_range", "derained"):
        assert model.get_layer(name).compute_dtype == "float32", name
    assert model.get_layer("fusion1_full_rcab1_conv1").compute_dtype == policy[6:]
    assert all(variable.dtype == "float32" for variable in model.weights)
    # With no rain predicted, the picture comes back bit for bit.
    model.get_layer("rain").kernel.assign(0 * model.get_layer("rain").kernel)
    derained = model(picture())
    assert derained.dtype == tf.float32
    np.testing.assert_array_equal(derained, picture())


ANSWER = """
import pathlib, sys, numpy, keras
from mspfn_tf.model_files import load_model
folder = pathlib.Path(sys.argv[1])
for path in (*folder.glob("*/model.keras"), *folder.glob("*/model.weights.h5")):
    derained = load_model(path).predict_on_batch(numpy.load(path.with_name("in.npy")))
    numpy.save(f"{path}.{keras.backend.backend()}.npy", derained)
assert keras.backend.backend() == "tensorflow" or "tensorflow" not in sys.modules
"""


@pytest.mark.slow
def test_saved_models_answer_the_same_elsewhere(tmp_path):
    """A fresh process on TensorFlow, and one on JAX without TensorFlow, load what was saved."""
    pytest.importorskip("jax")
    expected = {}
    for style in ("phone", "recurrent"):
        keras.utils.set_random_seed(1)
        model = MSPFN(**TINY, **STYLES[style])
        (tmp_path / style).mkdir()
        model.save(tmp_path / style / "model.keras")
        save_weights(model, tmp_path / style / "model.weights.h5")
        np.save(tmp_path / style / "in.npy", picture())
        expected[style] = model(picture()).numpy()
    for backend, tolerance in (("tensorflow", 1e-6), ("jax", 1e-5)):
        subprocess.run(
            [sys.executable, "-c", ANSWER, tmp_path],
            env={**os.environ, "PYTHONPATH": str(ROOT), "KERAS_BACKEND": backend},
            check=True,
        )
        for style, derained in expected.items():
            for file in ("model.keras", "model.weights.h5"):
                answer = np.load(tmp_path / style / f"{file}.{backend}.npy")
                np.testing.assert_allclose(answer, derained, rtol=0, atol=tolerance)


@pytest.mark.slow
def test_from_a_directory(tmp_path):
    model = MSPFN(**TINY)
    save_weights(model, tmp_path / "model.weights.h5")
    (tmp_path / "config.json").write_text(json.dumps({"model": model.get_config()}))
    loaded = MSPFN.from_preset(tmp_path)
    np.testing.assert_array_equal(loaded(picture()), model(picture()))
    fixed = MSPFN.from_preset(tmp_path, image_size=(16, 24))
    assert fixed.input_shape == (None, 16, 24, 3)
    (tmp_path / "config.json").unlink()
    with pytest.raises(ValueError, match="config.json"):
        MSPFN.from_preset(tmp_path)


class Weighted(MSPFN):
    """A network of a user, with an argument of its own."""

    def __init__(self, *args, share=1.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.share = share

    def get_config(self):
        return {**super().get_config(), "share": self.share}


def test_a_subclass_with_an_argument_of_its_own_is_loaded(tmp_path):
    model = Weighted(**TINY, share=0.5)
    model.save(tmp_path / "net.keras")
    loaded = keras.models.load_model(tmp_path / "net.keras", {"Weighted": Weighted})
    assert type(loaded) is Weighted and loaded.share == 0.5
    np.testing.assert_array_equal(loaded(picture()), model(picture()))
    with pytest.raises(ValueError, match="Weighted has no argument depth"):
        Weighted.from_config({**model.get_config(), "depth": 3})


def test_a_frozen_convlstm_does_not_train():
    layer = ConvLSTM(4)
    layer.trainable = False
    copy = ConvLSTM.from_config(layer.get_config())
    copy.build((None, 8, 8, 3))
    assert len(copy.weights) == 6
    assert not any(weight.trainable for weight in copy.weights)
    copy.trainable = True
    assert all(weight.trainable for weight in copy.weights)


def test_frozen_layers_stay_frozen_in_a_saved_model(tmp_path):
    model = MSPFN(**TINY)
    for layer in model.layers[:-8]:
        layer.trainable = False
    model.save(tmp_path / "net.keras")
    loaded = keras.models.load_model(tmp_path / "net.keras")
    expected = [weight.trainable for weight in model.weights]
    assert len(set(expected)) == 2
    assert [weight.trainable for weight in loaded.weights] == expected
    model.trainable = False
    assert "frozen" not in model.get_config()
    # Weights are to be trained anew, as those of a model that is frozen as a whole.
    save_weights(loaded, tmp_path / "net.weights.h5")
    assert all(weight.trainable for weight in load_model(tmp_path / "net.weights.h5").weights)
    load_weights(MSPFN(**TINY), tmp_path / "net.weights.h5")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mspfn_nano", "mspfn"])
def test_clones(name):
    model = MSPFN.from_preset(name, load_weights=False, blocks=1)
    clone = keras.models.clone_model(model)
    assert [w.shape for w in clone.weights] == [w.shape for w in model.weights]


def test_relu_networks_start_near_the_identity():
    """From a rain layer of full size, narrow ones soon lose all their ReLUs."""
    noise = np.random.default_rng(0).random((1, 32, 32, 3), np.float32)
    spread = {}
    for activation in ("relu", "prelu"):
        keras.utils.set_random_seed(1)
        model = MSPFN(width=8, blocks=1, hidden=(4, 4, 4), activation=activation)
        spread[activation] = np.std(np.asarray(model(noise)) - noise)
    assert 0 < spread["relu"] < 0.02 < spread["prelu"]


@pytest.mark.parametrize("upsampling", ["smooth", "subpixel", "nearest", "transposed"])
def test_coarser_scales_are_added_as_if_each_were_doubled_alone(upsampling):
    make = Blocks("relu", upsampling, reduction=4)
    finer, half, quarter = (keras.Input((side, side, 4)) for side in (16, 8, 8))
    inputs = [finer, half, quarter]
    together = make.up_and_add(finer, {"half": half, "quarter": quarter}, 4, "sum")
    together = keras.Model(inputs, together)
    doubled = [make.up(x, 4, name) for name, x in (("half_alone", half), ("alone", quarter))]
    apart = keras.Model(inputs, make.add(finer, *doubled, name="sum_alone"))
    apart.set_weights(together.get_weights())
    rng = np.random.default_rng(0)
    values = [rng.normal(size=(1, *x.shape[1:])).astype(np.float32) for x in inputs]
    expected, found = (np.asarray(model(values)) for model in (apart, together))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
