"""Training runs in processes of their own, for the tests: killed, on several devices or workers.

    python training_processes.py FOLDER SCENARIO

TensorFlow is imported once; every run is a fork of that, made before TensorFlow starts its threads.
"""

import hashlib
import json
import os
import signal
import socket
import sys
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

from mspfn_tf.training import INTERRUPTED, Trainer  # noqa: E402
from tests.tiny_recipe import TINY, recipe  # noqa: E402


def fork(function):
    """Runs `function` in a fork, which exits with what it returns; the fork's process id."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    status = 70
    try:
        status = function() or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def wait(pid):
    """The exit status of a fork; minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class SignalAt(keras.callbacks.Callback):
    def __init__(self, step, number):
        super().__init__()
        self.step, self.number = step, number

    def on_train_batch_begin(self, batch, logs=None):
        if batch == self.step:
            os.kill(os.getpid(), self.number)


def kill_within_checkpoint(step):
    """Kills the process when half of the checkpoint of `step` is on the disk."""
    write = np.savez

    def savez(file, **arrays):
        if json.loads(str(arrays["state"]))["step"] == step:
            write(file, **{name: arrays[name] for name in list(arrays)[: len(arrays) // 2]})
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        write(file, **arrays)

    np.savez = savez


def killed(folder):
    """One run in peace, and one that is killed twice and terminated once."""

    def run(workdir, callbacks=(), prepare=lambda: None):
        def body():
            prepare()
            return Trainer(recipe(folder, workdir), callbacks).run()

        return wait(fork(body))

    return {
        "peaceful": run("peaceful"),
        "killed": [
            run("killed", prepare=lambda: kill_within_checkpoint(8)),
            run("killed", [SignalAt(6, signal.SIGTERM)]),
            run("killed", [SignalAt(10, signal.SIGKILL)]),
            run("killed"),
        ],
    }


def replicas(folder):
    """The same run on 1 device, on 2 and from half-way on 4, and on 2 workers, which stop once."""
    # The recipe clips, averages and validates, so that all this is compared too.
    network = {**TINY, "rcabs": [0, 0, 0]}
    fields = {"steps": 20, "log_every": 1, "checkpoint_every": 10, "model_arguments": network}

    def on(name, devices, strategy, environment, workdir=None, callbacks=(), status=0):
        def body():
            os.environ.update(environment)
            cpu = tf.config.list_physical_devices("CPU")[0]
            configuration = [tf.config.LogicalDeviceConfiguration()] * devices
            tf.config.set_logical_device_configuration(cpu, configuration)
            # Optimizing graphs of which each runs a few steps takes a third of the time.
            tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
            run = recipe(folder, workdir or name, strategy=strategy, **fields)
            trainer = Trainer(run, callbacks)
            assert trainer.run() == status
            weights = [trainer.runner.to_numpy(v).tobytes() for v in trainer.model.weights]
            result = {
                "replicas": trainer.runner.replicas,
                "chief": trainer.runner.chief,
                "weights": hashlib.sha256(b"".join(weights)).hexdigest(),
            }
            Path(folder, f"{name}.json").write_text(json.dumps(result))

        return fork(body)

    assert wait(on("one", 1, "one_device", {})) == 0
    stop = {"callbacks": [SignalAt(10, signal.SIGTERM)], "status": INTERRUPTED}
    assert wait(on("two", 2, "mirrored", {}, "mirrored", **stop)) == 0
    assert wait(on("four", 4, "mirrored", {}, "mirrored")) == 0
    stop = {"callbacks": [SignalAt(4, signal.SIGTERM)]}
    ends = []
    # SIGTERM to one of the two, when neither is due to save; then both go on.
    for status, options in ((INTERRUPTED, stop), (0, {})):
        workers = [
            on(f"worker{index}", 1, "auto", environment, "workers",
               status=status, **(options if index == 1 else {}))
            for index, environment in enumerate(two_workers())
        ]  # fmt: skip
        ends.append([wait(pid) for pid in workers])
    return {"workers": ends}


def two_workers():
    """The environments of two workers on free ports."""
    ports = []
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("localhost", 0))
            ports.append(f"localhost:{free.getsockname()[1]}")
    for index in range(2):
        task = {"cluster": {"worker": ports}, "task": {"type": "worker", "index": index}}
        yield {"TF_CONFIG": json.dumps(task)}


if __name__ == "__main__":
    folder, scenario = sys.argv[1:]
    result = {"killed": killed, "replicas": replicas}[scenario](folder)
    Path(folder, f"{scenario}.json").write_text(json.dumps(result))
