"""How close are tiles to the whole picture, and how much longer do they take than plain ones?

    python -m benchmarks.tiling --pictures DIR --output FILE.json [--preset NAME...]
        [--tile N] [--overlap N...] [--runtime litert|keras] [--update FILE.md]

Pictures of 2 to 12 megapixels are made of those of a folder: single ones enlarged, mosaics of many,
and a dark and a bright one side by side (a hard change of scene). Each goes through whole, through
tiles that are given the statistics of the whole picture (what `Restorer` does), and through plain
ones: of 512 pixels, overlapping by 32, that attend by their own. Per picture this tells

- the agreement: PSNR (RGB, dB) between the tiled and the whole result;
- the spread: largest minus smallest value of the difference after a box filter of 32 pixels, in
  levels of 255: what shows as rectangles of other brightness;
- the time of guided tiles as a multiple of that of plain tiles, in the same run.

Writes the figures with the SHA-256 of the weights to a JSON file, prints a Markdown table, and with
`--update` writes it between `<!-- begin generated: tiling -->` and its end.
"""

import argparse
import math
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import positive, run_main
from mspfn_tf.errors import UsageError
from mspfn_tf.pictures import find_images, read_rgb
from mspfn_tf.presets import DEFAULT_PRESET
from mspfn_tf.restorer import Restorer
from mspfn_tf.runtimes import Runtime, open_runtime
from tools.markdown import header, row_of, weights_line, write_results

PLAIN_TILE, PLAIN_OVERLAP = 512, 32
BLOCK = 32


def pictures(folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """(name, uint8 [H, W, 3]) of the large pictures made of those of `folder`."""
    found = [read_rgb(path) for path in find_images(folder)]
    if len(found) < 2:
        raise UsageError(f"{folder}: two pictures at least; found {len(found)}")
    bright = sorted(range(len(found)), key=lambda n: found[n].mean())
    for name, index, width in (("enlarged", len(found) // 2, 1920), ("enlarged", 0, 3200)):
        picture = found[index]
        height = round(picture.shape[0] * width / picture.shape[1])
        yield f"{name} {width}x{height}", _resized(picture, (height, width))
    yield "mosaic 2400x1600", _mosaic(found, (1600, 2400))
    yield "mosaic 4000x3000", _mosaic(found[::-1], (3000, 4000))
    dark, light = (_resized(found[bright[n]], (1200, 1000)) for n in (0, -1))
    yield "dark beside bright 2000x1200", np.concatenate([dark, light], axis=1)


def _resized(picture, size):
    image = Image.fromarray(picture)
    return np.asarray(image.resize(size[::-1], Image.Resampling.LANCZOS))


def _mosaic(found, size):
    height, width = size
    sheet = np.zeros((height, width, 3), np.uint8)
    index = top = 0
    while top < height:
        left, tallest = 0, 1
        while left < width:
            picture = found[index % len(found)][: height - top, : width - left]
            sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
            tallest = max(tallest, found[index % len(found)].shape[0])
            left += found[index % len(found)].shape[1]
            index += 1
        top += tallest
    return sheet


def agreement(first: np.ndarray, second: np.ndarray) -> float:
    """PSNR (dB, RGB) between two pictures of levels; 99 where they are equal."""
    error = np.mean(np.square(first.astype(np.float64) - second))
    return 99.0 if error == 0 else 10 * math.log10(255**2 / error)


def spread(first: np.ndarray, second: np.ndarray) -> float:
    """Largest minus smallest value of their difference in luma after a box filter of `BLOCK`."""
    difference = (first.astype(np.float32) - second) @ np.float32([0.299, 0.587, 0.114])
    total = np.pad(difference, ((1, 0), (1, 0))).astype(np.float64).cumsum(0).cumsum(1)
    n = min(BLOCK, *difference.shape)
    box = (total[n:, n:] - total[:-n, n:] - total[n:, :-n] + total[:-n, :-n]) / n**2
    return float(box.max() - box.min())


def measure(
    runtime: Runtime, picture: np.ndarray, tile: int | None, overlaps: Sequence[int | None]
) -> list[dict[str, Any]]:
    """What tiles of each overlap do to a picture, compared with the whole.

    Args:
        runtime: of the model.
        picture: uint8 [H, W, 3], larger than a tile.
        tile: None for those that `Restorer` takes by itself.
        overlaps: None for that which it takes by itself.
    """
    bytes_per_pixel, statistics = runtime.bytes_per_pixel, runtime.statistics
    runtime.bytes_per_pixel = 1e-3
    whole = Restorer(runtime)(picture)
    runtime.bytes_per_pixel = bytes_per_pixel

    def timed(restorer):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of plain tiles, which are meant here
            began = time.perf_counter()
            return restorer(picture), time.perf_counter() - began

    runtime.statistics = None
    plain, plain_seconds = timed(Restorer(runtime, PLAIN_TILE, PLAIN_OVERLAP))
    runtime.statistics = statistics
    records = []
    for overlap in overlaps:
        restorer = Restorer(runtime, tile, overlap)
        guided, seconds = timed(restorer)
        records.append(
            {
                "overlap": restorer.overlap,
                "agreement": agreement(whole, guided),
                "spread": spread(whole, guided),
                "plain_agreement": agreement(whole, plain),
                "plain_spread": spread(whole, plain),
                "time_ratio": seconds / plain_seconds,
            }
        )
    return records


def table(results: list[dict[str, Any]]) -> str:
    """The Markdown table of what was measured."""
    lines = [weights_line(results), ""]
    lines += header(
        "model", "picture", "overlap", "agreement, dB", "spread, levels",
        "plain tiles: agreement", "plain tiles: spread", "time / plain tiles",
    )  # fmt: skip
    for result in results:
        for record in result["measured"]:
            lines.append(
                row_of(
                    result["preset"],
                    result["picture"],
                    str(record["overlap"]),
                    f"{record['agreement']:.1f}",
                    f"{record['spread']:.1f}",
                    f"{record['plain_agreement']:.1f}",
                    f"{record['plain_spread']:.1f}",
                    f"{record['time_ratio']:.2f}",
                )
            )
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tiling")
    parser.add_argument("--pictures", required=True, type=Path, metavar="DIR")
    parser.add_argument("--preset", nargs="+", default=[DEFAULT_PRESET], metavar="NAME")
    parser.add_argument("--tile", type=positive, metavar="N")
    parser.add_argument("--overlap", nargs="+", type=int, default=[None], metavar="N")
    parser.add_argument("--runtime", choices=("litert", "keras"))
    parser.add_argument("--output", required=True, type=Path, metavar="FILE.json")
    parser.add_argument("--update", metavar="FILE.md")
    args = parser.parse_args(argv)

    def measured():
        results = []
        for preset in args.preset:
            runtime = open_runtime(preset, args.runtime)
            for name, picture in pictures(args.pictures):
                results.append(
                    {
                        "preset": runtime.source.name,
                        "weights_sha256": runtime.source.digest,
                        "runtime": runtime.kind,
                        "picture": name,
                        "measured": measure(runtime, picture, args.tile, args.overlap),
                    }
                )
        return results

    write_results(measured, table, "tiling", args.output, args.update)


if __name__ == "__main__":
    run_main(main)
