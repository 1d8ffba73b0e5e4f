"""Training: one loop for every backend and strategy, which can be killed at any moment.

    recipe = Recipe(preset="mspfn_mobile", dataset="rain800", data_dir=..., workdir=...)
    status = Trainer(recipe).run()

`Trainer(recipe).start()` followed by `train_step(rainy, clean)` is the same training with batches of
your own.
"""

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

from mspfn_tf import __version__, metrics
from mspfn_tf.checkpoints import Checkpoints
from mspfn_tf.errors import UsageError
from mspfn_tf.files import atomic_write
from mspfn_tf.input_pipeline import PairSource, PatchStream, parse_mixture
from mspfn_tf.losses import DerainLoss
from mspfn_tf.model import MSPFN
from mspfn_tf.recipe import Recipe
from mspfn_tf.strategies import make_runner
from mspfn_tf.training_reports import JsonLog, ProgressLine, TensorBoardLog
from mspfn_tf.weights_file import load_model, load_weights, save_weights

__all__ = ["INTERRUPTED", "NotFinite", "PublishedSchedule", "Recipe", "Trainer"]

INTERRUPTED = 75
"""Exit status of a run that was stopped by a signal or its time limit, saved and to be resumed."""

_MOST_SKIPPED = 10  # with --on_nan skip: more bad batches than this are no accident


class NotFinite(Exception):
    """Loss or gradient was NaN or infinite at `step`."""

    def __init__(self, step, message):
        super().__init__(message)
        self.step = step


@keras.saving.register_keras_serializable(package="mspfn_tf")
class PublishedSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """The published learning rate: initial * 0.8^(step / 20000) + 1e-6, continuous."""

    def __init__(self, initial=5e-4):
        self.initial = initial

    def __call__(self, step):
        step = keras.ops.cast(step, "float32")
        return self.initial * keras.ops.power(0.8, step / 20_000.0) + 1e-6

    def get_config(self):
        return {"initial": self.initial}


def make_optimizer(recipe):
    """The Keras optimizer of a recipe, with its schedule and moving average."""
    if recipe.schedule == "published":
        schedule = PublishedSchedule(recipe.learning_rate)
    else:
        schedule = keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=0.0 if recipe.warmup_steps else recipe.learning_rate,
            warmup_target=recipe.learning_rate if recipe.warmup_steps else None,
            warmup_steps=recipe.warmup_steps,
            decay_steps=recipe.steps - recipe.warmup_steps,
            alpha=0.01,
        )
    # Keras' Adam is in the published (epsilon-hat) form.
    shared = {
        "learning_rate": schedule,
        "beta_1": 0.9,
        "beta_2": 0.999,
        "epsilon": 1e-8,
    }
    if recipe.ema:
        shared.update(use_ema=True, ema_momentum=recipe.ema)
    if recipe.optimizer == "adamw":
        return keras.optimizers.AdamW(weight_decay=recipe.weight_decay, **shared)
    return keras.optimizers.Adam(**shared)


