"""How the scene moves from one frame of a video to another.

Phase correlation (Kuglin and Hines 1975) of windows of the derained luma tells where each went;
streaks are finer than what is correlated, so that the scene is followed and not the rain. What is
left of the rain makes each window err by some tenths of a pixel. One affine map through all windows
evens that out. Windows that do not match along it (what passes by, what is near) keep a motion of
their own.
"""

from dataclasses import dataclass, replace

import numpy as np

from mspfn_tf.extras import require

cv2 = require("cv2", "video")

_WINDOW = 48  # side of the windows whose motion is told, in pixels of the reduced luma
_MOST = 16  # windows along a side
_LONGEST = 960  # the luma is halved until its longer side is no longer than this
_SMALLEST = 16  # below this side of the reduced luma no motion is told
_LOW_PASS = 0.2  # cycles per pixel: streaks are finer, and must not be what is followed
_COMMON = 0.1  # share of the frame's mean correlation in that of each window
_FITS = 0.6  # share of a window's peak of correlation that the affine map must reach
_ROUNDS = 8  # of the fit
_OUTLIER = 0.25  # pixels of the reduced luma beyond which a window says little about the map
_STIFFNESS = 0.01  # of the map's linear part, in windows: a single window is only shifted
_STILL = 0.1  # pixels: what moves less has not moved


