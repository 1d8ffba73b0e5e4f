"""Procedural rain over a clean photograph, with NumPy and Pillow alone.

The image model is that of heavy rain in Yang et al. 2017 and Li, Cheong and Tan 2019: the streaks
of several layers `S_i` lie over the clean picture `B`, and mist of transmission `T` and colour `A`
lies over both. Some pictures are darkened by a constant `D`,

    O = T * (blend(B, S_1 + ... + S_n) - D) + (1 - T) * A,

followed by what a camera adds: sensor noise and JPEG compression. Every layer has a depth and a
direction of its own and is drawn in one of three ways: individual streaks (Garg and Nayar 2006),
motion-blurred noise (the recipe behind the synthetic sets of Fu et al. 2017 and Zhang and Patel
2018) or a picture of streaks from a file. `parameters.py` holds what can be set.
"""

import io
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from mspfn_tf.datasets.synthetic_rain.parameters import Rain

# Layers steeper than this would be streaks that fly rather than fall.
_STEEPEST = math.radians(60)


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
    dry = clean / np.float32(255)
    picture = _blend(dry, streaks[..., None] * tint, rng, parameters)
    if rng.random() < parameters.darkened:
        added = np.mean(picture - dry)
        picture = np.maximum(0, picture - np.float32(rng.uniform(*parameters.darkening)) * added)
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
        angle = float(np.clip(math.radians(main_angle + turn), -_STEEPEST, _STEEPEST))
        blur = rng.uniform(*parameters.blur) if rng.random() < parameters.blur_share else 1.0
        grid = tuple(max(1, math.ceil(side / blur)) for side in size)
        scale = 1 / (depth * blur)
        kind = rng.choice(3, p=kinds)
        if kind == 0:
            layer = _individual_streaks(grid, rng, parameters.streaks, angle, scale)
        elif kind == 1:
            layer = _blurred_noise(grid, rng, parameters.noise, angle, scale)
        else:
            frame = streak_pictures[int(rng.integers(len(streak_pictures)))]
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
    angles = angle + spread * rng.standard_normal(count)
    angles = np.clip(angles, -1.2 * _STEEPEST, 1.2 * _STEEPEST)
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
