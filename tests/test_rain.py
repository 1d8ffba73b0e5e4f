"""The rain renderer: `datasets/synthetic_rain/rain.py` and `parameters.py`."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from mspfn_tf.datasets.synthetic_rain.contact_sheet import contact_sheet, draw_scene
from mspfn_tf.datasets.synthetic_rain.parameters import (
    PRESETS,
    Camera,
    Files,
    Haze,
    Noise,
    Rain,
    Streaks,
)
from mspfn_tf.datasets.synthetic_rain.rain import rain, streak_layers
from mspfn_tf.metrics import psnr
from tests.rain_pictures import projections

SIZE = (96, 128)
# One sharp layer of individual streaks that fall straight down, in clear air, by a perfect camera.
PLAIN = Rain(
    strength=(0.1, 0.1),
    brightest=(10.0, 10.0),
    layers=(1, 1),
    kinds=(1.0, 0.0, 0.0),
    depth=(1.0, 1.0),
    angle=0.0,
    several_directions=0.0,
    blur_share=0.0,
    unevenness=(0.0, 0.0),
    blending=(1.0, 0.0, 0.0),
    tint=0.0,
    darkened=0.0,
    rain_free=0.0,
    streaks=Streaks(
        density=(4.0, 4.0), length=(15.0, 15.0), width=(1.0, 1.0), angle_spread=(0.0, 0.0)
    ),
    noise=Noise(seeds=(0.02, 0.02), length=(15.0, 15.0), grain=(1.0, 1.0), floor=(0.5, 0.5)),
    files=Files(scale=(1.0, 1.0), rotation=0.0, gamma=(1.0, 1.0)),
    haze=Haze(share=0.0),
    camera=Camera(noise_share=0.0, jpeg_share=0.0),
)


def plain(part=None, **changes):
    """`PLAIN` with other parameters, of its part `part` if named."""
    if part:
        changes = {part: dataclasses.replace(getattr(PLAIN, part), **changes)}
    return dataclasses.replace(PLAIN, **changes)


def kind(number, **changes):
    return dataclasses.replace(plain(**changes), kinds=tuple(float(i == number) for i in range(3)))


def frame(seed=0):
    """A streak picture: vertical lines on black."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((80, 100), np.uint8)
    for x, y in zip(rng.integers(100, size=40), rng.integers(70, size=40), strict=True):
        picture[y : y + 10, x] = rng.integers(60, 256)
    return picture


def layers(parameters, seed=0, size=SIZE):
    return streak_layers(size, np.random.default_rng(seed), parameters, [frame()])


def flat(level, size=SIZE):
    return np.full((*size, 3), level, np.uint8)


def rained(parameters, clean, seed=0):
    return rain(clean, np.random.default_rng(seed), parameters, [frame()])


def mean_of(statistic, parameters, seeds=6):
    return np.mean([statistic(layers(parameters, seed)) for seed in range(seeds)])


def likeness(layer, axis, distance):
    """Autocorrelation along an axis: how far streaks reach."""
    layer = np.moveaxis(layer - layer.mean(), axis, 0)
    return (layer[distance:] * layer[:-distance]).mean() / (layer**2).mean()


def covered(layer):
    return (layer > 0.02).mean()


def direction(layer):
    """(angle from the vertical in degrees, coherence in 0..1), by the structure tensor."""
    dy, dx = np.gradient(layer.astype(np.float64))
    yy, xx, xy = (dy * dy).sum(), (dx * dx).sum(), (dx * dy).sum()
    angle = np.degrees(0.5 * np.arctan2(-2 * xy, xx - yy))
    return angle, np.hypot(xx - yy, 2 * xy) / (xx + yy)


def coherence(layer):
    return direction(layer)[1]


def spread(layer):
    lit = layer[layer > 0.02]
    return lit.std() / lit.mean()


def sharpness(layer):
    return np.abs(np.diff(layer, axis=1)).mean() / layer.mean()


def steadiness(layer):
    """How little the brightness changes along the streaks."""
    return likeness(layer, 0, 1)


def coarse_spread(layer):
    boxes = layer[:96, :128].reshape(3, 32, 4, 32).mean((1, 3))
    return boxes.std() / boxes.mean()


