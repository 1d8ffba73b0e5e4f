"""What is measured between two reports of a training run."""

import contextlib
import math
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np


class NotFiniteError(Exception):
    """Loss, gradient or weights were NaN or infinite at `step`."""

    def __init__(self, step: int, message: str):
        super().__init__(message)
        self.step = step


class Meter:
    """Collects the logs of steps and the time they take, from one report to the next.

    Logs may be arrays on a device: they are fetched when a report is due, so that the steps in
    between do not wait for each other.

    Args:
        batch_size: patches of a step.
        steps: steps of the whole run.
    """

    def __init__(self, batch_size: int, steps: int):
        self.batch_size = batch_size
        self.steps = steps
        self.start()

    def start(self) -> None:
        """Begins the next report."""
        self._logs: list[tuple[int, Mapping[str, Any]]] = []
        self.restart_clock()

    def restart_clock(self) -> None:
        """Leaves what was timed so far out of the speed: the first step compiles."""
        self._untimed = len(self._logs)
        self._waited = 0.0
        self._began = time.monotonic()

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Times what is done within it as waiting for data."""
        asked = time.monotonic()
        yield
        self._waited += time.monotonic() - asked

    def add(self, step: int, logs: Mapping[str, Any]) -> None:
        """Takes the logs of `step` (loss, psnr, gradient_norm), which may still be computed."""
        self._logs.append((step, logs))

    def report(self, step: int) -> dict[str, float]:
        """The means since the last report, and the speed; empty where no step was made.

        Args:
            step: steps done.

        Raises:
            NotFiniteError: loss or gradient of a step was NaN or infinite.
        """
        fetched = [(at, {k: float(v) for k, v in logs.items()}) for at, logs in self._logs]
        for at, logs in fetched:
            if not math.isfinite(logs["loss"]) or not math.isfinite(logs["gradient_norm"]):
                raise NotFiniteError(
                    at, f"loss {logs['loss']}, gradient norm {logs['gradient_norm']} at step {at}"
                )
        if not fetched:
            return {}
        elapsed = max(time.monotonic() - self._began, 1e-9)
        speed = (len(fetched) - self._untimed) / elapsed
        names = fetched[0][1]
        return {
            "step": step,
            **{name: float(np.mean([logs[name] for _, logs in fetched])) for name in names},
            "patches_per_second": speed * self.batch_size,
            "waiting": self._waited / elapsed,
            "seconds_left": (self.steps - step) / speed if speed else math.nan,
        }
