"""How long does `mspfn restore` take, and how much memory?

    python -m benchmarks.restore --output FILE.json [--preset NAME...] [--size WxH...]
        [--folder N...] [--repeat N] [--update FILE.md]

For each preset, a JPEG photograph of each size, and folders of N pictures of 64x64, go through the
command in a process of its own, from the start of Python to the finished files. Measured are the
wall-clock seconds (the best of `--repeat` runs), the processor seconds of that run, and the peak of
resident memory over all runs; for folders also pictures a second. The pictures are the sample of
the package, mirrored side by side up to the size.

Run it on a quiet machine. Writes the figures to a JSON file, prints Markdown tables, and with
`--update` writes them between `<!-- begin generated: restore -->` and its end.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import mspfn_tf
from mspfn_tf.errors import UsageError
from mspfn_tf.files import atomic_write
from mspfn_tf.pictures import read_rgb, write_picture
from mspfn_tf.presets import DEFAULT_PRESET
from tools.markdown import header, row_of, update

SIZES = ("480x320", "1920x1080", "4000x3000", "12500x8000")
FOLDERS = (100, 3_000)
_SAMPLE = Path(mspfn_tf.__file__).parent / "sample" / "rainy.jpg"
_SIDE = 64


def photograph(width, height):
    """The sample, mirrored side by side, ``uint8 [height, width, 3]``."""
    sample = read_rgb(_SAMPLE)
    both = np.concatenate([sample, sample[:, ::-1]], axis=1)
    both = np.concatenate([both, both[::-1]])
    rows = np.arange(height) % both.shape[0]
    columns = np.arange(width) % both.shape[1]
    return both[rows[:, None], columns[None]]


def small_pictures(folder, count):
    """Fills a folder with pictures of 64x64 cut from the sample."""
    sample = read_rgb(_SAMPLE)
    random = np.random.default_rng(0)
    for number in range(count):
        top, left = (int(random.integers(side - _SIDE + 1)) for side in sample.shape[:2])
        write_picture(folder / f"{number:05}.png", sample[top : top + _SIDE, left : left + _SIDE])


def run(source, target, preset):
    """One run of the command; returns its seconds, processor seconds and peak of memory in MB.

    Raises:
        UsageError: it failed; the message is the end of its standard error.
    """
    command = [sys.executable, "-m", "mspfn_tf", "restore", str(source), "--output", str(target)]
    command += ["--preset", preset, "--overwrite", "--limit_pixels", "0"]
    began = time.perf_counter()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - began
        if process.returncode:
            errors.seek(0)
            raise UsageError(f"{' '.join(command)}: {errors.read()[-500:].decode()}")
    peak = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return {
        "seconds": seconds,
        "processor_seconds": usage.ru_utime + usage.ru_stime,
        "peak_mb": peak,
    }


def best(runs):
    """The fastest run, with the largest peak of all."""
    fastest = min(runs, key=lambda measured: measured["seconds"])
    return {**fastest, "peak_mb": max(measured["peak_mb"] for measured in runs)}


def measure(presets, sizes, folders, repeat):
    """Returns {"sizes": [...], "folders": [...]}: one dict for each preset and size or folder."""
    found = {"sizes": [], "folders": []}
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        for width, height in sizes:
            source = work / f"{width}x{height}.jpg"
            write_picture(source, photograph(width, height))
            for preset in presets:
                runs = [run(source, work / "out.jpg", preset) for _ in range(repeat)]
                record = {"preset": preset, "width": width, "height": height, **best(runs)}
                found["sizes"].append(record)
                print(json.dumps(record), file=sys.stderr)
            source.unlink()
        for count in folders:
            folder = work / f"folder{count}"
            small_pictures(folder, count)
            for preset in presets:
                runs = [run(folder, work / f"out{count}", preset) for _ in range(repeat)]
                record = {"preset": preset, "pictures": count, **best(runs)}
                record["pictures_per_second"] = count / record["seconds"]
                found["folders"].append(record)
                print(json.dumps(record), file=sys.stderr)
    return found


def tables(found):
    """The Markdown text of what `measure` found."""
    lines = header("picture", "preset", "seconds", "processor seconds", "peak memory, MB")
    for record in found["sizes"]:
        megapixels = record["width"] * record["height"] / 1e6
        lines.append(
            row_of(
                f"{record['width']}x{record['height']} ({megapixels:.3g} megapixels)",
                record["preset"],
                f"{record['seconds']:.1f}",
                f"{record['processor_seconds']:.1f}",
                f"{record['peak_mb']:.0f}",
            )
        )
    lines += ["", *header("folder", "preset", "seconds", "pictures/s", "peak memory, MB")]
    for record in found["folders"]:
        lines.append(
            row_of(
                f"{record['pictures']:,} pictures of {_SIDE}x{_SIDE}",
                record["preset"],
                f"{record['seconds']:.1f}",
                f"{record['pictures_per_second']:.0f}",
                f"{record['peak_mb']:.0f}",
            )
        )
    return "\n".join(lines) + "\n"


def picture_size(text: str) -> tuple[int, int]:
    """(width, height) from a text such as 1920x1080."""
    width, _, height = text.partition("x")
    try:
        return int(width), int(height)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected WxH; received {text!r}") from None


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.restore")
    parser.add_argument("--output", required=True, metavar="FILE.json")
    parser.add_argument("--preset", nargs="+", default=[DEFAULT_PRESET], metavar="NAME")
    parser.add_argument(
        "--size",
        nargs="*",
        type=picture_size,
        default=[picture_size(size) for size in SIZES],
        metavar="WxH",
    )
    parser.add_argument("--folder", nargs="*", type=int, default=list(FOLDERS), metavar="N")
    parser.add_argument("--repeat", type=int, default=3, metavar="N")
    parser.add_argument("--update", metavar="FILE.md")
    args = parser.parse_args(argv)
    found = {
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores",
        **measure(args.preset, args.size, args.folder, args.repeat),
    }
    with atomic_write(args.output, overwrite=True) as temporary:
        temporary.write_text(json.dumps(found, indent=1) + "\n")
    text = tables(found)
    print(text)
    if args.update:
        update(args.update, "restore", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
