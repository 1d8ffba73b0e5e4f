"""Bars, rails and gratings that are part of the scene, drawn into clean patches."""

import math

import numpy as np


def draw_bars(clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A clean patch with one or two rows of parallel bars, or lattices, in front of it.

    Fences, blinds and railings are long, straight, bright and thin, as streaks are, but regular and
    continuous. Networks that saw few of them take them for rain; with such patches they learn what
    tells them apart. Bars have one colour, soft edges, and a period of 4 to 64 pixels that grows
    towards one side as in perspective; they fill the patch or a part of it. In a third of the rows
    others like them cross at a right angle: nets, window bars, wire mesh, which lean in any
    direction. Three in ten stand before a ground that is darker than the patch was.

    Args:
        clean: `uint8 [S, S, 3]`.
        rng: source of all randomness; it is advanced.

    Returns:
        `uint8 [S, S, 3]`, another array.
    """
    picture = clean.astype(np.float32)
    if rng.random() < 0.3:
        picture *= rng.uniform(0.03, 0.6)
    for _ in range(1 + (rng.random() < 0.3)):
        cover = _bars(clean.shape[0], rng)[..., None]
        picture += cover * (_colour(clean, rng) - picture)
    return np.rint(picture).astype(np.uint8)


def _bars(size, rng):
    """Opacity of a row of bars or of a lattice, `float32 [size, size]` in [0, 1]."""
    lattice = rng.random() < 1 / 3
    lean = 0 if rng.random() < 0.5 else math.pi / 2 * rng.integers(2)
    upright = rng.random() < (0.3 if lattice else 0.6)
    angle = lean + (rng.normal(0, 0.06) if upright else rng.uniform(-0.8, 0.8))
    rows, columns = np.meshgrid(*[np.arange(size, dtype=np.float32) - size / 2] * 2, indexing="ij")
    period = math.exp(rng.uniform(math.log(4), math.log(64)))
    half, edge = rng.uniform(0.08, 0.35), rng.uniform(0.7, 2.0)
    if lattice:  # of thin wires, as most are
        half *= rng.uniform(0.4, 1)
    cover = _row(rows, columns, angle, period, half, edge, rng)
    if lattice:
        angle += math.pi / 2 + rng.normal(0, 0.03)
        period *= math.exp(rng.uniform(-0.25, 0.25))
        cover = np.maximum(cover, _row(rows, columns, angle, period, half, edge, rng))
    if rng.random() < 0.5:  # one side of a line only
        turn = rng.uniform(0, 2 * math.pi)
        side = math.cos(turn) * rows + math.sin(turn) * columns - rng.uniform(-0.3, 0.3) * size
        cover *= np.clip(side + 0.5, 0, 1)
    return np.float32(rng.uniform(0.6, 1.0)) * cover.astype(np.float32)


def _row(rows, columns, angle, period, half, edge, rng):
    """Opacity of bars whose width is twice `half` periods, with edges of `edge` pixels."""
    along = math.cos(angle) * rows - math.sin(angle) * columns
    across = math.cos(angle) * columns + math.sin(angle) * rows
    nearer = 1 + rng.uniform(-0.6, 0.6) * along / len(rows) * (rng.random() < 0.5)
    phase = (across / nearer / period + rng.random()) % 1
    distance = np.abs(phase - 0.5) * period * nearer  # to the middle of the nearest bar, in pixels
    return np.clip((max(0.5, half * period) * nearer - distance) / edge + 0.5, 0, 1)


def _colour(clean, rng):
    """Of the bars: bright, dark, or one of the picture's own; `float32 [3]` in [0, 255]."""
    kind = rng.random()
    if kind < 0.2:
        return clean[tuple(rng.integers(clean.shape[:2]))].astype(np.float32)
    level = rng.uniform(150, 255) if kind < 0.75 else rng.uniform(0, 90)
    return np.clip(level + rng.normal(0, 12, 3), 0, 255).astype(np.float32)
