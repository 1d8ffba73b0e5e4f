import io

import pytest

from mspfn_tf.terminal import Bars

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
