"""Trials of many model files for the price of a fork each.

`mspfn_tf.runtimes.trial` starts an interpreter for every file, which takes up to a second of
imports. Here each trial is a fork of one process that has imported its runtime. What the trial
does, and how its end is told, is the product's own code.

    with TrialServer("mspfn_tf.runtimes.onnx", "onnxruntime") as server:
        monkeypatch.setattr(trial, "subprocess", server)
"""

import importlib
import math
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import traceback

from mspfn_tf.runtimes import trial
from tests.mutated_models import BYTES, SECONDS


class TrialServer:
    """Stands for the module `subprocess` in `mspfn_tf.runtimes.trial`.

    Args:
        modules: to be imported before the forks.
    """

    TimeoutExpired = subprocess.TimeoutExpired

    def __init__(self, *modules):
        self._modules = modules

    def __enter__(self):
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tests.trial_server", *self._modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
        )
        return self

    def __exit__(self, *exception):
        self._process.communicate()

    def run(self, command, *, input, timeout, **options):
        """As `subprocess.run` of a trial, which also fails beyond the bounds of a test."""
        arguments = command[command.index("mspfn_tf.runtimes.trial") + 1 :]
        pickle.dump((arguments, input, timeout), self._process.stdin)
        self._process.stdin.flush()
        status, output, seconds, memory = pickle.load(self._process.stdout)
        assert seconds < SECONDS and memory < BYTES
        if status == -signal.SIGALRM:
            raise subprocess.TimeoutExpired(command, timeout)
        return subprocess.CompletedProcess(command, status, output)


def _serve(*modules):
    for module in modules:
        importlib.import_module(module)
    with os.fdopen(os.dup(1), "wb") as answers:
        while sys.stdin.buffer.peek(1):
            arguments, content, timeout = pickle.load(sys.stdin.buffer)
            with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said:
                given.write(content)
                given.seek(0)
                pid = os.fork()
                if pid == 0:
                    _try(arguments, given, said, timeout)
                _, status, usage = os.wait4(pid, 0)
                said.seek(0)
                seconds = usage.ru_utime + usage.ru_stime
                code = os.waitstatus_to_exitcode(status)
                pickle.dump((code, said.read(), seconds, usage.ru_maxrss * 1024), answers)
            answers.flush()


def _try(arguments, given, said, timeout):
    """Ends the process, a fork."""
    status = 70
    try:
        os.dup2(given.fileno(), 0)
        os.dup2(said.fileno(), 1)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 the fork ends with it
        signal.alarm(math.ceil(timeout))
        trial._main(*arguments)
        sys.stdout.flush()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


if __name__ == "__main__":
    _serve(*sys.argv[1:])
