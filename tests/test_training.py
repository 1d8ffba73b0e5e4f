import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from mspfn_tf.errors import UsageError
from mspfn_tf.losses import DerainLoss
from mspfn_tf.model import MSPFN
from mspfn_tf.training import INTERRUPTED, Trainer, checkpoints, trainer
from mspfn_tf.training.checkpoints import Checkpoints
from mspfn_tf.training.optimizers import ConvMuon, PublishedSchedule, make_optimizer, make_schedule
from mspfn_tf.training.recipe import Recipe
from tests.pair_sets import prepare, smooth_pair
from tests.tiny_recipe import recipe

TESTS = Path(__file__).parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("training")
    prepare(folder, "tiny", make=smooth_pair)
    return folder


def run_script(*arguments):
    """Runs a script of this folder in a process of its own; in another, TensorFlow has threads."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
    script, *arguments = map(str, arguments)
    result = subprocess.run(
        [sys.executable, TESTS / script, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stderr[-3000:]


@pytest.fixture(scope="module")
def killed(folder):
    run_script("training_processes.py", folder, "killed")
    return json.loads((folder / "killed.json").read_text())


@pytest.fixture(scope="module")
def replicas(folder):
    run_script("training_processes.py", folder, "replicas")
    return json.loads((folder / "replicas.json").read_text())


def log_of(folder, kind):
    lines = (folder / "log.jsonl").read_text().splitlines()
    return [entry for entry in map(json.loads, lines) if kind in entry]


# === The recipe ===


def test_published_recipe_is_the_default_of_the_full_networks():
    for preset in ("mspfn", "mspfn_m17n1"):
        published = Recipe(preset=preset, dataset="a", data_dir="b", workdir="c")
        assert (published.batch_size, published.patch_size) == (12, "96")
        assert (published.ema, published.clip_norm, published.edge_weight) == (0, 0, 0.05)
        schedule = make_schedule(published)
        for step in (0, 1, 12_345, 20_000, 100_000):
            assert float(schedule(step)) == pytest.approx(5e-4 * 0.8 ** (step / 2e4) + 1e-6, 1e-6)
    assert PublishedSchedule.from_config(schedule.get_config()).initial == 5e-4
    assert Recipe(preset="mspfn_nano", dataset="a", data_dir="b", workdir="c").ema == 0.999


def test_cosine_schedule(folder):
    schedule = make_schedule(
        recipe(folder, "x", schedule="cosine", learning_rate=1.0, warmup_steps=10, steps=110)
    )
    assert [float(schedule(step)) for step in (0, 5, 10)] == [0, 0.5, 1]
    assert float(schedule(60)) == pytest.approx(0.505)
    assert float(schedule(110)) == pytest.approx(0.01)


def test_muon_makes_orthogonal_steps_and_leaves_the_ends_to_adam(folder):
    model = MSPFN(width=8, blocks=1, rcabs=(0, 0, 1), hidden=None, activation="relu")
    options = {"optimizer": "muon", "learning_rate": 1e-2, "weight_decay": 0.0, "ema": 0.0}
    optimizer = make_optimizer(recipe(folder, "x", **options))
    optimizer.build(model.trainable_variables)
    before = [np.array(variable) for variable in model.trainable_variables]
    random = np.random.default_rng(0)
    gradients = [random.normal(size=b.shape) for b in before]
    gradients = [tf.constant(g + 0.1 * np.sign(g), tf.float32) for g in gradients]
    optimizer.apply(gradients, model.trainable_variables)
    rate = float(optimizer.learning_rate)
    orthogonal = 0
    for variable, old in zip(model.trainable_variables, before, strict=True):
        step = (np.array(variable) - old) / rate
        if old.ndim == 4 and not variable.path.startswith(("shallow_", "rain/")):
            sides = step.reshape(-1, step.shape[-1])
            values = np.linalg.svd(sides, compute_uv=False) / (0.2 * max(sides.shape) ** 0.5)
            # What five Newton-Schulz iterations make of 1 (Jordan et al. 2024).
            assert values.min() > 0.6 and values.max() < 1.3
            orthogonal += 1
        else:
            np.testing.assert_allclose(np.abs(step), 1, rtol=1e-3)  # the first step of Adam
    assert orthogonal > 20
    again = ConvMuon.from_config(optimizer.get_config())
    assert again.exclude_layers == optimizer.exclude_layers


def test_stages_share_the_steps(folder):
    stages = recipe(folder, "x", patch_size="64,96,128", steps=10).stages()
    assert stages == [(0, 3, 64), (3, 6, 96), (6, 10, 128)]


@pytest.mark.parametrize(
    "field, value, words",
    [
        ("patch_size", "60", "multiples of 8"),
        ("patch_size", "big", "multiples of 8"),
        ("schedule", "linear", "published, cosine"),
        ("strategy", "parameter_server", "auto, one_device, mirrored, multi_worker, tpu"),
        ("steps", 0, "must be positive"),
        ("ema", 1.0, "below 1"),
        ("batch_size", -4, "must not be negative"),
        ("model_arguments", "{", "--model_arguments"),
        ("dataset", "", "--dataset is missing"),
        ("on_nan", "ignore", "stop, skip"),
    ],
)
def test_wrong_flags_are_named(folder, field, value, words):
    with pytest.raises(UsageError, match=words):
        recipe(folder, "x", **{field: value})


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"preset": "mspfm"}, "mspfn_mobile"),
        ({"dataset": "rain999"}, "mspfn prepare rain999"),
        ({"model_arguments": '{"wide": 4}'}, "wide"),
        ({"init_weights": "missing.weights.h5"}, "missing.weights.h5"),
        ({"teacher": "missing"}, "missing"),
    ],
)
def test_what_cannot_work_fails_before_training(folder, fields, words):
    with pytest.raises(UsageError, match=words):
        Trainer(recipe(folder, "wrong", **fields)).start()
    assert not list(Path(folder, "wrong").rglob("*.npz"))


def test_unwritable_and_full_folders_fail_before_training(folder, monkeypatch):
    Path(folder, "file").touch()
    with pytest.raises(UsageError, match="file/run cannot be written"):
        Trainer(recipe(folder, "file/run")).start()
    usage = trainer.shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(trainer.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(UsageError, match="make room or lower --keep_checkpoints"):
        Trainer(recipe(folder, "full")).start()
    monkeypatch.undo()

    def full(file, **arrays):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints.np, "savez", full)
    with pytest.raises(UsageError, match="cannot save step 0: .*No space left on device"):
        Trainer(recipe(folder, "filled")).start()


def test_teacher_of_another_range(folder):
    image = keras.Input((None, None, 3))
    path = folder / "teacher.keras"
    keras.Model(image, keras.layers.Rescaling(255.0)(image)).save(path)
    with pytest.raises(UsageError, match=r"images in \[0, 1\]"):
        Trainer(recipe(folder, "taught_wrong", teacher=str(path))).start()


def test_batch_must_be_divisible_by_the_replicas(folder):
    trainer = Trainer(recipe(folder, "divided"))
    trainer.start()
    trainer.runner.replicas = 3
    with pytest.raises(UsageError, match="--batch_size 4 must be divisible by the 3 replicas"):
        trainer.runner.check_batch_size(4)


# === Exactness ===


def test_three_steps_are_those_of_the_published_script(folder):
    """Against plain formulas: loss in [-1, 1], TensorFlow 1's Adam in float64."""
    trainer = Trainer(
        recipe(folder, "exact", learning_rate=5e-4, ema=0.0, clip_norm=0.0, validate_every=0)
    ).start()
    variables = trainer.model.trainable_variables
    weights = [np.float64(variable.numpy()) for variable in variables]
    oracle = MSPFN.from_config(trainer.model.get_config())
    m = [np.zeros_like(weight) for weight in weights]
    v = [np.zeros_like(weight) for weight in weights]
    kernel = -np.ones((3, 3, 3, 1), np.float32)
    kernel[1, 1] = 8

    def charbonnier(x):
        return tf.reduce_mean(tf.sqrt(x**2 + 1e-6))

    for step in range(3):
        rainy, clean = trainer.stream.batch(step, 16)
        for variable, weight in zip(oracle.trainable_variables, weights, strict=True):
            variable.assign(weight)
        with tf.GradientTape() as tape:
            difference = (2 * oracle(rainy) - 1) - (2 * clean - 1)
            edges = tf.nn.depthwise_conv2d(difference, kernel, [1, 1, 1, 1], "SAME")
            loss = charbonnier(difference) + 0.05 * charbonnier(edges)
        gradients = tape.gradient(loss, [each.value for each in oracle.trainable_variables])
        logs = trainer.train_step(rainy, clean)
        assert logs["loss"] == pytest.approx(float(loss), rel=1e-5)
        norm = np.sqrt(sum(np.sum(np.square(g)) for g in gradients))
        assert logs["gradient_norm"] == pytest.approx(norm, rel=1e-4)
        rate = 5e-4 * 0.8 ** (step / 20_000) + 1e-6
        rate *= np.sqrt(1 - 0.999 ** (step + 1)) / (1 - 0.9 ** (step + 1))
        for index, gradient in enumerate(np.float64(g) for g in gradients):
            m[index] = 0.9 * m[index] + 0.1 * gradient
            v[index] = 0.999 * v[index] + 0.001 * gradient**2
            weights[index] -= rate * m[index] / (np.sqrt(v[index]) + 1e-8)
    for variable, weight in zip(variables, weights, strict=True):
        np.testing.assert_allclose(variable.numpy(), weight, rtol=1e-4, atol=1e-6)


