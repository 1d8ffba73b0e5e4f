"""How well are pictures derained that are dim, pale, noisy, soft, large, or behind near drops?

    python -m benchmarks.conditions --pairs DIR [DIR...] --output FILE.json [--preset NAME...]
        [--most N] [--update FILE.md]

Sets of pairs hold well exposed, sharp photographs of one size; people have others. Here both halves
of the pairs of folders (`input/`, `target/`) are changed in the same way, so that the truth is
known, and the rainy ones go through the default path. Drops close to the camera fall in front of
the rainy ones alone. Per folder and condition this tells the mean PSNR (Matlab's Y, dB) of the
rainy and of the derained pictures.

Writes the figures with the SHA-256 of the weights to a JSON file, prints a Markdown table, and with
`--update` writes it between `<!-- begin generated: conditions -->` and its end.
"""

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from benchmarks import run_main, run_on_pairs
from mspfn_tf.metrics import psnr
from mspfn_tf.restorer import Restorer
from mspfn_tf.sets.pairs import FolderPairs, evenly_spread
from mspfn_tf.training.near_drops import draw_near_drops
from tools.markdown import header, row_of, weights_line


def _curve(change):
    levels = np.arange(256) / 255
    curve = np.rint(255 * np.clip(change(levels), 0, 1)).astype(np.uint8)
    return lambda picture: curve[picture]


def _noisy(picture):
    noise = np.random.default_rng(0).normal(0, 5, picture.shape)
    return np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8)


def _compressed(picture):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=70)
    return np.asarray(Image.open(file))


def _soft(picture):
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(1)))


def _larger(picture):
    height, width = picture.shape[:2]
    larger = Image.fromarray(picture).resize((2 * width, 2 * height), Image.Resampling.BICUBIC)
    return np.asarray(larger)


CONDITIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as they are": lambda picture: picture,
    "dim: 0.5 x": _curve(lambda x: 0.5 * x),
    "dim: 0.25 x": _curve(lambda x: 0.25 * x),
    "gamma of 2": _curve(np.square),
    "pale: 0.5 x + 0.5": _curve(lambda x: 0.5 * x + 0.5),
    "pale and dim: 0.3 x + 0.3": _curve(lambda x: 0.3 * x + 0.3),
    "noise of 5 levels": _noisy,
    "JPEG, quality 70": _compressed,
    "blurred by 1 pixel": _soft,
    "enlarged twice": _larger,
}
"""What is done to `uint8 [H, W, 3]` of both halves of a pair, by name. The noise is the same."""

_DROPS = "drops close to the camera"


def measure(restorer: Restorer, pairs: FolderPairs, most: int) -> dict[str, dict[str, float]]:
    """Mean PSNR before and after deraining, for each of `CONDITIONS`, and behind drops.

    Args:
        restorer: of the model.
        pairs: what is changed and derained.
        most: no more pairs than these, evenly spread over the folder.
    """
    records = {}
    for condition in (*CONDITIONS, _DROPS):
        scores = []
        for index in evenly_spread(len(pairs), most):
            rainy, clean = pairs[index]
            if condition == _DROPS:
                rainy = draw_near_drops(rainy, np.random.default_rng(index))
            else:
                rainy, clean = map(CONDITIONS[condition], (rainy, clean))
            scores.append((psnr(clean, rainy), psnr(clean, restorer(rainy))))
        before, after = np.mean(scores, axis=0)
        records[condition] = {"rainy": float(before), "derained": float(after)}
    return records


def table(results: Sequence[dict[str, Any]]) -> str:
    """The Markdown table of what was measured."""
    presets = list(dict.fromkeys(result["preset"] for result in results))
    lines = [weights_line(results), "", *header("pairs", "condition", "rainy", *presets)]
    for folder in dict.fromkeys(result["pairs"] for result in results):
        found = {r["preset"]: r["measured"] for r in results if r["pairs"] == folder}
        for condition, record in found[presets[0]].items():
            after = [f"{found[preset][condition]['derained']:.2f}" for preset in presets]
            lines.append(row_of(folder, condition, f"{record['rainy']:.2f}", *after))
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> None:
    run_on_pairs("conditions", measure, table, 20, argv)


if __name__ == "__main__":
    run_main(main)
