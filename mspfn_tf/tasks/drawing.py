"""Draws what a task's network found into pictures, for the sheets of `mspfn evaluate-task`."""

import colorsys

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mspfn_tf.sets.labels import Boxes
from mspfn_tf.tasks.detection import Detections, match

_RIGHT, _WRONG, _MISSED = (60, 220, 90), (255, 70, 60), (255, 210, 0)


def draw_boxes(
    picture: np.ndarray, found: Detections, truth: Boxes, threshold: float
) -> np.ndarray:
    """Boxes from `threshold` up over a picture: right ones green, wrong ones red, missed yellow."""
    result = match(truth, found, threshold)
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    for index in result.missed:
        _box(draw, truth.boxes[index], truth.classes[index], _MISSED)
    for index in np.flatnonzero(result.detection > -2):
        colour = _RIGHT if result.detection[index] >= 0 else _WRONG
        text = f"{found.classes[index]} {found.scores[index]:.2f}"
        _box(draw, found.boxes[index], text, colour)
    return np.asarray(image)


def draw_labels(
    picture: np.ndarray, labels: np.ndarray, classes: int, unknown: np.ndarray | None = None
) -> np.ndarray:
    """The colours of class numbers `[H, W]` over a picture; where `unknown`, only the picture."""
    colours = np.array([_colour(number) for number in range(classes)], np.float32)
    mixed = 0.35 * picture + 0.65 * colours[np.clip(labels, 0, classes - 1)]
    mixed = np.rint(mixed).astype(np.uint8)
    return mixed if unknown is None else np.where(unknown[..., None], picture, mixed)


def _box(draw, box, text, colour):
    left, top, right, bottom = (float(side) for side in box)
    draw.rectangle((left, top, max(left, right), max(top, bottom)), outline=colour, width=2)
    font = ImageFont.load_default(12)
    place = (left + 2, max(0, top - 14))
    draw.rectangle(draw.textbbox(place, text, font=font), fill=(0, 0, 0))
    draw.text(place, text, fill=colour, font=font)


def _colour(number):
    # Steps of the golden ratio keep neighbouring numbers apart.
    hue, value = number * 0.618034 % 1, (1.0, 0.75, 0.9)[number % 3]
    return [round(255 * part) for part in colorsys.hsv_to_rgb(hue, 0.75, value)]
