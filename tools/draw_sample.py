"""Draws the bundled sample pictures: `python -m tools.draw_sample FOLDER`.

Streets, ray-marched over height maps, and rain on them by the project's own renderer. Nothing in
them comes from a photograph, so that they may be passed on with the package. Every picture follows
from its seed alone.
"""

import argparse
from pathlib import Path

import numpy as np

from mspfn_tf.datasets.synthetic_rain.parameters import PRESETS
from mspfn_tf.datasets.synthetic_rain.rain import rain
from mspfn_tf.pictures import write_picture


def spectral_noise(rng, size, slope, shortest=0):
    """Periodic noise ``[size, size]`` with a 1/f^slope spectrum, mean 0, deviation 1."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.rfftfreq(size), indexing="ij"))
    frequency[0, 0] = 1
    filter_ = frequency**-slope
    filter_[0, 0] = 0
    if shortest:
        filter_ *= np.exp(-((frequency * shortest) ** 2))
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((size, size))) * filter_, (size, size))
    return (noise / noise.std()).astype(np.float32)


def bilinear(plane, y, x):
    """Samples a periodic plane at real positions."""
    rows, columns = plane.shape
    y0, x0 = np.floor(y).astype(np.int64), np.floor(x).astype(np.int64)
    fy, fx = (y - y0).astype(np.float32), (x - x0).astype(np.float32)
    top, bottom, left, right = y0 % rows, (y0 + 1) % rows, x0 % columns, (x0 + 1) % columns
    upper = plane[top, left] * (1 - fx) + plane[top, right] * fx
    lower = plane[bottom, left] * (1 - fx) + plane[bottom, right] * fx
    return upper * (1 - fy) + lower * fy


def smooth(value, low, high):
    value = np.clip((value - low) / (high - low), 0, 1)
    return value * value * (3 - 2 * value)


def mix(first, second, share):
    return first + (np.asarray(second, np.float32) - first) * share[..., None]


def camera_rays(size, focal, pitch, heading):
    """Unit directions ``[h, w, 3]`` (right, up, ahead) of a pinhole camera."""
    height, width = size
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x = (x + 0.5 - width / 2) / (focal * width)
    y = -(y + 0.5 - height / 2) / (focal * width)
    up, ahead = y * np.cos(pitch) + np.sin(pitch), np.cos(pitch) - y * np.sin(pitch)
    right = x * np.cos(heading) + ahead * np.sin(heading)
    ahead = ahead * np.cos(heading) - x * np.sin(heading)
    rays = np.stack([right, up, ahead], axis=-1)
    return rays / np.linalg.norm(rays, axis=-1, keepdims=True)


def march(height_at, origins, rays, nearest, farthest, growth=0.012):
    """Distance ``[n]`` at which each ray first meets the ground; infinity where it never does."""
    distance = np.full(len(rays), np.inf, np.float32)
    alive = np.arange(len(rays))
    before = after = nearest
    while after < farthest and len(alive):
        before, after = after, after * (1 + growth) + 0.01
        place = origins[alive] + after * rays[alive]
        hit = place[:, 1] < height_at(place)
        low, high = np.full(hit.sum(), before), np.full(hit.sum(), after)
        struck = alive[hit]
        for _ in range(9):
            middle = (low + high) / 2
            place = origins[struck] + middle[:, None] * rays[struck]
            below = place[:, 1] < height_at(place)
            low, high = np.where(below, low, middle), np.where(below, middle, high)
        distance[struck] = high
        alive = alive[~hit]
    return distance


class Street:
    """A street between houses, with cars, trees and a wet road, under an overcast sky."""

    CELL = 0.06
    HAZE = 420.0
    WIDTH, LENGTH = 44.0, 150.0

    def __init__(self, seed):
        self.rng = rng = np.random.default_rng(seed)
        self.cloud = spectral_noise(rng, 512, 1.7)
        self.grain = spectral_noise(rng, 512, 0.6)
        self.patches = spectral_noise(rng, 512, 1.3)
        self.light = rng.uniform(0.6, 1.15)
        self.sky_tint = np.array([0.74, 0.79, 0.86]) + rng.uniform(-0.04, 0.04, 3)
        columns, rows = int(self.WIDTH / self.CELL), int(self.LENGTH / self.CELL)
        self.x = (np.arange(columns) * self.CELL - self.WIDTH / 2).astype(np.float32)
        self.z = (np.arange(rows) * self.CELL).astype(np.float32)
        self.height = np.zeros((rows, columns), np.float32)
        self.kind = np.zeros((rows, columns), np.int16)  # 0 road, 1 pavement, 2.. things
        self.things = [None, None]
        self.half_road = rng.uniform(3.6, 5.0)
        self.pavement = rng.uniform(2.4, 3.6)
        beside = np.abs(self.x) > self.half_road
        self.height[:, beside] = 0.14
        self.kind[:, beside] = 1
        for side in (-1, 1):
            self._houses(side)
            self._cars(side)
        self.trees = self._trees()

    def _houses(self, side):
        rng, z = self.rng, self.rng.uniform(-8, -2)
        while z < self.LENGTH:
            width = rng.uniform(7, 16)
            front = self.half_road + self.pavement + rng.choice([0, 0, 0.3, 0.8])
            floors = int(rng.integers(2, 6))
            floor = rng.uniform(2.9, 3.5)
            base = np.array(
                [
                    (0.50, 0.27, 0.20),
                    (0.66, 0.58, 0.47),
                    (0.72, 0.70, 0.66),
                    (0.42, 0.30, 0.25),
                    (0.60, 0.50, 0.38),
                    (0.50, 0.52, 0.55),
                ][rng.integers(6)]
            )
            house = {
                "kind": "house",
                "colour": base * rng.uniform(0.8, 1.1) + rng.uniform(-0.03, 0.03, 3),
                "trim": np.clip(base * 0.5 + rng.uniform(0.3, 0.45), 0, 0.85),
                "brick": rng.random() < 0.55,
                "floor": floor,
                "bay": rng.uniform(1.7, 2.7),
                "window": (rng.uniform(0.42, 0.6), rng.uniform(0.45, 0.62)),
                "shop": rng.random() < 0.6,
                "sign": rng.uniform(0.08, 0.6, 3),
                "seed": int(rng.integers(1 << 16)),
                "offset": rng.uniform(0, 9),
                "top": floors * floor + 0.6,
            }
            rows = (self.z >= z) & (self.z < z + width)
            columns = self.x * side > front
            self._raise(rows, columns, house["top"], house)
            eaves = self.x * side > front - 0.22
            self.height[np.ix_(rows, eaves & ~columns)] = 0.14
            z += width + (rng.uniform(1.5, 4) if rng.random() < 0.15 else 0)

    def _cars(self, side):
        rng, z = self.rng, self.rng.uniform(7, 14)
        while z < self.LENGTH - 8:
            if rng.random() < 0.7:
                middle = side * (self.half_road - 1.05)
                colours = [(0.6, 0.62, 0.64), (0.09, 0.09, 0.1), (0.45, 0.07, 0.06)]
                colours += [(0.08, 0.14, 0.3), (0.75, 0.75, 0.74), (0.25, 0.27, 0.28)]
                car = {"kind": "car", "colour": np.array(colours[rng.integers(6)]), "z": z}
                rows = np.flatnonzero((self.z >= z) & (self.z < z + 4.3))
                columns = np.flatnonzero(np.abs(self.x - middle) < 0.88)
                along = (self.z[rows] - z) / 4.3
                across = np.abs(self.x[columns] - middle) / 0.88
                body = 0.86 * np.minimum(1, (1 - np.abs(2 * along - 1) ** 8)) ** 0.5
                cabin = 0.6 * smooth(along, 0.06, 0.24) * (1 - smooth(along, 0.58, 0.78))
                sides = (1 - across**10) ** 0.5
                shape = body[:, None] * sides + cabin[:, None] * (1 - smooth(across, 0.72, 0.95))
                self.kind[np.ix_(rows, columns)] = len(self.things)
                self.height[np.ix_(rows, columns)] = shape
                self.things.append(car)
            z += 4.3 + rng.uniform(0.9, 7)

    def _raise(self, rows, columns, height, thing):
        where = np.ix_(rows, columns)
        self.height[where], self.kind[where] = height, len(self.things)
        self.things.append(thing)

    def _trees(self):
        trees, rng = [], self.rng
        for side in (-1, 1):
            z = rng.uniform(9, 20)
            while z < self.LENGTH - 20:
                if rng.random() < 0.75:
                    x = side * (self.half_road + 0.7)
                    trees.append((x, z, rng.uniform(5.5, 9), rng.uniform(0.75, 1.2)))
                z += rng.uniform(9, 17)
        return sorted(trees, key=lambda tree: -tree[1])

    def height_at(self, place):
        columns = (place[:, 0] + self.WIDTH / 2) / self.CELL
        rows = place[:, 2] / self.CELL
        inside = (rows > 0) & (rows < len(self.z) - 1)
        inside &= (columns > 0) & (columns < len(self.x) - 1)
        result = np.full(len(place), -1.0, np.float32)
        result[inside] = bilinear(self.height, rows[inside], columns[inside])
        return result

    def sky(self, rays):
        up = np.maximum(rays[:, 1], 0.02)
        x, z = rays[:, 0] / up * 30, rays[:, 2] / up * 30
        clouds = bilinear(self.cloud, z, x) * smooth(up, 0.0, 0.35)
        value = 0.93 + 0.07 * clouds - 0.22 * smooth(up, 0, 0.9)
        return (value[:, None] * self.sky_tint * self.light * 1.12).astype(np.float32)

    def draw(self, size):
        """Linear light ``[h, w, 3]``."""
        rng = self.rng
        eye = np.array([rng.uniform(-1.5, 1.5), rng.uniform(1.6, 3.0), 0.6], np.float32)
        rays = camera_rays(size, 0.78, rng.uniform(0.03, 0.1), rng.uniform(-0.12, 0.12))
        rays = rays.reshape(-1, 3)
        origins = np.broadcast_to(eye, rays.shape)
        distance = march(self.height_at, origins, rays, 1.0, 240)
        colour, wet = self._shade(origins, rays, distance)
        mirror = np.flatnonzero(wet > 0.01)
        place = origins[mirror] + distance[mirror, None] * rays[mirror]
        ripples = 0.012 * bilinear_pair(self.grain, place[:, 2] * 40, place[:, 0] * 40)
        bounced = rays[mirror] * [1, -1, 1]
        bounced[:, [0, 2]] += ripples * np.minimum(1, 8 / distance[mirror])[:, None]
        bounced[:, 1] = np.maximum(bounced[:, 1], 0.01)
        bounced /= np.linalg.norm(bounced, axis=1, keepdims=True)
        starts = place + np.array([0, 0.03, 0], np.float32)
        there = march(self.height_at, starts, bounced.astype(np.float32), 0.2, 150, growth=0.03)
        reflected, _ = self._shade(starts, bounced, there)
        fresnel = 0.04 + 0.96 * (1 - np.abs(rays[mirror, 1])) ** 5
        share = np.clip(wet[mirror] * fresnel * 0.9, 0, 0.85)
        colour[mirror] = mix(colour[mirror], reflected, share)
        picture = colour.reshape(*size, 3)
        depth = (distance * rays[:, 2]).reshape(size)
        return self._plant(picture, depth, size, eye, rays.reshape(*size, 3))

    def _shade(self, origins, rays, distance):
        colour = self.sky(rays)
        wet = np.zeros(len(rays), np.float32)
        struck = np.flatnonzero(np.isfinite(distance))
        place = origins[struck] + distance[struck, None] * rays[struck]
        kind = self._kind_at(place)
        surface = np.zeros((len(struck), 3), np.float32)
        east, north = np.array([0.2, 0, 0]), np.array([0, 0, 0.2])
        slope_x = np.abs(self.height_at(place + east) - self.height_at(place - east))
        slope_z = np.abs(self.height_at(place + north) - self.height_at(place - north))
        for number in np.unique(kind):
            chosen = np.flatnonzero(kind == number)
            thing = self.things[number]
            spot = place[chosen]
            if thing is None:
                surface[chosen], wet[struck[chosen]] = self._ground(spot, number)
            elif thing["kind"] == "house":
                along = np.where(slope_x[chosen] > slope_z[chosen], spot[:, 2], spot[:, 0])
                surface[chosen] = self._facade(thing, along, spot, distance[struck[chosen]])
            else:
                surface[chosen], wet[struck[chosen]] = self._car(thing, spot)
        # The sky lights what sees much of it: high up, and away from walls.
        open_sky = 0.45 + 0.55 * smooth(place[:, 1], -1, 9)
        road = 1 - smooth(np.abs(place[:, 0]), 0.8 * self.half_road, self.half_road + 4)
        open_sky = np.where(place[:, 1] < 0.3, 0.55 + 0.4 * road, open_sky)
        surface *= (0.72 * open_sky * self.light * (0.95 + 0.1 * place[:, 0] / 9))[:, None]
        haze = 1 - np.exp(-distance[struck] / self.HAZE)
        colour[struck] = mix(surface, self.sky_tint * self.light * 0.98, haze)
        return colour, wet

    def _kind_at(self, place):
        """What stands at each place: of the cells around it the highest, which is the wall."""
        rows = np.clip((place[:, 2] / self.CELL).astype(int), 1, len(self.z) - 2)
        columns = ((place[:, 0] + self.WIDTH / 2) / self.CELL).astype(int)
        columns = np.clip(columns, 1, len(self.x) - 2)
        kind, highest = self.kind[rows, columns], self.height[rows, columns]
        for down, across in ((0, 1), (1, 0), (1, 1), (0, -1), (-1, 0)):
            neighbour = self.height[rows + down, columns + across]
            higher = neighbour > highest + 0.3
            kind = np.where(higher, self.kind[rows + down, columns + across], kind)
            highest = np.where(higher, neighbour, highest)
        return kind

    def _ground(self, spot, number):
        fine = bilinear(self.grain, spot[:, 2] * 24, spot[:, 0] * 24)
        large = bilinear(self.patches, spot[:, 2] * 9, spot[:, 0] * 16)
        if number == 1:
            slab = np.minimum(np.mod(spot[:, 2], 0.8), np.mod(spot[:, 0] + 50, 0.8))
            value = 0.36 + 0.02 * fine + 0.03 * large - 0.13 * (slab < 0.025)
            kerb = np.abs(spot[:, 0]) < self.half_road + 0.16
            value = np.where(kerb, 0.45 + 0.02 * fine, value)
            return value[:, None] * np.array([1.0, 0.98, 0.95]), 0.35 + 0.15 * smooth(large, 0, 1)
        value = 0.17 + 0.022 * fine + 0.014 * large
        dash = (np.abs(spot[:, 0]) < 0.07) & (np.mod(spot[:, 2], 5) < 2.6)
        line = np.abs(np.abs(spot[:, 0]) - (self.half_road - 2.1)) < 0.05
        worn = 0.7 + 0.2 * fine
        value = np.where(dash | line, value + (0.62 - value) * np.clip(worn, 0, 0.95), value)
        gutter = smooth(np.abs(spot[:, 0]), self.half_road - 0.7, self.half_road)
        puddle = smooth(large + 0.8 * gutter, 0.55, 1.0)
        value = value * (1 - 0.45 * puddle)
        return value[:, None] * np.array([1.0, 1.0, 1.03]), 0.35 + 0.65 * puddle

    def _facade(self, house, along, spot, distance):
        up = spot[:, 1]
        stain = bilinear(self.patches, up * 5 + 77, along * 14 + house["seed"] % 512)
        fine = bilinear(self.grain, up * 33, along * 33 + spot[:, 0])
        value = 1 + 0.05 * stain + 0.06 * fine
        if house["brick"]:
            course = np.floor(up / 0.09)
            mortar = (np.mod(up, 0.09) < 0.016) | (
                np.mod(along + 0.12 * (course % 2), 0.24) < 0.016
            )
            close = np.clip(12 / distance, 0, 1)
            tone = hashed(course, np.floor((along + 0.12 * (course % 2)) / 0.24), house["seed"])
            value = value * (1 + close * (0.22 * (tone - 0.5) + 0.3 * mortar))
        colour = value[:, None] * house["colour"]
        story = up / house["floor"]
        column = (along + house["offset"]) / house["bay"]
        inside_x, inside_y = np.mod(column, 1) - 0.5, np.mod(story, 1) - 0.52
        wide, tall = house["window"]
        if house["shop"]:
            ground = story < 1
            inside_x = np.where(ground, np.mod(column / 1.7, 1) - 0.5, inside_x)
            wide, tall = np.where(ground, 0.84, wide), np.where(ground, 0.66, tall)
            inside_y = np.where(ground, np.mod(story, 1) - 0.42, inside_y)
            band = ground & (np.mod(story, 1) > 0.79) & (np.mod(story, 1) < 0.97)
            letters = bilinear(self.grain, up * 9, along * 70) > 0.9
            sign = np.where(letters[:, None] & band[:, None], 0.8, house["sign"] * value[:, None])
            colour = np.where(band[:, None], sign, colour)
        gap = np.maximum(np.abs(inside_x) - wide / 2, np.abs(inside_y) - tall / 2)
        room = hashed(np.floor(column), np.floor(story), house["seed"] + 1)
        frame = (gap < 0.035) & (gap > -0.02)
        bars = (np.abs(inside_x) < 0.016) | (np.abs(inside_y - 0.06) < 0.012)
        glass = (gap <= -0.02) & ~bars
        mirrored = 0.10 + 0.32 * room + 0.25 * smooth(inside_y, -0.3, 0.35)
        mirrored = mirrored + 0.05 * bilinear(self.cloud, up * 11, along * 11)
        curtain = (room > 0.6) & (np.abs(inside_x) > wide * (0.5 - 0.3 * room))
        pane = mirrored[:, None] * np.array([0.72, 0.85, 0.95]) * 0.8
        pane = np.where(curtain[:, None], 0.45 * np.array([1.0, 0.95, 0.85]), pane)
        lit = hashed(np.floor(column), np.floor(story), house["seed"] + 2) > 0.88
        pane = np.where(
            lit[:, None], np.array([0.95, 0.74, 0.42]) * (0.6 + 0.5 * room[:, None]), pane
        )
        colour = np.where((frame | ((gap < 0) & bars))[:, None], house["trim"], colour)
        colour = np.where(glass[:, None], pane, colour)
        sill = (np.abs(inside_x) < wide / 2 + 0.06) & (np.abs(inside_y + tall / 2 + 0.05) < 0.02)
        cornice = (up > house["top"] - 0.55) | (np.abs(np.mod(story + 0.03, 1)) < 0.05)
        trim = house["trim"] * (0.92 + 0.05 * stain[:, None])
        colour = np.where((sill | cornice)[:, None] & (gap > 0.035)[:, None], trim, colour)
        shadow = 1 - 0.35 * ((up > house["top"] - 0.8) & (up <= house["top"] - 0.55))
        roof = up > house["top"] - 0.05
        colour = np.where(roof[:, None], 0.2, colour * shadow[:, None])
        return colour * (0.7 + 0.3 * smooth(up, 0, 0.8))[:, None]

    def _car(self, car, spot):
        up, along = spot[:, 1], spot[:, 2] - car["z"]
        gloss = 0.85 + 0.5 * smooth(up, 0.3, 0.9)
        colour = gloss[:, None] * car["colour"]
        glass = (up > 0.9) & (up < 1.36)
        pane = (0.06 + 0.35 * smooth(up, 0.9, 1.4))[:, None] * np.array([0.8, 0.9, 1.0])
        colour = np.where(glass[:, None], pane, colour)
        lamp = (up > 0.5) & (up < 0.72) & (along < 0.25)
        middle = np.sign(spot[:, 0]) * (self.half_road - 1.05)
        lamp &= np.abs(np.abs(spot[:, 0] - middle) - 0.66) < 0.17
        colour = np.where(lamp[:, None], np.array([0.9, 0.08, 0.05]), colour)
        plate = (up > 0.5) & (up < 0.63) & (along < 0.25) & (np.abs(spot[:, 0] - middle) < 0.26)
        colour = np.where(plate[:, None], 0.75, colour)
        colour = np.where((up < 0.28)[:, None], 0.03, colour)
        return colour, np.where(up > 0.3, 0.45, 0.0).astype(np.float32)

    def _plant(self, picture, depth, size, eye, rays):
        """Crowns and trunks, far ones first, hidden by what is nearer."""
        rng = self.rng
        ahead = rays[..., 2]
        across, upward = rays[..., 0] / ahead, rays[..., 1] / ahead
        noise, leaves = spectral_noise(rng, 512, 1.5), spectral_noise(rng, 512, 0.7)
        for x, z, tall, spread in self.trees:
            reach = z - eye[2]
            world_x, world_y = across * reach + eye[0] - x, upward * reach + eye[1]
            crown_x = world_x / (2.3 * spread)
            crown_y = (world_y - 0.68 * tall) / (0.36 * tall)
            seed = rng.uniform(0, 512)
            inside = crown_x**2 + crown_y**2 < 2.2
            inside |= (np.abs(world_x) < 0.4) & (world_y > 0) & (world_y < 0.7 * tall)
            inside &= depth > reach
            where = np.nonzero(inside)
            if not len(where[0]):
                continue
            wx, wy, cx, cy = world_x[where], world_y[where], crown_x[where], crown_y[where]
            coarse = bilinear(noise, wy * 22 + seed, wx * 22 + seed)
            fine = bilinear(leaves, wy * 42, wx * 42 + seed)
            density = 1 - cx**2 - cy**2 + 0.33 * coarse + 0.30 * fine
            cover = smooth(density, 0.12, 0.3)
            light = 0.55 + 0.35 * cy - 0.25 * cx * 0.4 + 0.16 * coarse + 0.20 * fine
            green = np.array([0.13, 0.19, 0.07]) * (1 + 0.25 * np.sin(seed))
            crown = np.clip(light, 0.12, 1.5)[:, None] * green
            trunk_half = 0.17 * spread * (1.25 - 0.5 * wy / tall)
            trunk = (np.abs(wx + 0.08 * np.sin(wy)) < trunk_half) & (wy > 0) & (wy < 0.7 * tall)
            bark = (0.13 + 0.04 * fine + 0.05 * wx / trunk_half)[:, None] * np.array(
                [1, 0.88, 0.75]
            )
            haze = 1 - np.exp(-reach / self.HAZE)
            air = self.sky_tint * self.light * 0.98
            pixels = picture[where]
            pixels = np.where(trunk[:, None], bark * (1 - haze) + air * haze, pixels)
            crown = crown * (1 - haze) + air * haze
            picture[where] = pixels + (crown - pixels) * cover[:, None]
        return picture


def bilinear_pair(plane, y, x):
    return np.stack([bilinear(plane, y, x), bilinear(plane, y + 100, x + 57)], axis=-1)


def hashed(first, second, seed):
    """A number in [0, 1) that looks random, per pair of cell numbers."""
    value = np.sin(first * 12.9898 + second * 78.233 + seed % 997 * 0.61) * 43758.5453
    return value - np.floor(value)


def photograph(scene, size, rng, oversampling=2):
    """Takes a picture ``uint8 [h, w, 3]`` of a scene, as a camera would."""
    light = scene.draw(tuple(oversampling * side for side in size))
    height, width = size
    light = light.reshape(height, oversampling, width, oversampling, 3).mean(axis=(1, 3))
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    light = light * (1 - 0.16 * (x**2 + y**2) / 2)[..., None]
    light = np.maximum(light + rng.normal(0, 0.005, light.shape) * np.sqrt(light + 0.02), 0)
    curve = light * (1 + 0.25 * light) / (0.82 + 0.43 * light)  # a soft shoulder in the highlights
    encoded = np.clip(curve, 0, 1) ** (1 / 2.2)
    encoded = 0.45 * encoded + 0.55 * smooth(encoded, 0.02, 1.0)
    return np.rint(np.clip(encoded, 0, 1) * 255).astype(np.uint8)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="for instance mspfn_tf/sample")
    folder = parser.parse_args().folder
    pictures = [("rainy.jpg", "clean.jpg", 3, (320, 480), "light", 0)]
    for seed, weather in enumerate(2 * ["light", "heavy", "mixed"]):
        name = f"{seed}_{weather}.jpg"
        names = f"pairs/input/{name}", f"pairs/target/{name}"
        pictures.append((*names, 10 + seed, (256, 256), weather, seed))
    for rainy, clean, seed, size, weather, rain_seed in pictures:
        picture = photograph(Street(seed), size, np.random.default_rng(seed))
        wet = rain(picture, np.random.default_rng(rain_seed), PRESETS[weather])
        write_picture(folder / clean, picture, overwrite=True)
        write_picture(folder / rainy, wet, overwrite=True)


if __name__ == "__main__":
    main()
