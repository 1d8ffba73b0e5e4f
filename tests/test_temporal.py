"""Blending over time, on clips whose truth is known."""

import numpy as np
import pytest
from PIL import Image

from mspfn_tf import metrics
from mspfn_tf.datasets.synthetic_rain.contact_sheet import draw_scene
from mspfn_tf.video import temporal
from mspfn_tf.video.temporal import TemporalBlend
from tests.video_clips import moving_window, rained_on


def blended(rainy, derained, **arguments):
    blend, result = TemporalBlend(**arguments), []
    for number, pair in enumerate(zip(rainy, derained, strict=True)):
        result += blend.push(*pair)
        assert len(result) == max(0, number + 1 - blend.radius)
    result += blend.flush()
    assert blend.flush() == []
    return np.stack(result)


def badly_derained(rainy, clean):
    """As a network does: most of the rain is gone, of some streaks a part is left."""
    return np.rint(clean + 0.3 * (rainy.astype(np.float32) - clean)).astype(np.uint8)


def psnr(clean, frames):
    return float(np.mean([metrics.psnr(a, b) for a, b in zip(clean, frames, strict=True)]))


def flicker(clean, frames, step=(0, 0)):
    """Mean difference of neighbouring frames, of the same points of the scene."""
    y, x = step
    height, width = frames.shape[1:3]
    error = frames.astype(np.float32) - clean
    return np.abs(error[1:, : height - y, : width - x] - error[:-1, y:, x:]).mean()


@pytest.mark.parametrize("step", [(0, 0), (1, 3), (2, 0)])
def test_less_flicker_and_better_frames(step):
    clean = moving_window(8, (120, 160), step)
    rainy = rained_on(clean)
    single = badly_derained(rainy, clean)
    result = blended(rainy, single)
    assert result.shape == clean.shape and result.dtype == np.uint8
    assert psnr(clean, result) > psnr(clean, single) + 1
    assert flicker(clean, result, step) < 0.5 * flicker(clean, single, step)


def test_motion_by_parts_of_pixels_zoom_and_turns():
    scene = Image.fromarray(draw_scene(np.random.default_rng(3), (240, 320)))

    def view(zoom, turn, x, y):
        matrix = (zoom, -turn, x, turn, zoom, y)
        return np.asarray(scene.transform((160, 120), Image.Transform.AFFINE, matrix, 3))

    for clean in (
        np.stack([view(1, 0, 20 + 1.4 * n, 30 + 0.7 * n) for n in range(8)]),
        np.stack([view(1 - 0.01 * n, 0, 20 + 0.8 * n, 30 + 0.6 * n) for n in range(8)]),
        np.stack([view(1, 0.01 * n, 40 + 0.6 * n, 30 - 0.8 * n) for n in range(8)]),
    ):
        rainy = rained_on(clean)
        single = badly_derained(rainy, clean)
        assert psnr(clean, blended(rainy, single)) > psnr(clean, single) + 1.5


def test_what_is_there_for_one_frame_only_is_kept_in_heavy_rain():
    clean = moving_window(7, (120, 160))
    clean[3, 30:90, 50:110] = clean[3, 30:90, 50:110] // 2 + 60
    rng = np.random.default_rng(5)
    drops = rng.integers(0, 160, clean.shape[:3]) * (rng.random(clean.shape[:3]) < 0.3)
    rainy = np.clip(clean + drops[..., None], 0, 255).astype(np.uint8)
    single = badly_derained(rainy, clean)
    thing = np.s_[3:4, 34:86, 54:106]
    assert psnr(clean[thing], blended(rainy, single)[thing]) > psnr(clean[thing], single[thing])


def test_thin_things_that_are_there_for_one_frame_only_are_kept_in_heavy_rain():
    clean = moving_window(7, (120, 160))
    clean[3, :, 40:120:16] = clean[3, :, 41:120:16] = 240
    rng = np.random.default_rng(5)
    drops = rng.integers(0, 160, clean.shape[:3]) * (rng.random(clean.shape[:3]) < 0.3)
    rainy = np.clip(clean + drops[..., None], 0, 255).astype(np.uint8)
    result = blended(rainy, badly_derained(rainy, clean))
    lines = np.s_[3, :, 40:120:16]
    # Measured: 7.5; 14 and more where one of the reasons not to mix is missing.
    assert np.abs(result[lines].astype(int) - clean[lines]).mean() < 10


def test_light_that_flickers_is_kept_where_it_is_dry():
    light = np.array([0, 9, -9, 6, 0, -8, 7])[:, None, None, None]
    clean = np.clip(moving_window(7, (96, 160)) + light, 0, 255).astype(np.uint8)
    rainy, dry = rained_on(clean), np.s_[:, :, :80]
    single = badly_derained(rainy, clean)
    rainy[dry] = single[dry] = clean[dry]
    changed = np.abs(blended(rainy, single).astype(int) - clean)[:, :, :64]
    assert changed.mean() < 0.8  # measured: 0.4; the light changes by 7


def test_frames_before_and_after_help():
    clean = moving_window(6, (120, 160), (2, 5))
    rainy = rained_on(clean)
    single = badly_derained(rainy, clean)
    result = blended(rainy, single)
    for end in (np.s_[:1], np.s_[-1:]):
        assert psnr(clean[end], result[end]) > psnr(clean[end], single[end]) + 3