LAYER_EFFECTS = [
    (covered, "streaks", "density", (1.0, 1.0), (10.0, 10.0)),
    (lambda layer: likeness(layer, 0, 8), "streaks", "length", (6.0, 6.0), (40.0, 40.0)),
    (lambda layer: likeness(layer, 1, 1), "streaks", "width", (0.5, 0.5), (3.0, 3.0)),
    (lambda layer: likeness(layer, 0, 20), "streaks", "length_spread", 0.0, 0.8),
    (lambda layer: likeness(layer, 1, 2), "streaks", "width_spread", 0.0, 0.9),
    (spread, "streaks", "brightness_spread", 0.0, 1.0),
    (coherence, "streaks", "angle_spread", (15.0, 15.0), (0.0, 0.0)),
    (steadiness, "streaks", "oscillation", (1.0, 1.0), (0.0, 0.0)),
    (covered, "noise", "seeds", (0.001, 0.001), (0.01, 0.01)),
    (lambda layer: likeness(layer, 0, 8), "noise", "length", (5.0, 5.0), (40.0, 40.0)),
    (lambda layer: likeness(layer, 1, 1), "noise", "grain", (0.7, 0.7), (3.0, 3.0)),
    (covered, "noise", "floor", (3.0, 3.0), (0.0, 0.0)),
    (lambda layer: likeness(layer, 0, 6), "files", "scale", (0.7, 0.7), (3.0, 3.0)),
    (spread, "files", "gamma", (0.4, 0.4), (3.0, 3.0)),
]


@pytest.mark.parametrize(
    ("statistic", "part", "name", "low", "high"),
    LAYER_EFFECTS,
    ids=[f"{part}-{name}" for _, part, name, *_ in LAYER_EFFECTS],
)
def test_parameter_of_a_layer_has_its_effect(statistic, part, name, low, high):
    number = ("streaks", "noise", "files").index(part)
    values = [mean_of(statistic, kind(number, part=part, **{name: value})) for value in (low, high)]
    assert values[1] > 1.02 * values[0]


@pytest.mark.parametrize(
    ("statistic", "name", "low", "high"),
    [
        (lambda layer: np.sqrt((layer**2).mean()), "strength", (0.05, 0.05), (0.2, 0.2)),
        (np.max, "brightest", (0.2, 0.2), (0.6, 0.6)),
        (covered, "layers", (1, 1), (6, 6)),
        (lambda layer: likeness(layer, 0, 8), "depth", (3.0, 3.0), (0.5, 0.5)),
        (coarse_spread, "unevenness", (0.0, 0.0), (1.0, 1.0)),
    ],
    ids=["strength", "brightest", "layers", "depth", "unevenness"],
)
def test_parameter_of_the_rain_has_its_effect(statistic, name, low, high):
    values = [mean_of(statistic, plain(**{name: value})) for value in (low, high)]
    assert values[1] > 1.1 * values[0]


def test_strength_is_the_root_mean_square():
    for seed in range(4):
        layer = layers(plain(strength=(0.08, 0.08)), seed)
        assert np.sqrt((layer**2).mean()) == pytest.approx(0.08, rel=0.02)


def test_brightest_bounds_sparse_rain():
    sparse = plain(brightest=(0.3, 0.3), strength=(0.5, 0.5))
    layer = layers(sparse)
    assert np.quantile(layer[layer > 1e-6], 0.995) == pytest.approx(0.3, rel=0.1)


@pytest.mark.parametrize("part", ["streaks", "noise"])
@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_streaks_follow_the_angle(part, seed):
    wide = {"width": (3.0, 3.0), "length": (40.0, 40.0)}
    changes = wide if part == "streaks" else {"grain": (3.0, 3.0), "length": (40.0, 40.0)}
    parameters = kind(("streaks", "noise").index(part), part=part, **changes)
    parameters = dataclasses.replace(parameters, angle=50.0)
    # The main direction is the first number that is drawn.
    expected = np.random.default_rng(seed).uniform(-50.0, 50.0)
    # Differences of neighbours are biased towards 45 degrees unless the layer is smooth.
    levels = Image.fromarray(np.uint8(np.rint(255 * layers(parameters, seed, (160, 160)))))
    measured, certain = direction(np.asarray(levels.filter(ImageFilter.GaussianBlur(2))))
    assert certain > 0.5
    assert measured == pytest.approx(expected, abs=4)


def test_layers_run_in_several_directions_where_asked():
    one = plain(layers=(4, 4), directions=40.0, several_directions=0.0)
    several = plain(layers=(4, 4), directions=40.0, several_directions=1.0)
    assert mean_of(coherence, several) < 0.8 * mean_of(coherence, one)


