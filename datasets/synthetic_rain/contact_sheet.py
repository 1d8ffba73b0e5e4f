"""Draws the contact sheets of README.md, over scenes that the project draws itself.

python -m mspfn_tf.datasets.synthetic_rain.contact_sheet FOLDER
"""

import dataclasses
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from mspfn_tf.datasets.synthetic_rain.parameters import PRESETS
from mspfn_tf.datasets.synthetic_rain.rain import rain

_ROOFS = ((132, 62, 48), (96, 74, 66), (70, 74, 92), (148, 92, 60))
_WALLS = ((206, 190, 160), (170, 160, 152), (188, 140, 110), (222, 214, 200))


def draw_scene(rng: np.random.Generator, size: tuple[int, int] = (321, 481)) -> np.ndarray:
    """A landscape with hills, houses, trees and a road, `uint8 [H, W, 3]`, for tests and demos.

    Args:
        rng: source of all randomness.
        size: (H, W) in pixels.
    """
    height, width = size
    # Drawn at twice the size and reduced, which smooths the edges.
    h, w = 2 * height, 2 * width
    horizon = int(h * rng.uniform(0.38, 0.55))
    picture = Image.fromarray(_sky(rng, h, w))
    for distance in (0.75, 0.5, 0.25):
        silhouette = horizon - distance * h * rng.uniform(0.1, 0.3) * _ridge(rng, w)
        green = np.array([rng.uniform(50, 90), rng.uniform(85, 125), rng.uniform(45, 70)])
        colour = green * (1 - 0.8 * distance) + np.array([150, 165, 185]) * 0.8 * distance
        below = np.arange(h)[:, None] > silhouette[None, :]
        _paint(picture, below, _textured(rng, (h, w), colour, 0.25))
    ground = np.array([rng.uniform(95, 140), rng.uniform(105, 130), rng.uniform(60, 80)])
    below = np.broadcast_to(np.arange(h)[:, None] > horizon, (h, w))
    _paint(picture, below, _textured(rng, (h, w), ground, 0.45))

    draw = ImageDraw.Draw(picture)
    vanishing, foot = w * rng.uniform(0.35, 0.65), w * rng.uniform(0.3, 0.7)
    road = [(vanishing - 4, horizon), (vanishing + 4, horizon), (foot + 0.2 * w, h)]
    draw.polygon([*road, (foot - 0.2 * w, h)], fill=(104, 104, 110))
    for step in np.linspace(0.15, 0.95, 6):
        x, y = vanishing + (foot - vanishing) * step, horizon + (h - horizon) * step
        draw.line([(x, y), (x, y + 0.05 * h * step)], fill=(214, 208, 180), width=1 + int(9 * step))
    for base in np.sort(rng.uniform(0.02, 0.35, rng.integers(6, 11))):
        middle = w * (rng.uniform(0, 0.36) if rng.random() < 0.5 else rng.uniform(0.64, 1))
        foot_y, unit = horizon + base * (h - horizon), h * (0.05 + 0.35 * base)
        (_house if rng.random() < 0.45 else _tree)(draw, rng, middle, foot_y, unit)
    picture = np.asarray(picture.resize((width, height), Image.Resampling.BOX), np.float32)
    grain = rng.standard_normal((height, width, 1), np.float32) * 2
    return np.clip(np.rint(picture + grain), 0, 255).astype(np.uint8)


def _sky(rng, height, width):
    top = np.array([rng.uniform(60, 130), rng.uniform(110, 160), rng.uniform(150, 215)])
    bottom = np.array([rng.uniform(170, 225), rng.uniform(185, 225), rng.uniform(205, 235)])
    blend = np.linspace(0, 1.6, height)[:, None, None].clip(0, 1)
    clouds = np.clip(_octaves(rng, (height, width)) * 2.4 - 0.9, 0, 0.9)[..., None]
    sky = top * (1 - blend) + bottom * blend
    return np.rint(sky * (1 - clouds) + 228 * clouds).astype(np.uint8)


