import csv

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from mspfn_tf.datasets.scenes import in_validation, same_as_first, thumbnail
from tests.shared_data import shared


def _photograph(seed):
    noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return Image.fromarray(noise).resize((160, 120), Image.Resampling.BICUBIC)


def test_another_exposure_or_a_margin_less_is_the_same_scene():
    first, second = _photograph(1), _photograph(2)
    pictures = [
        first,
        second,
        ImageEnhance.Brightness(first).enhance(0.7),
        second.crop((0, 0, 159, 119)),
        _photograph(3),
        first.resize((80, 60)),
        ImageEnhance.Brightness(_photograph(3)).enhance(0.8),
    ]
    assert same_as_first([thumbnail(picture) for picture in pictures]) == [0, 1, 0, 1, 4, 0, 4]


def test_flat_pictures_are_scenes_of_their_own():
    flat = thumbnail(Image.new("RGB", (32, 32), "gray"))
    assert not flat.any()
    assert same_as_first([flat, flat]) == [0, 1]


def test_about_one_scene_in_eleven_validates():
    share = np.mean([in_validation(str(number)) for number in range(11_000)])
    assert share == pytest.approx(1 / 11, rel=0.1)
    assert in_validation("9") and not in_validation("1")  # the split is part of published weights


def test_scenes_of_rain800():
    folder = shared("data/Rain800")
    with open(folder / "background_groups.csv", newline="") as file:
        rows = list(csv.DictReader(file))[:150]
    thumbnails = []
    for row in rows:
        with Image.open(folder / "training" / row["file"]) as image:
            image.draft("RGB", (image.width // 4, image.height // 4))
            thumbnails.append(thumbnail(image.crop((0, 0, image.width // 2, image.height))))
    truth = [row["background"] for row in rows]
    assert same_as_first(thumbnails) == [truth.index(background) for background in truth]