def test_blur_softens_the_shared_part_of_layers():
    sharp, soft = plain(blur=(3.0, 3.0)), plain(blur=(3.0, 3.0), blur_share=1.0)
    assert mean_of(sharpness, soft) < 0.8 * mean_of(sharpness, sharp)


def test_rotation_turns_files():
    turned = kind(2, part="files", rotation=50.0)
    angles = [direction(layers(turned, seed))[0] for seed in range(12)]
    assert np.std(angles) > 10
    assert abs(direction(layers(kind(2)))[0]) < 3


def test_without_files_the_other_kinds_are_used():
    only_files = kind(2)
    layer = streak_layers(SIZE, np.random.default_rng(0), only_files)
    assert layer.max() > 0


def test_file_layers_are_parts_of_the_picture():
    """Without turning and scaling, a layer holds the gray levels of the picture itself."""
    layer = layers(kind(2), size=(40, 40))
    assert 0 < (layer > 0).mean() < 0.3
    ratios = np.unique(np.round(layer[layer > 0] / layer.max(), 3))
    assert len(ratios) <= len(np.unique(frame()))


def test_additive_streaks_only_brighten():
    clean = flat(100)
    rainy = rained(PLAIN, clean)
    assert (rainy >= clean).all()
    assert rainy.max() > 200


def test_screen_blending_saves_highlights():
    strong, bright = (0.3, 0.3), flat(200)
    additive = rained(plain(strength=strong), bright)
    screen = rained(plain(strength=strong, blending=(0.0, 1.0, 0.0)), bright)
    assert (screen >= bright).all()
    assert (screen <= additive).all()
    assert (screen == 255).mean() < (additive == 255).mean()


def test_matte_streaks_take_the_colour_of_the_drop():
    matte = plain(strength=(0.3, 0.3), blending=(0.0, 0.0, 1.0), drop_brightness=(0.5, 0.5))
    assert (rained(matte, flat(240)) <= 240).all()
    assert rained(matte, flat(240)).min() < 160
    assert (rained(matte, flat(20)) >= 20).all()
    assert rained(matte, flat(20)).max() <= 128


def test_tint_colours_the_streaks():
    colourful = rained(plain(tint=0.4), flat(0)).astype(int)
    assert np.ptp(rained(PLAIN, flat(0)).astype(int), axis=2).max() == 0
    assert np.ptp(colourful, axis=2).max() > 20


def test_darkened_pictures_lose_what_the_streaks_added():
    clean = flat(100)
    bright = rained(PLAIN, clean) - 100.0
    for times in (1.0, 2.0):
        dark = rained(plain(darkened=1.0, darkening=(times, times)), clean) - 100.0
        assert dark.mean() == pytest.approx((1 - times) * bright.mean(), abs=0.6)
        assert dark.std() == pytest.approx(bright.std(), rel=0.02)
    assert rained(plain(darkened=1.0, darkening=(5.0, 5.0)), flat(3)).min() == 0


def test_haze_lowers_contrast_and_grows_with_depth():
    scene = draw_scene(np.random.default_rng(0), SIZE)

    def hazy(**changes):
        defaults = {"share": 1.0, "density": (0.7, 0.7), "airlight": (0.8, 0.8)}
        haze = Haze(**{**defaults, "relief": (0.0, 0.0), **changes})
        return rained(plain(strength=(1e-4, 1e-4), haze=haze), scene).astype(float)

    clear, thin, thick = hazy(share=0.0), hazy(), hazy(density=(2.0, 2.0))
    assert thick[:32].std() < thin[:32].std() < clear[:32].std()
    assert hazy(airlight=(1.0, 1.0)).mean() > hazy(airlight=(0.6, 0.6)).mean() + 10

    def change(picture, rows):
        return np.abs(picture - clear)[rows].mean()

    top, middle, bottom = slice(0, 10), slice(43, 53), slice(-10, None)
    scene = clear = np.zeros_like(scene)  # over black, the mist alone is seen
    thin, uneven = hazy(), hazy(relief=(1.0, 1.0))
    assert change(thin, top) > 1.5 * change(thin, middle) > 6 * change(thin, bottom)
    assert change(uneven, bottom) > 3 * change(thin, bottom)