def _ridge(rng, width):
    return _octaves(rng, (8, width))[0]


def _textured(rng, size, colour, contrast):
    shade = 1 + contrast * (_octaves(rng, size, finest=96) - 0.5)
    shade += 0.5 * contrast * (rng.random(size, np.float32) - 0.5)
    return np.clip(np.rint(shade[..., None] * colour), 0, 255).astype(np.uint8)


def _paint(picture, where, colours):
    picture.paste(Image.fromarray(colours), mask=Image.fromarray(where.astype(np.uint8) * 255))


def _octaves(rng, size, finest=24):
    """Smooth noise of several scales, in [0, 1]."""
    total, cells, weight = np.zeros(size, np.float32), 3, 1.0
    while cells <= finest:
        coarse = Image.fromarray(rng.random((cells, cells), np.float32))
        total += weight * np.asarray(coarse.resize(size[::-1], Image.Resampling.BICUBIC))
        cells, weight = cells * 2, weight * 0.6
    return (total - total.min()) / (np.ptp(total) + 1e-6)


def _house(draw, rng, x, y, unit):
    width, height = unit * rng.uniform(1.2, 2.2), unit * rng.uniform(0.8, 1.6)
    wall, roof = _WALLS[rng.integers(4)], _ROOFS[rng.integers(4)]
    draw.rectangle([x - width / 2, y - height, x + width / 2, y], fill=wall)
    eaves = [(x - 0.58 * width, y - height), (x + 0.58 * width, y - height)]
    draw.polygon([*eaves, (x, y - height - 0.6 * unit)], fill=roof)
    for column in np.linspace(-0.33, 0.33, 3):
        for row in np.arange(0.2, height / unit - 0.15, 0.45):
            left, top = x + column * width - 0.12 * unit, y - height + row * unit
            frame = [left, top, left + 0.24 * unit, top + 0.27 * unit]
            draw.rectangle(frame, fill=(52, 58, 72), outline=(236, 232, 224), width=2)


def _tree(draw, rng, x, y, unit):
    height = unit * rng.uniform(1.2, 2.4)
    trunk = [x - 0.07 * unit, y - height * 0.6, x + 0.07 * unit, y]
    draw.rectangle(trunk, fill=(74, 56, 42))
    green = np.array([rng.uniform(30, 80), rng.uniform(70, 115), rng.uniform(25, 55)])
    for _ in range(90):
        angle, far = rng.uniform(0, 2 * np.pi), np.sqrt(rng.random())
        leaf_x = x + 0.55 * unit * far * np.cos(angle)
        leaf_y = y - 0.75 * height + 0.42 * height * far * np.sin(angle)
        size = unit * rng.uniform(0.05, 0.16)
        fill = tuple(int(v) for v in green * rng.uniform(0.55, 1.5))
        draw.ellipse([leaf_x - size, leaf_y - size, leaf_x + size, leaf_y + size], fill=fill)


def contact_sheet(preset: str, columns: int = 3, rows: int = 2) -> Image.Image:
    """Scenes in the rain of a preset, in a grid."""
    width, height = 240, 160
    parameters = dataclasses.replace(PRESETS[preset], rain_free=0.0)
    place = list(PRESETS).index(preset)
    sheet = Image.new("RGB", (columns * (width + 4) - 4, rows * (height + 4) - 4), "white")
    for index in range(columns * rows):
        clean = draw_scene(np.random.default_rng([place, index]), (2 * height, 2 * width))
        rainy = rain(clean, np.random.default_rng([5, place, index]), parameters)
        small = Image.fromarray(rainy).resize((width, height), Image.Resampling.BOX)
        row, column = divmod(index, columns)
        sheet.paste(small, (column * (width + 4), row * (height + 4)))
    return sheet


def main(folder: str) -> None:
    for preset in PRESETS:
        path = Path(folder) / f"{preset}.jpg"
        contact_sheet(preset).save(path, quality=72, optimize=True)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
