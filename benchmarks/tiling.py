"""How close are tiles to the whole picture?

    python -m benchmarks.tiling --pairs DIR... --output FILE.json [--preset NAME...]
        [--tile N...] [--overlap N...] [--pictures N] [--scale N] [--update FILE.md]

The channel attention averages over what it is given, so that tiles change the result. For each
preset, set (a folder with `input/` and `target/`), tile size and overlap this measures

- the PSNR between the tiled and the whole result, in luma, mean over the pictures;
- how much the score against the clean picture changes;
- whether seams show, by the difference d between the tiled and the whole result, in levels of 255:
  the mean gradient of d where tiles are blended and elsewhere, and the largest step of d along a
  single line of pixels, where a seam would be (mean over the line, so that only what runs along all
  of it counts), there and elsewhere.

Writes the figures to a JSON file, prints a Markdown table, and with `--update` writes it between
`<!-- begin generated: tiling -->` and its end.
"""

import argparse
import json
import math
import sys
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from mspfn_tf import metrics
from mspfn_tf.errors import UsageError
from mspfn_tf.evaluation import FolderPairs
from mspfn_tf.files import atomic_write
from mspfn_tf.presets import DEFAULT_PRESET
from mspfn_tf.sizes import round_up
from mspfn_tf.tiling import balanced_tile, spans
from tools.markdown import header, row_of, update

TILES = (128, 192, 256, 384, 512)
OVERLAPS = (0, 16, 32, 64)
_WHOLE = 2**20  # a tile that holds any picture


def blended(length, tile, overlap):
    """Where the weights of the tiles change between a pixel and its neighbour.

    Args:
        length: pixels of the picture along one axis.
        tile, overlap: as given to `Restorer`.

    Returns:
        bool array [length - 1].
    """
    padded = round_up(length, 8)
    changes = np.zeros(padded - 1, bool)
    side = balanced_tile(padded, tile, overlap)
    for start, weights in spans(padded, side, overlap):
        line = np.zeros(padded, np.float32)
        line[start : start + side] = weights
        changes |= line[1:] != line[:-1]
    return changes[: length - 1]


def seams(difference, tile, overlap):
    """Gradients of a difference picture at the seams and elsewhere.

    Args:
        difference: `[H, W, 3]` tiled minus whole result, in levels.
        tile, overlap: as given to `Restorer`.

    Returns:
        dict: `gradient` and `step`, each a pair (at seams, elsewhere); None where there is no such
        place.
    """
    gradients, steps = ([], []), ([], [])
    for axis in (0, 1):
        gradient = np.moveaxis(np.diff(difference, axis=axis), axis, 0)
        at_seams = blended(difference.shape[axis], tile, overlap)
        for place, chosen in enumerate((gradient[at_seams], gradient[~at_seams])):
            gradients[place].append(np.abs(chosen).ravel())
            steps[place].append(np.abs(chosen.mean(axis=(1, 2))))
    gradients, steps = ([np.concatenate(part) for part in both] for both in (gradients, steps))
    return {
        "gradient": [float(values.mean()) if values.size else None for values in gradients],
        "step": [float(values.max()) if values.size else None for values in steps],
    }


def measure(source, pairs, tiles=TILES, overlaps=OVERLAPS, scale=1):
    """Compares tiled with whole results.

    Args:
        source: the model, as `Restorer` takes it.
        pairs: list of (rainy, clean) pictures, uint8.
        tiles, overlaps: ints; combinations whose overlap is not less than the tile are left out.
        scale: enlarge the pictures so many times first.

    Returns:
        A list of dicts, one for each tile and overlap.
    """
    from mspfn_tf import Restorer

    restorer = Restorer(source, tile=_WHOLE)
    if restorer.sizes.fixed:
        raise UsageError(f"{source} takes one size only; choose a model of free size")
    settings = [(tile, overlap) for tile, overlap in product(tiles, overlaps) if overlap < tile]
    found = {setting: [] for setting in settings}
    for rainy, clean in tqdm(pairs, unit="picture", disable=None):
        rainy, clean = (_enlarged(picture, scale) for picture in (rainy, clean))
        rainy = rainy.astype(np.float32) / 255
        restorer.tile, restorer.overlap = _WHOLE, 0
        whole = restorer(rainy)
        before = _score(clean, whole)
        for tile, overlap in settings:
            restorer.tile, restorer.overlap = tile, overlap
            tiled = restorer(rainy)
            after = _score(clean, tiled)
            found[tile, overlap].append(
                {
                    "tiled_to_whole": metrics.psnr(whole, tiled),
                    "psnr_change": after[0] - before[0],
                    "ssim_change": after[1] - before[1],
                    **seams((tiled - whole) * 255, tile, overlap),
                }
            )
    return [_mean(tile, overlap, records) for (tile, overlap), records in found.items()]


