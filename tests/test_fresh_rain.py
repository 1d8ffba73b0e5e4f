"""Rain drawn inside the input pipeline: a function of seed, step and row, and of nothing else."""

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import structural_similarity as reference_ssim

from mspfn_tf.errors import UsageError
from mspfn_tf.losses import structural_similarity
from mspfn_tf.training import bars
from mspfn_tf.training.bars import draw_bars
from mspfn_tf.training.fresh_rain import FreshRain, read_streaks
from mspfn_tf.training.moved_rain import is_added, move_rain
from mspfn_tf.training.near_drops import draw_near_drops
from mspfn_tf.training.pair_source import VOID
from mspfn_tf.training.patch_stream import PatchStream
from mspfn_tf.training.rain_mix import rain_mix
from mspfn_tf.training.tone_curves import draw_tone_curves, toned
from tests.pair_sets import smooth_pair
from tests.rain_pictures import projections


class Pairs:
    def __len__(self):
        return 5

    def __getitem__(self, index):
        return smooth_pair(index, 48, 56)

    def name(self, index):
        return str(index)


STREAKS = [np.uint8(255 * (np.random.default_rng(0).random((40, 60)) > 0.95))]
RAINS = {
    "procedural": FreshRain(0.6),
    "mixed": FreshRain(0.6, mix=1.0),
    "of files": FreshRain(0.6, STREAKS, mix=0.5),
}


def stream(rain, seed=1, **arguments):
    return PatchStream([Pairs()], [1.0], 6, seed, fresh_rain=rain, **arguments)


@pytest.mark.parametrize("rain", RAINS.values(), ids=RAINS)
def test_rain_follows_from_seed_step_and_row(rain):
    first = stream(rain)
    batches = [first.batch(step, 32) for step in range(4)]
    resumed = stream(rain, cache_bytes=0)  # begins at a later step, and reads ahead out of order
    for step in (3, 1):
        np.testing.assert_array_equal(resumed.batch(step, 32), batches[step])
    for rows in (slice(0, 3), slice(3, 6), slice(1, 6, 2)):
        part = resumed.batch(2, 32, rows)
        np.testing.assert_array_equal(part, np.stack(batches[2])[:, rows])
    assert not np.array_equal(stream(rain, seed=2).batch(1, 32)[0], batches[1][0])


def test_rain_falls_on_its_share_and_leaves_the_clean_half_alone():
    dry, wet = stream(None), stream(FreshRain(0.5))
    changed = []
    for step in range(20):
        (rainy, clean), (own, same) = wet.batch(step, 32), dry.batch(step, 32)
        np.testing.assert_array_equal(clean, same)
        changed += [not np.array_equal(*pair) for pair in zip(rainy, own, strict=True)]
    assert 0.35 < np.mean(changed) < 0.65
    rainy, _ = stream(FreshRain(0.0)).batch(0, 32)
    np.testing.assert_array_equal(rainy, dry.batch(0, 32)[0])


def test_a_share_of_the_patches_stays_clean():
    rain = FreshRain(1.0)
    wet, some = stream(rain), stream(rain, clean_share=0.3)
    untouched = []
    for step in range(20):
        (rainy, clean), (fallen, same) = some.batch(step, 32), wet.batch(step, 32)
        np.testing.assert_array_equal(clean, same)
        for patch, dry, rained in zip(rainy, clean, fallen, strict=True):
            untouched.append(np.array_equal(patch, dry))
            assert untouched[-1] or np.array_equal(patch, rained)  # the others' rain is the same
        np.testing.assert_array_equal(some.batch(step, 32, slice(2, 4))[0], rainy[2:4])
    assert 0.15 < np.mean(untouched) < 0.45


