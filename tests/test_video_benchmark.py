import json

import numpy as np
import pytest
from PIL import Image

from benchmarks import video
from mspfn_tf.datasets.synthetic_rain.contact_sheet import draw_scene
from mspfn_tf.errors import UsageError

pytestmark = pytest.mark.slow


@pytest.fixture
def scene():
    return draw_scene(np.random.default_rng(1), (150, 210))


@pytest.mark.parametrize("motion", video.MOTIONS)
def test_the_truth_does_not_flicker(scene, motion):
    clean = video.clean_clip(scene, motion, 4, (64, 96))
    assert clean.shape == (4, 64, 96, 3) and clean.dtype == np.uint8
    assert video.flicker(clean, clean, motion) == 0
    # An error that stays on the scene is none either; one that jumps is.
    worse = clean.copy()
    worse[::2] = np.minimum(worse[::2], 205) + 50
    assert video.flicker(clean, worse, motion) > 20


def test_windows_stay_on_the_photograph(scene):
    lit = np.clip(scene, 60, 200)
    for motion in video.MOTIONS:
        assert video.clean_clip(lit, motion, 9, (96, 128)).min() > 0, motion  # nothing is filled in
    still = video.clean_clip(lit, "static", 2, (96, 128))
    assert np.array_equal(still[0], lit[27:123, 41:169])  # whole pixels
    with pytest.raises(UsageError, match="window of 205x146 cannot move over 210x150 pixels"):
        video.clean_clip(scene, "turning", 9, (146, 205))


def test_what_sticks_to_the_scene_does_not_flicker(scene):
    stained = scene.copy()
    stained[:, 60:100] = np.minimum(stained[:, 60:100], 205) + 50
    clips = [video.clean_clip(picture, "panning", 4, (64, 96)) for picture in (scene, stained)]
    assert video.flicker(*clips, "panning") < 0.3
    assert video.flicker(*clips, "static") > 2


def test_rain_is_drawn_anew(scene):
    clean = video.clean_clip(scene, "static", 3, (64, 96))
    for kind in video.RAINS:
        rainy = video.rainy_clip(clean, kind, 1)
        assert np.array_equal(rainy, video.rainy_clip(clean, kind, 1))
        assert not np.array_equal(rainy[0], rainy[1])


def test_median_of_three():
    frames = np.array([0, 90, 20, 30], np.uint8).reshape(4, 1, 1, 1).repeat(3, 3)
    assert video.median_of_three(frames)[:, 0, 0, 0].tolist() == [0, 20, 30, 30]


def test_command(tmp_path, monkeypatch):
    import mspfn_tf

    class Unchanged:
        digest, name = "ab" * 32, "mspfn_mobile"

        def __call__(self, picture):
            return picture

    monkeypatch.setattr(mspfn_tf, "Restorer", lambda preset, runtime=None: Unchanged())
    for n in range(2):
        scene = draw_scene(np.random.default_rng(n), (150, 210))
        Image.fromarray(scene).save(tmp_path / f"{n}.png")
    page = tmp_path / "page.md"
    page.write_text(
        "".join(
            f"<!-- begin generated: {name} -->\n<!-- end generated: {name} -->\n"
            for name in ("video", "video_speed")
        )
    )
    arguments = ["--photographs", str(tmp_path), "--clips", "1", "--frames", "3", "--size", "48x64"]
    arguments += ["--speed", "48x64", "--speed_frames", "3", "--update", str(page)]
    video.main([*arguments, "--output", str(tmp_path / "out.json")])
    (result,) = json.loads((tmp_path / "out.json").read_text())
    assert len(result["measured"]) == 63 and result["speed"][0]["single"] > 0
    assert page.read_text().count("| median of three |") == 21
    assert "`abababababab...`" in page.read_text()
    assert "| mspfn_mobile | litert | 64x48 |" in page.read_text()
    video.main([*arguments, "--output", str(tmp_path / "c.json"), "--clips", "0"])
    (result,) = json.loads((tmp_path / "c.json").read_text())
    assert "measured" not in result and result["speed"][0]["runtime"] == "litert"
    with pytest.raises(UsageError, match="large enough"):
        video.main([*arguments, "--output", str(tmp_path / "b.json"), "--clips", "9"])
