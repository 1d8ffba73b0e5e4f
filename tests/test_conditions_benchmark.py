"""The measurement of pictures that are unlike those of the sets."""

import json

import numpy as np
import pytest
from PIL import Image

from benchmarks import conditions
from mspfn_tf.errors import UsageError
from mspfn_tf.metrics import psnr
from mspfn_tf.sets.pairs import FolderPairs
from tests.pair_sets import smooth_pair


@pytest.fixture
def pairs(tmp_path):
    for part in ("input", "target"):
        (tmp_path / part).mkdir()
    for index in range(5):
        for part, picture in zip(("input", "target"), smooth_pair(index, 96, 128), strict=True):
            Image.fromarray(picture).save(tmp_path / part / f"{index}.png")
    return FolderPairs(tmp_path)


def test_conditions_do_what_they_say():
    picture = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
    changed = {name: change(picture) for name, change in conditions.CONDITIONS.items()}
    assert all(image.dtype == np.uint8 for image in changed.values())
    np.testing.assert_array_equal(changed.pop("as they are"), picture)
    assert changed.pop("enlarged twice").shape == (32, 48, 3)
    for name, image in changed.items():
        assert image.shape == picture.shape and not np.array_equal(image, picture), name
    assert changed["dim: 0.25 x"].max() == 64 and changed["pale: 0.5 x + 0.5"].min() == 128
    noise = changed["noise of 5 levels"].astype(int) - picture
    assert 4 < noise.std() < 5.5


def test_measures_before_and_after(pairs):
    seen = []

    def restorer(rainy):
        seen.append(rainy)
        return rainy // 2

    measured = conditions.measure(restorer, pairs, most=2)
    assert list(measured) == [*conditions.CONDITIONS, "drops close to the camera"]
    assert len(seen) == 2 * len(measured)  # the first and the last pair
    assert np.all(seen[-1] >= pairs[4][0]) and np.any(seen[-1] > pairs[4][0])
    before = np.mean([psnr(clean, rainy) for rainy, clean in (pairs[0], pairs[4])])
    after = np.mean([psnr(clean, rainy // 2) for rainy, clean in (pairs[0], pairs[4])])
    plain = measured["as they are"]
    assert plain["rainy"] == pytest.approx(before) and plain["derained"] == pytest.approx(after)


def test_the_table_sets_presets_side_by_side():
    results = [
        {
            "preset": preset,
            "weights_sha256": letter * 64,
            "pairs": "Rain100H",
            "measured": {"as they are": {"rainy": 13.0, "derained": score}},
        }
        for preset, letter, score in (("mobile", "a", 25.0), ("nano", "b", 23.5))
    ]
    text = conditions.table(json.loads(json.dumps(results)))
    assert "mobile `aaaaaaaaaaaa...`, nano `bbbbbbbbbbbb...`" in text
    assert "| pairs | condition | rainy | mobile | nano |" in text
    assert "| Rain100H | as they are | 13.00 | 25.00 | 23.50 |" in text


def test_a_folder_without_pairs_is_refused(tmp_path):
    command = ["--pairs", str(tmp_path), "--output", str(tmp_path / "x.json")]
    with pytest.raises(UsageError, match="input"):
        conditions.main(command)
    assert not (tmp_path / "x.json").exists()
