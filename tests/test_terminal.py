import io
import subprocess
import sys
from pathlib import Path

import pytest

from mspfn_tf.terminal import printable, say


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain, déjà vu, 雨", "plain, déjà vu, 雨"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("\udcff\udcfe.png", "\\xff\\xfe.png"),
        (Path("a b.png"), "a b.png"),
    ],
)
def test_names_are_made_printable(text, expected):
    assert printable(text) == expected


def test_characters_that_a_terminal_does_not_know_are_escaped():
    assert printable("é雨", "latin-1") == "é\\u96e8"
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    say("é", file)
    assert file.buffer.getvalue() == b"\\xe9\n"


def test_a_reader_that_has_gone_does_not_end_the_work():
    script = (
        "import sys\n"
        "from mspfn_tf.terminal import say\n"
        "for number in range(20_000):\n"
        "    say(f'line {number}')\n"
        "print('done', file=sys.stderr)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).resolve().parent.parent,
    )
    assert process.stdout.readline() == b"line 0\n"
    process.stdout.close()
    assert process.stderr.read() == b"done\n"
    assert process.wait() == 0
    process.stderr.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
def test_a_full_disk_is_told_once_and_does_not_end_the_work(capsys):
    with open("/dev/full", "w") as full:
        say("one", full)
        say("two", full)
    assert capsys.readouterr().err == "mspfn: cannot print to /dev/full: No space left on device\n"