def test_bars_are_part_of_the_scene():
    rain = FreshRain(0.5)
    plain, barred = (stream(rain, clean_share=0.3, bars=share) for share in (0.0, 0.5))
    with_bars, dry = [], []
    for step in range(20):
        (rainy, clean), (before, scene) = barred.batch(step, 32), plain.batch(step, 32)
        for row in range(6):
            with_bars.append(not np.array_equal(clean[row], scene[row]))
            dry.append(np.array_equal(rainy[row], clean[row]))
            # What is dry stays dry, and what keeps the rain of its pair has no bars.
            assert dry[-1] == np.array_equal(before[row], scene[row])
            assert with_bars[-1] or np.array_equal(rainy[row], before[row])
        np.testing.assert_array_equal(np.stack(barred.batch(step, 32, slice(2, 4)))[0], rainy[2:4])
    drawn = np.mean(with_bars) / (0.3 + 0.7 * 0.5)
    assert 0.35 < drawn < 0.65 and 0.15 < np.mean(dry) < 0.45


def test_bars_repeat_over_a_part_of_the_patch():
    def ground(picture):
        """Level behind the bars, which is gray as they rarely are."""
        grays = picture[np.ptp(picture, axis=-1) == 0][:, 0]
        return np.bincount(grays).argmax()

    gray = np.full((64, 64, 3), 100, np.uint8)
    drawn = [draw_bars(gray, np.random.default_rng(seed)) for seed in range(60)]
    np.testing.assert_array_equal(drawn[3], draw_bars(gray, np.random.default_rng(3)))
    assert gray.min() == gray.max() == 100  # another array
    grounds = [ground(picture) for picture in drawn]
    assert all(level <= 100 for level in grounds)
    assert 0.15 < np.mean([level < 100 for level in grounds]) < 0.45  # dimmed
    changed = [
        np.any(picture != level, axis=-1) for picture, level in zip(drawn, grounds, strict=True)
    ]
    covers = [np.mean(pixels) for pixels in changed]  # none where the bars have the gray's colour
    assert 0.2 < np.median(covers) < 0.7 and max(covers) < 1
    levels = [
        picture[pixels].mean()
        for picture, pixels in zip(drawn, changed, strict=True)
        if pixels.any()
    ]
    assert np.mean(np.array(levels) > 110) > 0.4 and np.mean(np.array(levels) < 90) > 0.1
    colours = np.array([bars._colour(gray, np.random.default_rng(seed)) for seed in range(99)])
    assert colours.min() >= 0 and colours.max() == 255  # more would be dark in 8 bits


def test_some_bars_cross():
    """A lattice has lines in two directions at a right angle, bars in one."""
    gray = np.full((96, 96, 3), 100, np.uint8)

    def directions(picture):
        spectrum = np.abs(np.fft.fft2(picture.mean(-1) - picture.mean())) ** 2
        y, x = (np.fft.fftfreq(96)[:, None], np.fft.fftfreq(96)[None])
        angle = np.floor(np.mod(np.arctan2(y, x), np.pi) / np.pi * 18).astype(int) % 18
        energy = np.bincount(angle.ravel(), spectrum.ravel(), 18)
        energy = energy + np.roll(energy, 1)  # two neighbours: a row may lie between them
        return np.minimum(energy, np.roll(energy, 9)).max() / max(energy.max(), 1.0)

    crossing = [
        directions(draw_bars(gray, np.random.default_rng(seed))) > 0.3 for seed in range(90)
    ]
    assert 0.22 < np.mean(crossing) < 0.5


def test_rows_see_different_rain():
    class Same(Pairs):
        def __getitem__(self, index):
            gray = np.full((32, 32, 3), 90, np.uint8)
            return gray, gray

    rainy, clean = PatchStream([Same()], [1.0], 6, 0, fresh_rain=FreshRain(1.0)).batch(0, 32)
    assert len({patch.tobytes() for patch in rainy}) == 6
    assert len({patch.tobytes() for patch in clean}) == 1


def test_upright_makes_no_quarter_turns():
    all_of_them, upright = (
        {row.transform for step in range(30) for row in stream(None, upright=up).rows(step)}
        for up in (False, True)
    )
    assert all_of_them == set(range(8)) and upright == {0, 2, 4, 6}

    class Columns(Pairs):
        def __getitem__(self, index):
            column = np.uint8(np.arange(48) * 5)[None, :, None]
            image = np.broadcast_to(column, (48, 48, 3))
            return image, image

    straight = PatchStream([Columns()], [1.0], 6, 0, upright=True)
    for step in range(5):
        patches, _ = straight.batch(step, 32)
        assert np.ptp(patches, axis=1).max() == 0  # columns stay columns


