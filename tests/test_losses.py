"""The losses: values by hand, per example, serialisation."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from mspfn_tf.errors import UsageError
from mspfn_tf.losses import (
    CharbonnierLoss,
    DerainLoss,
    EdgeLoss,
    PSNRLoss,
    laplacian,
    structural_similarity,
)
from mspfn_tf.metrics import psnr


def images(seed, batch=3):
    return np.random.default_rng(seed).random((batch, 9, 11, 3), dtype=np.float32)


def laplacian_by_hand(image):
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)))
    height, width = image.shape[:2]
    total = sum(padded[y : y + height, x : x + width] for y in range(3) for x in range(3))
    return 9 * image - total


def test_laplacian():
    batch = images(0)
    by_hand = np.stack([laplacian_by_hand(image) for image in batch])
    np.testing.assert_allclose(laplacian(batch), by_hand, atol=1e-5)


def test_values_and_reduction():
    target, derained = images(0), images(1)
    difference = 2.0 * (derained.astype(np.float64) - target)
    content = np.sqrt(difference**2 + 1e-6).mean(axis=(1, 2, 3))
    edges = np.stack([laplacian_by_hand(d) for d in difference])
    edges = np.sqrt(edges**2 + 1e-6).mean(axis=(1, 2, 3))
    for loss, expected in (
        (CharbonnierLoss, content),
        (EdgeLoss, edges),
        (DerainLoss, content + 0.05 * edges),
    ):
        each = np.asarray(loss(reduction=None)(target, derained))
        np.testing.assert_allclose(each, expected, rtol=1e-6)
        assert float(loss()(target, derained)) == pytest.approx(expected.mean(), rel=1e-6)


def test_perfect_pictures_cost_epsilon():
    assert float(DerainLoss(epsilon=1e-2)(images(0), images(0))) == pytest.approx(1.05e-2, rel=1e-5)


def test_psnr_loss_is_the_negative_psnr_above_its_floor():
    target, derained = images(0), images(1)
    each = np.asarray(PSNRLoss(floor=0.0, reduction=None)(target, derained))
    expected = [-psnr(*pair, protocol="rgb") for pair in zip(target, derained, strict=True)]
    np.testing.assert_allclose(each, expected, atol=0.01)  # the metric rounds to 8 bits
    assert float(PSNRLoss()(target, target)) == pytest.approx(-40.0)


def test_the_brightness_term_sees_regions_and_no_pixels():
    """Errors whose means over 16x16 pixels are zero cost nothing, a shift its decibels."""
    target = np.full((1, 32, 48, 3), 0.5, "float32")
    checks = 0.1 * np.where(np.indices((32, 48)).sum(0) % 2, 1, -1)[None, ..., None]
    pixels, regions = (
        lambda y, weight=weight: float(PSNRLoss(brightness_weight=weight)(target, y))
        for weight in (0.0, 2.0)
    )
    for error, mean in ((checks, 0.0), (0.02, 0.02), (checks - 0.02, 0.02)):
        derained = (target + error).astype("float32")
        expected = 10 * np.log10(mean**2 + (0.5 / 255) ** 2)
        assert regions(derained) - pixels(derained) == pytest.approx(2 * expected, abs=1e-3)


def test_what_is_alike_costs_less():
    target, derained = np.random.default_rng(0).random((2, 2, 16, 24, 3), dtype=np.float32)
    without, with_it = (
        np.asarray(PSNRLoss(ssim_weight=weight, reduction=None)(target, derained))
        for weight in (0.0, 3.0)
    )
    unlike = 1 - np.asarray(structural_similarity(target, derained))
    assert unlike.min() > 0.5
    np.testing.assert_allclose(with_it - without, 3 * unlike, rtol=1e-4)


@pytest.mark.parametrize("loss", [PSNRLoss(ssim_weight=1.0), PSNRLoss(brightness_weight=1.0)])
def test_windows_need_pictures_that_hold_one(loss):
    small = np.zeros((1, 40, 15, 3), "float32")
    with pytest.raises(UsageError, match=r"at least 16; received \[1, 40, 15, 3\]"):
        loss(small, small)
    assert float(PSNRLoss()(small, small)) == pytest.approx(-40.0)


@pytest.mark.parametrize(
    "loss",
    [
        CharbonnierLoss(1e-2),
        EdgeLoss(1e-2),
        DerainLoss(0.1, 1e-2),
        PSNRLoss(1e-3, ssim_weight=2.0, brightness_weight=3.0),
    ],
)
def test_serialisation(loss):
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()


ON_JAX = """
import jax, numpy as np
from mspfn_tf import losses

target, derained = np.random.default_rng(0).random((2, 2, 40, 56, 3), np.float32)
psnr = losses.PSNRLoss(ssim_weight=2.0, brightness_weight=3.0)
for loss in (losses.DerainLoss(), psnr):
    value, gradient = jax.value_and_grad(lambda y: loss(target, y))(derained)
    print(float(value), float(abs(gradient).sum()))
"""


@pytest.mark.slow
def test_losses_on_jax_are_those_of_tensorflow():
    pytest.importorskip("jax")
    tf = pytest.importorskip("tensorflow")
    result = subprocess.run(
        [sys.executable, "-c", ON_JAX],
        env=os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    target, derained = np.random.default_rng(0).random((2, 2, 40, 56, 3), np.float32)
    y = tf.constant(derained)
    losses = (DerainLoss(), PSNRLoss(ssim_weight=2.0, brightness_weight=3.0))
    for loss, line in zip(losses, result.stdout.splitlines(), strict=True):
        with tf.GradientTape() as tape:
            tape.watch(y)
            value = loss(target, y)
        gradient = float(tf.reduce_sum(tf.abs(tape.gradient(value, y))))
        there = [float(word) for word in line.split()]
        np.testing.assert_allclose(there, (float(value), gradient), rtol=1e-5)
