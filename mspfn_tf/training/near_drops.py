"""Drops close to the camera: short, wide, out of focus."""

import math

import numpy as np


def draw_near_drops(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A picture behind drops that fall close to the camera.

    The streaks of sets are thin and long. The path of a drop close by is wide, and soft at its
    edges because it is out of focus. It is bright with the light of the whole sky that the drop
    collects (Garg and Nayar 2007), so it brightens what is behind it, or does not show.

    Args:
        picture: `uint8 [H, W, 3]`, clean or rainy.
        rng: source of all randomness; it is advanced.

    Returns:
        `uint8 [H, W, 3]`, nowhere darker. Some 3 to 30 drops fall in 256x256 pixels, each 2.5 to 10
        pixels wide and 1.5 to 5 times as long, all of about one direction and one brightness.
    """
    height, width = picture.shape[:2]
    count = rng.poisson(math.exp(rng.uniform(math.log(3), math.log(30))) * height * width / 2**16)
    direction = rng.uniform(-0.3, 0.3)
    brightness = rng.uniform(150, 255)
    result = picture.astype(np.float32)
    for _ in range(count):
        wide = math.exp(rng.uniform(math.log(2.5), math.log(10)))
        half = 0.5 * wide * np.array([rng.uniform(1.5, 5), 1])  # along the path, across it
        soft = wide * rng.uniform(0.3, 1)  # pixels over which an edge rises
        angle = direction + rng.normal(0, 0.05)
        opacity, level = rng.uniform(0.2, 1), min(255, brightness * rng.uniform(0.85, 1.15))
        middle = rng.uniform(0, (height, width))
        reach = half[0] + half[1] + soft
        rows, columns = (
            slice(max(0, math.floor(at - reach)), min(side, math.ceil(at + reach)))
            for at, side in zip(middle, (height, width), strict=True)
        )
        y, x = (line - at for line, at in zip(np.ogrid[rows, columns], middle, strict=True))
        along = math.cos(angle) * y + math.sin(angle) * x
        across = math.cos(angle) * x - math.sin(angle) * y
        within, beside = (
            np.clip((end - np.abs(distance)) / soft + 0.5, 0, 1)
            for distance, end in zip((along, across), half, strict=True)
        )
        cover = (np.float32(opacity) * within * beside).astype(np.float32)[..., None]
        part = result[rows, columns]
        part += cover * np.maximum(0, np.float32(level) - part)
    return np.rint(result).astype(np.uint8)