# === Other exposures ===


def test_tone_curves_change_both_halves_alike():
    rain = FreshRain(0.5)
    plain, other = (stream(rain, tone_curves=share) for share in (0.0, 0.5))
    changed = []
    for step in range(20):
        own, drawn = np.stack(plain.batch(step, 32)), np.stack(other.batch(step, 32))
        for row in range(6):
            changed.append(not np.array_equal(own[:, row], drawn[:, row]))
            for channel in range(3):
                before, after = own[:, row, ..., channel], drawn[:, row, ..., channel]
                levels, places = np.unique(before, return_inverse=True)
                # One curve, which never falls, says what becomes of each level in both halves.
                curve = np.zeros(len(levels))
                curve[places.ravel()] = after.ravel()
                np.testing.assert_array_equal(curve[places.reshape(before.shape)], after)
                assert np.all(np.diff(curve) >= 0)
        np.testing.assert_array_equal(np.stack(other.batch(step, 32, slice(2, 4))), drawn[:, 2:4])
    assert 0.35 < np.mean(changed) < 0.65


def test_haze_stays_away_from_rain_that_may_be_what_makes_pale():
    black = [Levels(0, 0, strength=50), Levels(0, 0, strength=50)]
    pale = {0: [], 1: []}
    rains = {"moved_rain": [0.5, 0.0], "tone_curves": 1.0}
    for step in range(20):
        stream_of = PatchStream(black, [0.5, 0.5], 6, 1, **rains)
        for row, clean in zip(stream_of.rows(step), stream_of.batch(step, 32)[1], strict=True):
            pale[row.source].append(clean.min() > 0)
    assert 0.3 < np.mean(pale[0]) < 0.7 and not any(pale[1])
    # Nor with rain that was not added, moved or not.
    darker = PatchStream(
        [Levels(9, 9, strength=-9)], [1.0], 6, 1, moved_rain=[0.5], tone_curves=1.0
    )
    assert all(darker.batch(step, 32)[1].max() < 0.1 for step in range(9))
    fresh = PatchStream(black, [0.5, 0.5], 6, 1, fresh_rain=FreshRain(1.0), **rains)
    assert any(clean.min() > 0 for step in range(9) for clean in fresh.batch(step, 32)[1][3:])


def test_tone_curves_reach_dim_and_pale_pictures():
    drawn = [draw_tone_curves(np.random.default_rng(seed)) for seed in range(200)]
    blacks = np.array([curves[0].max() for curves in drawn])
    whites = np.array([curves[255].max() for curves in drawn])
    assert 0.35 < np.mean(blacks == 0) < 0.65 and blacks.max() > 100
    assert 50 < whites.min() < 80 and whites.max() > 240
    tints = np.array([np.ptp(curves[255].astype(int)) / curves[255].max() for curves in drawn])
    assert np.median(tints) > 0 and tints.max() <= 0.11
    assert not any(
        draw_tone_curves(np.random.default_rng(n), haze=False)[0].any() for n in range(9)
    )
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    curves = np.stack([255 - np.arange(256), np.arange(256), np.zeros(256)], 1).astype(np.uint8)
    result = toned(image, curves)
    np.testing.assert_array_equal(result[..., 0], 255 - image[..., 0])
    np.testing.assert_array_equal(result[..., 1], image[..., 1])
    assert not result[..., 2].any()


# === Rain of other pairs ===


def test_drops_fall_in_front_of_their_share_of_the_rainy_halves():
    plain, other = (
        stream(FreshRain(0.3), clean_share=0.3, near_drops=share) for share in (0.0, 0.5)
    )
    changed, clean_ones = [], 0
    for step in range(20):
        (rainy, clean), (drops, same) = plain.batch(step, 96), other.batch(step, 96)
        np.testing.assert_array_equal(clean, same)
        for row in range(6):
            if np.array_equal(rainy[row], clean[row]):
                np.testing.assert_array_equal(drops[row], clean[row])
                clean_ones += 1
            else:
                assert np.all(drops[row] >= rainy[row])
                changed.append(not np.array_equal(drops[row], rainy[row]))
        np.testing.assert_array_equal(other.batch(step, 96, slice(2, 4))[0], drops[2:4])
    # In front of some patches no drop falls, or none is brighter than what is behind it.
    assert clean_ones > 20 and 0.2 < np.mean(changed) < 0.5


