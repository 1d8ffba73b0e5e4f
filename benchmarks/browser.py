"""How fast is the browser, against LiteRT in Python?

    python -m benchmarks.browser [--preset NAME...] [--threads N...] [--rounds N] [--tiles N]
        [--update FILE.md]

For each preset and number of threads, tiles of the size of the shipped file go through WebAssembly
in chromium and through LiteRT in Python, by turns, so that other work of the machine slows down
both alike. Prints a Markdown table of milliseconds per tile (median of all) and the ratio (median
of the ratios of the rounds), and with `--update` writes it between
`<!-- begin generated: browser -->` and its end. Needs node, chromium and `npm ci` in web/.
"""

import argparse
import json
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path

import numpy as np

from benchmarks import positive, run_main
from mspfn_tf.errors import UsageError
from mspfn_tf.presets import PRESETS, tflite_path
from mspfn_tf.runtimes import open_runtime
from mspfn_tf.web.server import PageServer, site
from tools.markdown import header, row_of, update


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


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    shipped = [name for name in PRESETS if tflite_path(name)]
    parser.add_argument("--preset", nargs="+", default=shipped, choices=shipped)
    parser.add_argument("--threads", nargs="+", type=positive, default=[1, 2])
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument("--tiles", type=positive, default=5)
    parser.add_argument("--update", metavar="FILE.md")
    arguments = parser.parse_args(argv)

    files = site()
    files["speed_worker.js"] = (_web() / "tests/speed_worker.js").read_bytes()
    lines = header("preset", "threads", "browser, ms per tile", "LiteRT in Python", "ratio")
    with PageServer(files, port=0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for preset in arguments.preset:
            for threads in arguments.threads:
                runtime = open_runtime(preset, "litert", threads=threads, resize=False)
                there, here, ratios = [], [], []
                for _ in range(arguments.rounds):
                    url = f"models/{preset}.tflite"
                    browser = in_browser(server.url, url, threads, arguments.tiles)
                    python = in_python(runtime, arguments.tiles)
                    ratios.append(np.median(browser) / np.median(python))
                    there += browser
                    here += python
                lines.append(
                    row_of(
                        f"`{preset}`",
                        str(threads),
                        f"{np.median(there):.0f}",
                        f"{np.median(here):.0f}",
                        f"{np.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})",
                    )
                )
        server.shutdown()
    table = "\n".join(lines)
    print(table)
    if arguments.update:
        update(arguments.update, "browser", table)
    return 0


if __name__ == "__main__":
    run_main(main)
