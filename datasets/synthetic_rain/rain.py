"""Procedural rain over a clean photograph, with NumPy and Pillow alone.

The image model is that of heavy rain in Yang et al. 2017 (equation 2) and Li et al. 2019
(equation 1): the streaks of several layers `S_i` lie over the clean picture `B`, and mist of
transmission `T` and colour `A` lies over both,

    O = T * blend(B, S_1 + ... + S_n) + (1 - T) * A,

followed by what a camera adds: sensor noise and JPEG compression. Every layer has a depth and a
direction of its own and is drawn in one of three ways: individual streaks (Garg and Nayar 2006),
motion-blurred noise (the recipe behind the synthetic sets of Fu et al. 2017 and Zhang and Patel
2018) or a picture of streaks from a file. All lengths are pixels of the picture that is rained
on; all intensities are shares of full scale; all angles are degrees from the vertical, positive
towards the right on the way down.

A range `(low, high)` is drawn from uniformly, or log-uniformly where its description says so.

References are spelled out in this folder's CITATIONS.bib.
"""

import dataclasses
import io
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

Range = tuple[float, float]


class _Checked:
    """Refuses ranges that run backwards or leave the limits in `LIMITS` (inclusive)."""

    LIMITS = {}

    def __post_init__(self):
        for name, (lowest, highest) in self.LIMITS.items():
            value = getattr(self, name)
            numbers = value if isinstance(value, tuple) else (value,)
            ordered = len(numbers) == 1 or (len(numbers) == 2 and numbers[0] <= numbers[1])
            if not ordered or not all(lowest <= number <= highest for number in numbers):
                raise ValueError(
                    f"{type(self).__name__}.{name} must lie within [{lowest}, {highest}], "
                    f"a range as (low, high) with low <= high. Received: {value!r}."
                )


@dataclasses.dataclass(frozen=True)
class Streaks(_Checked):
    """Individual streaks: what single falling drops leave during one exposure.

    Args:
        density: streaks per 1000 square pixels at depth 1, log-uniform. It grows with the square
            of the depth, as the rained-through volume seen by a pixel does (Garg and Nayar 2006).
        length: pixels at depth 1, log-uniform per layer: fall speed times exposure (Garg and
            Nayar 2007); Zhang and Patel 2018 and Fu et al. 2017 vary it as the main trait.
        width: pixels at depth 1, log-uniform per layer: the drop's diameter. Below one pixel a
            streak gets fainter instead of thinner (Garg and Nayar 2007).
        length_spread: standard deviation of the logarithm of the length within a layer; drop
            sizes, and with them speeds, are widely spread (Marshall and Palmer 1948).
        width_spread: the same for the width.
        brightness_spread: the same for the brightness (Garg and Nayar 2006 render the influence
            of lighting and viewing angle, which spreads brightness by a like amount).
        angle_spread: degrees, standard deviation of the streaks' angles in a layer (turbulence).
        oscillation: share by which a drop's shape oscillation modulates the brightness along its
            streak: the speckles and smeared highlights of Garg and Nayar 2006.
    """

    density: Range = (0.4, 4.0)
    length: Range = (8.0, 60.0)
    width: Range = (0.6, 2.2)
    length_spread: float = 0.35
    width_spread: float = 0.25
    brightness_spread: float = 0.5
    angle_spread: Range = (0.2, 3.0)
    oscillation: Range = (0.0, 0.7)

    LIMITS = {
        "density": (1e-3, 100.0),
        "length": (1.0, 400.0),
        "width": (0.1, 20.0),
        "length_spread": (0.0, 1.0),
        "width_spread": (0.0, 1.0),
        "brightness_spread": (0.0, 2.0),
        "angle_spread": (0.0, 30.0),
        "oscillation": (0.0, 1.0),
    }


@dataclasses.dataclass(frozen=True)
class Noise(_Checked):
    """Motion-blurred noise: distant rain, of which no single streak can be told.

    It is the photo-editor recipe (noise, motion blur, levels) with which the rain of Fu et al. 2017
    and Zhang and Patel 2018 was made.

    Args:
        seeds: share of the grains that are lit, log-uniform: low for streaks, high for a texture.
        length: pixels of motion blur at depth 1, log-uniform.
        grain: pixels, size of a grain of noise at depth 1: the width of the streaks.
        floor: level that is cut off after the blur, in multiples of its mean ("levels"): 0 keeps
            a veil, 2 leaves separate streaks.
    """

    seeds: Range = (0.005, 0.3)
    length: Range = (10.0, 60.0)
    grain: Range = (0.8, 2.5)
    floor: Range = (0.0, 1.5)

    LIMITS = {
        "seeds": (1e-4, 1.0),
        "length": (1.0, 400.0),
        "grain": (0.5, 20.0),
        "floor": (0.0, 5.0),
    }


