"""How fast is the browser, against LiteRT in Python?

    python -m benchmarks.browser [--preset NAME...] [--threads N...] [--rounds N] [--tiles N]
        --output FILE.json [--update FILE.md]

For each preset and number of threads, tiles of the size of the shipped file go through WebAssembly
in chromium and through LiteRT in Python, by turns, so that other work of the machine slows down
both alike. Writes the milliseconds to a JSON file, prints a Markdown table of them (median of all)
and of the ratio (median of the ratios of the rounds), and with `--update` writes it between
`<!-- begin generated: browser -->` and its end. Needs node, chromium and `npm ci` in web/.
"""

import argparse
import itertools
import json
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path

import numpy as np

from benchmarks import positive, run_main, setting, setting_line
from mspfn_tf.errors import UsageError
from mspfn_tf.presets import PRESETS, tflite_path
from mspfn_tf.runtimes import open_runtime
from mspfn_tf.web.server import PageServer, site
from tools.markdown import header, row_of, write_results


def in_browser(url, model, threads, tiles):
    """Milliseconds of each tile."""
    web = _web()
    chromium = shutil.which("chromium")
    if chromium is None or not (web / "node_modules").is_dir():
        raise UsageError("needs chromium, node, and `npm ci` in web/")
    done = subprocess.run(
        ["node", "tests/speed.mjs", url, model, str(threads), str(tiles)],
        cwd=web,
        env={**os.environ, "CHROMIUM": chromium},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise UsageError(f"the browser failed: {done.stderr[-500:]}")
    measured = json.loads(done.stdout)
    if measured["threads"] != threads:
        raise UsageError(f"the browser used {measured['threads']} threads, not {threads}")
    return measured["times"]


def in_python(runtime, tiles):
    """Milliseconds of each tile."""
    size = runtime.sizes.fixed
    values = (np.arange(size[0] * size[1] * 3) % 251 / 251).astype(np.float32)
    tile = values.reshape(1, *size, 3)
    runtime.run(tile)
    times = []
    for _ in range(tiles):
        start = time.perf_counter()
        runtime.run(tile)
        times.append(1000 * (time.perf_counter() - start))
    return times


def _web():
    import mspfn_tf.web

    return Path(mspfn_tf.web.__file__).parent


def measure(presets, threads, rounds, tiles):
    """A dict of the times (milliseconds) of each preset with each number of threads: "browser" and
    "python", a list for each round."""
    files = site()
    files["speed_worker.js"] = (_web() / "tests/speed_worker.js").read_bytes()
    rows = []
    with PageServer(files, port=0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for preset, count in itertools.product(presets, threads):
            runtime = open_runtime(preset, "litert", threads=count, resize=False)
            row = {"preset": preset, "threads": count, "browser": [], "python": []}
            for _ in range(rounds):
                url = f"models/{preset}.tflite"
                row["browser"].append(in_browser(server.url, url, count, tiles))
                row["python"].append(in_python(runtime, tiles))
            rows.append(row)
        server.shutdown()
    return {**setting(presets), "rows": rows}


def table(found):
    """The Markdown text of what `measure` found."""
    lines = [setting_line(found["machine"], found["weights"]), ""]
    lines += header("preset", "threads", "browser, ms per tile", "LiteRT in Python", "ratio")
    for row in found["rows"]:
        there, here = np.array(row["browser"]), np.array(row["python"])
        ratios = np.median(there, axis=1) / np.median(here, axis=1)
        lines.append(
            row_of(
                f"`{row['preset']}`",
                str(row["threads"]),
                f"{np.median(there):.0f}",
                f"{np.median(here):.0f}",
                f"{np.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})",
            )
        )
    return "\n".join(lines) + "\n"


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.browser")
    shipped = [name for name in PRESETS if tflite_path(name)]
    parser.add_argument("--preset", nargs="+", default=shipped, choices=shipped)
    parser.add_argument("--threads", nargs="+", type=positive, default=[1, 2])
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument("--tiles", type=positive, default=5)
    parser.add_argument("--output", required=True, metavar="FILE.json")
    parser.add_argument("--update", metavar="FILE.md")
    args = parser.parse_args(argv)

    def measured():
        return measure(args.preset, args.threads, args.rounds, args.tiles)

    write_results(measured, table, "browser", args.output, args.update)


if __name__ == "__main__":
    run_main(main)