class Trainer:
    """A training run in `recipe.workdir`.

    Args:
        recipe: `Recipe`.
        callbacks: further Keras callbacks. As under `fit` with `steps_per_execution`, the batch
            methods are called every `log_every` steps, with the mean logs; an epoch is what lies
            between two validations.
    """

    def __init__(self, recipe, callbacks=()):
        self.recipe = recipe
        self.workdir = Path(recipe.workdir)
        self.checkpoints = Checkpoints(
            self.workdir / "checkpoints", recipe.keep_checkpoints
        )
        self.callbacks = list(callbacks)
        self.model = None
        self.step = 0
        self.skipped = []
        self.best = None
        self._pending = []  # (step, logs still on the device)
        self._stop = None

    # === Beginning ===

    def start(self):
        """Builds model and optimizer, checks what can be checked, resumes. Returns self.

        Raises:
            UsageError: anything about the configuration, the data or the working folder that
                would make the run fail later.
        """
        recipe = self.recipe
        self._check_workdir()
        self.runner = make_runner(recipe.strategy, recipe.deterministic)
        if recipe.batch_size % self.runner.replicas:
            raise UsageError(
                f"--batch_size {recipe.batch_size} must be divisible by the "
                f"{self.runner.replicas} replicas"
            )
        self.stream = self._open_stream()
        self.validation = self._open_validation()
        keras.utils.set_random_seed(recipe.seed)
        policy = "mixed_bfloat16" if recipe.precision == "bfloat16" else "float32"
        keras.config.set_dtype_policy(policy)
        with self.runner.scope():
            self.model = self._make_model()
            teacher = load_model(recipe.teacher) if recipe.teacher else None
            optimizer = make_optimizer(recipe)
            optimizer.build(self.model.trainable_variables)
            loss = DerainLoss(recipe.edge_weight)
            self.model.compile(optimizer=optimizer, loss=loss)
        objective = _objective(loss, teacher, recipe.teacher_weight)
        self.runner.compile(
            self.model, optimizer, objective, recipe.batch_size, recipe.clip_norm
        )
        self._check_space()
        self._resume()
        return self

    def _make_model(self):
        recipe = self.recipe
        try:
            model = MSPFN.from_preset(
                recipe.preset, load_weights=False, **recipe.arguments()
            )
        except TypeError as error:
            raise UsageError(
                f"--model_arguments {recipe.model_arguments}: {error}"
            ) from error
        if recipe.init_weights:
            load_weights(model, recipe.init_weights)
        return model

    def _open_stream(self):
        recipe = self.recipe
        names, shares = zip(*parse_mixture(recipe.dataset))
        sources = [PairSource(name, "train", recipe.data_dir) for name in names]
        needed = 0
        largest_patch = max(size for _, _, size in recipe.stages())
        for source in sources:
            sizes = source.sizes()
            smallest = int(np.argmin(sizes.min(axis=1)))
            if sizes[smallest].min() < largest_patch:
                raise UsageError(
                    f"--patch_size {recipe.patch_size}: {source.name(smallest)} is only "
                    f"{sizes[smallest][0]}x{sizes[smallest][1]}"
                )
            needed += 6 * int(sizes.prod(axis=1).sum())
        cache = recipe.cache_mb * 2**20
        crops = recipe.crops_per_pair or (1 if needed <= cache else 4)
        return PatchStream(
            sources, shares, recipe.batch_size, recipe.seed, cache, crops
        )

    def _open_validation(self):
        """The fixed validation set: (names, rainy, clean), or None."""
        recipe = self.recipe
        if not recipe.validate_every:
            return None
        names, pairs = [], []
        for dataset, _ in parse_mixture(recipe.validation_dataset or recipe.dataset):
            source = PairSource(dataset, "validation", recipe.data_dir)
            count = min(recipe.validation_images, len(source))
            for index in np.linspace(0, len(source) - 1, count).round().astype(int):
                names.append(source.name(index))
                pairs.append(source[index])
        # One static shape, so that the network is compiled once.
        side = (
            min(recipe.validation_size, *(min(pair[0].shape[:2]) for pair in pairs))
            // 8
            * 8
        )

        def centre(image):
            top, left = ((length - side) // 2 for length in image.shape[:2])
            return image[top : top + side, left : left + side]

        rainy, clean = (np.stack([centre(pair[i]) for pair in pairs]) for i in (0, 1))
        return names, rainy, clean

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
            raise UsageError(
                f"--workdir {self.workdir} cannot be written: {error}"
            ) from error

    def _check_space(self):
        size = 4 * (
            self.model.count_params()
            + sum(math.prod(v.shape) for v in self.model.optimizer.variables)
        )
        needed = (
            self.recipe.keep_checkpoints + 2 - len(self.checkpoints.paths())
        ) * size
        free = shutil.disk_usage(self.workdir).free
        if free < needed:
            raise UsageError(
                f"--workdir {self.workdir}: {free / 2**20:.0f} MiB free, but the checkpoints need "
                f"{needed / 2**20:.0f} MiB; make room or lower --keep_checkpoints"
            )

    # === State ===

    def _arrays(self):
        self.runner.write_back()
        groups = {
            "model": self.model.weights,
            "optimizer": self.model.optimizer.variables,
        }
        return {
            f"{group}/{index:04d}": variable
            for group, variables in groups.items()
            for index, variable in enumerate(variables)
        }

    def save_checkpoint(self):
        """Writes the state of the run; a no-op on workers that are not the chief."""
        arrays = {name: np.asarray(v) for name, v in self._arrays().items()}
        if self.runner.chief:
            state = {"skipped": self.skipped, "best": self.best}
            self.checkpoints.save(self.step, arrays, state)

    def _resume(self):
        loaded = self.checkpoints.load_newest()
        if loaded is None:
            self._write_config()
            self.save_checkpoint()
            return
        arrays, state = loaded
        variables = self._arrays()
        if {k: v.shape for k, v in arrays.items()} != {
            k: tuple(v.shape) for k, v in variables.items()
        }:
            raise UsageError(
                f"the checkpoints in {self.workdir} are those of another network"
            )
        for name, variable in variables.items():
            variable.assign(arrays[name])
        self.runner.read_back()
        self.step, self.best = state["step"], state["best"]
        self.skipped = sorted({*self.skipped, *state["skipped"]})

    def _write_config(self):
        if self.runner.chief:
            config = {
                "model": self.model.get_config(),
                "recipe": self.recipe.identity(),
                "versions": {"mspfn_tf": __version__, "keras": keras.__version__},
                "backend": keras.backend.backend(),
                "platform": platform.platform(),
            }
            with atomic_write(
                self.workdir / "config.json", overwrite=True
            ) as temporary:
                temporary.write_text(json.dumps(config, indent=2) + "\n")

    def averaged_weights(self):
        """Context in which the model holds the averaged weights, where there are any."""
        return _Averaged(self)

    # === Steps ===

    def train_step(self, rainy, clean):
        """One step on a global batch, float32 [batch_size, S, S, 3] in [0, 1] each.

        Returns:
            dict of floats: loss and psnr (means of the batch) and gradient_norm, before the update.
        """
        logs = self.runner.train_step(self.runner.place(rainy, clean))
        self.step += 1
        self.runner.write_back()
        return {name: float(value) for name, value in logs.items()}

    def run(self):
        """Trains to the end and returns the exit status: 0, 1 (not finite) or INTERRUPTED."""
        self.start()
        began = time.monotonic()
        if self.recipe.max_minutes:
            self._deadline = began + 60 * self.recipe.max_minutes
        else:
            self._deadline = math.inf
        if self.step >= self.recipe.steps:
            print(f"{self.workdir}: all {self.step} steps are done")
        elif self.step:
            print(f"{self.workdir}: resuming at step {self.step}")
        reports = []
        if self.runner.chief:
            reports += [ProgressLine(self.recipe.steps)]
            reports += [JsonLog(self.workdir / "log.jsonl", self.step)]
            if self.recipe.tensorboard:
                reports += [TensorBoardLog(self.workdir / "tensorboard", self._panels)]
        self._callbacks = keras.callbacks.CallbackList(
            reports + self.callbacks, model=self.model, steps=self.recipe.steps
        )
        previous = {
            s: signal.signal(s, self._on_signal)
            for s in (signal.SIGTERM, signal.SIGINT)
        }
        try:
            return self._run()
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _on_signal(self, number, frame):
        self._stop = signal.Signals(number).name
        signal.signal(number, signal.SIG_DFL)  # a second one ends it at once

    def _run(self):
        self.model.stop_training = False
        self._callbacks.on_train_begin()
        while True:
            try:
                for start, stop, patch_size in self.recipe.stages():
                    if self.step < stop and not self._stop:
                        self._run_stage(max(start, self.step), stop, patch_size)
                break
            except NotFinite as error:
                print(f"mspfn train: {error}", flush=True)
                if self.recipe.on_nan == "stop" or len(self.skipped) >= _MOST_SKIPPED:
                    return 1
                self.skipped.append(error.step)
                self._resume()
        if self._stop:
            self.save_checkpoint()
            print(
                f"{self._stop}: saved at step {self.step}; run again to resume",
                flush=True,
            )
            return INTERRUPTED
        self._callbacks.on_train_end()
        if self.runner.chief:
            with self.averaged_weights():
                save_weights(
                    self.model, self.workdir / "model.weights.h5", overwrite=True
                )
            print(f"wrote {self.workdir / 'model.weights.h5'}", flush=True)
        return 0

    def _run_stage(self, start, stop, patch_size):
        recipe = self.recipe
        batches = self.runner.batches(
            self.stream, start, stop, patch_size, recipe.threads
        )
        self._begin_report()
        for step in range(start, stop):
            asked = time.monotonic()
            batch = next(batches)
            self._waited += time.monotonic() - asked
            if step not in self.skipped:
                self._pending.append((step, self.runner.train_step(batch)))
            self.step = step + 1
            if self.model.stop_training:
                self._stop = "stopped by a callback"
            elif time.monotonic() > self._deadline:
                self._stop = f"--max_minutes {recipe.max_minutes:g}"
            last = self.step == recipe.steps
            save = self.step % recipe.checkpoint_every == 0 or last or self._stop
            validate = self.validation and (
                last
                or (recipe.validate_every and self.step % recipe.validate_every == 0)
            )
            if self.step % recipe.log_every == 0 or save or validate:
                self._report(patch_size)
                if validate:
                    self._validate()
                if save:
                    self.save_checkpoint()
                self._begin_report()
            if self._stop:
                return

    # === Reports ===

    def _begin_report(self):
        self._pending = []
        self._waited = 0.0
        self._began = time.monotonic()
        self._callbacks.on_train_batch_begin(self.step)

    def _report(self, patch_size):
        """Fetches the logs since the last report, checks them, and hands them to the callbacks."""
        steps = [step for step, _ in self._pending]
        fetched = [{k: float(v) for k, v in logs.items()} for _, logs in self._pending]
        for step, logs in zip(steps, fetched):
            if not all(math.isfinite(logs[name]) for name in ("loss", "gradient_norm")):
                newest = self.checkpoints.paths()[-1]
                raise NotFinite(
                    step,
                    f"loss {logs['loss']}, gradient norm {logs['gradient_norm']} at step {step}. "
                    f"Last good checkpoint: {newest}. Batch: {', '.join(self.stream.names(step))}",
                )
        if not steps:
            return
        elapsed = time.monotonic() - self._began
        self._callbacks.on_train_batch_end(
            self.step - 1,
            {
                "step": self.step,
                **{
                    k: float(np.mean([logs[k] for logs in fetched])) for k in fetched[0]
                },
                "learning_rate": float(
                    keras.ops.convert_to_numpy(self._learning_rate())
                ),
                "patch_size": patch_size,
                "steps_per_second": len(steps) / elapsed,
                "patches_per_second": len(steps) * self.recipe.batch_size / elapsed,
                "waiting": self._waited / elapsed,
            },
        )

    def _learning_rate(self):
        self.runner.write_back()
        return self.model.optimizer.learning_rate

    def _derain(self, rainy):
        return self.runner.predict(np.float32(rainy) / np.float32(255))

    def _validate(self):
        names, rainy, clean = self.validation
        with self.averaged_weights():
            scores = []
            for index in range(len(names)):
                derained = self._derain(rainy[index : index + 1])[0]
                scores.append(
                    [f(clean[index], derained) for f in (metrics.psnr, metrics.ssim)]
                    + [
                        f(clean[index], rainy[index])
                        for f in (metrics.psnr, metrics.ssim)
                    ]
                )
            psnr, ssim, input_psnr, input_ssim = (
                float(x) for x in np.mean(scores, axis=0)
            )
            best = self.best is None or psnr > self.best["psnr"]
            if best:
                self.best = {"step": self.step, "psnr": psnr, "ssim": ssim}
                if self.runner.chief:
                    save_weights(
                        self.model, self.workdir / "best.weights.h5", overwrite=True
                    )
            logs = {"val_psnr": psnr, "val_ssim": ssim, "best": best}
            logs |= {"val_input_psnr": input_psnr, "val_input_ssim": input_ssim}
            epoch = self.step // self.recipe.validate_every
            self._callbacks.on_epoch_end(epoch, {"step": self.step, **logs})

    def _panels(self):
        names, rainy, clean = self.validation
        for index in range(min(4, len(names))):
            derained = self._derain(rainy[index : index + 1])[0]
            yield names[index], rainy[index] / 255, derained, clean[index] / 255


class _Averaged:
    def __init__(self, trainer):
        self.trainer = trainer
        optimizer = trainer.model.optimizer
        self.active = optimizer.use_ema and int(optimizer.iterations) > 0

    def __enter__(self):
        self.trainer.runner.write_back()
        if self.active:
            variables = self.trainer.model.trainable_variables
            self.own = [np.array(variable) for variable in variables]
            self.trainer.model.optimizer.finalize_variable_values(variables)

    def __exit__(self, *error):
        if self.active:
            for variable, value in zip(
                self.trainer.model.trainable_variables, self.own
            ):
                variable.assign(value)
            self.trainer.runner.read_back()


def _objective(loss, teacher, weight):
    """Loss per example against the truth and, where there is a teacher, its output."""

    def objective(derained, rainy, clean):
        losses = loss.call(clean, derained)
        if teacher is not None:
            taught = keras.ops.stop_gradient(teacher(rainy, training=False))
            losses = (1 - weight) * losses + weight * loss.call(taught, derained)
        return losses

    return objective
