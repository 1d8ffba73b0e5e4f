"""The training loop."""

import contextlib
import inspect
import json
import math
import os
import platform
import shutil
import signal
import time
from pathlib import Path

import keras
import numpy as np

from mspfn_tf import __version__
from mspfn_tf.errors import UsageError
from mspfn_tf.files import atomic_write
from mspfn_tf.losses import DerainLoss, PSNRLoss
from mspfn_tf.model import MSPFN
from mspfn_tf.model_files import load_model
from mspfn_tf.training.backends import make_runner
from mspfn_tf.training.checkpoints import Checkpoints
from mspfn_tf.training.fresh_rain import FreshRain, read_streaks
from mspfn_tf.training.optimizers import make_optimizer
from mspfn_tf.training.pair_source import PairSource, parse_mixture
from mspfn_tf.training.patch_stream import PatchStream
from mspfn_tf.training.reports import JsonLog, ProgressLine, TensorBoardLog
from mspfn_tf.training.validation import ValidationSet
from mspfn_tf.weights_file import load_weights, save_weights

INTERRUPTED = 75
"""Exit status of a run that a signal or its time limit stopped: saved, run again to resume."""

_MOST_SKIPPED = 10  # with --on_nan skip: more bad batches than this are no accident
_WORST_TEACHER = 10.0  # dB against the clean patches; a teacher in another range is far below


class NotFiniteError(Exception):
    """Loss or gradient was NaN or infinite at `step`."""

    def __init__(self, step, message):
        super().__init__(message)
        self.step = step


