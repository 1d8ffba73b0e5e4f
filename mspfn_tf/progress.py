"""Progress of long work, on a terminal."""

from typing import TextIO


class Bars:
    """A progress bar for every part of the work; silent where `stream` is no terminal.

    An instance is called with what is being done, how much of it is done, and how much there is.

    Args:
        stream: where to draw.
    """

    def __init__(self, stream: TextIO):
        self._stream, self._bar, self._what = stream, None, None

    def __call__(self, what: str, done: int, total: int) -> None:
        if not self._stream.isatty():
            return
        if self._bar is None or what != self._what:
            from tqdm import tqdm

            self._close()
            self._bar = tqdm(
                total=total, desc=what, unit="", unit_scale=total > 10_000, file=self._stream
            )
            self._what = what
        self._bar.update(done - self._bar.n)

    def __enter__(self) -> "Bars":
        return self

    def __exit__(self, *exception) -> None:
        self._close()

    def _close(self):
        if self._bar is not None:
            self._bar.close()