@dataclasses.dataclass(frozen=True)
class Files(_Checked):
    """Streak pictures from files, such as frames rendered from the database of Garg and Nayar 2006.

    A random part is taken (the picture is continued periodically where it is too small), mirrored
    with probability 1/2 in each axis, rotated, scaled and weighted.

    Args:
        scale: factor, log-uniform: frames serve for rain at other depths.
        rotation: degrees either way.
        gamma: exponent of the frame's gray levels: above 1 leaves the bright streaks alone.
    """

    scale: Range = (0.7, 2.0)
    rotation: float = 20.0
    gamma: Range = (0.7, 1.3)

    LIMITS = {"scale": (0.1, 10.0), "rotation": (0.0, 90.0), "gamma": (0.2, 5.0)}


@dataclasses.dataclass(frozen=True)
class Haze(_Checked):
    """Mist of far drops: transmission `T = exp(-density * depth)`, airlight `A` (Li et al. 2019).

    The depth of a single photograph is unknown; a plausible one is far at the top, near at the
    bottom, plus smooth noise.

    Args:
        share: probability that a picture has mist at all.
        density: optical thickness over the whole depth (Li et al. 2019: scattering times depth).
        airlight: brightness of the mist (0.7..1.0 in the synthetic haze of He et al. 2011 users).
        relief: share of smooth noise in the depth, the rest being the vertical gradient.
    """

    share: float = 0.15
    density: Range = (0.05, 0.4)
    airlight: Range = (0.65, 0.95)
    relief: Range = (0.2, 0.7)

    LIMITS = {
        "share": (0.0, 1.0),
        "density": (0.0, 5.0),
        "airlight": (0.0, 1.0),
        "relief": (0.0, 1.0),
    }


@dataclasses.dataclass(frozen=True)
class Camera(_Checked):
    """What the camera adds after the rain.

    Args:
        noise_share: probability of sensor noise.
        read_noise: standard deviation independent of the signal, share of full scale, and
        shot_noise: variance per signal: the Poisson-Gaussian model of Foi et al. 2008.
        jpeg_share: probability of JPEG compression, of
        jpeg_quality: quality factor (ITU-T T.81 tables, 4:2:0 chroma).
    """

    noise_share: float = 0.25
    read_noise: Range = (0.0, 0.008)
    shot_noise: Range = (0.0, 2e-4)
    jpeg_share: float = 0.3
    jpeg_quality: tuple[int, int] = (75, 97)

    LIMITS = {
        "noise_share": (0.0, 1.0),
        "read_noise": (0.0, 0.2),
        "shot_noise": (0.0, 0.01),
        "jpeg_share": (0.0, 1.0),
        "jpeg_quality": (20, 100),
    }


