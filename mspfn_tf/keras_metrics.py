"""`metrics.psnr` and `metrics.ssim` as Keras metrics, for `compile(metrics=[...])`."""

import math

import keras
from keras import ops

from mspfn_tf.protocol import PEAK, check_protocol, check_window, luma, ssim_map


class _PerImageMean(keras.metrics.Mean):
    """Mean over images of a measure that is taken image by image.

    The state is a sum and a count of images, so that a smaller last batch and replicas with
    unequal shares weigh as many images as they hold.
    """

    def __init__(self, protocol="matlab_y", name=None, dtype=None):
        check_protocol(protocol)
        super().__init__(name=name or type(self).__name__.lower(), dtype=dtype)
        self.protocol = protocol

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        for name, tensor in (("y_true", y_true), ("y_pred", y_pred)):
            if len(tensor.shape) != 4 or tensor.shape[-1] != 3:
                raise ValueError(
                    f"`{name}` must be RGB images, [batch, height, width, 3]. "
                    f"Received shape: {tuple(tensor.shape)}"
                )
        for side, other in zip(y_true.shape[1:3], y_pred.shape[1:3], strict=True):
            if None not in (side, other) and side != other:
                raise ValueError(
                    "`y_true` and `y_pred` must have the same shape. "
                    f"Received: {tuple(y_true.shape)}, {tuple(y_pred.shape)}"
                )
        values = self._measure(self._planes(y_true), self._planes(y_pred))
        # A NaN does not survive the rounding to levels, but must not pass for a colour either.
        broken = ops.isnan(ops.mean(ops.cast(y_pred, "float32"), axis=(1, 2, 3)))
        values = ops.where(broken, ops.full_like(values, math.nan), values)
        if sample_weight is not None:  # what does not count may be infinite
            weights = ops.cast(ops.convert_to_tensor(sample_weight), values.dtype)
            if len(weights.shape) == 2 and weights.shape[1] == 1:  # Keras' losses take these, too
                weights = ops.squeeze(weights, axis=1)
            values = ops.where(weights == 0, ops.zeros_like(values), values)
            sample_weight = weights
        return super().update_state(values, sample_weight)

    def _planes(self, images):
        """What the protocol compares, float32 levels `[batch, channels, height, width]`."""
        if keras.backend.is_float_dtype(keras.backend.standardize_dtype(images.dtype)):
            images = ops.clip(ops.cast(images, "float32"), 0, 1)
            images = ops.floor(images * PEAK + 0.5)
        levels = ops.cast(images, "int32")
        if self.protocol == "matlab_y":
            planes = luma(levels)[:, None]
        else:
            planes = ops.transpose(levels, (0, 3, 1, 2))
        return ops.cast(planes, "float32")

    def get_config(self):
        return {"protocol": self.protocol, "name": self.name, "dtype": self.dtype}


@keras.saving.register_keras_serializable("mspfn_tf")
class PSNR(_PerImageMean):
    """Mean over images of the peak signal-to-noise ratio in dB.

    As the mean of `metrics.psnr`: infinite as soon as one image equals its target.

    Args:
        protocol: one of `metrics.PROTOCOLS`.
        name: of the metric, default `"psnr"`.
        dtype: of the metric's state.

    `update_state` takes `[batch, H, W, 3]` images, `uint8` or floating point in [0, 1].

    Raises:
        ValueError: unknown protocol, or images of another shape.
    """

    def _measure(self, target, image):
        error = ops.mean(ops.square(target - image), axis=(1, 2, 3))
        return 10 / math.log(10) * (ops.log(float(PEAK**2)) - ops.log(error))


@keras.saving.register_keras_serializable("mspfn_tf")
class SSIM(_PerImageMean):
    """Mean over images of the structural similarity, as the mean of `metrics.ssim`.

    Arguments as `PSNR`, default name `"ssim"`.

    Raises:
        ValueError: as `PSNR`; also for images smaller than the 11x11 window (where a graph is
            traced without known sizes, the result is NaN instead).
    """

    def _measure(self, target, image):
        check_window((*target.shape[-2:], 1))
        return ops.mean(ssim_map(target, image), axis=(1, 2, 3))
