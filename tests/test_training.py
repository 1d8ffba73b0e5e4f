import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from mspfn_tf.errors import UsageError
from mspfn_tf.losses import DerainLoss
from mspfn_tf.model import MSPFN
from mspfn_tf.training import INTERRUPTED, Trainer, checkpoints, trainer
from mspfn_tf.training.backends.tensorflow import TensorFlowRunner
from tests.pair_sets import prepare, smooth_pair
from tests.tiny_recipe import TINY, log_of, recipe

pytestmark = pytest.mark.slow

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


@pytest.fixture
def idle(monkeypatch):
    """Steps change nothing, for tests of what goes on around them: a real one is traced first."""
    logs = {"loss": 0.5, "psnr": 20.0, "gradient_norm": 1.0}
    monkeypatch.setattr(TensorFlowRunner, "train_step", lambda self, batch: dict(logs))


# === What is refused ===


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"preset": "mspfm"}, "mspfn_mobile"),
        ({"dataset": "rain999"}, "mspfn prepare rain999"),
        ({"model_arguments": {"wide": 4}}, "wide"),
        ({"model_arguments": {**TINY, "image_size": [16, 16]}}, "image_size fixes the size"),
        ({"model_arguments": {**TINY, "dtype": "float16"}}, "leave it out, and give precision="),
        ({"model_arguments": {**TINY, "trainable": False}}, "trainable is no argument of the"),
        ({"model_arguments": {**TINY, "name": "a b"}}, "name is no argument of the network"),
        ({"init_weights": "missing.weights.h5"}, "missing.weights.h5"),
        ({"init_weights": "mspfn"}, "init_weights mspfn: expected a preset whose weights"),
        ({"teacher": "missing"}, "missing"),
    ],
)
def test_what_cannot_work_fails_before_training(folder, fields, words):
    with pytest.raises(UsageError, match=words):
        Trainer(recipe(folder, "wrong", **fields)).start()
    assert not list(Path(folder, "wrong").rglob("*.npz"))


def test_first_weights_are_those_of_a_preset_or_a_folder(folder):
    fields = {"preset": "mspfn_nano", "model_arguments": {}, "init_weights": "mspfn_nano"}
    fields["warmup_steps"] = 1
    with Trainer(recipe(folder, "preset", **fields)).start() as run:
        shipped = MSPFN.from_preset("mspfn_nano").get_weights()
        for one, other in zip(run.model.get_weights(), shipped, strict=True):
            np.testing.assert_array_equal(one, other)
        run.model.save_weights(Path(folder, "preset", "model.weights.h5"))
    fields["init_weights"] = str(Path(folder, "preset"))
    with Trainer(recipe(folder, "from_folder", **fields)).start() as run:
        for one, other in zip(run.model.get_weights(), shipped, strict=True):
            np.testing.assert_array_equal(one, other)


def test_other_pictures_are_another_run(folder, tmp_path):
    """Also where the set has the same name, version and size."""
    fields = {"preset": "mspfn", "schedule": "published", "steps": 2}
    Trainer(recipe(folder, "pictures", **fields)).start().close()

    def negative(index):
        return [255 - half for half in smooth_pair(index)]

    def validated_on_others(index):
        return (negative if index >= 1000 else smooth_pair)(index)

    prepare(tmp_path, "tiny", make=negative)
    prepare(tmp_path / "validated", "tiny", make=validated_on_others)
    prepare(tmp_path / "same", "tiny", make=smooth_pair)
    fields["steps"] = 4
    for place, name in (("", "pictures"), ("validated", "validation_pictures")):
        with pytest.raises(
            UsageError, match=rf"\n  {name}: '[0-9a-f]{{64}}' there, '[0-9a-f]{{64}}'"
        ):
            Trainer(recipe(folder, "pictures", **fields, data_dir=str(tmp_path / place))).start()
    same = recipe(folder, "pictures", **fields, data_dir=str(tmp_path / "same"))
    Trainer(same).start().close()