def test_large_frames():
    clean = moving_window(5, (90, 1301), (1, 3))
    rainy = rained_on(clean)
    single = badly_derained(rainy, clean)
    result = blended(rainy, single)
    assert temporal._prepared(rainy[0], single[0]).rain.shape == (23, 326)
    assert psnr(clean, result) > psnr(clean, single) + 2
    assert flicker(clean, result, (1, 3)) < 0.5 * flicker(clean, single, (1, 3))


def test_nothing_is_seen_beyond_the_border():
    frame = moving_window(1, (64, 80))[0]
    prepared = temporal._prepared(frame, frame)
    moved = np.full((32, 40, 2), 20, np.float32)
    _, share = temporal._seen(prepared, prepared, moved)
    assert not share[:, 31:].any() and not share[23:].any()
    frame[:] = 90
    prepared = temporal._prepared(frame + np.eye(64, 80, dtype=np.uint8)[..., None] * 90, frame)
    _, share = temporal._seen(prepared, temporal._prepared(frame, frame), moved)
    assert share[:22, :30].all() and not share[:, 31:].any() and not share[23:].any()


def test_what_moves_through_the_scene_leaves_no_ghost():
    clean = moving_window(8, (120, 160))
    for number, frame in enumerate(clean):
        frame[50:80, 20 + 12 * number : 50 + 12 * number] = (190, 30, 40)
    rainy = rained_on(clean)
    single = badly_derained(rainy, clean)
    result = blended(rainy, single)
    passed = np.s_[4, 52:78, 20:110]  # where the thing is, was, and will be
    assert psnr(clean[passed][None], result[passed][None]) > psnr(
        clean[passed][None], single[passed][None]
    )
    errors = [np.abs(x[passed].astype(int) - clean[passed]) for x in (result, single)]
    assert np.percentile(errors[0], 99.5) <= np.percentile(errors[1], 99.5)


def test_dry_videos_stay_as_they_are():
    clean = moving_window(8, (120, 160), (1, 2))
    noisy = np.clip(clean + np.random.default_rng(0).normal(0, 1, clean.shape), 0, 255)
    noisy = np.rint(noisy).astype(np.uint8)
    assert np.array_equal(blended(noisy, noisy), noisy)
    # A network that takes texture for rain does so in all frames alike.
    smooth = np.stack(
        [np.asarray(Image.fromarray(f).resize((80, 60)).resize((160, 120))) for f in clean]
    )
    assert np.abs(blended(clean, smooth).astype(int) - smooth).mean() < 0.2


def test_nothing_is_mixed_over_a_cut():
    first, second = moving_window(4, (120, 160)), moving_window(4, (120, 160), seed=9)
    clean = np.concatenate([first, second])
    rainy = rained_on(clean)
    single = badly_derained(rainy, clean)
    result = blended(rainy, single)
    for before, after, truth in zip(single, result, clean, strict=True):
        assert metrics.psnr(truth, after) > metrics.psnr(truth, before)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (17, 9), (31, 64), (33, 35), (70, 41)])
def test_any_size(size):
    rng = np.random.default_rng(0)
    rainy = rng.integers(0, 256, (5, *size, 3), np.uint8)
    derained = rng.integers(0, 256, (5, *size, 3), np.uint8)
    assert blended(rainy, derained).shape == rainy.shape
    assert np.array_equal(blended(derained[:1], derained[:1]), derained[:1])


def test_floating_point_frames():
    clean = moving_window(6, (64, 80), (0, 1))
    rainy = rained_on(clean)
    single = badly_derained(rainy, clean)
    expected = blended(rainy, single)
    result = blended(rainy.astype(np.float32) / 255, single.astype(np.float32) / 255)
    assert result.dtype == np.float32
    assert np.abs(result * 255 - expected).max() < 0.6
    # Between pixels, cubic interpolation goes beyond what is there.
    clean = np.where(moving_window(6, (64, 80), (1, 3)) > 127, 255, 0).astype(np.uint8)
    rainy = rained_on(clean)
    single = badly_derained(rainy, clean)
    result = blended(rainy.astype(np.float32) / 255, single.astype(np.float32) / 255)
    assert result.min() == 0 and result.max() == 1


def test_no_more_frames_are_held_than_are_needed():
    blend = TemporalBlend(radius=1)
    frame = np.zeros((64, 64, 3), np.uint8)
    for _ in range(10):
        blend.push(frame, frame)
    assert len(blend._frames) == 3 and len(blend._motions) <= 3


def test_what_is_refused():
    frame = np.zeros((32, 32, 3), np.uint8)
    with pytest.raises(ValueError, match="`radius` must be at least 1. Received: 0"):
        TemporalBlend(0)
    blend = TemporalBlend()
    with pytest.raises(ValueError, match="must be alike"):
        blend.push(frame, frame.astype(np.float32))
    blend.push(frame, frame)
    with pytest.raises(ValueError, match=r"one size. Received: \[16, 32, 3\] after \[32, 32, 3\]"):
        blend.push(frame[:16], frame[:16])