@dataclass(frozen=True, eq=False)
class Motion:
    """Where the points of a frame lie in another frame, in pixels.

    Attributes:
        matrix: ``float64 [2, 3]``: the point (x, y) went to ``matrix @ (x, y, 1)``.
        deviations: ``float32 [rows, columns, 2]`` (x, y), what is added to that around each window.
        centres: the windows' y and x.
    """

    matrix: np.ndarray
    deviations: np.ndarray
    centres: tuple[np.ndarray, np.ndarray]

    def inverse(self) -> "Motion":
        """Where the points of the other frame lie in this one."""
        square = np.linalg.inv(np.vstack([self.matrix, [0, 0, 1]]))
        return replace(self, matrix=square[:2], deviations=-self.deviations)

    def displacements(self, size: tuple[int, int], factor: int) -> np.ndarray | None:
        """By how much each square of `factor` pixels by as many moved.

        Args:
            size: (H, W) of the frame.
            factor: int.

        Returns:
            ``float32 [ceil(H / factor), ceil(W / factor), 2]`` (x, y), in pixels of the frame; None
            where nothing moved.
        """
        y, x = (factor * np.arange(-(-side // factor)) + (factor - 1) / 2 for side in size)
        linear = (self.matrix - np.eye(2, 3)).astype(np.float32)
        moved = np.stack(
            [np.add.outer(row[1] * y + row[2], row[0] * x) for row in linear], axis=-1
        ).astype(np.float32)
        if self.deviations.any():
            rows, columns = (
                np.interp(places, centres, np.arange(len(centres)))
                for places, centres in zip((y, x), self.centres, strict=True)
            )
            columns, rows = np.meshgrid(columns.astype(np.float32), rows.astype(np.float32))
            moved += cv2.remap(
                self.deviations, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            )
        return None if cv2.norm(moved, cv2.NORM_INF) < _STILL else moved


def spectra(luma: np.ndarray) -> np.ndarray | None:
    """Fourier transforms of a frame's windows, for `motion`.

    Args:
        luma: ``uint8 [H, W]``.

    Returns:
        ``complex64 [rows, columns, h, w // 2 + 1]``; None for frames too small to tell motion.
    """
    small = cv2.resize(luma, _reduced(luma.shape)[::-1], interpolation=cv2.INTER_AREA)
    if min(small.shape) < _SMALLEST:
        return None
    height, width = (_window(side) for side in small.shape)
    taper = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1]).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(small, (height, width))
    rows, columns = (_starts(side) for side in small.shape)
    windows = windows[rows[:, None], columns].astype(np.float32)
    mean = np.einsum("rchw,hw->rc", windows, taper / taper.sum())[..., None, None]
    return np.fft.rfft2((windows - mean) * taper)


def motion(earlier: np.ndarray, later: np.ndarray, size: tuple[int, int]) -> Motion:
    """The motion from one frame to another.

    Args:
        earlier, later: `spectra` of both.
        size: (H, W) of the frames.
    """
    surface = _correlation(earlier, later)
    found, height = _peaks(surface)
    reduced = _reduced(size)
    scale = np.array([size[0] / reduced[0], size[1] / reduced[1]])
    centres = [_starts(side) + (_window(side) - 1) / 2 for side in reduced]
    map_ = _affine(found, height**2, *centres)
    apart = found - _along(map_, *centres)
    fits = _values(surface, found - apart) >= _FITS * height
    apart = np.where(fits[..., None], 0, apart) * scale
    # From (y, x) in pixels of the reduced luma to (x, y) in those of the frame.
    linear, shift = map_[:, :2], map_[:, 2]
    linear = linear * scale[:, None] / scale
    shift = shift * scale - linear @ (scale / 2 - 0.5)
    matrix = np.hstack([np.eye(2) + linear[::-1, ::-1], shift[::-1, None]])
    ys, xs = ((c + 0.5) * s - 0.5 for c, s in zip(centres, scale, strict=True))
    return Motion(matrix, np.ascontiguousarray(apart[..., ::-1], np.float32), (ys, xs))


def _reduced(size):
    """The size to which frames are reduced to tell their motion."""
    factor = 2
    while max(size) > factor * _LONGEST:
        factor *= 2
    return tuple(-(-side // factor) for side in size)


def _window(side):
    return min(_WINDOW, side // 2 * 2)


def _starts(side):
    """Where windows start that cover a side, and overlap by half if it is short."""
    window = _window(side)
    count = min(1 + -(-(side - window) // (window // 2)), max(_MOST, -(-side // window)))
    return np.rint(np.linspace(0, side - window, count)).astype(int)


def _correlation(earlier, later):
    """How well each window matches for each displacement, ``float32 [rows, columns, h, w]``."""
    height, width = earlier.shape[2], 2 * (earlier.shape[3] - 1)
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)
    low_pass = np.exp(-(fy**2 + fx**2) / (2 * _LOW_PASS**2)).astype(np.float32)
    cross = np.conj(earlier) * later
    cross *= low_pass / (np.abs(cross) + np.float32(1e-3))
    surface = np.fft.irfft2(cross, (height, width))
    surface += _COMMON * surface.mean((0, 1))
    return surface


def _peaks(surface):
    """The displacement (y, x) at which each window matches best, and how well it does there."""
    height, width = surface.shape[2:]
    y, x = np.divmod(surface.reshape(*surface.shape[:2], -1).argmax(-1), width)
    row, column = np.indices(y.shape, sparse=True)

    best = np.maximum(surface[row, column, y, x], 1e-6)

    def beside(dy, dx):  # logarithm of the part of the peak that is reached there
        value = surface[row, column, (y + dy) % height, (x + dx) % width]
        return np.log(np.maximum(value / best, 1e-3))

    def vertex(before, after):  # of the Gaussian through the peak and what is beside it
        return np.clip(0.5 * (before - after) / np.minimum(before + after, -1e-9), -0.5, 0.5)

    down = (y + height // 2) % height - height // 2 + vertex(beside(-1, 0), beside(1, 0))
    right = (x + width // 2) % width - width // 2 + vertex(beside(0, -1), beside(0, 1))
    return np.stack([down, right], -1), best


def _values(surface, displacements):
    """How well each window matches at a displacement, between those that are known."""
    height, width = surface.shape[2:]
    row, column = np.indices(displacements.shape[:2], sparse=True)
    whole = np.floor(displacements).astype(int)
    part = displacements - whole
    total = np.zeros(displacements.shape[:2])
    for dy in (0, 1):
        for dx in (0, 1):
            share = np.abs(1 - dy - part[..., 0]) * np.abs(1 - dx - part[..., 1])
            y, x = (whole[..., 0] + dy) % height, (whole[..., 1] + dx) % width
            total += share * surface[row, column, y, x]
    return total


def _affine(displacements, weights, ys, xs):
    """``[2, 3]``: the displacement (y, x) at (y, x), fitted by reweighted least squares.

    The weights are those of Geman and McClure, whose scale falls from a pixel or two to
    `_OUTLIER`, so that the map follows what most windows show.
    """
    middle = np.array([ys.mean(), xs.mean()])
    spread = max(np.ptp(ys), np.ptp(xs), 1.0)
    y, x = np.meshgrid((ys - middle[0]) / spread, (xs - middle[1]) / spread, indexing="ij")
    places = np.stack([y.ravel(), x.ravel(), np.ones(y.size)], -1)
    targets, own = displacements.reshape(-1, 2), weights.ravel()
    guess = np.zeros((3, 2))
    guess[2] = np.median(targets, 0)
    stiffness = np.diag([1, 1, 0]) * _STIFFNESS * own.mean()
    for round_ in range(_ROUNDS):
        scale = max(_OUTLIER, 2 * 0.5**round_)
        error = ((targets - places @ guess) ** 2).sum(1)
        weighted = places * (own / (1 + error / scale**2) ** 2)[:, None]
        guess = np.linalg.solve(weighted.T @ places + stiffness, weighted.T @ targets)
    linear = guess[:2].T / spread
    return np.hstack([linear, (guess[2] - linear @ middle)[:, None]])


def _along(map_, ys, xs):
    y, x = np.meshgrid(ys, xs, indexing="ij")
    return np.stack([y, x, np.ones_like(y)], -1) @ map_.T
