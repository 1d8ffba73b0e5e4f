"""The measurement of tiles against whole pictures."""

import json

import numpy as np
import pytest
from PIL import Image

from benchmarks import tiling
from mspfn_tf.runtimes import open_runtime
from tests.export_models import PHONE, small_model


def test_agreement_and_spread():
    first = np.full((64, 64, 3), 100, np.uint8)
    assert tiling.agreement(first, first) == 99
    assert tiling.agreement(first, first + 1) == pytest.approx(48.13, abs=0.01)
    assert tiling.spread(first, first + 1) == pytest.approx(
        0, abs=1e-5
    )  # an even shift is no block
    second = first.copy()
    second[:, 32:] += 10
    assert tiling.spread(first, second) == pytest.approx(10, abs=1e-4)


def test_measures_a_picture(monkeypatch):
    monkeypatch.setattr(tiling, "PLAIN_TILE", 64)
    monkeypatch.setattr(tiling, "PLAIN_OVERLAP", 16)
    runtime = open_runtime(small_model(**{**PHONE, "attention": "picture"}))
    picture = np.random.default_rng(0).integers(0, 256, (100, 130, 3), dtype=np.uint8)
    picture[:, 65:] //= 8  # a hard change of scene
    own, record = tiling.measure(runtime, picture, 64, [None, 16])
    assert own["overlap"] == 24 and record["overlap"] == 16
    assert record["plain_agreement"] < record["agreement"] < 99
    assert record["agreement"] > 30 and record["spread"] < 20
    assert record["time_ratio"] > 0


def test_pictures_are_large_and_of_their_size(tmp_path):
    rng = np.random.default_rng(0)
    for n in range(3):
        picture = rng.integers(0, 256, (32, 48, 3), dtype=np.uint8)
        Image.fromarray(picture).save(tmp_path / f"{n}.png")
    for name, picture in tiling.pictures(tmp_path):
        width, height = name.rpartition(" ")[2].split("x")
        assert picture.shape == (int(height), int(width), 3)
        assert 2e6 < int(height) * int(width) <= 12e6


def test_the_table_names_the_weights(tmp_path):
    record = {
        "overlap": 64, "agreement": 50.0, "spread": 1.0, "plain_agreement": 30.0,
        "plain_spread": 20.0, "time_ratio": 1.1,
    }  # fmt: skip
    result = {"preset": "p", "weights_sha256": "ab" * 32, "picture": "mosaic", "measured": [record]}
    text = tiling.table(json.loads(json.dumps([result])))
    assert "p `abababababab...`" in text and "| 50.0 | 1.0 | 30.0 | 20.0 | 1.10 |" in text
