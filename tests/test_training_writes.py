"""Every write of a training run may find the disk full."""

import builtins
import functools
import itertools
import json
import os
import re
from pathlib import Path

import keras
import numpy as np
import pytest

from mspfn_tf.errors import UsageError
from mspfn_tf.training import Trainer, checkpoints, reports, trainer
from mspfn_tf.training.backends.runner import Runner
from tests.full_disk import FullDisk
from tests.pair_sets import prepare, smooth_pair
from tests.tiny_recipe import log_of, recipe


class Counting(Runner):
    """Trains in no time: every step adds 1 to the weights."""

    def train_step(self, batch):
        for variable in self.model.trainable_variables:
            variable.assign_add(keras.ops.ones_like(variable))
        self.optimizer.iterations.assign_add(1)
        return {"loss": 1.0, "psnr": 20.0, "gradient_norm": 1.0}

    def _place(self, rainy, clean, first_row):
        return rainy, clean

    def batches(self, stream, start, stop, patch_size, threads):
        return iter(range(start, stop))

    def predict(self, rainy):
        return rainy


class Full(FullDisk):
    """The `at`-th write (1, 2, ...) finds the disk full."""

    def __init__(self, monkeypatch, at):
        functions = (
            (os, "fsync"), (os, "replace"), (Path, "touch"), (Path, "mkdir"), (np, "savez"),
            (Path, "write_text"), (keras.Model, "save_weights"), (json, "dump"),
        )  # fmt: skip
        super().__init__(monkeypatch, at, functions)
        opened = builtins.open

        def open_(file, mode="r", *arguments, **options):
            stream = opened(file, mode, *arguments, **options)
            if mode == "a":
                write = stream.write
                stream.write = lambda text: (self.check(file), write(text))
            return stream

        monkeypatch.setattr(reports, "open", open_, raising=False)


@pytest.mark.slow
def test_every_write_that_fails_is_told_and_the_run_goes_on_from_there(tmp_path, monkeypatch):
    prepare(tmp_path, "tiny", make=smooth_pair)
    monkeypatch.setattr(trainer, "make_runner", lambda *arguments: Counting())
    fields = {"steps": 2, "checkpoint_every": 1, "log_every": 1, "validate_every": 2, "ema": 0.0}
    # What takes time and writes nothing is made once, and the network is one conv: to write the
    # many layers of ours would take nearly all of the test.
    first = recipe(tmp_path, "full", **fields)
    image = keras.Input((None, None, 3))
    conv = keras.Model(image, keras.layers.Conv2D(3, 3, padding="same")(image))
    monkeypatch.setattr(trainer, "make_model", lambda recipe: conv)
    for name in ("open_patches", "open_evaluators"):
        made = functools.cache(functools.partial(getattr(trainer, name), first))
        monkeypatch.setattr(trainer, name, lambda recipe, *task, made=made: made(*task))

    def run(name):
        for weights in conv.weights:
            weights.assign(keras.ops.zeros_like(weights))
        return Trainer(recipe(tmp_path, name, **fields))

    failed = 0
    for at in itertools.count(1):
        name = f"full{at}"
        with monkeypatch.context() as patched:
            full = Full(patched, at)
            try:
                status = run(name).run()
            except UsageError as error:
                assert re.search(r"cannot write.*No space left on device", str(error)), at
                saved = sorted((tmp_path / name / "checkpoints").glob("step-*.npz"))
                if saved:
                    assert f"last good checkpoint: {saved[-1]}" in str(error), (at, str(error))
                status = None
                failed += 1
        assert not list((tmp_path / name).rglob(".partial-*")), at
        if full.count < at:
            assert status == 0
            break
        assert status is None, at
        for path in (tmp_path / name / "checkpoints").glob("step-*.npz"):
            checkpoints.read(path)
        assert run(name).run() == 0
        last = checkpoints.read(tmp_path / name / "checkpoints/step-00000002.npz")[0]
        assert np.all(last["model/0000"] == 2) and last["optimizer/0000"] == 2
        assert [e["step"] for e in log_of(tmp_path / name, "loss")] == [1, 2], at
    assert failed > 25
