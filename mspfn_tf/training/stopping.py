"""Why a training run ends before its last step: a signal, or its time limit."""

import math
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Self

StopReason = Callable[[], str | None]
"""Tells why to stop, in a few words; None while there is no reason."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(Exception):
    """The run was asked to stop before it had begun to train."""


class Stopper:
    """Within `with stopper:`, SIGTERM and Ctrl-C are noted instead of ending the process.

    A second one ends it at once. Handlers belong to the main thread; in another one signals are
    left alone.

    Args:
        minutes: time limit from now; 0: none.
    """

    def __init__(self, minutes: float = 0.0):
        self._minutes = minutes
        self._deadline = time.monotonic() + 60 * minutes if minutes else math.inf
        self._signal: str | None = None
        self._before: dict = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            # None: a handler that was not set from Python.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._signal = signal.Signals(number).name
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_DFL)

    @property
    def reason(self) -> str | None:
        """Why the run should stop, in a few words; None while it should go on."""
        if self._signal is None and time.monotonic() > self._deadline:
            return f"time limit of {self._minutes:g} minutes"
        return self._signal