def test_near_drops_are_few_and_wide():
    dark = np.full((256, 256, 3), 60, np.uint8)
    shares, widest = [], []
    for seed in range(40):
        drops = draw_near_drops(dark, np.random.default_rng(seed))
        assert np.array_equal(drops[..., 0], drops[..., 1]) and drops.min() >= 60
        lit = drops[..., 0] > 100
        shares.append(lit.mean())
        # Pixels that are lit through a square of 3x3: streaks of one or two pixels have none.
        inner = lit[2:, 2:] & lit[1:-1, 1:-1] & lit[:-2, :-2] & lit[2:, :-2] & lit[:-2, 2:]
        widest.append(inner.any())
    assert 0.002 < np.mean(shares) < 0.05 and np.mean(widest) > 0.8
    bright = np.full((64, 64, 3), 255, np.uint8)
    assert np.array_equal(draw_near_drops(bright, np.random.default_rng(0)), bright)


# === Other sizes ===


class Ramps(Pairs):
    """Four levels brighter from column to column, labelled with the column."""

    labelling = True

    def __getitem__(self, index):
        columns = np.broadcast_to(np.arange(60), (48, 60))[..., None]
        clean = np.repeat(4 * columns, 3, axis=-1).astype(np.uint8)
        return clean + np.uint8(9), clean, columns.astype(np.int16)


def test_enlarged_patches_show_less_and_the_same_of_both_halves():
    plain, other = (
        PatchStream([Ramps()], [1.0], 6, 1, enlarged=share, upright=True) for share in (0.0, 0.5)
    )
    factors = []
    for step in range(20):
        drawn = other.batch(step, 32)
        rainy, clean, labels = (np.squeeze(part[:, :, 4:-4]) for part in drawn)
        np.testing.assert_allclose(255 * (rainy - clean), 9, atol=1.01)
        assert np.abs(255 / 4 * clean[..., 0] - labels).max() < 1.2
        slopes = np.abs(clean[:, :, -1, 0] - clean[:, :, 0, 0]) * 255 / 4 / 23
        for row, factor in enumerate(1 / slopes.mean(axis=1)):
            if factor < 1.1:
                own = plain.batch(step, 32, slice(row, row + 1))
                for part, expected in zip(drawn, own, strict=True):
                    np.testing.assert_array_equal(part[row : row + 1], expected)
            factors.append(factor)
        for part, whole in zip(other.batch(step, 32, slice(2, 4)), drawn, strict=True):
            np.testing.assert_array_equal(part, whole[2:4])
    enlarged = np.array(factors) > 1.1
    assert 0.35 < enlarged.mean() < 0.65
    assert 1.2 < np.array(factors)[enlarged].min() < 1.5 and 2.2 < max(factors) < 2.6


class Levels(Pairs):
    """Flat scenes, each of its own gray level, in rain of its own strength."""

    def __init__(self, *levels, strength):
        self.pairs = []
        for level in levels:
            clean = np.full((48, 56, 3), level, np.uint8)
            rainy = clean.copy()
            rainy[::4] = level + strength
            self.pairs.append((rainy, clean))

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, index):
        return self.pairs[index]


def levels_stream(moved_rain=(), seed=1, **arguments):
    sources = [Levels(10, 20, 30, strength=50), Levels(60, 70, strength=9)]
    return PatchStream(sources, [0.5, 0.5], 6, seed, moved_rain=moved_rain, **arguments)


def test_rain_moves_to_the_scenes_of_all_sets():
    plain, moved = levels_stream(), levels_stream([0.6, 0.0])
    counts = {"own": 0, "moved": 0}
    scenes = set()
    for step in range(40):
        rows = moved.rows(step)
        own, drawn = np.stack(plain.batch(step, 32)), np.stack(moved.batch(step, 32))
        for index, row in enumerate(rows):
            if np.array_equal(own[:, index], drawn[:, index]):
                counts["own"] += row.source == 0
                continue
            assert row.source == 0  # the other set keeps its rain
            counts["moved"] += 1
            rainy, clean = np.rint(255 * drawn[:, index])
            scenes.add(int(clean.max()))
            assert clean.min() == clean.max()
            assert (rainy - clean).min() >= 0 and (rainy - clean).max() <= 50
        part = np.stack(moved.batch(step, 32, slice(1, 4)))
        np.testing.assert_array_equal(part, drawn[:, 1:4])
    assert scenes == {10, 20, 30, 60, 70}
    assert 0.45 < counts["moved"] / sum(counts.values()) < 0.75


