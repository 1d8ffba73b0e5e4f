"""Rain on four free photographs, and what a preset makes of it: the pictures of the model cards.

    python -m tools.photographs PRESET docs/PRESET.jpg     # needs the extra `test`

The photographs come with scikit-image and are in the public domain or CC0 (astronaut: NASA; rocket:
SpaceX; Chelsea: S. van der Walt; coffee: R. Michetti). No network was trained on them. They are
rained on by the three presets of `synthetic_rain`, twice each, and scored by `mspfn evaluate`,
whose sheet shows the two worst, two typical and the two best of the 24 results.
"""

import argparse
import dataclasses
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

from mspfn_tf.datasets.synthetic_rain.parameters import PRESETS
from mspfn_tf.datasets.synthetic_rain.rain import rain
from mspfn_tf.evaluation import evaluate
from mspfn_tf.pictures import write_picture
from mspfn_tf.sets.pairs import FolderPairs

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")
VARIANTS = 2


def write_pairs(folder):
    """Writes the 24 pairs to `folder/input` and `folder/target`; the same on every machine."""
    for number, photograph in enumerate(PHOTOGRAPHS):
        clean = getattr(data, photograph)()
        for place, (preset, parameters) in enumerate(PRESETS.items()):
            wet = dataclasses.replace(parameters, rain_free=0.0)
            for variant in range(VARIANTS):
                rng = np.random.default_rng([number, place, variant])
                name = f"{photograph}_{preset}{variant + 1}.png"
                for side, picture in (("input", rain(clean, rng, wet)), ("target", clean)):
                    write_picture(Path(folder, side, name), picture)


def results(restorer, folder):
    """(scores, sheet `uint8 [H, W, 3]`) of the pairs, restored by `restorer`."""
    write_pairs(folder)
    scores = evaluate(restorer, FolderPairs(folder), Path(folder, "scores"), {})
    with Image.open(Path(folder, "scores", "sheet.png")) as sheet:
        sheet.load()
    return scores, sheet


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("preset")
    parser.add_argument("picture", type=Path, help="the sheet, reduced to half its size")
    options = parser.parse_args()

    from mspfn_tf.restorer import Restorer

    with tempfile.TemporaryDirectory() as folder:
        scores, sheet = results(Restorer(options.preset), folder)
        sheet.convert("RGB").reduce(2).save(options.picture, quality=80, optimize=True)
    before, after = scores["input"], scores["output"]
    print(f"rainy {before['psnr']:.2f} dB / {before['ssim']:.3f}")
    print(f"{options.preset} {after['psnr']:.2f} dB / {after['ssim']:.3f}: {options.picture}")


if __name__ == "__main__":
    main()
