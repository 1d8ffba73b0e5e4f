"""Kills actors and drivers of `mspfn bulk` at random moments, and looks at what is left."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet

ROOT = Path(__file__).resolve().parent.parent
PRESET = "mspfn_nano"
_TOKEN = "MSPFN_BULK_TEST"
_PATIENCE = 300.0  # seconds that a cluster may take to start and do something


def command(verb, *arguments):
    return [sys.executable, "-m", "mspfn_tf", verb, *map(str, arguments), "--preset", PRESET]


def run(verb, *arguments, timeout=_PATIENCE):
    """Runs `mspfn VERB ...` to its end; returns the finished process."""
    return subprocess.run(
        command(verb, *arguments), cwd=ROOT, capture_output=True, text=True, timeout=timeout
    )


class Driver:
    """A run of `mspfn bulk` on two actors, whose processes can be found and killed."""

    def __init__(self, source, output, *more):
        self.output = Path(output)
        self._token = f"{os.getpid()}-{time.monotonic_ns()}"
        arguments = (source, "--output", output, "--actors", 2, "--batch_rows", 2, *more)
        self.process = subprocess.Popen(
            command("bulk", *arguments),
            cwd=ROOT,
            env={**os.environ, _TOKEN: self._token},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def processes(self):
        """`{process number: command line}` of the driver, its cluster and its actors."""
        mark, found = f"{_TOKEN}={self._token}".encode(), {}
        for folder in Path("/proc").iterdir():
            if folder.name.isdecimal():
                try:
                    if mark in (folder / "environ").read_bytes():
                        found[int(folder.name)] = (folder / "cmdline").read_bytes().decode()
                except OSError:  # it has ended, or is another user's
                    continue
        return found

    def actors(self):
        return [number for number, line in self.processes().items() if "ray::MapWorker" in line]

    def wait_for_parts(self, more):
        """Waits until so many parts more are written; False if the run ended before."""
        start, limit = self._parts(), time.monotonic() + _PATIENCE
        while self.process.poll() is None:
            if self._parts() >= start + more:
                return True
            if time.monotonic() > limit:
                raise TimeoutError(f"no {more} parts within {_PATIENCE:.0f} s")
            time.sleep(0.02)
        return False

    def _parts(self):
        return len(list(self.output.glob(".mspfn_bulk/parts/*.parquet")))

    def kill_actor(self, rng):
        """Kills one actor; False if there is none."""
        actors = self.actors()
        if not actors:
            return False
        os.kill(rng.choice(actors), signal.SIGKILL)
        return True

    def kill(self):
        """Kills the driver, and waits until its actors have ended with it."""
        self.process.kill()
        self.process.wait()
        limit = time.monotonic() + _PATIENCE
        while self.actors():
            if time.monotonic() > limit:
                raise TimeoutError(f"still there: {self.processes()}")
            time.sleep(0.1)
        self.__exit__()  # Ray's agents notice later that they are alone

    def finish(self, timeout=_PATIENCE):
        """Waits for the end; returns (exit status, standard error)."""
        _, errors = self.process.communicate(timeout=timeout)
        return self.process.returncode, errors

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for number in [self.process.pid, *self.processes()]:
            try:
                os.kill(number, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()


def survive(source, output, kills, seed):
    """Restores `source` while actors and drivers are killed in turn; returns what was killed.

    Raises:
        RuntimeError: the last run failed.
    """
    rng = random.Random(seed)
    killed, driver = [], Driver(source, output)
    try:
        while True:
            ended = not driver.wait_for_parts(rng.randint(1, 3))
            if not ended and len(killed) < kills:
                time.sleep(rng.random() * 0.3)
                if len(killed) % 2 == 0:
                    if driver.kill_actor(rng):
                        killed.append("actor")
                    continue
                driver.kill()
                killed.append("driver")
                driver = Driver(source, output, "--resume")
                continue
            status, errors = driver.finish()
            if status != 0:
                raise RuntimeError(f"status {status}: {errors}")
            return killed
    finally:
        driver.__exit__()


def compare(output, reference, count):
    """Raises `AssertionError` if not all pictures are there, once and equal to the reference."""
    table = pyarrow.parquet.read_table(Path(output) / "manifest.parquet").to_pylist()
    names = [row["name"] for row in table]
    assert len(names) == len(set(names)) == count, (len(names), len(set(names)), count)
    assert {row["status"] for row in table} == {"restored"}
    expected = {
        path.relative_to(reference).as_posix(): path.read_bytes()
        for path in Path(reference).rglob("*")
        if path.is_file()
    }
    written = {
        path.relative_to(output).as_posix(): path.read_bytes()
        for path in Path(output).rglob("*")
        if path.is_file() and path.name not in ("manifest.parquet", ".mspfn.lock", "run.json")
    }
    assert written.keys() == expected.keys() == set(names), written.keys() ^ expected.keys()
    assert all(written[name] == content for name, content in expected.items())