def test_unwritable_and_full_folders_fail_before_training(folder, monkeypatch):
    Path(folder, "file").touch()
    with pytest.raises(UsageError, match="cannot write to .*file/run"):
        Trainer(recipe(folder, "file/run")).start()
    usage = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(UsageError, match="make room or lower keep_checkpoints"):
        Trainer(recipe(folder, "full")).start()
    monkeypatch.undo()

    def full(file, **arrays):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints.np, "savez", full)
    with pytest.raises(
        UsageError, match="cannot write the checkpoint of step 0: No space left on device"
    ):
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
    with pytest.raises(UsageError, match="batch_size 4 must be divisible by the 3 replicas"):
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
    # SIGTERM reached worker 1 alone, after TensorFlow had set handlers of its own: both ended with
    # `INTERRUPTED`, and both went on.
    assert replicas["workers"] == [[0, 0], [0, 0]]
    runs = {name: json.loads((folder / f"{name}.json").read_text()) for name in
            ("one", "two", "four", "worker0", "worker1")}  # fmt: skip
    assert [run["replicas"] for run in runs.values()] == [1, 2, 4, 2, 2]
    assert [run["chief"] for run in runs.values()] == [True, True, True, True, False]
    assert runs["worker0"]["weights"] == runs["worker1"]["weights"]
    reports, validations = log_of(folder / "one", "loss"), log_of(folder / "one", "val_psnr")
    assert len(reports) == 20
    for name in ("mirrored", "workers"):
        for one, other in zip(reports, log_of(folder / name, "loss"), strict=True):
            assert other["loss"] == pytest.approx(one["loss"], rel=1e-5)
            assert other["gradient_norm"] == pytest.approx(one["gradient_norm"], rel=1e-4)
        for one, other in zip(validations, log_of(folder / name, "val_psnr"), strict=True):
            assert other["val_psnr"] == pytest.approx(one["val_psnr"], abs=1e-3)


def test_the_step_clips(folder):
    """With plain descent, so that the size of the step is that of the gradient."""
    moved = {}
    for limit in (0.0, 1e-3):
        with Trainer(
            recipe(folder, f"clip{limit}", clip_norm=limit, validate_every=0)
        ).start() as t:
            t.optimizer = keras.optimizers.SGD(1.0)
            t.optimizer.build(t.model.trainable_variables)
            t.runner.compile(t.model, t.optimizer, 4, t.runner.loss, limit)
            before = [variable.numpy() for variable in t.model.trainable_variables]
            norm = t.train_step(*t.stream.batch(0, 16))["gradient_norm"]
            steps = [
                variable.numpy() - old
                for variable, old in zip(t.model.trainable_variables, before, strict=True)
            ]
            moved[limit] = np.sqrt(sum(np.sum(step**2) for step in steps))
            assert moved[limit] == pytest.approx(min(norm, limit or norm), rel=1e-3)
    assert moved[0.0] > 10 * moved[1e-3]


def test_batches_of_another_kind_are_refused(folder):
    """The step divides by the size of the batch, and would give numbers in any case."""
    good = np.zeros((4, 16, 16, 3), np.float32)
    with Trainer(recipe(folder, "kinds", validate_every=0)).start() as run:
        for rainy, clean, name in [
            (good[:2], good[:2], "rainy is float32 .2, 16"),
            (np.concatenate([good, good]), good, "rainy is float32 .8, 16"),
            (good, good[:1], "clean is float32 .1, 16"),
            (good, good[:, :8], "clean is float32 .4, 8"),
            (good.astype(np.uint8), good, "rainy is uint8"),
            (good[:, :12, :12], good[:, :12, :12], "multiple of 8"),
        ]:
            with pytest.raises(UsageError, match=name):
                run.train_step(rainy, clean)
        assert run.step == 0


def test_the_reported_psnr_is_that_of_the_clipped_output(folder):
    network = {**TINY, "activation": "relu"}  # its last conv has a bias
    fields = {"model_arguments": network, "validate_every": 0}
    with Trainer(recipe(folder, "clipped", **fields)).start() as run:
        kernel, bias = run.model.get_layer("rain").weights
        kernel.assign(0 * kernel)
        bias.assign(0 * bias - 2.0)  # twice as light as white
        white = np.ones((4, 16, 16, 3), np.float32)
        logs = run.train_step(white, white)
    assert logs["psnr"] == pytest.approx(100)  # as of no error at all
    assert logs["loss"] > 1


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


@pytest.mark.usefixtures("idle")
def test_a_prolonged_run_says_what_its_folder_holds_meanwhile(folder, capsys):
    fields = {"schedule": "published", "validate_every": 0}
    stays = "model.weights.h5 stays as an earlier end left it until step 2 is done"
    for steps, told in ((1, False), (2, True)):
        assert Trainer(recipe(folder, "prolonged", steps=steps, **fields)).run() == 0
        assert (stays in capsys.readouterr().out) == told


def test_a_run_cannot_end_before_what_it_has_done(folder):
    fields = {"schedule": "published", "ema": 0.0, "validate_every": 0}
    Trainer(recipe(folder, "shortened", steps=2, **fields)).run()
    weights = (folder / "shortened/model.weights.h5").read_bytes()
    with pytest.raises(UsageError, match="steps 1: the run in .*shortened has done 2"):
        Trainer(recipe(folder, "shortened", steps=1, **fields)).run()
    assert (folder / "shortened/model.weights.h5").read_bytes() == weights
    assert Trainer(recipe(folder, "shortened", steps=2, **fields)).run() == 0


