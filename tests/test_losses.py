"""The losses: values by hand, per example, serialisation."""

import keras
import numpy as np
import pytest

from mspfn_tf.losses import CharbonnierLoss, DerainLoss, EdgeLoss, PSNRLoss, laplacian
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


@pytest.mark.parametrize(
    "loss", [CharbonnierLoss(1e-2), EdgeLoss(1e-2), DerainLoss(0.1, 1e-2), PSNRLoss(1e-3)]
)
def test_serialisation(loss):
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()