def test_devices_and_workers_do_not_show(folder, replicas):
    assert replicas["workers"] == [0, 0]
    runs = {name: json.loads((folder / f"{name}.json").read_text()) for name in
            ("one", "two", "four", "worker0", "worker1")}  # fmt: skip
    assert [run["replicas"] for run in runs.values()] == [1, 2, 4, 2, 2]
    assert [run["chief"] for run in runs.values()] == [True, True, True, True, False]
    assert runs["worker0"]["weights"] == runs["worker1"]["weights"]
    reports, validations = log_of(folder / "one", "loss"), log_of(folder / "one", "val_psnr")
    assert len(reports) == 20
    for name in ("two", "four", "workers"):
        for one, other in zip(reports, log_of(folder / name, "loss"), strict=True):
            assert other["loss"] == pytest.approx(one["loss"], rel=1e-5)
            assert other["gradient_norm"] == pytest.approx(one["gradient_norm"], rel=1e-4)
        for one, other in zip(validations, log_of(folder / name, "val_psnr"), strict=True):
            assert other["val_psnr"] == pytest.approx(one["val_psnr"], abs=1e-3)


# === Survival ===


def test_killed_runs_end_bit_identical(folder, killed):
    assert killed == {"peaceful": 0, "killed": [-9, INTERRUPTED, -9, 0]}
    peaceful, state = checkpoints.read(folder / "peaceful/checkpoints/step-00000012.npz")
    survived, survived_state = checkpoints.read(folder / "killed/checkpoints/step-00000012.npz")
    assert state == survived_state and state["step"] == 12
    assert peaceful.keys() == survived.keys()
    for name, array in peaceful.items():
        np.testing.assert_array_equal(survived[name], array, err_msg=name)
    for name in ("loss", "val_psnr"):
        ours = {entry["step"]: entry[name] for entry in log_of(folder / "killed", name)}
        for entry in log_of(folder / "peaceful", name):
            if entry["step"] not in (7, 8):  # where a stop split the mean of two steps
                assert ours[entry["step"]] == entry[name]


