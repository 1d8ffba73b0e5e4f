"""Parameters of synthetic rain and its presets.

All lengths are pixels of the picture that is rained on; all intensities are shares of full scale;
all angles are degrees from the vertical, positive towards the right on the way down. A range
`(low, high)` is drawn from uniformly, or log-uniformly where its description says so.

The papers are spelled out in this folder's CITATIONS.bib. The ranges come from them and from
looking at the results; no test set was looked at.
"""

import dataclasses
from typing import ClassVar

Range = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class _Checked:
    """Refuses parameters that leave their `LIMITS` (inclusive), and ranges that run backwards."""

    LIMITS: ClassVar[dict[str, Range]] = {}

    def __post_init__(self):
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        for name, (lowest, highest) in self.LIMITS.items():
            value = getattr(self, name)
            if isinstance(defaults[name], tuple):
                expected = "be a range (low, high) with low <= high, both"
                valid = isinstance(value, tuple) and len(value) == 2
                valid = valid and lowest <= value[0] <= value[1] <= highest
            else:
                expected = "be a number"
                valid = not isinstance(value, tuple) and lowest <= value <= highest
            if not valid:
                raise ValueError(
                    f"{type(self).__name__}.{name} must {expected} within "
                    f"[{lowest}, {highest}]. Received: {value!r}."
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

    LIMITS: ClassVar = {
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

    LIMITS: ClassVar = {
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

    LIMITS: ClassVar = {"scale": (0.1, 10.0), "rotation": (0.0, 60.0), "gamma": (0.2, 5.0)}


@dataclasses.dataclass(frozen=True)
class Haze(_Checked):
    """Mist of far drops: transmission `T = exp(-density * depth)` and airlight `A`, as in Li,
    Cheong and Tan 2019.

    The depth of a single photograph is unknown; a plausible one is far at the top, near at the
    bottom, plus smooth noise.

    Args:
        share: probability that a picture has mist at all.
        density: optical thickness over the whole depth: scattering times distance (Li, Cheong and
            Tan 2019).
        airlight: brightness of the mist; RESIDE (Li, Ren et al. 2019) takes 0.7 to 1.0 for haze.
        relief: share of smooth noise in the depth, the rest being the vertical gradient.
    """

    share: float = 0.15
    density: Range = (0.03, 0.25)
    airlight: Range = (0.65, 0.95)
    relief: Range = (0.2, 0.7)

    LIMITS: ClassVar = {
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

    LIMITS: ClassVar = {
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
            rain; Li, Cheong and Tan 2019).
        kinds: relative frequency of layers made of `Streaks`, `Noise` and `Files`; the last counts
            only where streak pictures are given.
        depth: distance of a layer relative to the focused one, log-uniform. Lengths and widths
            shrink, the density grows with it (Garg and Nayar 2007).
        angle: degrees either way, the main direction of the picture (wind).
        directions: degrees either way by which a layer departs from the main direction (it stays
            within 60 degrees of the vertical), in
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
        darkened: share of pictures that are darkened again, as an exposure metered on the rain
            does, and as do the photo-editor recipes that add noise around zero (Zhang et al. 2020:
            one picture in seven of their training set is darker than without rain).
        darkening: how far, in multiples of what the streaks add on average.
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
    darkened: float = 0.1
    darkening: Range = (0.6, 2.2)
    rain_free: float = 0.05
    streaks: Streaks = Streaks()
    noise: Noise = Noise()
    files: Files = Files()
    haze: Haze = Haze()
    camera: Camera = Camera()

    LIMITS: ClassVar = {
        "strength": (1e-4, 1.0),
        "brightest": (0.05, 10.0),
        "layers": (1, 20),
        "depth": (0.1, 10.0),
        "angle": (0.0, 60.0),
        "directions": (0.0, 60.0),
        "several_directions": (0.0, 1.0),
        "blur": (1.0, 10.0),
        "blur_share": (0.0, 1.0),
        "unevenness": (0.0, 1.0),
        "drop_brightness": (0.0, 1.0),
        "tint": (0.0, 0.5),
        "darkened": (0.0, 1.0),
        "darkening": (0.0, 5.0),
        "rain_free": (0.0, 1.0),
    }

    def __post_init__(self) -> None:
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
        darkened=0.25,
        streaks=Streaks(density=(0.4, 12.0), length=(6.0, 90.0), width=(0.6, 3.0)),
        noise=Noise(length=(8.0, 90.0), grain=(0.8, 3.0)),
        files=Files(scale=(0.6, 2.5), rotation=30.0),
        haze=Haze(share=0.2, density=(0.05, 0.6)),
    ),
}
