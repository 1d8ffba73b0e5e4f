"""The training losses, per example, in the published scale.

Images are in [0, 1], but the published script measures them in [-1, 1]. Differences are therefore
doubled here, so that loss values, and what Adam's epsilon does with their gradients, are those of
the published script.

`call(y_true, y_pred)` of each takes float tensors `[batch, height, width, 3]`, RGB in [0, 1], and
returns `[batch]`; `y_pred` may go beyond the range.
"""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from mspfn_tf.errors import UsageError
from mspfn_tf.layers import Tensor
from mspfn_tf.sizes import LEAST_LOSS_SIDE

RANGE = 2.0
"""How much wider the published range [-1, 1] is than [0, 1]."""


def laplacian(images: Tensor) -> Tensor:
    """The 3x3 Laplacian (8 in the middle, -1 around) of every channel, zero padding.

    Args:
        images: float tensor [batch, height, width, channels].
    """
    kernel = np.full((3, 3, images.shape[-1], 1), -1.0, dtype="float32")
    kernel[1, 1] = 8.0
    kernel = ops.convert_to_tensor(kernel, dtype=images.dtype)
    return ops.depthwise_conv(images, kernel, padding="same")


def _charbonnier(difference, epsilon):
    return ops.mean(ops.sqrt(ops.square(RANGE * difference) + epsilon**2), axis=(1, 2, 3))


@keras.saving.register_keras_serializable(package="mspfn_tf")
class CharbonnierLoss(keras.losses.Loss):
    """mean(sqrt((2 (y - target))^2 + epsilon^2)) per example (MSPFN eq. 9).

    Args:
        epsilon: float, in the range [-1, 1]. Default 1e-3.
    """

    def __init__(self, epsilon: float = 1e-3, name: str = "charbonnier_loss", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.epsilon = epsilon

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return _charbonnier(y_pred - y_true, self.epsilon)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "epsilon": self.epsilon}


@keras.saving.register_keras_serializable(package="mspfn_tf")
class EdgeLoss(CharbonnierLoss):
    """The Charbonnier loss of the Laplacians (MSPFN eq. 10), unweighted."""

    def __init__(self, epsilon: float = 1e-3, name: str = "edge_loss", **kwargs: Any):
        super().__init__(epsilon, name=name, **kwargs)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return _charbonnier(laplacian(y_pred - y_true), self.epsilon)


@keras.saving.register_keras_serializable(package="mspfn_tf")
class DerainLoss(keras.losses.Loss):
    """Charbonnier loss + `edge_weight` times the edge loss, per example (MSPFN eq. 11).

    Args:
        edge_weight: float. Default 0.05.
        epsilon: float, in the range [-1, 1]. Default 1e-3.
    """

    def __init__(
        self,
        edge_weight: float = 0.05,
        epsilon: float = 1e-3,
        name: str = "derain_loss",
        **kwargs: Any,
    ):
        super().__init__(name=name, **kwargs)
        self.edge_weight = edge_weight
        self.epsilon = epsilon

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        difference = y_pred - y_true
        content = _charbonnier(difference, self.epsilon)
        edges = _charbonnier(laplacian(difference), self.epsilon)
        return content + self.edge_weight * edges

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "edge_weight": self.edge_weight,
            "epsilon": self.epsilon,
        }


@keras.saving.register_keras_serializable(package="mspfn_tf")
class PSNRLoss(keras.losses.Loss):
    """10 log10(mean squared error + floor) per example: the negative PSNR (dB), with a floor.

    What the protocol averages, as Chen et al. (HINet, 2021) train on it. A pair counts by the ratio
    of its error, so that light rain weighs as much as heavy rain.

    Args:
        floor: float, mean squared error in [0, 1] below which little is gained, so that pairs
            without rain do not outweigh all others. Default 1e-4 (40 dB).
        ssim_weight: float, decibels that one unit of 1 - SSIM (of the luma) counts. Default 0.
        brightness_weight: float, weight of the same decibels of means over 16x16 pixels, with a
            floor of half a level: errors of single pixels hide there, and a shift of the brightness
            of a region shows. Default 0.

    With either of these weights, pictures need sides of at least `mspfn_tf.sizes.LEAST_LOSS_SIDE`.

    Raises:
        UsageError: from `call`, for smaller ones (NaN where a graph is traced without known sizes).
    """

    def __init__(
        self,
        floor: float = 1e-4,
        ssim_weight: float = 0.0,
        brightness_weight: float = 0.0,
        name: str = "psnr_loss",
        **kwargs: Any,
    ):
        super().__init__(name=name, **kwargs)
        self.floor = floor
        self.ssim_weight = ssim_weight
        self.brightness_weight = brightness_weight

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        small = any(side is not None and side < LEAST_LOSS_SIDE for side in y_pred.shape[1:3])
        if small and (self.ssim_weight or self.brightness_weight):
            raise UsageError(
                f"ssim_weight and brightness_weight look at windows of the pictures: expected "
                f"sides of at least {LEAST_LOSS_SIDE}; received {list(y_pred.shape)}"
            )
        difference = y_pred - y_true
        loss = _decibels(difference, self.floor)
        if self.ssim_weight:
            loss = loss + self.ssim_weight * (1.0 - structural_similarity(y_true, y_pred))
        if self.brightness_weight:
            # Strides are told, because Keras (3.15) finds none on JAX.
            regions = ops.average_pool(difference, LEAST_LOSS_SIDE, strides=LEAST_LOSS_SIDE)
            loss = loss + self.brightness_weight * _decibels(regions, (0.5 / 255) ** 2)
        return loss

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "floor": self.floor,
            "ssim_weight": self.ssim_weight,
            "brightness_weight": self.brightness_weight,
        }


def _decibels(difference, floor):
    error = ops.mean(ops.square(difference), axis=(1, 2, 3))
    return (10.0 / math.log(10.0)) * ops.log(error + floor)


def structural_similarity(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """SSIM of the luma per example (Wang et al. 2004), in [-1, 1]; 1 for equal images.

    The window is that of the protocol: 11x11, Gaussian of sigma 1.5, only where it fits. Luma is
    the plain weighted mean of BT.601, without the rounding of the protocol, so that it can be
    trained on.

    Args:
        y_true, y_pred: float tensors [batch, height, width, 3] in [0, 1], sides of at least 11.
    """
    weights = ops.convert_to_tensor(np.array([[[[0.299], [0.587], [0.114]]]], "float32"))
    x, y = (ops.conv(ops.cast(image, "float32"), weights) for image in (y_true, y_pred))
    moments = ops.concatenate([x, y, x * x, y * y, x * y], axis=-1)
    line = np.exp(-0.5 * np.square(np.arange(-5, 6) / 1.5)).astype("float32")
    line /= line.sum()
    for shape in ((11, 1, 1, 1), (1, 11, 1, 1)):
        kernel = np.tile(line.reshape(shape), (1, 1, 5, 1))
        moments = ops.depthwise_conv(moments, ops.convert_to_tensor(kernel), padding="valid")
    mean_x, mean_y, xx, yy, xy = ops.split(moments, 5, axis=-1)
    both, squares = mean_x * mean_y, mean_x * mean_x + mean_y * mean_y
    luminance = (2.0 * both + 0.01**2) / (squares + 0.01**2)
    contrast = (2.0 * (xy - both) + 0.03**2) / (xx + yy - squares + 0.03**2)
    return ops.mean(luminance * contrast, axis=(1, 2, 3))
