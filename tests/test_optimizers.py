import keras
import numpy as np
import pytest
import tensorflow as tf

from mspfn_tf.model import MSPFN
from mspfn_tf.training.backends.runner import clipped, global_norm
from mspfn_tf.training.optimizers import ConvMuon, PublishedSchedule, make_optimizer, make_schedule
from mspfn_tf.training.recipe import Recipe
from tests.tiny_recipe import recipe


def test_published_recipe_is_the_default_of_the_full_networks():
    for preset in ("mspfn", "mspfn_m17n1"):
        published = Recipe(preset=preset, dataset="a", data_dir="b", workdir="c")
        assert (published.batch_size, published.patch_size) == (12, (96,))
        assert (published.ema, published.clip_norm, published.edge_weight) == (0, 0, 0.05)
        schedule = make_schedule(published)
        for step in (0, 1, 12_345, 20_000, 100_000):
            assert float(schedule(step)) == pytest.approx(5e-4 * 0.8 ** (step / 2e4) + 1e-6, 1e-6)
    assert PublishedSchedule.from_config(schedule.get_config()).initial == 5e-4
    assert Recipe(preset="mspfn_nano", dataset="a", data_dir="b", workdir="c").ema == 0.999


def test_cosine_schedule(tmp_path):
    schedule = make_schedule(
        recipe(tmp_path, "x", schedule="cosine", learning_rate=1.0, warmup_steps=10, steps=110)
    )
    assert [float(schedule(step)) for step in (0, 5, 10)] == [0, 0.5, 1]
    assert float(schedule(60)) == pytest.approx(0.505)
    assert float(schedule(110)) == pytest.approx(0.01)


def test_muon_makes_orthogonal_steps_and_leaves_the_ends_to_adam(tmp_path):
    model = MSPFN(width=8, blocks=1, rcabs=(0, 0, 1), hidden=None, activation="relu")
    options = {"optimizer": "muon", "learning_rate": 1e-2, "weight_decay": 0.0, "ema": 0.0}
    optimizer = make_optimizer(recipe(tmp_path, "x", **options))
    optimizer.build(model.trainable_variables)
    before = [np.array(variable) for variable in model.trainable_variables]
    random = np.random.default_rng(0)
    gradients = [random.normal(size=b.shape) for b in before]
    gradients = [tf.constant(g + 0.1 * np.sign(g), tf.float32) for g in gradients]
    optimizer.apply(gradients, model.trainable_variables)
    rate = float(optimizer.learning_rate)
    orthogonal = 0
    for variable, old in zip(model.trainable_variables, before, strict=True):
        step = (np.array(variable) - old) / rate
        if old.ndim == 4 and not variable.path.startswith(("shallow_", "rain/")):
            sides = step.reshape(-1, step.shape[-1])
            values = np.linalg.svd(sides, compute_uv=False) / (0.2 * max(sides.shape) ** 0.5)
            # What five Newton-Schulz iterations make of 1 (Jordan et al. 2024).
            assert values.min() > 0.6 and values.max() < 1.3
            orthogonal += 1
        else:
            np.testing.assert_allclose(np.abs(step), 1, rtol=1e-3)  # the first step of Adam
    assert orthogonal > 20
    again = ConvMuon.from_config(optimizer.get_config())
    assert again.exclude_layers == optimizer.exclude_layers


def test_the_published_optimizer_is_adam(tmp_path):
    for name in ("adam", "adamw"):
        adam = make_optimizer(recipe(tmp_path, "x", optimizer=name))
        assert (adam.beta_1, adam.beta_2, adam.epsilon) == (0.9, 0.999, 1e-8)


def test_muon_follows_its_momentum_and_looks_ahead(tmp_path):
    fields = {"optimizer": "muon", "weight_decay": 0.0, "ema": 0.0, "schedule": "cosine"}
    optimizer = make_optimizer(recipe(tmp_path, "x", learning_rate=1e-2, warmup_steps=0, **fields))
    kernel = keras.Variable(np.zeros((1, 1, 4, 3), np.float32))
    first, second = np.random.default_rng(0).normal(size=(2, 1, 1, 4, 3)).astype(np.float32)
    optimizer.build([kernel])
    optimizer.apply([keras.ops.convert_to_tensor(first)], [kernel])
    before, rate = kernel.numpy(), float(optimizer.learning_rate)
    optimizer.apply([keras.ops.convert_to_tensor(second)], [kernel])
    momentum = optimizer.momentum * first + second
    ahead = (second + optimizer.momentum * momentum).reshape(4, 3)
    step = optimizer.zeropower_via_newtonschulz5(keras.ops.convert_to_tensor(ahead), 5)
    expected = optimizer.lr_adjust(rate * step).numpy().reshape(kernel.shape)
    np.testing.assert_allclose(before - kernel.numpy(), expected, rtol=1e-4, atol=1e-7)


def test_gradients_are_clipped_by_their_common_norm():
    gradients = [np.float32([[3.0, 0.0]]), np.float32([4.0])]
    norm = global_norm(gradients)
    assert float(norm) == pytest.approx(5)
    for limit, factor in ((0.0, 1.0), (2.5, 0.5), (5.0, 1.0), (50.0, 1.0)):
        for gradient, result in zip(gradients, clipped(gradients, norm, limit), strict=True):
            np.testing.assert_allclose(result, factor * gradient, rtol=1e-6)
    for result in clipped([np.zeros(3, np.float32)], np.float32(0), 1.0):
        np.testing.assert_array_equal(result, np.zeros(3))


@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_weights_decay(tmp_path, optimizer, decay):
    fields = {"optimizer": optimizer, "weight_decay": decay, "ema": 0.0, "schedule": "cosine"}
    optimizer = make_optimizer(recipe(tmp_path, "x", learning_rate=1e-2, warmup_steps=0, **fields))
    # To Muon a kernel, which it orthogonalises, and a bias, which it leaves to Adam.
    variables = [keras.Variable(np.full(shape, 5.0, np.float32)) for shape in ((1, 1, 2, 3), (3,))]
    optimizer.build(variables)
    optimizer.apply([keras.ops.zeros(variable.shape) for variable in variables], variables)
    for variable in variables:
        np.testing.assert_allclose(variable.numpy(), 5 * (1 - 1e-2 * decay), rtol=1e-6)