def test_continues_on_jax_without_tensorflow(folder, killed):
    first, _ = checkpoints.read(folder / "peaceful/checkpoints/step-00000012.npz")
    for name in ("on_jax", "on_tensorflow"):
        os.makedirs(folder / name / "checkpoints")
        for file in ("config.json", "checkpoints/step-00000012.npz"):
            (folder / name / file).write_bytes((folder / "peaceful" / file).read_bytes())
    run_script("training_on_jax.py", folder, "on_jax", 16)
    assert Trainer(recipe(folder, "on_tensorflow", steps=16)).run() == 0
    jax, tensorflow = (
        checkpoints.read(folder / name / "checkpoints/step-00000016.npz")[0]
        for name in ("on_jax", "on_tensorflow")
    )
    assert jax.keys() == tensorflow.keys()
    for name, array in jax.items():
        np.testing.assert_allclose(array, tensorflow[name], rtol=1e-2, atol=1e-5, err_msg=name)
    assert not np.array_equal(jax["model/0000"], first["model/0000"])


def test_damaged_checkpoint_falls_back_with_a_warning(tmp_path):
    files = Checkpoints(tmp_path, keep=2)
    assert files.load_newest() is None
    for step in (1, 2, 3):
        files.save(step, {"a": np.arange(1000) + step}, {"best": None})
    assert [path.name for path in files.paths()] == ["step-00000002.npz", "step-00000003.npz"]
    newest = files.paths()[-1]
    whole = newest.read_bytes()
    changed = bytearray(whole)
    changed[len(whole) // 2] ^= 1
    for damaged in (whole[:-100], whole[:50], b"", bytes(changed)):
        newest.write_bytes(damaged)
        with pytest.warns(UserWarning, match="step-00000003.npz is damaged"):
            arrays, state = files.load_newest()
        assert state["step"] == 2 and arrays["a"][0] == 2
    newest.write_bytes(whole)
    assert files.load_newest()[1]["step"] == 3


def test_full_disk_leaves_the_last_checkpoint_alone(tmp_path, monkeypatch):
    files = Checkpoints(tmp_path, keep=1)
    files.save(1, {"a": np.arange(9)}, {})

    def full(file, **arrays):
        file.write(b"half a file")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints.np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        files.save(2, {"a": np.arange(9)}, {})
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001.npz"]
    assert files.load_newest()[1]["step"] == 1


def test_another_configuration_is_refused_with_the_difference(folder, killed):
    with pytest.raises(UsageError, match="--seed: 0 there, 3 now") as error:
        Trainer(recipe(folder, "peaceful", seed=3, batch_size=8, log_every=1)).start()
    assert "--batch_size: 4 there, 8 now" in str(error.value)
    assert "log_every" not in str(error.value)


# === Watching ===


class Recorder(keras.callbacks.Callback):
    def __init__(self, stop_at=None):
        super().__init__()
        self.stop_at, self.batches, self.epochs = stop_at, [], []

    def on_train_batch_end(self, batch, logs=None):
        self.batches.append((batch, logs["loss"]))
        if self.stop_at and logs["step"] >= self.stop_at:
            self.model.stop_training = True

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append((epoch, logs["val_psnr"]))


def test_a_whole_run_with_everything_on(folder, capsys):
    pytest.importorskip("tensorboard")
    options = {
        "patch_size": "16,24", "schedule": "cosine", "warmup_steps": 2, "optimizer": "adamw",
        "tensorboard": True, "precision": "bfloat16", "dataset": "tiny:2",
    }  # fmt: skip
    run = recipe(folder, "whole", **options)
    late = Trainer(dataclasses.replace(run, max_minutes=1e-6))
    assert late.run() == INTERRUPTED and late.step == 1
    assert "--max_minutes 1e-06: saved at step 1" in capsys.readouterr().out
    stopping = Recorder(stop_at=4)
    assert Trainer(run, [stopping]).run() == INTERRUPTED
    assert "stopped by a callback: saved at step 4" in capsys.readouterr().out
    recorder = Recorder()
    trainer = Trainer(run, [recorder])
    assert trainer.run() == 0
    assert [batch for batch, _ in recorder.batches] == [5, 7, 9, 11]
    assert [epoch for epoch, _ in recorder.epochs] == [1, 2]
    assert trainer.best["psnr"] == max(psnr for _, psnr in recorder.epochs)
    workdir = trainer.workdir
    assert [entry["step"] for entry in log_of(workdir, "loss")] == [1, 2, 4, 6, 8, 10, 12]
    assert {entry["patch_size"] for entry in log_of(workdir, "loss")} == {16, 24}
    assert list(workdir.glob("tensorboard/events*"))
    out = capsys.readouterr().out
    assert "patches/s" in out and "ETA" in out and "(best)" in out
    # The written model is the average, which is neither the first nor the last state.
    model = MSPFN.from_preset(str(workdir))
    with trainer.averaged_weights():
        averaged = [variable.numpy() for variable in trainer.model.trainable_variables]
    for ours, written in zip(averaged, model.trainable_variables, strict=True):
        np.testing.assert_array_equal(ours, written.numpy())
    assert not np.array_equal(averaged[0], trainer.model.trainable_variables[0].numpy())
    assert keras.config.dtype_policy().name == "float32"


def test_student_learns_from_its_teacher(folder, killed):
    """A teacher that is the student's starting point asks nothing of it."""
    weights = str(folder / "peaceful/model.weights.h5")
    fields = {"init_weights": weights, "ema": 0.0, "validate_every": 0}
    taught = Trainer(recipe(folder, "taught", teacher=weights, teacher_weight=1.0, **fields))
    taught.start()
    batch = taught.stream.batch(0, 16)
    # The student is its teacher: nothing to learn but the loss's epsilon (times 1 + 0.05).
    assert taught.train_step(*batch)["loss"] == pytest.approx(1.05e-3, rel=1e-3)
    half = Trainer(recipe(folder, "half_taught", teacher=weights, **fields)).start()
    free = DerainLoss(0.05)(batch[1], half.model(batch[0]))
    assert half.train_step(*batch)["loss"] == pytest.approx((float(free) + 1.05e-3) / 2, rel=1e-4)


class Poisoned:
    """A stream whose batch `step` holds a NaN."""

    def __init__(self, stream, step):
        self.stream, self.step = stream, step

    def __getattr__(self, name):
        return getattr(self.stream, name)

    def batch(self, step, *arguments):
        rainy, clean = self.stream.batch(step, *arguments)
        if step == self.step:
            rainy[0, 0, 0, 0] = np.nan
        return rainy, clean


@pytest.mark.parametrize("on_nan", ["stop", "skip"])
def test_nan(folder, monkeypatch, capsys, on_nan):
    opened = Trainer._open_stream
    monkeypatch.setattr(Trainer, "_open_stream", lambda self: Poisoned(opened(self), 6))
    trainer = Trainer(recipe(folder, f"nan_{on_nan}", on_nan=on_nan, validate_every=0))
    status = trainer.run()
    out = capsys.readouterr().out
    assert "at step 6" in out and "step-00000004.npz" in out and "tiny/train/train" in out
    _, state = trainer.checkpoints.load_newest()
    if on_nan == "stop":
        assert status == 1 and state["step"] == 4
    else:
        assert status == 0 and state == {"skipped": [6], "best": None, "step": 12}
        assert trainer.runner.to_numpy(trainer.model.optimizer.iterations) == 11
