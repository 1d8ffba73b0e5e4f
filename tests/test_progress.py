import contextlib
import io
import os

import pytest

from mspfn_tf.commands.restore import _Progress
from mspfn_tf.terminal import Bars

pty = pytest.importorskip("pty")  # no such on Windows
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


def test_a_terminal_that_does_not_tell_its_width(monkeypatch):
    ours, theirs = pty.openpty()
    assert os.get_terminal_size(theirs).columns == 0
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
