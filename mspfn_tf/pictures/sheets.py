"""Several pictures in one: before and after, worst and best."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mspfn_tf.errors import UsageError
from mspfn_tf.pictures.picture import Picture, to_uint8

GAP = 8
"""Pixels between two pictures, unless asked for otherwise."""
_BAND = 24  # rows that the labels take


def side_by_side(
    images: Sequence[np.ndarray], labels: Sequence[str] | None = None, gap: int = GAP
) -> np.ndarray:
    """Lays pictures out in one row on white, for before/after sheets.

    Args:
        images: pictures ``uint8 [H, W, 3]``; smaller ones are aligned at the top.
        labels: one text per picture, written above it; None for none.
        gap: pixels between two pictures.

    Returns:
        ``uint8 [H', W', 3]``.
    """
    images = [np.asarray(image) for image in images]
    if labels is not None and len(labels) != len(images):
        raise UsageError(f"{len(images)} pictures but {len(labels)} labels")
    band = _BAND if labels is not None else 0
    height = band + max(image.shape[0] for image in images)
    width = sum(image.shape[1] for image in images) + gap * (len(images) - 1)
    sheet = np.full((height, width, 3), 255, np.uint8)
    lefts = np.cumsum([0] + [image.shape[1] + gap for image in images[:-1]])
    for image, left in zip(images, lefts, strict=True):
        sheet[band : band + image.shape[0], left : left + image.shape[1]] = image
    if labels is not None:
        canvas = Image.fromarray(sheet[:band])
        draw = ImageDraw.Draw(canvas)
        for label, left in zip(labels, lefts, strict=True):
            draw.text((int(left) + 4, 4), label, fill="black", font=ImageFont.load_default(14))
        sheet[:band] = np.asarray(canvas)
    return sheet


def on_white(picture: Picture) -> np.ndarray:
    """A picture as it looks on white, ``uint8 [H, W, 3]``: transparency hides colours."""
    rgb = to_uint8(picture.rgb)
    if picture.alpha is None:
        return rgb
    paper = Image.new("RGB", (rgb.shape[1], rgb.shape[0]), "white")
    paper.paste(Image.fromarray(rgb), mask=Image.fromarray(to_uint8(picture.alpha)))
    return np.asarray(paper)


def stacked(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Lays pictures `uint8 [H, W, 3]` out one below the other, `GAP` white pixels after each."""
    width = max(row.shape[1] for row in rows)
    return np.concatenate(
        [
            np.pad(row, ((0, GAP), (0, width - row.shape[1]), (0, 0)), constant_values=255)
            for row in rows
        ]
    )
