"""How fast is `mspfn bulk`, where does its time go, and does its memory grow?

    python -m benchmarks.bulk --output FILE.json [--preset NAME] [--size WxH] [--pictures N]
        [--actors N...] [--many N] [--update FILE.md]

The same pictures go through `mspfn restore`, `mspfn bulk --local`, and `mspfn bulk` with each
number of actors. Measured are the seconds of the whole command; the pictures a second between the
first and the last file that appears, which leaves out starting and ending; and from the manifest
the shares of reading, decoding, the network, encoding and writing in the time that workers spend on
a picture. Then `--many` pictures of 64x64 go through two actors, and the resident memory of the
driver and of the largest actor is taken after a tenth of them, and at its highest after that, with
what Ray's object store put on disk.

Run it on a quiet machine. Compare only figures of one run. Writes them to a JSON file, prints
Markdown tables, and with `--update` writes them between `<!-- begin generated: bulk -->` and its
end.
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

from benchmarks import positive, run_main, setting, setting_line
from benchmarks.restore import photograph, picture_size, write_pictures
from mspfn_tf.errors import UsageError
from mspfn_tf.pictures import write_picture
from mspfn_tf.presets import DEFAULT_PRESET
from tools.markdown import header, row_of, write_results

_TOKEN = "MSPFN_BULK_BENCHMARK"
_SHARES = ("read", "decode", "infer", "encode", "write")


class Run:
    """One run of the command, watched from outside: seconds, memory, what was put on disk.

    Raises:
        UsageError: it failed (the message is the end of its standard error), or was too short to
            measure.
    """

    def __init__(self, verb, source, target, preset, *more, watch=False):
        self._token = f"{os.getpid()}-{time.monotonic_ns()}"
        self.memory = []  # (seconds since the start, parts, MB of the driver, of the largest actor)
        command = [sys.executable, "-m", "mspfn_tf", verb, str(source), "--output", str(target)]
        command += ["--preset", preset, *map(str, more)]
        began = time.perf_counter()
        # Names of sockets are short: no folder deep down.
        with tempfile.TemporaryDirectory(prefix="r") as folder, tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                command,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env={**os.environ, _TOKEN: self._token, "RAY_TMPDIR": folder},
            )
            while process.poll() is None:
                time.sleep(1.0 if watch else 0.1)
                if watch:
                    self._look(process.pid, Path(target), time.perf_counter() - began)
            self.seconds = time.perf_counter() - began
            if process.returncode:
                errors.seek(0)
                raise UsageError(f"{' '.join(command)}: {errors.read()[-500:].decode()}")
            spilled = Path(folder).rglob("ray_spilled_objects*/*")
            self.spilled_bytes = sum(path.stat().st_size for path in spilled)
        times = sorted(path.stat().st_mtime for path in Path(target).rglob("*.png"))
        lasted = times[-1] - times[0]
        if not lasted:  # a file's time is told in steps of some milliseconds
            raise UsageError(
                f"{len(times)} pictures in {target} were written at one time: nothing to measure, "
                "ask for more or larger ones (--pictures, --size)"
            )
        self.rate = (len(times) - 1) / lasted

    def _look(self, driver, target, seconds):
        actors = [0.0]
        for number in self._processes():
            try:
                line = Path(f"/proc/{number}/cmdline").read_bytes()
                if b"ray::MapWorker" in line:
                    actors.append(_resident(number))
            except OSError:  # it has just ended
                continue
        try:
            count = sum(1 for _ in (target / ".mspfn_bulk" / "parts").iterdir())
            self.memory.append((seconds, count, _resident(driver), max(actors)))
        except OSError:  # not begun, or just ended
            return

    def _processes(self):
        mark = f"{_TOKEN}={self._token}".encode()
        for folder in Path("/proc").iterdir():
            if folder.name.isdecimal():
                try:
                    if mark in (folder / "environ").read_bytes():
                        yield int(folder.name)
                except OSError:
                    continue


def _resident(number):
    """Resident memory of a process in MB."""
    pages = int(Path(f"/proc/{number}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def shares(target):
    """How the time of the pictures of a manifest was spent: parts of 1 by what was done."""
    import pyarrow.parquet  # of an extra that the tables do without

    table = pyarrow.parquet.read_table(Path(target) / "manifest.parquet")
    whole = np.sum(table["seconds"].to_numpy())
    return {share: float(np.sum(table[f"{share}_seconds"].to_numpy()) / whole) for share in _SHARES}


def measure(preset, size, pictures, actors, many):
    """Returns {"rates": [...], "memory": {...}}."""
    ways = [("restore", ()), ("bulk", ("--local",))]
    ways += [("bulk", ("--actors", number)) for number in actors]
    found = {"rates": [], "memory": None}
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        picture = photograph(*size)
        for number in range(pictures):
            write_picture(work / "in" / f"{number:05}.png", np.roll(picture, 7 * number, axis=1))
        for verb, more in ways:
            target = work / "-".join(["out", verb, *(str(one).strip("-") for one in more)])
            run = Run(verb, work / "in", target, preset, *more)
            record = {"way": " ".join([verb, *map(str, more)]), "pictures": pictures}
            record |= {"seconds": run.seconds, "pictures_per_second": run.rate}
            if verb == "bulk":
                record["shares"] = shares(target)
            found["rates"].append(record)
            print(json.dumps(record), file=sys.stderr)
        if many:
            write_pictures(work / "many", many)
            run = Run("bulk", work / "many", work / "out-many", preset, "--actors", 2, watch=True)
            found["memory"] = {"pictures": many, "pictures_per_second": run.rate}
            found["memory"] |= {"spilled_bytes": run.spilled_bytes, **_growth(run.memory)}
            print(json.dumps(found["memory"]), file=sys.stderr)
    return found


def _growth(memory):
    """MB of the driver and of the largest actor after a tenth of the parts, and the most after."""
    parts = max(count for _, count, _, _ in memory)
    later = [sample for sample in memory if sample[1] >= parts / 10]
    names = ("driver", "actor")
    return {
        name: {"early_mb": later[0][2 + at], "most_mb": max(sample[2 + at] for sample in later)}
        for at, name in enumerate(names)
    }


def tables(found):
    """The Markdown text of what `measure` found."""
    first = found["rates"][0]["pictures_per_second"]
    lines = [setting_line(found["machine"], found["weights"]), ""]
    lines += header("command", "seconds", "pictures/s", "of restore's", *_SHARES)
    for record in found["rates"]:
        parts = record.get("shares", {})
        lines.append(
            row_of(
                f"`mspfn {record['way']}`",
                f"{record['seconds']:.1f}",
                f"{record['pictures_per_second']:.2f}",
                f"{record['pictures_per_second'] / first:.2f}",
                *(f"{parts[share]:.1%}" if parts else "-" for share in _SHARES),
            )
        )
    memory = found["memory"]
    if memory:
        lines += ["", *header("memory, MB", "after a tenth", "most after that")]
        for name in ("driver", "actor"):
            values = memory[name]
            lines.append(row_of(name, f"{values['early_mb']:.0f}", f"{values['most_mb']:.0f}"))
        lines += [
            "",
            f"{memory['pictures']:,} pictures of 64x64 on two actors; object store on disk: "
            f"{memory['spilled_bytes']} bytes.",
        ]
    return "\n".join(lines) + "\n"


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bulk")
    parser.add_argument("--output", required=True, metavar="FILE.json")
    parser.add_argument("--preset", default=DEFAULT_PRESET, metavar="NAME")
    parser.add_argument("--size", type=picture_size, default=(1920, 1080), metavar="WxH")
    parser.add_argument("--pictures", type=positive, default=100, metavar="N")
    parser.add_argument("--actors", nargs="+", type=positive, default=[1, 2], metavar="N")
    parser.add_argument("--many", type=int, default=10_000, metavar="N", help="0: none")
    parser.add_argument("--update", metavar="FILE.md")
    args = parser.parse_args(argv)

    def measured():
        return {
            **setting([args.preset]),
            "load": os.getloadavg()[0],
            "preset": args.preset,
            "size": list(args.size),
            **measure(args.preset, args.size, args.pictures, args.actors, args.many),
        }

    write_results(measured, tables, "bulk", args.output, args.update)


if __name__ == "__main__":
    run_main(main)
