import contextlib
import io
import os
import struct
import warnings
from pathlib import Path

import pytest

from mspfn_tf.commands.restore import _Progress
from mspfn_tf.restoring.plan import Job
from mspfn_tf.terminal import Bars

pty = pytest.importorskip("pty")  # none of these on Windows
fcntl = pytest.importorskip("fcntl")
termios = pytest.importorskip("termios")
pytestmark = pytest.mark.slow


class _Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_for_every_part_of_the_work():
    stream = _Terminal()
    with Bars(stream) as bars:
        for what, total in (("reading", 3), ("writing", 5)):
            for done in range(1, total + 1):
                bars(what, done, total)
    text = stream.getvalue()
    assert "reading" in text and "3/3" in text
    assert "writing" in text and "5/5" in text
    assert text.endswith("\n")


def test_silent_where_nobody_looks():
    stream = io.StringIO()
    with Bars(stream) as bars:
        bars("reading", 1, 3)
    assert stream.getvalue() == ""


def test_parts_never_make_more_than_all(monkeypatch):
    stream = _Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    jobs = [Job(Path(name), Path(name)) for name in "abc"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # tqdm warns
        with _Progress(len(jobs), verbose=False, hidden=None) as progress:
            for job in jobs:
                for part in (0.1, 0.4, 1.0, 1.0 + 1e-9):
                    progress.part(job, part)
            assert progress._bar.n == 3
            for job in jobs:
                progress.done(job)
            assert progress._bar.n == 3
    assert "100%" in stream.getvalue()


@pytest.mark.parametrize("columns", [0, 60])
def test_a_terminal_that_does_not_tell_its_size(monkeypatch, columns):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 0, columns, 0, 0))
    assert os.get_terminal_size(theirs) == (columns, 0)
    with open(theirs, "w") as stream:
        with Bars(stream) as bars:
            bars("reading", 1, 3)
        monkeypatch.setattr("sys.stderr", stream)
        with _Progress(4, verbose=False, hidden=None):
            pass
    text = ""
    with contextlib.suppress(OSError):  # Linux: all is read, and the other end is closed
        while part := os.read(ours, 4096):
            text += part.decode()
    os.close(ours)
    assert "0/3" in text and "0.0/4" in text
