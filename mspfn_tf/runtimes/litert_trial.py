"""The first run of a stranger's `.tflite` file, in a process of its own.

LiteRT trusts its files: one that contradicts itself where `mspfn_tf.inspection.litert` cannot see
it may end the process. Here it ends a process that exists for nothing else, and becomes a message.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from mspfn_tf.errors import UsageError
from mspfn_tf.inspection.litert import check_litert, most_bytes

SECONDS = 120.0
"""A file that has not made its first pictures by then is refused."""
_SIZES = ((40, 64), (72, 48))  # of the pictures that a model of free size is tried with
_ROOM = 2**30  # bytes of memory that Python, LiteRT and its threads take beside the tensors

_COMMAND = ("-m", "mspfn_tf.runtimes.litert_trial")

_verdicts: dict[str, str | None] = {}  # by SHA-256: what is wrong, or None
_lock = threading.Lock()


def check_stranger(content: bytes, path: Any) -> None:
    """Refuses a `.tflite` file that is damaged or that LiteRT cannot run without harm.

    A file costs this once in the life of a process: what was found is remembered by its SHA-256.

    Args:
        content: of the file.
        path: its name, for the message.

    Raises:
        UsageError: its structure is damaged (`mspfn_tf.inspection.litert`), or opening it or
            deraining small pictures with it failed, crashed, or took longer than `SECONDS` or more
            than half of the machine's memory.
    """
    digest = hashlib.sha256(content).hexdigest()
    with _lock:
        if digest not in _verdicts:
            check_litert(content, path, most_bytes())
            _verdicts[digest] = _tried(content)
        problem = _verdicts[digest]
    if problem is not None:
        raise UsageError(f"cannot load {path}: {problem}")


def _tried(content: bytes) -> str | None:
    # The modules that this process finds are those that the other one is to find.
    paths = os.pathsep.join(os.path.abspath(path) for path in sys.path)
    command = [sys.executable, "-P", *_COMMAND, str(most_bytes())]
    try:
        done = subprocess.run(
            command,
            input=content,
            env={**os.environ, "PYTHONPATH": paths},
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"its first pictures took longer than {SECONDS:g} s"
    except OSError as error:
        return f"the process that it is tried in could not be started: {error.strerror}"
    if done.returncode == 0:
        return json.loads(done.stdout)
    how = f"status {done.returncode}"
    if done.returncode < 0:
        how = signal.Signals(-done.returncode).name
    return f"LiteRT crashed over it ({how}): the file is damaged or was made to do harm"


def _try(content: bytes) -> str | None:
    """What is wrong with the file; None if it makes pictures."""
    import numpy as np

    from mspfn_tf.runtimes import LiteRTRuntime
    from mspfn_tf.source import Source

    random = np.random.default_rng(0)
    try:
        path = Path("model.tflite")
        runtime = LiteRTRuntime(Source("litert", path.name, path), path, content=content)
        sizes = (runtime.sizes.fixed,) if runtime.sizes.fixed else _SIZES
        for height, width in sizes:
            picture = random.random((1, height, width, 3), np.float32)
            runtime.run(picture)
            if runtime.statistics is not None:
                runtime.run_guided(picture, runtime.measure(picture))
    except (UsageError, RuntimeError, ValueError, KeyError, IndexError, TypeError) as error:
        return str(error).removeprefix(f"cannot load {path}: ") or type(error).__name__
    except MemoryError:
        return "there is not enough memory for it"
    return None


def _bound_memory(most: int) -> None:
    try:
        import resource
    except ImportError:  # Windows has no such bound
        return
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most += _ROOM
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


if __name__ == "__main__":
    _bound_memory(int(sys.argv[1]))
    answer = _try(sys.stdin.buffer.read())
    print(json.dumps(answer))
