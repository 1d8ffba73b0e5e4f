import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from mspfn_tf.quiet import native_quiet

ROOT = Path(__file__).resolve().parent.parent


def test_notes_are_dropped_and_the_rest_is_passed_on(capfd):
    with native_quiet():
        os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\nsomething else\n")
        os.write(2, b"I0000 00:00:1 port.cc:153] oneDNN custom operations are on.\n")
    assert capfd.readouterr().err == "something else\n"
    with pytest.raises(ValueError, match="of the block"), native_quiet():
        os.write(2, b"before the error\n")
        raise ValueError("of the block")
    assert capfd.readouterr().err == "before the error\n"


def test_without_a_folder_for_temporary_files_nothing_is_dropped(monkeypatch, capfd):
    def none():
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "TemporaryFile", none)
    with native_quiet():
        os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n")
    assert "XNNPACK" in capfd.readouterr().err


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:")
def test_a_child_that_is_forked_meanwhile_waits_for_nobody(capfd):
    """What another thread held stayed held in it, and its standard error turned aside."""
    inside, end = threading.Event(), threading.Event()

    def turn_aside():
        with native_quiet():
            inside.set()
            end.wait()

    thread = threading.Thread(target=turn_aside)
    thread.start()
    inside.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(3)
        with native_quiet():
            os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\nof the child\n")
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status == 0
    assert capfd.readouterr().err == "of the child\n"  # while the parent's is still aside
    end.set()
    thread.join()


@pytest.mark.slow
def test_tensorflow_is_imported_without_a_word():
    script = (
        "from mspfn_tf.quiet import quiet_tensorflow\n"
        "quiet_tensorflow()\n"
        "import tensorflow as tf\n"
        "print(int(tf.constant(1) + 1), tf.__spec__.name, tf.__spec__.loader is tf.__loader__)\n"
    )
    environment = {name: value for name, value in os.environ.items() if "LOG_LEVEL" not in name}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "2 tensorflow True\n" and done.stderr == ""
