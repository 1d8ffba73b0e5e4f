"""The first run of a stranger's model file, in a process of its own.

LiteRT, onnxruntime and OpenVINO trust their files: one that contradicts itself may end the process,
compute for ever or take all memory. Here it does so in a process that exists for nothing else, and
becomes a message.
"""

import hashlib
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mspfn_tf.errors import UsageError
from mspfn_tf.inspection.litert import most_bytes

SECONDS = 120.0
"""A file that has not made its first pictures by then is refused."""
_ROOM = 2**30  # bytes of memory that Python, the runtime and its threads take beside the tensors

_COMMAND = ("-m", "mspfn_tf.runtimes.trial")
_NAME = "the-model-on-trial"  # stands for the file's path in messages that are remembered

_verdicts: dict[str, str | None] = {}  # by SHA-256: what is wrong, or None
_lock = threading.Lock()


def _begin_child() -> None:
    """A thread that tried a file when the process was forked did not come along: its lock did."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_child)


def check_stranger(attempt: Callable[..., object], path: Any, *contents: bytes) -> None:
    """Refuses a model file that cannot be run without harm.

    A file costs this once in the life of a process: what was found is remembered by its SHA-256.

    Args:
        attempt: a function of a module, `attempt(path, *contents)`, which opens the model and makes
            small pictures with it; what it raises is what is wrong.
        path: the file's name, for the message.
        contents: of the file, and of those that belong to it.

    Raises:
        UsageError: `attempt` raised, crashed, or took longer than `SECONDS` or more than half of
            the machine's memory.
    """
    name = f"{attempt.__module__}:{attempt.__qualname__}"
    digests = [hashlib.sha256(content).hexdigest() for content in contents]
    key = "/".join((name, *digests))
    with _lock:
        if key not in _verdicts:
            try:
                _verdicts[key] = _tried(name, contents)
            except OSError as error:  # no fault of the file's, and not remembered
                raise UsageError(
                    f"cannot load {path}: the process that it is to be tried in could not be "
                    f"started: {error.strerror}"
                ) from error
        problem = _verdicts[key]
    if problem is not None:
        told = "" if _NAME in problem else f"cannot load {path}: "
        raise UsageError(told + problem.replace(_NAME, str(path)))


def _tried(name: str, contents: tuple[bytes, ...]) -> str | None:
    # The modules that this process finds are those that the other one is to find.
    paths = os.pathsep.join(os.path.abspath(path) for path in sys.path)
    sizes = [str(len(content)) for content in contents]
    # Where the environment makes errors of warnings, Python's own would end it.
    options = ("-P", "-W", "ignore")
    command = [sys.executable, *options, *_COMMAND, str(most_bytes()), name, *sizes]
    try:
        done = subprocess.run(
            command,
            input=b"".join(contents),
            env={**os.environ, "PYTHONPATH": paths},
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"its first pictures took longer than {SECONDS:g} s"
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    how = f"status {done.returncode}"
    if done.returncode < 0:
        how = signal.Signals(-done.returncode).name
    return f"the runtime crashed over it ({how}): the file is damaged or was made to do harm"


def _try(name: str, contents: list[bytes]) -> str | None:
    """What is wrong with the file; None if it makes pictures."""
    module, _, function = name.partition(":")
    attempt = getattr(importlib.import_module(module), function)
    try:
        attempt(Path(_NAME), *contents)
    except MemoryError:
        return "there is not enough memory for it"
    except Exception as error:  # whatever a runtime says of a stranger's file
        return str(error).removeprefix(f"cannot load {_NAME}: ") or type(error).__name__
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


def _main(most: str, name: str, *sizes: str) -> None:
    _bound_memory(int(most))
    contents = [sys.stdin.buffer.read(int(size)) for size in sizes]
    answer = json.dumps(_try(name, contents))
    print(f"\n{answer}")  # on a line of its own, whatever the runtime has said


if __name__ == "__main__":
    _main(*sys.argv[1:])
