"""What the papers' protocol consists of, in arithmetic that NumPy and every Keras backend share."""

from collections.abc import Iterable
from typing import Any

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


def check_protocol(protocol: str) -> None:
    """Raises `ValueError` for a protocol that is not one of `PROTOCOLS`."""
    if protocol not in PROTOCOLS:
        raise ValueError(
            f"`protocol` must be one of {', '.join(PROTOCOLS)}. Received: {protocol!r}"
        )


def check_window(shape: Any) -> None:
    """Raises `ValueError` where the SSIM window does not fit in images `[..., H, W, channels]`.

    A side of `None` (unknown while a graph is built) passes.
    """
    height, width = shape[-3:-1]
    if any(side is not None and side < WINDOW for side in (height, width)):
        raise ValueError(
            f"SSIM needs images of at least {WINDOW}x{WINDOW} pixels, the size of its window. "
            f"Received: height {height}, width {width}"
        )


def luma(rgb: Any) -> Any:
    """MATLAB's `rgb2ycbcr` Y of `uint8` levels, rounded as MATLAB does.

    Args:
        rgb: integer array or tensor `[..., 3]` of at least 32 bits, levels 0..255.

    Returns:
        `[...]` of the same type, 16..235. Exact: all is integer arithmetic.
    """
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    # 16 + (65.481 R + 128.553 G + 24.966 B) / 255, in thousandths, with half a level added to round
    return 16 + (65481 * red + 128553 * green + 24966 * blue + 127500) // 255000


def ssim_map(target: Any, image: Any) -> Any:
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
    x = _weighted(x[..., i : i - last or None, :] for i in range(WINDOW))
    return _weighted(x[..., i : i - last or None] for i in range(WINDOW))


def _weighted(shifted: Iterable[Any]) -> Any:
    return sum(weight * x for weight, x in zip(_WEIGHTS, shifted, strict=True))
