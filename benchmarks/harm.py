"""What does deraining do where there is nothing to take away?

    python -m benchmarks.harm --pairs DIR [DIR...] --output FILE.json [--preset NAME...]
        [--most N] [--update FILE.md]

For pairs of folders (`input/`, `target/`) whose rain leaves the rest of the picture as it is, this
tells per folder, through the default path,

- by how many levels the mean luma changes where there is no rain: at pixels in whose surroundings
  of 9x9 both halves of a pair differ by one level at most; mean over the pictures, and largest;
- the PSNR (all channels, dB) of the clean halves after deraining, mean and worst; a picture of
  which nothing changes counts as 99 dB;
- the tint: by how many levels the channels of a gray picture differ after the network, which
  `Restorer` takes out of it: mean over all pixels, and at the worst pixel.

Writes the figures with the SHA-256 of the weights to a JSON file, prints a Markdown table, and with
`--update` writes it between `<!-- begin generated: harm -->` and its end.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from benchmarks import run_main, run_on_pairs
from mspfn_tf.restorer import Restorer
from mspfn_tf.sets.pairs import FolderPairs, evenly_spread
from mspfn_tf.tiling import window
from tools.markdown import header, row_of, weights_line

_AROUND = 9  # pixels, side of what must be free of rain around a pixel
_LEAST = 0.02  # share of a picture that must be free of rain for its luma to be measured
_EQUAL = 99.0  # dB
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


def measure(restorer: Restorer, pairs: FolderPairs, most: int) -> dict[str, Any]:
    """What stands in a row of the table.

    Args:
        restorer: of the model.
        pairs: the pairs.
        most: no more pairs than these, evenly spread over the folder.
    """
    luma, clean_psnr, tints = [], [], []
    for index in evenly_spread(len(pairs), most):
        rainy, clean = pairs[index]
        free = _free_of_rain(rainy, clean)
        if free.mean() >= _LEAST:
            change = restorer(rainy).astype(np.float64) - rainy
            luma.append(float((change @ _LUMA)[free].mean()))
        clean_psnr.append(_psnr(clean, restorer(clean)))
        tints.append(_tint(restorer, rainy))
    tints = np.array(tints)
    return {
        "pictures": len(clean_psnr),
        "luma_pictures": len(luma),
        "luma_mean": float(np.mean(luma)) if luma else None,
        "luma_largest": max(luma, key=abs, default=None),
        "clean_psnr_mean": float(np.mean(clean_psnr)),
        "clean_psnr_worst": min(clean_psnr),
        "tint_mean": float(tints[:, 0].mean()),
        "tint_largest": float(tints[:, 1].max()),
    }


def _free_of_rain(rainy, clean):
    differs = np.abs(rainy.astype(int) - clean).max(-1) > 1
    around = Image.fromarray(255 * differs.astype(np.uint8)).filter(ImageFilter.MaxFilter(_AROUND))
    return np.asarray(around) == 0


def _psnr(clean, derained):
    error = np.square(derained.astype(np.float64) - clean).mean()
    return float(min(_EQUAL, 10 * np.log10(255**2 / error))) if error else _EQUAL


def _tint(restorer, picture):
    """(mean, largest) difference of the channels that the network alone makes of a gray picture."""
    gray = np.rint(picture @ _LUMA).astype(np.float32) / 255
    size = restorer.sizes.fit(gray.shape)
    padded = window(np.repeat(gray[..., None], 3, -1), 0, 0, size)[None]
    derained = np.clip(restorer.runtime.run(padded)[0, : gray.shape[0], : gray.shape[1]], 0, 1)
    spread = 255 * (derained.max(-1) - derained.min(-1))
    return spread.mean(), spread.max()


def table(results: Sequence[dict[str, Any]]) -> str:
    """The Markdown table of what was measured."""
    columns = ("pairs", "preset", "luma without rain, mean", "largest change", "clean, mean dB")
    columns += ("worst dB", "tint, mean", "largest")
    lines = [weights_line(results), "", *header(*columns)]
    for result in results:
        found = result["measured"]
        figures = [
            *(
                "-" if found[f"luma_{name}"] is None else f"{found[f'luma_{name}']:+.2f}"
                for name in ("mean", "largest")
            ),
            f"{found['clean_psnr_mean']:.1f}",
            f"{found['clean_psnr_worst']:.1f}",
            f"{found['tint_mean']:.2f}",
            f"{found['tint_largest']:.1f}",
        ]
        lines.append(row_of(result["pairs"], result["preset"], *figures))
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> None:
    run_on_pairs("harm", measure, table, 100, argv)


if __name__ == "__main__":
    run_main(main)
