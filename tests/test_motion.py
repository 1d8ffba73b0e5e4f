"""How the scene moves between frames, where it is known."""

import numpy as np
import pytest
from PIL import Image

from mspfn_tf.datasets.synthetic_rain.contact_sheet import draw_scene
from mspfn_tf.video.motion import motion, spectra

SIZE = (200, 260)


def scene(size):
    height, width = size
    return Image.fromarray(draw_scene(np.random.default_rng(2), (height + 60, width + 80)))


def view(matrix, size=SIZE):
    """``uint8 [H, W]``: what a camera sees whose pixel (x, y) is at ``matrix @ (x, y, 1)``."""
    shown = scene(size).transform(size[::-1], Image.Transform.AFFINE, np.ravel(matrix), 3)
    return np.asarray(shown.convert("L"))


def told(one, other):
    earlier, later = spectra(one), spectra(other)
    assert earlier is not None and later is not None
    return motion(earlier, later, one.shape)


def moved(found, size=SIZE):
    displacements = found.displacements(size, 2)
    assert displacements is not None
    return displacements


def truth(first, second, size=SIZE):
    """How far the pixels of the first view lie from where the second shows the same."""
    y, x = (2 * np.arange(side // 2) + 0.5 for side in size)
    places = np.stack(np.meshgrid(x, y), -1) @ np.array(first)[:, :2].T + np.array(first)[:, 2]
    seen = (places - np.array(second)[:, 2]) @ np.linalg.inv(np.array(second)[:, :2]).T
    return seen - np.stack(np.meshgrid(x, y), -1)


FIRST = [[1, 0, 40], [0, 1, 30]]


@pytest.mark.parametrize(
    "second",
    [
        [[1, 0, 43], [0, 1, 25]],
        [[1, 0, 27], [0, 1, 37]],
        [[1, 0, 41.3], [0, 1, 29.4]],
        [[0.98, 0, 42], [0, 0.98, 33]],
        [[0.9998, -0.0175, 42], [0.0175, 0.9998, 28]],
        [[1.01, 0.01, 38.5], [-0.005, 0.99, 31]],
    ],
)
def test_motion_is_told(second):
    expected = truth(FIRST, second)
    found = told(view(FIRST), view(second))
    error = np.abs(moved(found) - expected)
    assert error.max() < 0.7 and error.mean() < 0.2
    back = np.abs(moved(found.inverse()) - truth(second, FIRST))
    assert back.max() < 0.7 and back.mean() < 0.2


def test_parts_of_a_pixel_are_told():
    second = [[1, 0, 40.15], [0, 1, 30]]
    assert np.abs(moved(told(view(FIRST), view(second))) - truth(FIRST, second)).max() < 0.12


def test_noise_evens_out():
    rng = np.random.default_rng(0)
    second = [[0.995, 0, 41.3], [0, 0.995, 30.4]]
    noisy = (np.clip(view(m) + rng.normal(0, 12, SIZE), 0, 255) for m in (FIRST, second))
    found = moved(told(*(np.rint(frame).astype(np.uint8) for frame in noisy)))
    assert np.abs(found - truth(FIRST, second)).max() < 0.5


def test_what_stands_still():
    frame = view(FIRST)
    assert told(frame, frame).displacements(SIZE, 2) is None
    flat = np.full(SIZE, 90, np.uint8)
    assert told(flat, flat).displacements(SIZE, 2) is None


def test_what_moves_by_itself():
    size = (480, 400)
    one, other = view(FIRST, size), view(FIRST, size).copy()
    other[160:320] = view([[1, 0, 34], [0, 1, 30]], size)[160:320]  # a band goes 6 pixels right
    found = told(one, other)
    for displacements, sign in ((moved(found, size), 1), (moved(found.inverse(), size), -1)):
        assert np.abs(np.median(displacements[110:130], (0, 1)) - [6 * sign, 0]).max() < 0.5
        for still in (displacements[:50], displacements[190:]):
            assert np.abs(np.median(still, (0, 1))).max() < 0.5


@pytest.mark.parametrize("size", [(33, 64), (34, 400), (71, 1001), (1100, 67)])
def test_sizes_of_all_kinds(size):
    rng = np.random.default_rng(1)
    coarse = Image.fromarray(rng.integers(0, 256, (size[0] // 8 + 9, size[1] // 8 + 9), np.uint8))
    large = np.asarray(coarse.resize((size[1] + 16, size[0] + 16), Image.Resampling.BICUBIC))
    one = large[6 : 6 + size[0], 6 : 6 + size[1]]
    other = large[6 : 6 + size[0], 4 : 4 + size[1]]  # two pixels right
    found = moved(told(np.ascontiguousarray(one), np.ascontiguousarray(other)), size)
    assert found.shape == (-(-size[0] // 2), -(-size[1] // 2), 2) and found.dtype == np.float32
    assert np.abs(np.median(found, (0, 1)) - [2, 0]).max() < 0.4


def test_too_small_to_tell():
    assert spectra(np.zeros((30, 400), np.uint8)) is None
