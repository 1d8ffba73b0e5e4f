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

import numpy as np

PROTOCOLS = ("matlab_y", "rgb")
PEAK = 255
WINDOW = 11  # side of the SSIM window; smaller images have no SSIM
_SIGMA = 1.5
_C1 = (0.01 * PEAK) ** 2
_C2 = (0.03 * PEAK) ** 2
_MIDDLE = 128  # see ssim_map


def _gaussian():
    offsets = np.arange(WINDOW) - WINDOW // 2
    weights = np.exp(-(offsets**2) / (2 * _SIGMA**2))
    return tuple(float(weight) for weight in weights / weights.sum())


_WEIGHTS = _gaussian()


def psnr(target, image, protocol="matlab_y"):
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


def ssim(target, image, protocol="matlab_y"):
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


def check_protocol(protocol):
    """Raises `ValueError` for a protocol that is not one of `PROTOCOLS`."""
    if protocol not in PROTOCOLS:
        raise ValueError(
            f"`protocol` must be one of {', '.join(PROTOCOLS)}. Received: {protocol!r}"
        )


def check_window(shape):
    """Raises `ValueError` where the SSIM window does not fit in images `[..., H, W, channels]`.

    A side of `None` (unknown while a graph is built) passes.
    """
    height, width = shape[-3:-1]
    if any(side is not None and side < WINDOW for side in (height, width)):
        raise ValueError(
            f"SSIM needs images of at least {WINDOW}x{WINDOW} pixels, the size of its window. "
            f"Received: height {height}, width {width}"
        )


def luma(rgb):
    """MATLAB's `rgb2ycbcr` Y of `uint8` levels, rounded as MATLAB does.

    Args:
        rgb: integer array or tensor `[..., 3]` of at least 32 bits, levels 0..255.

    Returns:
        `[...]` of the same type, 16..235. Exact: all is integer arithmetic.
    """
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    # 16 + (65.481 R + 128.553 G + 24.966 B) / 255, in thousandths, with half a level added to round
    return 16 + (65481 * red + 128553 * green + 24966 * blue + 127500) // 255000


def ssim_map(target, image):
    """SSIM at each place of the window.

    Args:
        target, image: floating-point arrays, or tensors of any Keras backend, `[..., H, W]` of
            levels 0..255.

    Returns:
        `[..., H - 10, W - 10]`.
    """
    # Variances do not depend on where zero is. Around the middle level the squares are smaller,
    # which is what makes float32 good enough for mean(x**2) - mean(x)**2.
    target, image = target - _MIDDLE, image - _MIDDLE
    mean_t, mean_i = _blur(target), _blur(image)
    variances = _blur(target * target + image * image) - (mean_t * mean_t + mean_i * mean_i)
    covariance = _blur(target * image) - mean_t * mean_i
    mean_t, mean_i = mean_t + _MIDDLE, mean_i + _MIDDLE
    return ((2 * mean_t * mean_i + _C1) * (2 * covariance + _C2)) / (
        (mean_t * mean_t + mean_i * mean_i + _C1) * (variances + _C2)
    )


def _blur(x):
    # The Gaussian is separable: 11 + 11 shifted sums instead of 121, and plain arithmetic rather
    # than a convolution, which some accelerators compute in reduced precision.
    last = WINDOW - 1
    x = sum(w * x[..., i : i - last or None, :] for i, w in enumerate(_WEIGHTS))
    return sum(w * x[..., i : i - last or None] for i, w in enumerate(_WEIGHTS))


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
    return np.floor(np.clip(array, 0, 1) * float(PEAK) + 0.5).astype(np.int32)


def _per_image(values):
    return float(values) if values.ndim == 0 else values


def __getattr__(name):
    if name in ("PSNR", "SSIM"):
        from mspfn_tf import keras_metrics

        return getattr(keras_metrics, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