def test_another_configuration_is_refused_with_the_difference(folder, killed):
    with pytest.raises(UsageError, match="seed: 0 there, 3 now") as error:
        Trainer(recipe(folder, "peaceful", seed=3, batch_size=8, log_every=1)).start()
    assert "batch_size: 4 there, 8 now" in str(error.value)
    assert "log_every" not in str(error.value)


def test_a_started_trainer_holds_its_folder(folder):
    holder = Trainer(recipe(folder, "held", validate_every=0)).start()
    with pytest.raises(UsageError, match=f"in use by mspfn train, process {os.getpid()}"):
        Trainer(recipe(folder, "held", validate_every=0)).start()
    holder.close()
    Trainer(recipe(folder, "held", validate_every=0)).start().close()
    with pytest.raises(UsageError, match="seed"):
        Trainer(recipe(folder, "held", validate_every=0, seed=1)).start()
    Trainer(recipe(folder, "held", validate_every=0)).start().close()


def test_a_started_trainer_runs_on(folder):
    fields = {"steps": 3, "validate_every": 0}
    run = Trainer(recipe(folder, "started", **fields)).start()
    run.train_step(*run.stream.batch(0, 16))
    assert run.step == 1 and run.run() == 0
    at_once = Trainer(recipe(folder, "at_once", **fields))
    assert at_once.run() == 0
    for one, other in zip(run.model.get_weights(), at_once.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert run.run() == 0  # and has nothing to do


def test_auto_precision_is_noted_and_kept(folder, monkeypatch):
    chosen = iter(["bfloat16", "float32"])
    monkeypatch.setattr(trainer, "choose_precision", lambda backend, gpus: next(chosen))
    fields = {"precision": "auto", "validate_every": 0}
    with Trainer(recipe(folder, "auto", **fields)).start() as first:
        assert first.recipe.precision == "bfloat16"
        assert first.model.get_layer("shallow_full").compute_dtype == "bfloat16"
    config = json.loads((folder / "auto/config.json").read_text())
    assert config["recipe"]["precision"] == "bfloat16"
    with Trainer(recipe(folder, "auto", **fields)).start() as again:
        assert again.recipe.precision == "bfloat16"  # also on a machine that would choose another
    with pytest.raises(UsageError, match="precision: 'bfloat16' there, 'float32' now"):
        Trainer(recipe(folder, "auto", validate_every=0)).start()


def test_another_cache_does_not_change_the_batches_of_a_run(folder):
    fields = {"validate_every": 0}
    with Trainer(recipe(folder, "cached", **fields)).start() as first:
        expected = first.stream.names(3)
        assert first.stream.crops_per_pair == 1
    with Trainer(recipe(folder, "cached", cache_mb=0, **fields)).start() as second:
        assert second.stream.crops_per_pair == 1 and second.stream.names(3) == expected
    Trainer(recipe(folder, "cached", crops_per_pair=1, **fields)).start().close()
    with pytest.raises(UsageError, match="crops_per_pair: 1 there, 4 now"):
        Trainer(recipe(folder, "cached", crops_per_pair=4, **fields)).start()
    with Trainer(recipe(folder, "uncached", cache_mb=0, **fields)).start() as other:
        assert other.stream.crops_per_pair == 4


def test_a_lone_worker_says_for_whom_it_waits_and_ends(folder, monkeypatch, capsys):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    cluster = {"worker": [f"localhost:{port}", "elsewhere:2222"]}
    task = {"type": "worker", "index": 0}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": task}))
    with pytest.raises(
        UsageError,
        match="gave up after 0.01 minutes .* worker 1 .elsewhere:2222.*such as start_timeout=0.02",
    ):
        Trainer(recipe(folder, "lone", start_timeout=0.01)).run()
    for number in (signal.SIGTERM, signal.SIGINT):
        timer = threading.Timer(1, os.kill, (os.getpid(), number))
        timer.start()
        assert Trainer(recipe(folder, "lone")).run() == INTERRUPTED
        timer.join()
        out = capsys.readouterr().out
        assert "waiting for worker 1 (elsewhere:2222) since" in out
        assert f"{number.name}: stopped while waiting for worker 1" in out
    assert not list((folder / "lone").rglob("*.npz"))


# === Watching ===


class Recorder(keras.callbacks.Callback):
    def __init__(self, stop_at=None):
        super().__init__()
        self.stop_at, self.batches, self.begun, self.epochs = stop_at, [], [], []

    def on_train_batch_end(self, batch, logs=None):
        self.batches.append((batch, logs["loss"]))
        if self.stop_at and logs["step"] >= self.stop_at:
            self.model.stop_training = True

    def on_epoch_begin(self, epoch, logs=None):
        self.begun.append(epoch)

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append((epoch, logs["val_psnr"]))


def test_a_whole_run_with_everything_on(folder, capsys):
    pytest.importorskip("tensorboard")
    options = {
        "patch_size": (16, 24), "schedule": "cosine", "warmup_steps": 2, "optimizer": "adamw",
        "tensorboard": True, "precision": "bfloat16", "dataset": {"tiny": 2},
    }  # fmt: skip
    run = recipe(folder, "whole", **options)
    late = Trainer(dataclasses.replace(run, max_minutes=1e-6))
    assert late.run() == INTERRUPTED and late.step == 1
    assert "time limit of 1e-06 minutes: saved at step 1" in capsys.readouterr().out
    stopping = Recorder(stop_at=4)
    assert Trainer(run, [stopping]).run() == INTERRUPTED
    assert "stopped by a callback: saved at step 4" in capsys.readouterr().out
    recorder = Recorder()
    trainer = Trainer(run, [recorder])
    assert trainer.run() == 0
    assert [batch for batch, _ in recorder.batches] == [5, 7, 9, 11]
    assert [epoch for epoch, _ in recorder.epochs] == [1, 2]
    assert trainer.best["psnr"] == max(psnr for _, psnr in recorder.epochs)
    workdir = trainer.folder.path
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


class Darkness:
    """An evaluator of a task: how dark the derained picture of a white one is."""

    def scores(self, predict):
        return {"val_darkness": float(1 - predict(np.ones((1, 16, 16, 3), np.float32)).mean())}

    def panels(self, predict):
        yield "darkness", [np.zeros((16, 16, 3), np.uint8)]


@pytest.mark.usefixtures("idle")
def test_further_evaluators_are_logged_and_called_back(folder, capsys):
    recorder = Recorder()
    run = recipe(folder, "judged", steps=3, validate_every=2)
    assert Trainer(run, [recorder], [Darkness()]).run() == 0
    # What a callback prepares as an epoch begins is there as it ends; the last one is shorter.
    assert recorder.begun == [epoch for epoch, _ in recorder.epochs] == [1, 2]
    judged = log_of(folder / "judged", "val_psnr")
    assert len(judged) == 2 and all("val_darkness" in entry for entry in judged)
    assert "val_darkness" in capsys.readouterr().out
    twice = Trainer(recipe(folder, "twice", steps=1, validate_every=1), [], [Darkness()] * 2)
    with pytest.raises(UsageError, match="two evaluators give val_darkness"):
        twice.run()


@pytest.mark.usefixtures("idle")
@pytest.mark.parametrize(
    "given, words",
    [({"step": 5.0}, "an evaluator gives step"), (None, "Stepping.scores gives None: expected")],
)
def test_scores_that_no_log_can_hold(folder, given, words):
    class Stepping(Darkness):
        def scores(self, predict):
            return given

    run = Trainer(recipe(folder, f"{given}", steps=1, validate_every=1), [], [Stepping()])
    with pytest.raises(UsageError, match=words):
        run.run()


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
    opened = trainer.open_patches
    monkeypatch.setattr(trainer, "open_patches", lambda *parts: Poisoned(opened(*parts), 6))
    run = Trainer(recipe(folder, f"nan_{on_nan}", on_nan=on_nan, validate_every=0, log_every=1))
    status = run.run()
    out = capsys.readouterr().out
    assert "at step 6" in out and "step-00000004.npz" in out and "tiny/train/train" in out
    _, state = run.folder.checkpoints.load_newest()
    if on_nan == "stop":
        assert status == 1 and state["step"] == 4
    else:
        assert status == 0 and (state["skipped"], state["step"]) == ([6], 12)
        assert run.runner.to_numpy(run.model.optimizer.iterations) == 11
        # Steps that were given up are not in the log beside those that came instead.
        logged = [entry["step"] for entry in log_of(run.folder.path, "loss")]
        assert logged == [1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12]


@pytest.mark.usefixtures("idle")
@pytest.mark.parametrize("on_nan", ["stop", "skip"])
def test_predictions_that_are_not_finite_end_the_run(folder, monkeypatch, capsys, on_nan):
    """Finite weights may be so large. A checkpoint that leads there again is no way back."""
    fields = {"validate_every": 4, "checkpoint_every": 2, "on_nan": on_nan}
    run = Trainer(recipe(folder, f"infinite_{on_nan}", **fields)).start()
    run.close()
    predict = type(run.runner).predict

    calls = []

    def diverged(self, rainy):
        calls.append(rainy)
        assert len(calls) < 50, "the run begins again and again"
        return predict(self, rainy) * np.float32(np.inf)

    monkeypatch.setattr(type(run.runner), "predict", diverged)
    assert Trainer(recipe(folder, f"infinite_{on_nan}", **fields)).run() == 1
    told = capsys.readouterr().out
    assert "what the network makes of pictures is not finite after step 3" in told
    assert "step-00000002.npz" in told and "tiny/train/train" in told
