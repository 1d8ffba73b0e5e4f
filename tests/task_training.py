"""Trains for a task: once in peace and once interrupted; what came of it goes to a file.

    python task_training.py FOLDER BACKEND

`FOLDER` holds the set `labelled`, the network `segmenter.keras`, and `first.weights.h5`.
"""

import hashlib
import json
import os
import sys
from pathlib import Path

if __name__ == "__main__":
    os.environ["KERAS_BACKEND"] = sys.argv[2]
    os.environ["JAX_PLATFORMS"] = "cpu"
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import keras  # noqa: E402

from mspfn_tf.training import INTERRUPTED, Trainer  # noqa: E402
from tests.tiny_recipe import recipe  # noqa: E402

TASK = {
    "dataset": "labelled",
    "fresh_rain": 0.7,
    "task": "segmentation",
    "task_weight": 0.3,
    "task_terms": "both",
    "validate_every": 0,
    "steps": 8,
    "checkpoint_every": 4,
}


class StopAt(keras.callbacks.Callback):
    def __init__(self, step):
        super().__init__()
        self.step = step

    def on_train_batch_end(self, batch, logs=None):
        if batch + 1 == self.step:
            self.model.stop_training = True


def task_recipe(folder, workdir, **fields):
    files = {
        "task_model": Path(folder, "segmenter.keras"),
        "init_weights": Path(folder, "first.weights.h5"),
    }
    return recipe(folder, workdir, **{**files, **TASK, **fields})


def digest(path):
    import h5py

    arrays = []
    with h5py.File(path) as file:
        file.visititems(lambda name, item: arrays.append((name, item)))
        parts = [(n, item[()].tobytes()) for n, item in arrays if isinstance(item, h5py.Dataset)]
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def first_step(folder, workdir, **fields):
    with Trainer(task_recipe(folder, workdir, **fields)).start() as trainer:
        return trainer.train_step(*trainer.stream.batch(0, 16))


def peaceful_and_interrupted(folder, prefix):
    """Digests of the weights after a run in peace and after one that stopped in between."""
    assert Trainer(task_recipe(folder, f"{prefix}_peace")).run() == 0
    stopped = Trainer(task_recipe(folder, f"{prefix}_stopped"), [StopAt(6)])
    assert stopped.run() == INTERRUPTED
    assert stopped.step == 6
    assert Trainer(task_recipe(folder, f"{prefix}_stopped")).run() == 0
    names = (f"{prefix}_peace", f"{prefix}_stopped")
    return [digest(Path(folder, name, "model.weights.h5")) for name in names]


def resumed_by_hand(folder, workdir):
    """Logs of the first step, and the weights after four: in one go, and after a restart at two."""
    weights, logs = [], []

    def train(trainer, steps):
        for step in steps:
            logs.append(trainer.train_step(*trainer.stream.batch(step, 16)))

    def keep(trainer):
        weights.append([trainer.runner.to_numpy(v).tobytes() for v in trainer.model.weights])

    with Trainer(task_recipe(folder, workdir)).start() as trainer:
        train(trainer, (0, 1))
        trainer.save_checkpoint()
        train(trainer, (2, 3))
        keep(trainer)
    with Trainer(task_recipe(folder, workdir)).start() as trainer:
        assert trainer.step == 2
        train(trainer, (2, 3))
        keep(trainer)
    return logs[0], [hashlib.sha256(b"".join(parts)).hexdigest() for parts in weights]


if __name__ == "__main__":
    folder, backend = sys.argv[1:]
    logs, weights = resumed_by_hand(folder, backend)
    Path(folder, f"{backend}.json").write_text(json.dumps({"logs": logs, "weights": weights}))
