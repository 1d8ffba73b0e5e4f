"""Draws the course of a training run: `python -m tools.plot_training LOG.jsonl OUTPUT.svg`."""

import argparse
import contextlib
import json
from pathlib import Path

from mspfn_tf.errors import UsageError
from mspfn_tf.files import atomic_write

WIDTH, HEIGHT, LEFT, RIGHT, TOP, GAP = 760, 180, 60, 20, 30, 50


def read(path):
    """The log as {quantity: [(step, value), ...]}."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        # The last line may still be being written, or be what a killed run left of it.
        entries = [json.loads(line) for line in lines[:-1]]
        with contextlib.suppress(ValueError):
            entries += [json.loads(line) for line in lines[-1:]]
    except OSError as error:
        raise UsageError(f"no log {path}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{path} is no log.jsonl of a run: {error}") from error
    names = ("loss", "val_psnr")
    series = {name: [(e["step"], e[name]) for e in entries if name in e] for name in names}
    if not series["loss"]:
        raise UsageError(f"{path} holds no training steps")
    return series


def panel(title, points, top, last_step):
    """SVG of one curve, with the extremes of its axis."""
    values = [value for _, value in points]
    low, high = min(values), max(values)
    span = (high - low) or 1.0

    def place(step, value):
        x = LEFT + (WIDTH - LEFT - RIGHT) * step / last_step
        return f"{x:.1f},{top + HEIGHT * (high - value) / span:.1f}"

    line = " ".join(place(step, value) for step, value in points)
    right, bottom = WIDTH - RIGHT, top + HEIGHT
    return f"""
<text x="{LEFT}" y="{top - 8}" font-weight="bold">{title}</text>
<rect x="{LEFT}" y="{top}" width="{right - LEFT}" height="{HEIGHT}" fill="none" stroke="#999"/>
<text x="{LEFT - 6}" y="{top + 10}" text-anchor="end">{high:.4g}</text>
<text x="{LEFT - 6}" y="{bottom}" text-anchor="end">{low:.4g}</text>
<text x="{LEFT}" y="{bottom + 16}">step 0</text>
<text x="{right}" y="{bottom + 16}" text-anchor="end">{last_step:,}</text>
<polyline points="{line}" fill="none" stroke="#1f6fb4" stroke-width="1.5"/>"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("log", help="log.jsonl of a run")
    parser.add_argument("output", help="SVG file to write")
    args = parser.parse_args()
    try:
        series = read(args.log)
    except UsageError as error:
        parser.error(str(error))
    last_step = max(step for points in series.values() for step, _ in points)
    panels = [panel("training loss (means between reports)", series["loss"], TOP, last_step)]
    if series["val_psnr"]:
        top = TOP + HEIGHT + GAP
        panels.append(panel("validation PSNR, matlab_y, dB", series["val_psnr"], top, last_step))
    height = TOP + len(panels) * (HEIGHT + GAP)
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="sans-serif" font-size="12">\n<rect width="100%" height="100%" '
        f'fill="white"/>{"".join(panels)}\n</svg>\n'
    )
    with atomic_write(args.output, overwrite=True) as temporary:
        temporary.write_text(svg)


if __name__ == "__main__":
    main()