def table(results):
    """The Markdown text of what `main` measured."""
    lines = header(
        "model",
        "set",
        "tile",
        "overlap",
        "tiled to whole, dB",
        "change of PSNR, dB",
        "change of SSIM",
        "gradient at seams / elsewhere",
        "largest step at seams / elsewhere",
    )
    for result in results:
        for record in result["measured"]:
            lines.append(
                row_of(
                    result["preset"],
                    result["set"],
                    str(record["tile"]),
                    str(record["overlap"]),
                    "equal"
                    if record["tiled_to_whole"] == "inf"
                    else f"{record['tiled_to_whole']:.2f}",
                    f"{record['psnr_change']:+.3f}",
                    f"{record['ssim_change']:+.4f}",
                    _both(record["gradient"]),
                    _both(record["step"]),
                )
            )
    return "\n".join(lines) + "\n"


def _enlarged(picture, scale):
    if scale == 1:
        return picture
    image = Image.fromarray(picture)
    size = image.width * scale, image.height * scale
    return np.asarray(image.resize(size, Image.Resampling.LANCZOS))


def _score(clean, restored):
    return metrics.psnr(clean, restored), metrics.ssim(clean, restored)


def _mean(tile, overlap, records):
    def mean(values):
        return None if None in values else float(np.mean(values))

    closeness = [record["tiled_to_whole"] for record in records]
    return {
        "tile": tile,
        "overlap": overlap,
        # Pictures that one tile holds come out equal. The others are what tiling does.
        "tiled_to_whole": mean([value for value in closeness if value < math.inf])
        if min(closeness) < math.inf
        else "inf",
        "psnr_change": mean([record["psnr_change"] for record in records]),
        "ssim_change": mean([record["ssim_change"] for record in records]),
        "gradient": [mean([record["gradient"][place] for record in records]) for place in (0, 1)],
        "step": [mean([record["step"][place] for record in records]) for place in (0, 1)],
    }


def _both(values):
    return " / ".join("-" if value is None else f"{value:.3f}" for value in values)


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tiling")
    parser.add_argument("--pairs", nargs="+", required=True, metavar="DIR")
    parser.add_argument("--preset", nargs="+", default=[DEFAULT_PRESET], metavar="NAME")
    parser.add_argument("--tile", nargs="+", type=int, default=TILES, metavar="N")
    parser.add_argument("--overlap", nargs="+", type=int, default=OVERLAPS, metavar="N")
    parser.add_argument("--pictures", type=int, help="of each set, evenly chosen (default: all)")
    parser.add_argument("--scale", type=int, default=1, help="enlarge the pictures first")
    parser.add_argument("--output", required=True, type=Path, metavar="FILE.json")
    parser.add_argument("--update", metavar="FILE.md")
    args = parser.parse_args(argv)
    try:
        if args.pictures is not None and args.pictures < 1:
            raise UsageError(f"--pictures must be at least 1; received {args.pictures}")
        for name in ("tile", "overlap"):
            wrong = [value for value in getattr(args, name) if value % 8 or value < 0]
            if wrong:
                raise UsageError(f"--{name} must be multiples of 8; received {wrong}")
        results = []
        with atomic_write(args.output) as output:
            for preset, folder in product(args.preset, args.pairs):
                pairs = FolderPairs(folder)
                step = math.ceil(len(pairs) / (args.pictures or len(pairs)))
                chosen = [pairs[index] for index in range(0, len(pairs), step)]
                name = Path(folder).resolve().name + (f" x{args.scale}" if args.scale > 1 else "")
                measured = measure(preset, chosen, args.tile, args.overlap, args.scale)
                results.append(
                    {
                        "preset": preset,
                        "set": name,
                        "pictures": len(chosen),
                        "measured": measured,
                    }
                )
            output.write_text(json.dumps(results, indent=1, allow_nan=False) + "\n")
        print(table(results))
        if args.update:
            update(args.update, "tiling", table(results))
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