def test_moved_rain_gets_bars_and_gives_way_to_fresh_rain():
    barred = levels_stream([1.0, 0.0], bars=1.0)
    with_bars = {0: [], 1: []}
    for step in range(5):
        for row, clean in zip(barred.rows(step), barred.batch(step, 32)[1], strict=True):
            with_bars[row.source].append(np.ptp(clean) > 0)
    assert np.mean(with_bars[0]) > 0.7 and not any(with_bars[1])
    wet = levels_stream(fresh_rain=FreshRain(1.0))
    both = levels_stream([1.0, 1.0], fresh_rain=FreshRain(1.0))
    np.testing.assert_array_equal(wet.batch(2, 32), both.batch(2, 32))


def test_labels_are_those_of_the_scene():
    class Labelled(Levels):
        labelling = True

        def __getitem__(self, index):
            rainy, clean = self.pairs[index]
            return rainy, clean, clean[..., :1].astype(np.int16)

    source = Labelled(10, 20, 30, strength=50)
    moved = PatchStream([source], [1.0], 6, 0, moved_rain=[1.0])
    for step in range(5):
        _, clean, labels = moved.batch(step, 32)
        np.testing.assert_array_equal(labels[..., 0], np.rint(255 * clean[..., 0]))
    barred = PatchStream([source], [1.0], 6, 0, moved_rain=[1.0], clean_share=0.3, bars=0.5)
    unknown = []
    for step in range(5):
        for _, clean, labels in zip(*barred.batch(step, 32), strict=True):
            unknown.append((labels == VOID).all())
            if not unknown[-1]:  # scenes have one level, bars another
                np.testing.assert_array_equal(labels[..., 0], np.rint(255 * clean[0, 0, 0]))
                assert np.ptp(clean) == 0
    assert 5 < sum(unknown) < 25


def toned_pair(gain, offset, levels=(40, 180)):
    """A scene, and the same with other tones behind gray streaks that darken a little, too."""
    rng = np.random.default_rng(1)
    clean = rng.integers(*levels, (64, 72, 3), dtype=np.uint8)
    streaks = np.where(rng.random((64, 72, 1)) > 0.8, 60.0, -10.0)
    rainy = np.float64(clean) * gain + offset + streaks
    return np.clip(np.rint(rainy), 0, 255).astype(np.uint8), clean, streaks


@pytest.mark.parametrize("gain, offset", [(0.8, 40), (1.1, -25), (1, 0), ((0.9, 1, 1.1), 5)])
def test_rain_takes_the_tones_along_that_it_has_changed(gain, offset):
    rainy, clean, streaks = toned_pair(gain, offset)
    assert not is_added(rainy, clean)
    scene = np.random.default_rng(2).integers(40, 180, clean.shape, dtype=np.uint8)
    expected = np.clip(np.float64(scene) * gain + offset + streaks, 0, 255)
    drawn = [move_rain(rainy, clean, scene, np.random.default_rng(seed)) for seed in range(20)]
    as_there = [np.abs(picture - expected).mean() < 3 for picture in drawn]
    assert 0.2 < np.mean(as_there) < 0.8  # the others are warped, and as bright
    for picture in drawn:
        np.testing.assert_allclose(picture.mean((0, 1)), expected.mean((0, 1)), atol=4)


def test_tones_that_a_patch_does_not_show_are_thought_unchanged():
    rainy, clean, _ = toned_pair(1.0, -20, levels=(100, 104))
    rainy = np.clip(rainy - 3.0 * (clean - 102.0), 0, 255).astype(np.uint8)  # noise of four levels
    scene = np.full_like(clean, 200)
    moved = move_rain(rainy, clean, scene, np.random.default_rng(0))
    assert moved.mean() == pytest.approx(200 + np.mean(rainy - clean.astype(float)), abs=5)