@dataclasses.dataclass(frozen=True)
class Rain(_Checked):
    """Everything that decides how a picture is rained on.

    Args:
        strength: root mean square of the summed streaks, share of full scale, log-uniform: how
            much it rains. Rain over black would have a PSNR of `-20 * log10(strength)`.
        brightest: level that the brightest 0.5 % of the streak pixels may reach before clipping,
            from faint to saturated; it bounds the strength of sparse rain.
        layers: number of streak layers, both ends included (Yang et al. 2017; five in their heavy
            rain; Li et al. 2019).
        kinds: relative frequency of layers made of `Streaks`, `Noise` and `Files`; the last counts
            only where streak pictures are given.
        depth: distance of a layer relative to the focused one, log-uniform. Lengths and widths
            shrink, the density grows with it (Garg and Nayar 2007).
        angle: degrees either way, the main direction of the picture (wind).
        directions: degrees either way by which a layer departs from the main direction, in
        several_directions: the share of pictures that rain in several directions (the heavy rain
            of Yang et al. 2017).
        blur: pixels, grid on which a layer is drawn before it is enlarged: 1 is sharp, more is
            out of focus; applies to
        blur_share: the share of blurred layers (near rain is out of focus, Garg and Nayar 2007).
        unevenness: share by which the rain's density varies over the picture.
        blending: relative frequency of additive blending `B + S` (Yang et al. 2017), screen
            blending `1 - (1 - B)(1 - S)` (Luo et al. 2015) and matte blending `B + S(E - B)`
            (Garg and Nayar 2007: a drop covers its background during a part of the exposure).
        drop_brightness: the level `E` of matte streaks.
        tint: share by which the streaks' colour departs from gray, per channel.
        rain_free: share of pictures that are returned as they are, so that a network also learns
            to leave dry pictures alone.
        streaks, noise, files, haze, camera: see their classes.
    """

    strength: Range = (0.04, 0.11)
    brightest: Range = (0.4, 1.3)
    layers: tuple[int, int] = (1, 3)
    kinds: tuple[float, float, float] = (0.45, 0.3, 0.25)
    depth: Range = (0.6, 2.0)
    angle: float = 40.0
    directions: float = 8.0
    several_directions: float = 0.3
    blur: Range = (1.3, 2.5)
    blur_share: float = 0.25
    unevenness: Range = (0.0, 0.5)
    blending: tuple[float, float, float] = (0.5, 0.35, 0.15)
    drop_brightness: Range = (0.75, 1.0)
    tint: float = 0.04
    rain_free: float = 0.05
    streaks: Streaks = Streaks()
    noise: Noise = Noise()
    files: Files = Files()
    haze: Haze = Haze()
    camera: Camera = Camera()

    LIMITS = {
        "strength": (1e-4, 1.0),
        "brightest": (0.05, 10.0),
        "layers": (1, 20),
        "depth": (0.1, 10.0),
        "angle": (0.0, 75.0),
        "directions": (0.0, 75.0),
        "several_directions": (0.0, 1.0),
        "blur": (1.0, 10.0),
        "blur_share": (0.0, 1.0),
        "unevenness": (0.0, 1.0),
        "drop_brightness": (0.0, 1.0),
        "tint": (0.0, 0.5),
        "rain_free": (0.0, 1.0),
    }

    def __post_init__(self):
        super().__post_init__()
        for name in ("kinds", "blending"):
            weights = getattr(self, name)
            if len(weights) != 3 or min(weights) < 0 or not sum(weights) > 0:
                raise ValueError(
                    f"Rain.{name} takes three frequencies >= 0 that are not all 0. "
                    f"Received: {weights!r}."
                )


PRESETS = {
    "light": Rain(),
    "heavy": Rain(
        strength=(0.2, 0.42),
        layers=(2, 5),
        depth=(0.5, 2.5),
        angle=45.0,
        directions=35.0,
        several_directions=0.65,
        brightest=(0.8, 2.5),
        blending=(0.6, 0.3, 0.1),
        streaks=Streaks(density=(2.0, 16.0), length=(10.0, 90.0), width=(0.7, 3.0)),
        noise=Noise(seeds=(0.01, 0.4), length=(12.0, 90.0), grain=(0.8, 3.0)),
        files=Files(scale=(0.7, 2.5), rotation=35.0),
        haze=Haze(share=0.25, density=(0.1, 0.7)),
    ),
    "mixed": Rain(
        strength=(0.05, 0.4),
        layers=(1, 5),
        depth=(0.5, 2.5),
        angle=45.0,
        directions=25.0,
        several_directions=0.45,
        brightest=(0.5, 2.0),
        streaks=Streaks(density=(0.4, 12.0), length=(6.0, 90.0), width=(0.6, 3.0)),
        noise=Noise(length=(8.0, 90.0), grain=(0.8, 3.0)),
        files=Files(scale=(0.6, 2.5), rotation=30.0),
        haze=Haze(share=0.2, density=(0.05, 0.6)),
    ),
}


def rain(
    clean: np.ndarray,
    rng: np.random.Generator,
    parameters: Rain,
    streak_pictures: Sequence[np.ndarray] = (),
) -> np.ndarray:
    """Rains on a picture.

    The result depends on the arguments and the state of `rng` alone.

    Args:
        clean: `uint8 [H, W, 3]`, RGB.
        rng: source of all randomness; it is advanced.
        parameters: a `Rain`, for instance `PRESETS["light"]`.
        streak_pictures: gray pictures `uint8 [h, w]` of bright streaks on black.

    Returns:
        The rainy picture, `uint8 [H, W, 3]`.

    Raises:
        ValueError: `clean` or a streak picture has another type or shape.
    """
    _check_pictures(clean, streak_pictures)
    if rng.random() < parameters.rain_free:
        return clean.copy()
    size = clean.shape[:2]
    streaks = streak_layers(size, rng, parameters, streak_pictures)
    tint = 1 + rng.uniform(-parameters.tint, parameters.tint, 3).astype(np.float32)
    picture = _blend(clean / np.float32(255), streaks[..., None] * tint, rng, parameters)
    if rng.random() < parameters.haze.share:
        picture = _add_haze(picture, rng, parameters.haze)
    return _photograph(picture, rng, parameters.camera)