def test_camera_adds_noise_and_jpeg_artefacts():
    dry = {"strength": (1e-4, 1e-4)}

    def deviation(level, **changes):
        camera = Camera(noise_share=1.0, jpeg_share=0.0, **changes)
        return rained(plain(camera=camera, **dry), flat(level)).std()

    read, none = {"read_noise": (0.02, 0.02)}, {"read_noise": (0.0, 0.0)}
    assert deviation(128, shot_noise=(0.0, 0.0), **read) == pytest.approx(0.02 * 255, rel=0.05)
    assert deviation(128, shot_noise=(0.0, 0.0), **none) < 0.5
    shot = {"shot_noise": (4e-4, 4e-4), **none}
    assert deviation(200, **shot) == pytest.approx(1.73 * deviation(67, **shot), rel=0.1)

    scene = draw_scene(np.random.default_rng(0), SIZE)

    def error(quality, share=1.0):
        camera = Camera(noise_share=0.0, jpeg_share=share, jpeg_quality=(quality, quality))
        return np.abs(rained(plain(camera=camera, **dry), scene).astype(int) - scene).mean()

    assert error(50) > error(90) > error(50, share=0.0)


def test_the_seed_alone_decides():
    scene = draw_scene(np.random.default_rng(0), SIZE)
    before = scene.copy()
    for parameters in PRESETS.values():
        parameters = dataclasses.replace(parameters, rain_free=0.0)
        first, again, other = (rained(parameters, scene, seed) for seed in (1, 1, 2))
        np.testing.assert_array_equal(first, again)
        assert (first != other).any()
    np.testing.assert_array_equal(scene, before)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, [0.9372, 0.0096, 0.0379, 0.0014]),
        (1, [1.3004, 0.0030, 0.0325, 0.0039]),
        (2, [0.6844, 0.0029, -0.0437, -0.0138]),
    ],
    ids=["streaks", "noise", "files"],
)
def test_a_seed_draws_the_layers_that_it_always_drew(number, expected):
    """Sets that are prepared anew, and runs that are resumed, are to see the same rain."""
    kinds = tuple(float(n == number) for n in range(3))
    parameters = dataclasses.replace(
        PRESETS["heavy"], kinds=kinds, layers=(2, 2), blur_share=0.5, several_directions=1.0
    )
    total = sum(layers(parameters, seed, (48, 64)) for seed in range(6))
    assert projections(total) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("light", [40.66, 2.84, 1.04, 0.65, 2.07, -0.08, 0.35, -0.24]),
        ("heavy", [468.53, 9.77, 24.51, 3.84, -0.16, -0.30, -1.07, 0.38]),
        ("mixed", [108.41, 5.46, 2.29, 0.89, 4.98, -0.46, 1.50, 0.06]),
    ],
)
def test_a_seed_draws_the_rain_that_it_always_drew(preset, expected):
    camera = Camera(noise_share=0.0, jpeg_share=0.0)
    parameters = dataclasses.replace(PRESETS[preset], rain_free=0.0, camera=camera)
    clean = draw_scene(np.random.default_rng(0), (48, 64))
    change = sum(rained(parameters, clean, seed).astype(int) - clean for seed in range(12))
    found = [projections(change @ weights) for weights in ([0.5, 0.3, 0.2], [-1, 0, 1])]
    assert sum(found, []) == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (7, 3), (65, 130)])
@pytest.mark.parametrize("preset", PRESETS)
def test_any_size_keeps_shape_and_type(preset, size):
    clean = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    for seed in range(6):
        rainy = rained(PRESETS[preset], clean, seed)
        assert rainy.shape == clean.shape
        assert rainy.dtype == np.uint8


@pytest.mark.slow
@pytest.mark.parametrize("with_files", [False, True])
def test_presets_keep_their_promise(with_files):
    """Light rain lands near 25 to 30 dB, heavy rain near 12 to 17 dB, mixed rain between."""
    scenes = [draw_scene(np.random.default_rng(seed), (120, 180)) for seed in range(4)]
    scores = {}
    for preset, parameters in PRESETS.items():
        parameters = dataclasses.replace(parameters, rain_free=0.0)
        scores[preset] = []
        for seed in range(60):
            clean = scenes[seed % len(scenes)]
            rng = np.random.default_rng([seed, 17])
            rainy = rain(clean, rng, parameters, [frame(1), frame(2)] if with_files else ())
            scores[preset].append(psnr(clean, rainy))
    means = {preset: np.mean(values) for preset, values in scores.items()}
    assert 24 < means["light"] < 31
    assert 11 < means["heavy"] < 18
    assert means["heavy"] + 3 < means["mixed"] < means["light"] - 2
    assert max(scores["mixed"]) > 25 and min(scores["mixed"]) < 17