def test_toned_rain_that_is_cut_off_stays_where_it_is():
    rainy, clean, _ = toned_pair(1.0, 100)
    rainy[::3] = 0
    assert not is_added(rainy, clean)
    assert move_rain(rainy, clean, clean, np.random.default_rng(0)) is None


def test_moved_streaks_are_those_that_were_added():
    rng = np.random.default_rng(0)
    streaks = np.where(rng.random((40, 48, 1)) > 0.8, 90, 0).astype(np.uint8)
    clean = rng.integers(0, 180, (40, 48, 3), dtype=np.uint8)
    clean[..., 1] = rng.integers(0, 100, (40, 48))  # where it is not cut off
    rainy = np.minimum(255, clean.astype(int) + streaks).astype(np.uint8)
    scene = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
    added = np.minimum(255, scene.astype(int) + streaks)
    drawn = [move_rain(rainy, clean, scene, np.random.default_rng(seed)) for seed in range(20)]
    assert all(np.all(picture >= scene) for picture in drawn)
    as_added = [np.array_equal(picture, added) for picture in drawn]
    assert 0.2 < np.mean(as_added) < 0.8  # the others are warped
    bright = np.full_like(clean, 230)
    assert move_rain(np.full_like(clean, 255), bright, scene, rng) is None


def test_added_rain_may_be_darker_in_one_value_of_a_thousand():
    clean = np.full((40, 50, 3), 90, np.uint8)
    rainy = clean.copy()
    rainy[::4] += 60
    expected = rainy.copy()
    rainy[1, :5, 0] = 89
    assert is_added(rainy, clean)
    drawn = [move_rain(rainy, clean, clean, np.random.default_rng(seed)) for seed in range(8)]
    assert any(np.array_equal(picture, expected) for picture in drawn)  # what was darker is dry
    rainy[1, :10, 0] = 89
    assert not is_added(rainy, clean)


@pytest.mark.parametrize("bright, shows", [(3, True), (6, False)])
def test_added_rain_does_not_show_where_a_tenth_is_bright(bright, shows):
    clean = np.full((40, 50, 3), 90, np.uint8)
    clean[:, :bright] = 230
    rainy = np.minimum(clean, 195) + np.uint8(60)
    moved = move_rain(rainy, clean, clean, np.random.default_rng(0))
    assert (moved is not None) == shows


# === RainMix ===


def layer():
    rng = np.random.default_rng(0)
    streaks = np.zeros((64, 80), np.float32)
    for column in range(4, 80, 8):
        top = rng.integers(40)
        streaks[top : top + 20, column] = 0.8
    return streaks


def test_rain_mix_keeps_range_energy_and_shape():
    streaks = layer()
    for seed in range(50):
        mixed = rain_mix(streaks, np.random.default_rng(seed))
        assert mixed.shape == streaks.shape and mixed.dtype == np.float32
        assert mixed.min() >= 0 and mixed.max() <= 1
        energy = np.mean(mixed**2) / np.mean(streaks**2)
        assert 0.5 < energy <= 1.001  # less only where it is clipped
    np.testing.assert_array_equal(streaks, layer())
    nothing = rain_mix(np.zeros((16, 16), np.float32), np.random.default_rng(0))
    assert not nothing.any()


def test_rain_mix_moves_rain():
    streaks = layer()
    mixed = [rain_mix(streaks, np.random.default_rng(seed)) for seed in range(40)]
    new = [(image[streaks == 0] > 0.05).mean() for image in mixed]
    assert np.median(new) > 0.05  # rain where there was none
    assert len({image.tobytes() for image in mixed}) == 40
    again = rain_mix(streaks, np.random.default_rng(7))
    np.testing.assert_array_equal(again, mixed[7])


def test_mixed_rain_only_brightens():
    clean = smooth_pair(0, 48, 48)[1]
    for seed in range(20):
        rainy = FreshRain(1.0, mix=1.0).draw(clean, np.random.default_rng(seed))
        assert rainy.dtype == np.uint8 and rainy.shape == clean.shape
        assert np.all(rainy >= clean) and np.any(rainy > clean)


