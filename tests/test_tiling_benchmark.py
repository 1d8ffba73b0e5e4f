import json

import keras
import numpy as np
import pytest
from PIL import Image

import mspfn_tf
from benchmarks import tiling


@pytest.fixture(scope="module")
def local():
    """A model without attention: what it makes of a pixel depends on that pixel alone."""
    inputs = keras.Input((None, None, 3))
    return keras.Model(inputs, keras.layers.Rescaling(0.9)(inputs))


@pytest.fixture(scope="module")
def averaging():
    """A model that subtracts half of the mean of what it is given: it differs from tile to tile."""
    inputs = keras.Input((None, None, 3))
    mean = keras.layers.GlobalAveragePooling2D(keepdims=True)(inputs)
    return keras.Model(inputs, keras.layers.Subtract()([inputs, mean * 0.5]))


@pytest.fixture(scope="module")
def pairs():
    """A picture that is dark on the left and bright on the right."""
    clean = np.linspace(100, 200, 96)[None, :, None] * np.ones((64, 1, 3))
    return [(np.clip(clean + 20, 0, 255).astype(np.uint8), clean.astype(np.uint8))]


def test_blended_is_where_weights_change():
    # Two tiles of 56 over 96 pixels: 0..55 and 40..95, blended in 40..55.
    expected = np.zeros(95, bool)
    expected[39:56] = True
    np.testing.assert_array_equal(tiling.blended(96, 64, 16), expected)
    # Without overlap, only from the last pixel of one to the first of the next.
    np.testing.assert_array_equal(np.flatnonzero(tiling.blended(96, 48, 0)), [47])
    assert not tiling.blended(96, 96, 16).any()
    assert len(tiling.blended(91, 64, 16)) == 90  # padded to 96, then cut


def test_seams_tells_a_step_at_a_seam_from_noise():
    random = np.random.default_rng(0)
    difference = random.normal(0, 0.5, (48, 96, 3))
    quiet = tiling.seams(difference, 48, 0)
    assert quiet["step"][0] < 0.5
    difference[:, 48:] += 4
    found = tiling.seams(difference, 48, 0)
    assert found["step"][0] == pytest.approx(4, abs=0.3)
    assert found["step"][1] < 0.5
    assert found["gradient"][0] > 2 * found["gradient"][1]
    assert tiling.seams(difference, 96, 0)["step"][0] is None


def test_a_model_that_sees_only_pixels_shows_no_seam(local, pairs):
    (record,) = tiling.measure(local, pairs, tiles=[48], overlaps=[16])
    # But for values that lie between two levels, which the blending may round the other way.
    assert record["tiled_to_whole"] > 60
    assert record["psnr_change"] == pytest.approx(0, abs=0.01)
    assert record["step"][0] < 1e-3


def test_overlap_makes_the_seam_of_an_averaging_model_softer(averaging, pairs):
    hard, soft, whole = tiling.measure(averaging, pairs, tiles=[48, 96], overlaps=[0, 16])[:3]
    assert (hard["tile"], hard["overlap"]) == (48, 0)
    assert hard["tiled_to_whole"] < 40
    # Half of the means of both tiles apart: about 25 levels of 255, at one line.
    assert hard["step"][0] == pytest.approx(25, abs=2)
    assert soft["step"][0] < hard["step"][0] / 5
    assert whole["tiled_to_whole"] == "inf"


def test_scale_enlarges_the_pictures(averaging, pairs):
    (same,) = tiling.measure(averaging, pairs, tiles=[96], overlaps=[0])
    (larger,) = tiling.measure(averaging, pairs, tiles=[96], overlaps=[0], scale=2)
    assert same["tiled_to_whole"] == "inf"
    assert larger["tiled_to_whole"] < 40


@pytest.fixture
def folder(tmp_path, pairs):
    for part, picture in zip(("input", "target"), pairs[0], strict=True):
        (tmp_path / "Set" / part).mkdir(parents=True)
        for number in (1, 2, 3):
            Image.fromarray(picture).save(tmp_path / f"Set/{part}/{number}.png")
    return tmp_path / "Set"


def test_the_command_writes_figures_and_a_table(folder, averaging, tmp_path, monkeypatch, capsys):
    restorer = mspfn_tf.Restorer
    monkeypatch.setattr(mspfn_tf, "Restorer", lambda source, **rest: restorer(averaging, **rest))
    page = tmp_path / "page.md"
    page.write_text("<!-- begin generated: tiling --><!-- end generated: tiling -->")
    output = tmp_path / "tiling.json"
    command = ["--pairs", folder, "--preset", "mspfn_nano", "--tile", 48, "--overlap", 0, 16]
    command += ["--pictures", 2, "--output", output, "--update", page]
    assert tiling.main([str(part) for part in command]) == 0
    (result,) = json.loads(output.read_text())
    assert (result["preset"], result["set"], result["pictures"]) == ("mspfn_nano", "Set", 2)
    assert [record["overlap"] for record in result["measured"]] == [0, 16]
    assert "| mspfn_nano | Set | 48 | 16 | " in capsys.readouterr().out
    assert "| mspfn_nano | Set | 48 | 0 | " in page.read_text()
    assert tiling.main([str(part) for part in command]) == 2  # the output exists


@pytest.mark.parametrize(
    ("option", "message"),
    [(("--tile", "50"), "--tile must be multiples of 8"), (("--pictures", "0"), "at least 1")],
)
def test_wrong_options(folder, tmp_path, capsys, option, message):
    output = tmp_path / "tiling.json"
    assert tiling.main(["--pairs", str(folder), "--output", str(output), *option]) == 2
    assert message in capsys.readouterr().err
    assert not output.exists()
