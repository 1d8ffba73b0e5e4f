"""Tiny pictures, clean and rainy, for tests and for the dummy data of the dataset builders."""

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 16, 20


def clean(scene):
    """`uint8 [16, 20, 3]`: four by five blocks of random colour."""
    blocks = np.random.default_rng(scene).integers(0, 200, (4, 5, 3), np.uint8)
    return blocks.repeat(4, 0).repeat(4, 1)


def rainy(scene, streaks=0):
    """The same under a few bright columns."""
    picture = clean(scene)
    columns = np.random.default_rng([scene, streaks]).choice(WIDTH, 4, replace=False)
    picture[:, columns] += 55
    return picture


def left_clean(scene, streaks=0):
    return np.concatenate([clean(scene), rainy(scene, streaks)], axis=1)


def right_clean(scene, streaks=0):
    return np.concatenate([rainy(scene, streaks), clean(scene)], axis=1)


def projections(plane):
    """Means of a plane `[H, W]` beneath waves in four directions: any change of it shows."""
    rows, columns = np.indices(plane.shape)
    waves = (
        np.ones(plane.shape),
        np.cos(rows / 3),
        np.cos(columns / 3),
        np.sin(rows / 2 + columns),
    )
    return [float((wave * plane).mean()) for wave in waves]


def write(folder, pictures):
    """Writes `{relative path: array}` below `folder`; JPEG files without visible loss."""
    for name, picture in pictures.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        options = {"quality": 100, "subsampling": 0} if path.suffix == ".jpg" else {}
        Image.fromarray(picture).save(path, **options)


def same_names(folder, scenes, names=("input", "target"), suffix=".png"):
    """`{path: array}` of two folders below `folder`; pictures are called by their scene."""
    return {
        **{f"{folder}{names[0]}/{scene}{suffix}": rainy(scene) for scene in scenes},
        **{f"{folder}{names[1]}/{scene}{suffix}": clean(scene) for scene in scenes},
    }