def test_streak_pictures(tmp_path):
    assert read_streaks("") == []
    with pytest.raises(UsageError, match="no such folder"):
        read_streaks(tmp_path / "missing")
    with pytest.raises(UsageError, match="no pictures"):
        read_streaks(tmp_path)
    for name, level in (("b.png", 200), ("a.png", 100)):
        Image.fromarray(np.full((8, 9, 3), level, np.uint8)).save(tmp_path / name)
    pictures = read_streaks(tmp_path)
    assert [picture.shape for picture in pictures] == [(8, 9)] * 2
    assert [picture[0, 0] for picture in pictures] == [100, 200]


SCENE = smooth_pair(0, 48, 48)[1]


@pytest.mark.parametrize(
    ("draw", "expected"),
    [
        (lambda rng: draw_bars(SCENE, rng), [2292.4, -7.7, -15.1, -4.3]),
        (lambda rng: draw_near_drops(SCENE, rng), [2233.8, -9.2, -5.5, -3.5]),
        (lambda rng: 255 * rain_mix(layer(), rng)[..., None], [265.8, 5.3, 15.0, -4.7]),
        (lambda rng: draw_tone_curves(rng)[:, None], [2159.6, -15.1, 2159.6, 19.9]),
        (lambda rng: FreshRain(1.0).draw(SCENE, rng), [2814.7, 0.6, -25.7, -1.9]),
        (lambda rng: FreshRain(1.0, STREAKS, mix=0.5).draw(SCENE, rng), [2693.8, 0.5, -11.4, -2.3]),
    ],
    ids=["bars", "near drops", "RainMix", "tone curves", "fresh rain", "fresh rain of files"],
)
def test_a_seed_draws_what_it_always_drew(draw, expected):
    """Runs that are resumed are to see the same patches."""
    drawn = sum(draw(np.random.default_rng(seed)).astype(float) for seed in range(24))
    assert projections(drawn.mean(-1)) == pytest.approx(expected, abs=0.5)


class Labelled(Pairs):
    labelling = True

    def __getitem__(self, index):
        rainy, clean = smooth_pair(index, 48, 56)
        return rainy, clean, clean[..., :1].astype(np.int16)


def test_a_step_draws_the_patches_that_it_always_drew():
    shares = dict.fromkeys(("clean_share", "bars", "tone_curves", "enlarged", "near_drops"), 0.4)
    source = PatchStream(
        [Labelled(), Ramps()],
        [0.7, 0.3],
        6,
        1,
        fresh_rain=FreshRain(0.3),
        moved_rain=[0.8, 0.8],
        upright=True,
        **shares,
    )
    parts = zip(*(source.batch(step, 32) for step in (0, 1, 2, 300, 301)), strict=True)
    found = [projections(np.concatenate(part).sum(0).mean(-1)) for part in parts]
    assert found[0] == pytest.approx([10.507, -0.774, -0.836, 0.032], abs=0.005)
    assert found[1] == pytest.approx([10.026, -0.742, -0.778, 0.026], abs=0.005)
    assert found[2] == pytest.approx([1189.5, -80.0, -84.5, 2.6], abs=0.5)


# === The loss that sees structure ===


def test_structural_similarity_is_that_of_scikit_image_without_rounding():
    rng = np.random.default_rng(0)
    clean = np.stack([smooth_pair(index, 40, 48)[1] for index in range(3)]) / np.float32(255)
    noise = rng.normal(0, [[[[0.01]]], [[[0.05]]], [[[0.2]]]], clean.shape)
    other = np.clip(clean + noise, 0, 1).astype(np.float32)
    ours = np.array(structural_similarity(clean, other))
    luma = np.array([0.299, 0.587, 0.114])
    for index in range(3):
        whole, mapped = reference_ssim(
            np.float64(clean[index]) @ luma,
            np.float64(other[index]) @ luma,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=1.0,
            full=True,
        )
        assert ours[index] == pytest.approx(mapped[5:-5, 5:-5].mean(), abs=2e-4)
    assert np.array(structural_similarity(clean, clean)) == pytest.approx(1.0, abs=1e-5)
