"""How long does `mspfn restore` take, and how much memory?

    python -m benchmarks.restore --output FILE.json [--preset NAME...] [--size WxH...]
        [--runtime NAME...] [--folder N...] [--mixed N] [--repeat N] [--update FILE.md]

For each preset and runtime, a JPEG photograph of each size, folders of N pictures of 64x64, and one
of N pictures of 64x64 and N of 480x320 go through the command in a process of its own, from the
start of Python to the finished files. Measured are the wall-clock seconds (the best of `--repeat`
runs), the processor seconds of that run, and the peak of resident memory over all runs; for folders
also pictures a second. The pictures are the sample of the package, mirrored side by side.

Run it on a quiet machine. Writes the figures to a JSON file, prints Markdown tables, and with
`--update` writes them between `<!-- begin generated: restore -->` and its end.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import mspfn_tf
from benchmarks import positive, run_main, setting, setting_line
from mspfn_tf.errors import UsageError
from mspfn_tf.pictures import read_rgb, write_picture
from mspfn_tf.presets import DEFAULT_PRESET
from mspfn_tf.runtimes import CHOICES
from tools.markdown import header, row_of, write_results

SIZES = ("480x320", "1920x1080", "4000x3000", "12500x8000")
FOLDERS = (100, 3_000)
MIXED = 40
_SAMPLE = Path(mspfn_tf.__file__).parent / "sample" / "rainy.jpg"
_SMALL, _LARGE = (64, 64), (320, 480)


def photograph(width, height):
    """The sample, mirrored side by side, ``uint8 [height, width, 3]``."""
    sample = read_rgb(_SAMPLE)
    both = np.concatenate([sample, sample[:, ::-1]], axis=1)
    both = np.concatenate([both, both[::-1]])
    rows = np.arange(height) % both.shape[0]
    columns = np.arange(width) % both.shape[1]
    return both[rows[:, None], columns[None]]


def write_pictures(folder, count, size=_SMALL):
    """Fills a folder with pictures cut from the mirrored sample, ``size`` (height, width)."""
    scene = photograph(1024, 1024)
    random = np.random.default_rng(0)
    for number in range(count):
        top, left = (int(random.integers(1024 - side + 1)) for side in size)
        name = f"{size[1]}x{size[0]}_{number:05}.png"
        write_picture(folder / name, scene[top : top + size[0], left : left + size[1]])


def run(source, target, preset, runtime):
    """One run of the command; returns its seconds, processor seconds and peak of memory in MB.

    Raises:
        UsageError: it failed; the message is the end of its standard error.
    """
    command = [sys.executable, "-m", "mspfn_tf", "restore", str(source), "--output", str(target)]
    command += ["--preset", preset, "--runtime", runtime, "--overwrite", "--limit_pixels", "0"]
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


def measure(models, sizes, folders, mixed, repeat):
    """Returns {"sizes": [...], "folders": [...]}: one dict for each (preset, runtime) of `models`
    and each size or folder."""
    found = {"sizes": [], "folders": []}

    def timed(kind, source, target, **what):
        for preset, runtime in models:
            runs = [run(source, target, preset, runtime) for _ in range(repeat)]
            record = {"preset": preset, "runtime": runtime, **what, **best(runs)}
            if kind == "folders":
                record["pictures_per_second"] = what["pictures"] / record["seconds"]
            found[kind].append(record)
            print(json.dumps(record), file=sys.stderr)

    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        # Folders first: the peak of a process begins at that of its parent, which grows.
        for count in folders:
            folder = work / f"folder{count}"
            write_pictures(folder, count, _SMALL)
            timed("folders", folder, work / f"out{count}", what="64x64", pictures=count)
        if mixed:
            folder = work / "mixed"
            for size in (_SMALL, _LARGE):
                write_pictures(folder, mixed, size)
            what = "64x64 and as many of 480x320"
            timed("folders", folder, work / "out", what=what, pictures=2 * mixed)
        for width, height in sizes:
            source = work / f"{width}x{height}.jpg"
            write_picture(source, photograph(width, height))
            timed("sizes", source, work / "out.jpg", width=width, height=height)
            source.unlink()
    return found


def tables(found):
    """The Markdown text of what `measure` found."""
    columns = ("picture", "preset", "runtime", "seconds", "processor seconds", "peak memory, MB")
    lines = [setting_line(found["machine"], found["weights"]), "", *header(*columns)]
    for record in found["sizes"]:
        megapixels = record["width"] * record["height"] / 1e6
        lines.append(
            row_of(
                f"{record['width']}x{record['height']} ({megapixels:.3g} megapixels)",
                record["preset"],
                record["runtime"],
                f"{record['seconds']:.1f}",
                f"{record['processor_seconds']:.1f}",
                f"{record['peak_mb']:.0f}",
            )
        )
    columns = ("folder", "preset", "runtime", "seconds", "pictures/s", "peak memory, MB")
    lines += ["", *header(*columns)]
    for record in found["folders"]:
        count = record["pictures"] // (2 if " and " in record["what"] else 1)
        lines.append(
            row_of(
                f"{count:,} pictures of {record['what']}",
                record["preset"],
                record["runtime"],
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
    parser.add_argument("--runtime", nargs="+", choices=CHOICES, default=["litert"])
    parser.add_argument(
        "--size",
        nargs="*",
        type=picture_size,
        default=[picture_size(size) for size in SIZES],
        metavar="WxH",
    )
    parser.add_argument("--folder", nargs="*", type=positive, default=list(FOLDERS), metavar="N")
    parser.add_argument("--mixed", type=int, default=MIXED, metavar="N", help="0: no such folder")
    parser.add_argument("--repeat", type=positive, default=3, metavar="N")
    parser.add_argument("--update", metavar="FILE.md")
    args = parser.parse_args(argv)
    models = [(preset, runtime) for preset in args.preset for runtime in args.runtime]

    def measured():
        # First: the peaks begin at that of this process, which grows by what comes later.
        found = measure(models, args.size, args.folder, args.mixed, args.repeat)
        return {**setting(args.preset), **found}

    write_results(measured, tables, "restore", args.output, args.update)


if __name__ == "__main__":
    run_main(main)
