"""One restorer for many pictures: memory levels off, threads get what is theirs, processes too.

`MSPFN_CALLS` is how many pictures go through (default 150); the figures of docs/reliability.md were
measured with 2000.
"""

import contextlib
import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from mspfn_tf.errors import UsageError
from mspfn_tf.export.litert import convert
from mspfn_tf.restorer import Restorer
from mspfn_tf.weights_file import save_weights
from tests.export_models import PHONE, small_model

pytestmark = pytest.mark.slow


ROOT = Path(__file__).resolve().parent.parent
CALLS = int(os.environ.get("MSPFN_CALLS", "150"))

LIFE = """
import sys, numpy as np
from mspfn_tf import Restorer
random = np.random.default_rng(0)
restorer = Restorer(sys.argv[1])
calls = int(sys.argv[2])
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6
largest = np.zeros((128, 128, 3), np.uint8)
for _ in range(5):
    restorer(largest)
for call in range(calls):
    height, width = random.integers(1, 129, 2)
    assert restorer(np.zeros((height, width, 3), np.uint8)).shape == (height, width, 3)
    if (call + 1) % (calls // 5) == 0:
        print(resident())
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    model = small_model(**PHONE)
    (folder / "small.tflite").write_bytes(convert(model, (64, 64)))
    save_weights(model, folder / "small.weights.h5")
    return folder


def run(script, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="reads /proc")
@pytest.mark.parametrize("name", ["small.tflite", "small.weights.h5"])
def test_memory_levels_off(files, name):
    sizes = [float(size) for size in run(LIFE, files / name, CALLS).split()[-5:]]
    shown = ", ".join(f"{size:.0f}" for size in sizes)
    print(f"{name}: MB after every fifth of {CALLS} calls: {shown}")
    assert sizes[-1] - sizes[1] < 50


def pictures(count=24):
    random = np.random.default_rng(1)
    for _ in range(count):
        height, width = random.integers(9, 90, 2)
        yield random.integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("name", ["small.tflite", "small.weights.h5"])
def test_threads_get_their_own_pictures(files, name):
    restorer = Restorer(files / name)
    shown = list(pictures())
    expected = [restorer(picture) for picture in shown]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(2):
            for result, wanted in zip(pool.map(restorer, shown), expected, strict=True):
                np.testing.assert_array_equal(result, wanted)


def test_the_lock_is_what_keeps_threads_apart(files, monkeypatch):
    """Without it, as many threads as want to are inside the interpreter at once."""
    restorer = Restorer(files / "small.tflite")
    runtime = restorer.runtime
    inside, most, counting = 0, 0, threading.Lock()
    together = threading.Event()

    def count(picture):
        nonlocal inside, most
        with counting:
            inside += 1
            most = max(most, inside)
            if inside == 2:
                together.set()
        together.wait(0.2)  # time for another thread, if one may come in
        with counting:
            inside -= 1
        return picture

    monkeypatch.setattr(runtime, "_run_one", count)
    shown = list(pictures(4))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(restorer, shown))
    assert most == 1
    monkeypatch.setattr(runtime, "_lock", contextlib.nullcontext())
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(restorer, shown))
    assert most > 1


FORK = """
import os, sys, numpy as np
from mspfn_tf import Restorer
restorer = Restorer(sys.argv[1])
picture = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
expected = restorer(picture)
reading, writing = os.pipe()
child = os.fork()
if child == 0:
    try:
        answer = "right" if (restorer(picture) == expected).all() else "wrong"
    except Exception as error:
        answer = f"{type(error).__name__}: {error}"
    os.write(writing, answer.encode())
    os._exit(0)
os.waitpid(child, 0)
print(os.read(reading, 10000).decode())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_after_a_fork_litert_answers_and_keras_refuses(files):
    assert run(FORK, files / "small.tflite").split()[-1] == "right"
    said = run(FORK, files / "small.weights.h5")
    assert "UsageError: small.weights.h5 was opened before this process was forked" in said


def test_spawned_processes_get_it_by_its_source(files):
    picture = next(pictures())
    restorer = Restorer(files / "small.tflite", overlap=16, strength=0.5)
    again = pickle.loads(pickle.dumps(restorer))
    np.testing.assert_array_equal(again(picture), restorer(picture))
    assert (again.overlap, again.strength) == (16, 0.5)
    script = (
        "import multiprocessing, sys\n"
        "import numpy as np\n"
        "from mspfn_tf import Restorer\n"
        "if __name__ == '__main__':\n"
        "    restorer = Restorer(sys.argv[1])\n"
        "    picture = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        (result,) = pool.map(restorer, [picture])\n"
        "    print((result == restorer(picture)).all())\n"
    )
    file = files / "spawn.py"
    file.write_text(script)
    done = subprocess.run(
        [sys.executable, file, files / "small.tflite"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=300,
    )
    assert done.stdout.split()[-1:] == ["True"], done.stderr


def test_a_small_picture_after_one_in_tiles(files, monkeypatch):
    """The signatures for tiles leave the interpreter as whole pictures need it."""
    restorer = Restorer(files / "small.tflite", tile=32, overlap=8)
    small, large = np.full((24, 30, 3), 90, np.uint8), np.full((80, 100, 3), 90, np.uint8)
    assert restorer.runtime.statistics is not None
    before = restorer(small)
    restorer(large)
    other = restorer(np.full((16, 40, 3), 90, np.uint8)[:, :32])
    assert other.shape == (16, 32, 3)
    np.testing.assert_array_equal(restorer(small), before)


def test_a_runtime_is_not_pickled(files):
    restorer = Restorer(Restorer(files / "small.tflite").runtime)
    with pytest.raises(TypeError, match="make it from its source"):
        pickle.dumps(restorer)
    with pytest.raises(UsageError):
        Restorer(files / "none.tflite")