class Trainer:
    """A training run in `recipe.workdir`.

    Args:
        recipe: `Recipe`.
        callbacks: further Keras callbacks. As under `fit` with `steps_per_execution`, the batch
            methods are called every `log_every` steps, with mean logs; an epoch is what lies
            between two validations. `model.stop_training` ends the run, saved.

    After `start()`: `model` (compiled), `step` (steps done), `stream` (the batches by number) and
    `best` (the best validation).
    """

    def __init__(self, recipe, callbacks=()):
        self.recipe = recipe
        self.workdir = Path(recipe.workdir)
        self.checkpoints = Checkpoints(self.workdir / "checkpoints", recipe.keep_checkpoints)
        self.callbacks = list(callbacks)
        self.step = 0
        self.skipped = []
        self.best = None
        self._wish = self._stop = None  # why this worker wants to stop; why all stop
        self._deadline = math.inf

    # === Beginning ===

    def start(self):
        """Checks what can be checked, builds model and optimizer, resumes. Returns self.

        Raises:
            UsageError: anything about the configuration, the data or the working folder that
                would make the run fail later.
        """
        recipe = self.recipe
        if recipe.max_minutes:
            self._deadline = time.monotonic() + 60 * recipe.max_minutes
        self._check_workdir()
        self.runner = make_runner(recipe.strategy, recipe.deterministic, self.workdir)
        self.runner.check_batch_size(recipe.batch_size)
        self.stream = self._open_stream()
        self.validation = None
        if recipe.validate_every:
            self.validation = ValidationSet(
                recipe.validation_dataset or recipe.dataset,
                recipe.data_dir,
                recipe.validation_images,
                recipe.validation_size,
            )
        keras.utils.set_random_seed(recipe.seed)
        with self.runner.scope(), _dtype_policy(recipe.precision):
            self.model = self._make_model()
            teacher = load_model(recipe.teacher) if recipe.teacher else None
            optimizer = make_optimizer(recipe)
            optimizer.build(self.model.trainable_variables)
            loss = DerainLoss(recipe.edge_weight)
            if recipe.loss == "psnr":
                loss = PSNRLoss(ssim_weight=recipe.ssim_weight)
            self.model.compile(optimizer=optimizer, loss=loss)
        self._check_space()
        if teacher is not None:
            self._check_teacher(teacher)
        self.runner.compile(
            self.model, optimizer, recipe.batch_size, loss, recipe.clip_norm,
            teacher, recipe.teacher_weight,
        )  # fmt: skip
        self._resume()
        return self

    def _make_model(self):
        recipe = self.recipe
        unknown = recipe.arguments().keys() - inspect.signature(MSPFN).parameters.keys()
        if unknown:
            raise UsageError(f"--model_arguments: MSPFN has no argument {', '.join(unknown)}")
        model = MSPFN.from_preset(recipe.preset, load_weights=False, **recipe.arguments())
        if recipe.init_weights:
            load_weights(model, recipe.init_weights)
        return model

    def _open_stream(self):
        recipe = self.recipe
        names, shares = zip(*parse_mixture(recipe.dataset), strict=True)
        sources = [PairSource(name, "train", recipe.data_dir) for name in names]
        decoded = 0
        for source in sources:
            decoded += 6 * int(source.sizes().prod(axis=1).mean() * len(source))  # rainy and clean
        cache = recipe.cache_mb * 2**20
        crops = recipe.crops_per_pair or (1 if decoded <= cache else 4)
        fresh_rain = None
        if recipe.fresh_rain:
            fresh_rain = FreshRain(recipe.fresh_rain, read_streaks(recipe.streaks))
        return PatchStream(
            sources,
            shares,
            recipe.batch_size,
            recipe.seed,
            cache,
            crops,
            fresh_rain,
            upright=recipe.symmetries == "upright",
        )

    def _check_workdir(self):
        """Refuses a folder that holds another run, and one that cannot be written."""
        path = self.workdir / "config.json"
        identity = self.recipe.identity()
        if path.exists():
            saved = json.loads(path.read_text()).get("recipe", {})
            different = [
                f"  --{name}: {saved.get(name)!r} there, {identity.get(name)!r} now"
                for name in sorted(saved.keys() | identity.keys())
                if saved.get(name) != identity.get(name)
            ]
            if different:
                raise UsageError(
                    f"{self.workdir} holds a run of another configuration; give it the same, or "
                    "choose another --workdir:\n" + "\n".join(different)
                )
        try:
            self.checkpoints.folder.mkdir(parents=True, exist_ok=True)
            probe = self.checkpoints.folder / f".{os.getpid()}.probe"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise UsageError(f"--workdir {self.workdir} cannot be written: {error}") from error

    def _check_space(self):
        count = sum(math.prod(variable.shape) for variable in self._variables().values())
        files = self.recipe.keep_checkpoints + 2 - len(self.checkpoints.paths())
        free = shutil.disk_usage(self.workdir).free
        if free < 4 * count * files:
            raise UsageError(
                f"--workdir {self.workdir}: {free / 2**20:.0f} MiB are free, but the checkpoints "
                f"need {4 * count * files / 2**20:.0f} MiB: make room or lower --keep_checkpoints"
            )

    def _check_teacher(self, teacher):
        rainy, clean = self.stream.batch(0, self.recipe.stages()[0][2])
        taught = keras.ops.convert_to_numpy(teacher(rainy[:1]))
        if taught.shape != clean[:1].shape:
            raise UsageError(
                f"--teacher {self.recipe.teacher}: its output is {taught.shape} for an image "
                f"{clean[:1].shape}"
            )
        psnr = -10 * np.log10(np.mean(np.square(taught - clean[:1])))
        if not psnr > _WORST_TEACHER:
            raise UsageError(
                f"--teacher {self.recipe.teacher}: its output lies in {taught.min():.2f} .. "
                f"{taught.max():.2f} and differs from the clean patch by far ({psnr:.1f} dB); a "
                "teacher takes and gives images in [0, 1]"
            )

    # === State ===

    def _variables(self):
        groups = {"model": self.model.weights, "optimizer": self.model.optimizer.variables}
        return {
            f"{group}/{index:04d}": variable
            for group, variables in groups.items()
            for index, variable in enumerate(variables)
        }

    def save_checkpoint(self):
        """Writes the state of the run (only the chief worker does)."""
        self.runner.write_back()
        if self.runner.chief:
            arrays = {
                name: self.runner.to_numpy(variable) for name, variable in self._variables().items()
            }
            state = {"skipped": self.skipped, "best": self.best}
            try:
                self.checkpoints.save(self.step, arrays, state)
            except OSError as error:
                newest = (self.checkpoints.paths() or ["none"])[-1]
                raise UsageError(
                    f"cannot save step {self.step}: {error}. Last good checkpoint: {newest}; put "
                    "that right and run again to resume"
                ) from error

    def _resume(self):
        """Takes up the newest checkpoint, or makes the first one."""
        loaded = self.checkpoints.load_newest()
        if loaded is None:
            if self.runner.chief:
                self._write_config()
            self.save_checkpoint()
            return
        arrays, state = loaded
        variables = self._variables()
        there = {name: array.shape for name, array in arrays.items()}
        here = {name: tuple(variable.shape) for name, variable in variables.items()}
        if there != here:
            raise UsageError(
                f"the checkpoints in {self.checkpoints.folder} are those of another network"
            )
        for name, variable in variables.items():
            variable.assign(arrays[name])
        self.runner.read_back()
        self.step, self.best = state["step"], state["best"]
        self.skipped = sorted({*self.skipped, *state["skipped"]})

    def _write_config(self):
        config = {
            "model": self.model.get_config(),
            "recipe": self.recipe.identity(),
            "versions": {"mspfn_tf": __version__, "keras": keras.__version__},
            "backend": keras.backend.backend(),
            "platform": platform.platform(),
        }
        with atomic_write(self.workdir / "config.json", overwrite=True) as temporary:
            temporary.write_text(json.dumps(config, indent=2) + "\n")

    @contextlib.contextmanager
    def averaged_weights(self):
        """Within it the model holds the moving average of its weights, if the recipe keeps one."""
        self.runner.write_back()
        optimizer, variables = self.model.optimizer, self.model.trainable_variables
        if not optimizer.use_ema or self.runner.to_numpy(optimizer.iterations) == 0:
            yield
            return
        own = [np.array(self.runner.to_numpy(variable)) for variable in variables]
        optimizer.finalize_variable_values(variables)
        try:
            yield
        finally:
            for variable, value in zip(variables, own, strict=True):
                variable.assign(value)
            self.runner.read_back()

    # === Steps ===

    def train_step(self, rainy, clean):
        """One step on a given global batch, float32 [batch_size, S, S, 3] in [0, 1] each.

        Returns:
            dict of floats from before the update: loss, psnr (means of the batch), gradient_norm.
        """
        logs = self.runner.train_step(self.runner.place(rainy, clean))
        self.step += 1
        self.runner.write_back()
        return {name: float(value) for name, value in logs.items()}

    def run(self):
        """Trains to the end. Returns the exit status: 0, 1 (not finite), `INTERRUPTED` (75)."""
        signals = (signal.SIGTERM, signal.SIGINT)
        handlers = {number: signal.signal(number, self._on_signal) for number in signals}
        try:
            self.start()
            print(f"{self.workdir}: {'resuming at' if self.step else 'from'} step {self.step}")
            reports = []
            if self.runner.chief:
                reports += [ProgressLine(self.recipe.steps)]
                reports += [JsonLog(self.workdir / "log.jsonl", self.step)]
                if self.recipe.tensorboard:
                    reports += [TensorBoardLog(self.workdir / "tensorboard", self._panels)]
            self._callbacks = keras.callbacks.CallbackList(
                reports + self.callbacks, model=self.model, steps=self.recipe.steps
            )
            return self._run()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _on_signal(self, number, frame):
        self._wish = signal.Signals(number).name
        signal.signal(number, signal.SIG_DFL)  # a second one ends it at once

    def _run(self):
        self.model.stop_training = False
        self._callbacks.on_train_begin()
        while self.step < self.recipe.steps and not self._stop:
            try:
                for start, stop, patch_size in self.recipe.stages():
                    if self.step < stop and not self._stop:
                        self._run_stage(max(start, self.step), stop, patch_size)
            except NotFiniteError as error:
                print(f"\nmspfn train: {error}", flush=True)
                if self.recipe.on_nan == "stop" or len(self.skipped) >= _MOST_SKIPPED:
                    return 1
                # The weights are spoilt: back to the checkpoint, and past that batch.
                self.skipped.append(error.step)
                self._resume()
        self._callbacks.on_train_end()
        if self.step < self.recipe.steps:
            self.save_checkpoint()
            print(f"\n{self._stop}: saved at step {self.step}; run again to resume", flush=True)
            return INTERRUPTED
        with self.averaged_weights():
            if self.runner.chief:
                save_weights(self.model, self.workdir / "model.weights.h5", overwrite=True)
                print(f"wrote {self.workdir / 'model.weights.h5'}", flush=True)
        return 0

    def _run_stage(self, start, stop, patch_size):
        """The steps start .. stop - 1, on patches of one size, unless something stops them."""
        recipe = self.recipe
        batches = self.runner.batches(self.stream, start, stop, patch_size, recipe.threads)
        self._begin_report()
        for step in range(start, stop):
            asked = time.monotonic()
            batch = next(batches)
            self._waited += time.monotonic() - asked
            if step not in self.skipped:
                self._pending.append((step, self.runner.train_step(batch)))
            self.step = step + 1
            if step == start:
                self._begin_timing()  # the first step compiles
            last = self.step == recipe.steps
            save = self.step % recipe.checkpoint_every == 0 or last
            validate = self.validation and (self.step % recipe.validate_every == 0 or last)
            report = self.step % recipe.log_every == 0 or self.step == stop or save or validate
            if report:
                self._report(patch_size)
                if validate:
                    self._validate()
                if save:
                    self.save_checkpoint()
            if self._must_stop(report):
                if not report:
                    self._report(patch_size)
                return
            if report:
                self._begin_report()

    def _must_stop(self, report):
        """Whether to stop now; several workers agree on that, at the reports."""
        if self.model.stop_training:
            self._wish = self._wish or "stopped by a callback"
        elif time.monotonic() > self._deadline:
            self._wish = self._wish or f"--max_minutes {self.recipe.max_minutes:g}"
        if self.runner.workers == 1:
            self._stop = self._wish
        elif report and self.runner.any_worker(bool(self._wish)):
            self._stop = self._wish or "stopped with another worker"
        return bool(self._stop)

    # === Reports ===

    def _begin_report(self):
        self._pending = []  # (step, logs that are still on the device)
        self._callbacks.on_train_batch_begin(self.step)
        self._untimed = 0
        self._waited = 0.0
        self._began = time.monotonic()

    def _begin_timing(self):
        self._untimed = len(self._pending)
        self._waited = 0.0
        self._began = time.monotonic()

    def _report(self, patch_size):
        """Fetches the logs since the last report, checks them, and hands them to the callbacks."""
        steps = [step for step, _ in self._pending]
        fetched = [{k: float(v) for k, v in logs.items()} for _, logs in self._pending]
        for step, logs in zip(steps, fetched, strict=True):
            if not math.isfinite(logs["loss"]) or not math.isfinite(logs["gradient_norm"]):
                raise NotFiniteError(
                    step,
                    f"loss {logs['loss']}, gradient norm {logs['gradient_norm']} at step {step}. "
                    f"Last good checkpoint: {self.checkpoints.paths()[-1]}. "
                    f"Batch: {', '.join(self.stream.names(step))}",
                )
        if not steps:
            return
        elapsed = max(time.monotonic() - self._began, 1e-9)
        speed = (len(steps) - self._untimed) / elapsed
        self.runner.write_back()
        logs = {
            "step": self.step,
            **{name: float(np.mean([logs[name] for logs in fetched])) for name in fetched[0]},
            "learning_rate": float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)),
            "patch_size": patch_size,
            "patches_per_second": speed * self.recipe.batch_size,
            "waiting": self._waited / elapsed,
            "seconds_left": (self.recipe.steps - self.step) / speed if speed else math.nan,
        }
        self._callbacks.on_train_batch_end(self.step - 1, logs)

    def _validate(self):
        with self.averaged_weights():
            logs = self.validation.scores(self.runner.predict)
            better = self.best is None or logs["val_psnr"] > self.best["psnr"]
            if better:
                self.best = {"step": self.step, "psnr": logs["val_psnr"], "ssim": logs["val_ssim"]}
                if self.runner.chief:
                    save_weights(self.model, self.workdir / "best.weights.h5", overwrite=True)
            epoch = self.step // self.recipe.validate_every
            self._callbacks.on_epoch_end(epoch, {"step": self.step, **logs, "best": better})

    def _panels(self):
        return self.validation.panels(self.runner.predict)


@contextlib.contextmanager
def _dtype_policy(precision):
    """Layers made within it compute in `precision`; variables are float32 in any case."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else "float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
