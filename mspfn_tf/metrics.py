"""PSNR and SSIM as deraining papers measure them, per image.

Protocols (`PROTOCOLS`):

- `"matlab_y"`: the luma that MATLAB's `rgb2ycbcr` gives for a `uint8` picture (BT.601, 16..235,
  itself rounded to whole levels). The figures of the papers.
- `"rgb"`: the three channels as they are; SSIM is the mean over the channels.

Under both, a floating-point image is first rounded to `uint8`, the peak is 255, and SSIM is that of
Wang et al., "Image quality assessment: from error visibility to structural similarity" (2004):
11x11 Gaussian window of sigma 1.5, K = (0.01, 0.03), only where the window lies inside the image,
no downsampling.

NumPy only. `PSNR` and `SSIM`, the same measures as Keras metrics, live in `keras_metrics` and are
imported from there on first use, so that scoring pictures does not need Keras.
"""

from typing import Any

import numpy as np

from mspfn_tf.protocol import (
    PEAK,
    PROTOCOLS,
    WINDOW,
    check_protocol,
    check_window,
    luma,
    ssim_map,
)

__all__ = ["PEAK", "PROTOCOLS", "WINDOW", "check_protocol", "luma", "psnr", "ssim"]


def psnr(target: Any, image: Any, protocol: str = "matlab_y") -> Any:
    """Peak signal-to-noise ratio in dB.

    Args:
        target: the true image, `[H, W, 3]` RGB, `uint8` or floating point in [0, 1]. Or a batch
            `[N, H, W, 3]`.
        image: the image to judge, of the same shape; `uint8` or floating point, where values
            outside [0, 1] are clipped.
        protocol: one of `PROTOCOLS`.

    Returns:
        A `float`; for a batch an array `[N]` (the error is never pooled over images).
        Infinity where both images are equal under the protocol.

    Raises:
        ValueError: unknown protocol, wrong shape, dtype or range.
    """
    target, image = _planes(target, image, protocol)
    error = np.square(target - image).mean(axis=(-3, -2, -1))
    with np.errstate(divide="ignore"):
        return _per_image(10 * np.log10(PEAK**2 / error))


def ssim(target: Any, image: Any, protocol: str = "matlab_y") -> Any:
    """Structural similarity (Wang et al. 2004), at most 1, which equal images reach.

    Takes and returns what `psnr` does.

    Raises:
        ValueError: as `psnr`; also for images of which a side is less than 11 pixels: the window
            fits nowhere in them.
    """
    target, image = _planes(target, image, protocol)
    check_window(target.shape)
    target, image = (
        np.ascontiguousarray(np.moveaxis(x, -1, -3), dtype=np.float32) for x in (target, image)
    )
    return _per_image(ssim_map(target, image).mean(axis=(-3, -2, -1), dtype=np.float64))


def _planes(target, image, protocol):
    """Both images as int32 levels `[..., H, W, channels]` of what the protocol compares."""
    check_protocol(protocol)
    target, image = np.asarray(target), np.asarray(image)
    for name, array in (("target", target), ("image", image)):
        if array.ndim not in (3, 4) or array.shape[-1] != 3 or 0 in array.shape:
            raise ValueError(
                f"`{name}` must be RGB, [height, width, 3] or a batch [N, height, width, 3], and "
                f"not empty. Received shape: {list(array.shape)}"
            )
    if target.shape != image.shape:
        raise ValueError(
            "`target` and `image` must have the same shape. "
            f"Received: target {list(target.shape)}, image {list(image.shape)}"
        )
    levels = _levels("target", target), _levels("image", image)
    return tuple(luma(x)[..., None] for x in levels) if protocol == "matlab_y" else levels


def _levels(name, array):
    if array.dtype == np.uint8:
        return array.astype(np.int32)
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(
            f"`{name}` must be uint8 or floating point in [0, 1]. Received dtype: {array.dtype}"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"`{name}` holds values that are not finite (NaN or infinity)")
    if name == "target" and not (array.min() >= 0 and array.max() <= 1):
        raise ValueError(
            "`target` must lie in [0, 1] when it is floating point (levels 0..255 must be uint8). "
            f"Received values from {array.min()} to {array.max()}"
        )
    wide = array.astype(np.promote_types(array.dtype, np.float32))  # float16 rounds levels away
    return np.floor(np.clip(wide, 0, 1) * float(PEAK) + 0.5).astype(np.int32)


def _per_image(values):
    return float(values) if values.ndim == 0 else values


def __getattr__(name: str) -> type:
    if name in ("PSNR", "SSIM"):
        from mspfn_tf import keras_metrics

        return getattr(keras_metrics, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
