"""The measurement of what deraining does where there is no rain."""

from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import harm
from mspfn_tf.sizes import Sizes


class Restorer:
    """Darkens by 3 levels, but pictures without rain by 1; its network tints what is gray."""

    sizes = Sizes()
    runtime = SimpleNamespace(run=lambda rainy: rainy + np.float32([0.02, 0, -0.02]))

    def __call__(self, picture):
        return picture - np.uint8(3 if picture.max() == 255 else 1)


def test_each_figure_is_of_what_it_says():
    clean = np.random.default_rng(0).integers(60, 200, (30, 45, 3), dtype=np.uint8)
    rainy = clean.copy()
    rainy[:, 20:25] = 255
    pairs = [(rainy, clean), (np.full_like(clean, 255), clean)]  # the second is nothing but rain
    found = harm.measure(Restorer(), pairs, most=2)
    assert found["pictures"] == 2 and found["luma_pictures"] == 1
    assert found["luma_mean"] == found["luma_largest"] == pytest.approx(-3)
    assert found["clean_psnr_mean"] == found["clean_psnr_worst"] == pytest.approx(48.13, abs=0.01)
    assert found["tint_largest"] == pytest.approx(255 * 0.04, abs=1e-3)
    # Where it is white, the network's red is clipped: 5 of 45 columns, and all of the second.
    tints = (40 * 0.04 + 5 * 0.02) / 45, 0.02
    assert found["tint_mean"] == pytest.approx(255 * np.mean(tints), abs=0.01)


def test_what_did_not_change_counts_as_99_db():
    picture = np.zeros((16, 16, 3), np.uint8)
    same = SimpleNamespace(sizes=Sizes(), runtime=SimpleNamespace(run=lambda rainy: rainy))
    same = type("Same", (), {**vars(same), "__call__": lambda self, picture: picture})()
    found = harm.measure(same, [(picture, picture)], most=1)
    assert found["clean_psnr_worst"] == 99 and found["luma_mean"] == found["tint_mean"] == 0


def test_the_table_says_where_no_luma_could_be_measured():
    measured = {
        "pictures": 1, "luma_pictures": 0, "luma_mean": None, "luma_largest": None,
        "clean_psnr_mean": 50.0, "clean_psnr_worst": 40.0, "tint_mean": 0.25, "tint_largest": 3.0,
    }  # fmt: skip
    result = {"preset": "p", "weights_sha256": "ab" * 32, "pairs": "heavy", "measured": measured}
    text = harm.table([result])
    assert "p `abababababab...`" in text
    assert "| heavy | p | - | - | 50.0 | 40.0 | 0.25 | 3.0 |" in text