def test_the_rain_free_share_stays_dry():
    clean = flat(90, (32, 32))
    rng = np.random.default_rng(0)
    assert PRESETS["light"].rain_free == PRESETS["heavy"].rain_free == 0.05
    dry = [(rain(clean, rng, plain(rain_free=0.3)) == clean).all() for _ in range(300)]
    assert 60 <= sum(dry) <= 120
    np.testing.assert_array_equal(rain(clean, rng, plain(rain_free=1.0)), clean)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Streaks(length=(30.0, 10.0)), ["Streaks.length", "low <= high", "(30.0, 10.0)"]),
        (lambda: Streaks(density=(0.0, 1.0)), ["Streaks.density", "0.001"]),
        (lambda: Noise(seeds=(0.1, 2.0)), ["Noise.seeds", "1.0"]),
        (lambda: Files(rotation=(0.0, 10.0)), ["Files.rotation", "a number"]),
        (lambda: Haze(share=1.5), ["Haze.share", "1.5"]),
        (lambda: Camera(jpeg_quality=90), ["Camera.jpeg_quality", "a range", "90"]),
        (lambda: Rain(strength=(0.1, float("nan"))), ["Rain.strength", "nan"]),
        (lambda: Rain(kinds=(0.0, 0.0, 0.0)), ["Rain.kinds", "not all 0"]),
        (lambda: Rain(blending=(1.0, 0.0)), ["Rain.blending", "three"]),
    ],
)
def test_impossible_parameters_are_refused(make, words):
    with pytest.raises(ValueError) as error:
        make()
    assert all(word in str(error.value) for word in words)


def test_every_numeric_parameter_has_limits():
    for part in (Streaks, Noise, Files, Haze, Camera, Rain):
        names = {field.name for field in dataclasses.fields(part)}
        parts = {"streaks", "noise", "files", "haze", "camera", "kinds", "blending"}
        unchecked = parts if part is Rain else set()
        assert names == set(part.LIMITS) | unchecked
        documented = part.__doc__
        assert all(f"{name}: " in documented or f"{name}," in documented for name in names)


@pytest.mark.parametrize(
    "clean",
    [
        np.zeros((8, 8, 3), np.float32),
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((0, 8, 3), np.uint8),
    ],
)
def test_other_pictures_are_refused(clean):
    with pytest.raises(ValueError, match="uint8 RGB"):
        rain(clean, np.random.default_rng(0), PLAIN)


def test_other_streak_pictures_are_refused():
    with pytest.raises(ValueError, match="gray uint8"):
        rain(flat(0), np.random.default_rng(0), PLAIN, [np.zeros((8, 8, 3), np.uint8)])


def test_contact_sheet_shows_rain():
    sheet = contact_sheet("heavy", columns=2, rows=1)
    assert isinstance(sheet, Image.Image)
    assert sheet.size == (484, 160)
    assert np.asarray(sheet).std() > 20


FOLDER = Path(contact_sheet.__code__.co_filename).parent


def test_the_readme_shows_todays_rain():
    """The contact sheets are small, and drawn by the code as it is."""
    paths = [FOLDER / f"{preset}.jpg" for preset in PRESETS]
    assert sum(path.stat().st_size for path in paths) < 150_000
    shown = np.asarray(Image.open(FOLDER / "heavy.jpg"), np.float32)
    drawn = np.asarray(contact_sheet("heavy"), np.float32)
    assert np.abs(shown - drawn).mean() < 10 < np.abs(shown - drawn[::-1]).mean()


def _written(value):
    if isinstance(value, tuple):
        return (" : " if len(value) == 3 else " .. ").join(f"{number:g}" for number in value)
    return f"{value:g}"


def test_the_readme_states_the_parameters():
    table = {}
    for line in (FOLDER / "README.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 7 and cells[0].startswith("`"):
            table[cells[0].strip("`")] = cells[2:5]
    stated = {}
    for name in (field.name for field in dataclasses.fields(Rain)):
        values = [getattr(parameters, name) for parameters in PRESETS.values()]
        if dataclasses.is_dataclass(values[0]):
            for part in dataclasses.fields(values[0]):
                stated[f"{name}.{part.name}"] = [_written(getattr(v, part.name)) for v in values]
        else:
            stated[name] = [_written(value) for value in values]
    assert list(PRESETS) == ["light", "heavy", "mixed"]
    assert table == stated


def test_rain_needs_no_tensorflow():
    code = (
        "import sys, mspfn_tf.datasets.synthetic_rain.rain; assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=FOLDER.parents[1])