def streak_layers(
    size: tuple[int, int],
    rng: np.random.Generator,
    parameters: Rain,
    streak_pictures: Sequence[np.ndarray] = (),
) -> np.ndarray:
    """The sum of all streak layers, `float32 [H, W]` in [0, 1], for a picture of `size` (H, W)."""
    kinds = np.array(parameters.kinds, np.float64)
    if not len(streak_pictures):
        # A configuration of nothing but files still rains where there are none.
        kinds[2] = 0
        kinds = kinds if kinds.any() else np.array([1.0, 0.0, 0.0])
    kinds /= kinds.sum()
    main_angle = rng.uniform(-parameters.angle, parameters.angle)
    several = rng.random() < parameters.several_directions
    total = np.zeros(size, np.float32)
    for _ in range(rng.integers(parameters.layers[0], parameters.layers[1] + 1)):
        depth = _log_uniform(rng, parameters.depth)
        turn = rng.uniform(-parameters.directions, parameters.directions) if several else 0.0
        angle = math.radians(np.clip(main_angle + turn, -75.0, 75.0))
        blur = rng.uniform(*parameters.blur) if rng.random() < parameters.blur_share else 1.0
        grid = tuple(max(1, math.ceil(side / blur)) for side in size)
        scale = 1 / (depth * blur)
        kind = rng.choice(3, p=kinds)
        if kind == 0:
            layer = _individual_streaks(grid, rng, parameters.streaks, angle, scale)
        elif kind == 1:
            layer = _blurred_noise(grid, rng, parameters.noise, angle, scale)
        else:
            frame = streak_pictures[rng.integers(len(streak_pictures))]
            layer = _streaks_of_file(grid, rng, parameters.files, frame, blur)
        if grid != size:
            layer = np.maximum(_resize(layer, size), 0)
        # Layers are brought to one energy first; near ones then stand out by up to 3 to 1.
        energy = _rms(layer)
        if energy > 0:
            total += layer * np.float32(rng.uniform(0.33, 1.0) / energy)
    unevenness = rng.uniform(*parameters.unevenness)
    total *= 1 - np.float32(unevenness) * _smooth_noise(size, rng)
    return _expose(
        total, _log_uniform(rng, parameters.strength), rng.uniform(*parameters.brightest)
    )


def _individual_streaks(size, rng, streaks, angle, scale):
    """Straight lines, each with its own place, length, width, angle and brightness."""
    height, width = size
    length = _log_uniform(rng, streaks.length) * scale
    thickness = _log_uniform(rng, streaks.width) * scale
    spread = math.radians(rng.uniform(*streaks.angle_spread))
    oscillation = rng.uniform(*streaks.oscillation)
    margin = 0.5 * length * (1 + abs(math.sin(angle)))
    area = (height + 2 * margin) * (width + 2 * margin)
    # Streaks per pixel grow by 1 / scale^2 while each covers scale^2 as much.
    density = _log_uniform(rng, streaks.density) / 1000 / scale**2
    count = max(1, rng.poisson(density * area))
    lengths = length * _log_normal(rng, streaks.length_spread, count)
    widths = thickness * _log_normal(rng, streaks.width_spread, count)
    brightness = _log_normal(rng, streaks.brightness_spread, count)
    angles = np.clip(angle + spread * rng.standard_normal(count), -1.4, 1.4)
    middle_x = rng.uniform(-margin, width + margin, count)
    middle_y = rng.uniform(-margin, height + margin, count)

    # One sample per streak and picture row; the samples of all streaks stand in one long array.
    rows = np.maximum(1, np.rint(lengths * np.cos(angles))).astype(np.int64)
    streak = np.repeat(np.arange(count), rows)
    step = np.arange(len(streak)) - np.repeat(np.cumsum(rows) - rows, rows)
    position = ((step + 0.5) / rows[streak]).astype(np.float32)
    y = np.rint(middle_y - rows / 2).astype(np.int64)[streak] + step
    inside = (y >= 0) & (y < height)
    streak, position, y = streak[inside], position[inside], y[inside]
    x = (middle_x[streak] + (y - middle_y[streak]) * np.tan(angles)[streak]).astype(np.float32)
    # Ends taper off, and the oscillating drop flashes along its way.
    value = np.minimum(1, 4 * np.minimum(position, 1 - position) + 0.1)
    waves = rng.uniform(1, 5, count).astype(np.float32) * np.float32(2 * math.pi)
    phase = rng.uniform(0, 2 * math.pi, count).astype(np.float32)
    wave = np.sin(waves[streak] * position + phase[streak])
    value *= 1 - np.float32(oscillation) * (0.5 + 0.5 * wave)
    value *= brightness.astype(np.float32)[streak]
    return _splat(size, x, y, widths[streak], np.cos(angles)[streak], value)


def _splat(size, x, y, widths, cosines, values):
    """Adds samples at (x, row y), spread over the columns that their streak's width covers."""
    height, width = size
    half = (0.5 * widths).astype(np.float32)
    cosines = cosines.astype(np.float32)
    column = np.floor(x).astype(np.int64)
    reach = math.ceil(((half + 0.5) / cosines).max(initial=1.0))
    # Columns beyond the picture fall into a margin, so that no sample needs a test of its own.
    padded = width + 4 * reach
    np.clip(column, -2 * reach, width + 2 * reach - 1, out=column)
    canvas = np.zeros(height * padded)
    for offset in range(-reach, reach + 1):
        distance = np.abs((column + offset - x) * cosines)
        coverage = np.clip(half + np.float32(0.5) - distance, 0, np.minimum(1, 2 * half))
        lit = np.flatnonzero(coverage)
        target = np.clip(column[lit] + offset + 2 * reach, 0, padded - 1) + y[lit] * padded
        canvas += np.bincount(target, coverage[lit] * values[lit], height * padded)
    canvas = canvas.reshape(height, padded)
    return canvas[:, 2 * reach : 2 * reach + width].astype(np.float32)


def _blurred_noise(size, rng, noise, angle, scale):
    """Sparse noise blurred along the vertical, then turned and enlarged in one resampling."""
    grain = max(0.5, rng.uniform(*noise.grain) * scale)
    length = max(1, round(_log_uniform(rng, noise.length) * scale / grain))
    tail = max(1, length // 3)
    height, width = _box_around(size, angle, 1 / grain)
    shape = (height + length + tail, width)
    seeds = rng.random(shape, np.float32)
    share = np.float32(_log_uniform(rng, noise.seeds))
    # What is left of a lit seed's number is uniform again: its brightness, without a second draw.
    field = np.maximum(0, 1 - seeds / share)
    for window in (length, tail):
        running = np.cumsum(field, axis=0, dtype=np.float64)
        field = (running[window:] - running[:-window]).astype(np.float32)
    field = np.maximum(0, field - np.float32(rng.uniform(*noise.floor)) * field.mean())
    return np.maximum(_turned(field, size, angle, 1 / grain), 0)


def _streaks_of_file(size, rng, files, frame, blur):
    """A random part of a streak picture, mirrored, rotated and scaled."""
    factor = 1 / (_log_uniform(rng, files.scale) / blur)
    angle = math.radians(rng.uniform(-files.rotation, files.rotation))
    height, width = _box_around(size, angle, factor)
    if rng.random() < 0.5:
        frame = frame[:, ::-1]
    if rng.random() < 0.5:
        frame = frame[::-1]
    rows = (rng.integers(frame.shape[0]) + np.arange(height)) % frame.shape[0]
    columns = (rng.integers(frame.shape[1]) + np.arange(width)) % frame.shape[1]
    levels = (np.arange(256) / 255) ** rng.uniform(*files.gamma)
    part = levels.astype(np.float32)[frame[rows[:, None], columns]]
    return _turned(part, size, angle, factor)


def _box_around(size, angle, factor):
    """Rows and columns that a picture of `size` covers in a field turned by `angle`."""
    height, width = size
    cosine, sine = abs(math.cos(angle)), abs(math.sin(angle))
    rows = math.ceil((width * sine + height * cosine) * factor) + 2
    return rows, math.ceil((width * cosine + height * sine) * factor) + 2


def _turned(field, size, angle, factor):
    """Samples `field` so that its columns run along `angle`, `factor` field pixels per pixel."""
    height, width = size
    cosine, sine = math.cos(angle) * factor, math.sin(angle) * factor
    # Output centre -> field centre.
    left = field.shape[1] / 2 - cosine * width / 2 + sine * height / 2
    top = field.shape[0] / 2 - sine * width / 2 - cosine * height / 2
    turned = Image.fromarray(field).transform(
        (width, height),
        Image.Transform.AFFINE,
        (cosine, -sine, left, sine, cosine, top),
        Image.Resampling.BILINEAR,
    )
    return np.asarray(turned)


def _expose(streaks, strength, brightest):
    """Scales the streaks so that they have the asked energy after clipping to [0, 1]."""
    sample = streaks.reshape(-1)[:: max(1, streaks.size // 40_000)]
    lit = sample[sample > 1e-6]
    if not lit.size:
        return np.zeros_like(streaks)
    # 0.5 % of the streaks' pixels, not of the picture's: sparse rain is bounded as dense rain is.
    largest = brightest / np.quantile(lit, 0.995)
    gain = strength / _rms(sample)
    for _ in range(4):
        gain = min(largest, gain * strength / _rms(np.minimum(1, gain * sample)))
    return np.minimum(1, np.float32(gain) * streaks)


def _blend(clean, streaks, rng, parameters):
    """Lays `streaks [H, W, 3]` over `clean [H, W, 3]`."""
    weights = np.array(parameters.blending, np.float64)
    way = rng.choice(3, p=weights / weights.sum())
    if way == 0:
        return np.minimum(1, clean + streaks)
    drop = 1.0 if way == 1 else rng.uniform(*parameters.drop_brightness)
    # Screen blending is matte blending with white: 1 - (1 - B)(1 - S) = B + S(1 - B).
    return np.clip(clean + np.minimum(1, streaks) * (np.float32(drop) - clean), 0, 1)


def _add_haze(picture, rng, haze):
    size = picture.shape[:2]
    relief = np.float32(rng.uniform(*haze.relief))
    gradient = np.linspace(1, 0, size[0], dtype=np.float32)[:, None]
    depth = (1 - relief) * gradient + relief * _smooth_noise(size, rng)
    transmission = np.exp(-np.float32(rng.uniform(*haze.density)) * depth)[..., None]
    airlight = rng.uniform(*haze.airlight) * (1 + rng.uniform(-0.03, 0.03, 3))
    return transmission * picture + (1 - transmission) * airlight.astype(np.float32)


def _photograph(picture, rng, camera):
    """Sensor noise, rounding to 8 bits, JPEG compression."""
    if rng.random() < camera.noise_share:
        read, shot = rng.uniform(*camera.read_noise), rng.uniform(*camera.shot_noise)
        deviation = np.sqrt(np.float32(read**2) + np.float32(shot) * np.maximum(picture, 0))
        picture = picture + deviation * rng.standard_normal(picture.shape, np.float32)
    levels = np.rint(np.clip(picture, 0, 1) * np.float32(255)).astype(np.uint8)
    if rng.random() >= camera.jpeg_share:
        return levels
    low, high = camera.jpeg_quality
    coded = io.BytesIO()
    Image.fromarray(levels).save(coded, "JPEG", quality=int(rng.integers(low, high + 1)))
    return np.array(Image.open(coded))


def _smooth_noise(size, rng):
    """Slowly varying values in [0, 1]: a 5x5 grid of random numbers, enlarged."""
    return np.clip(_resize(rng.random((5, 5), np.float32), size), 0, 1)


def _resize(plane, size):
    height, width = size
    return np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BICUBIC))


def _rms(values):
    return math.sqrt(float(np.mean(np.square(values, dtype=np.float64))))


def _log_uniform(rng, limits):
    low, high = limits
    return low * (high / low) ** rng.random()


def _log_normal(rng, spread, count):
    return np.exp(spread * rng.standard_normal(count))


def _check_pictures(clean, streak_pictures):
    if clean.dtype != np.uint8 or clean.ndim != 3 or clean.shape[2] != 3 or not clean.size:
        raise ValueError(
            "`clean` must be a uint8 RGB picture [H, W, 3]. "
            f"Received: shape {clean.shape} of {clean.dtype}."
        )
    for picture in streak_pictures:
        if picture.dtype != np.uint8 or picture.ndim != 2 or not picture.size:
            raise ValueError(
                "A streak picture must be a gray uint8 picture [h, w]. "
                f"Received: shape {picture.shape} of {picture.dtype}."
            )
