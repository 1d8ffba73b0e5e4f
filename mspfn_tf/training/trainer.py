"""The training loop."""

import contextlib
import math
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import keras
import numpy as np

from mspfn_tf import __version__
from mspfn_tf.errors import UsageError
from mspfn_tf.losses import DerainLoss, PSNRLoss
from mspfn_tf.model_files import load_model
from mspfn_tf.sizes import MULTIPLE_OF
from mspfn_tf.training.backends import make_runner
from mspfn_tf.training.evaluators import Evaluator
from mspfn_tf.training.meter import Meter, NotFiniteError
from mspfn_tf.training.optimizers import make_optimizer
from mspfn_tf.training.parts import make_model, open_evaluators, open_patches, open_task
from mspfn_tf.training.precision import choose_precision, dtype_policy
from mspfn_tf.training.recipe import Recipe
from mspfn_tf.training.reports import JsonLog, ProgressLine, TensorBoardLog
from mspfn_tf.training.run_folder import RunFolder
from mspfn_tf.training.stopping import Stopped, Stopper
from mspfn_tf.training.teacher import check_teacher
from mspfn_tf.weights_file import save_weights

INTERRUPTED = 75
"""Exit status of a run that a signal or its time limit stopped: saved, run again to resume."""

_MOST_SKIPPED = 10  # with on_nan "skip": more bad batches than this are no accident


class Trainer:
    """A training run in `recipe.workdir`.

        status = Trainer(recipe).run()

    trains to the end. Step by step, with batches of your own:

        with Trainer(recipe).start() as trainer:
            logs = trainer.train_step(rainy, clean)

    The working folder belongs to this trainer from `start()` to `close()`, which `run()` and the
    `with` statement call.

    Args:
        recipe: what to train.
        callbacks: further Keras callbacks. As under `fit` with `steps_per_execution`, the batch
            methods are called every `log_every` steps, with mean logs; an epoch is what lies
            between two validations. `model.stop_training` ends the run, saved.
        evaluators: what judges the run at every validation beside the validation set.

    Attributes (those from `model` on after `start()`):
        recipe: the recipe; `precision` says what "auto" was found to mean.
        folder: the `RunFolder`.
        step: steps done.
        skipped: steps left out because their loss was not finite.
        best: step, psnr and ssim of the best validation; None before the first.
        model: the compiled `MSPFN`.
        stream: the batches by number, a `PatchStream`.
        runner: the step on this backend.
    """

    def __init__(
        self,
        recipe: Recipe,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        evaluators: Sequence[Evaluator] = (),
    ):
        self.recipe = recipe
        self.callbacks = list(callbacks)
        self.evaluators = list(evaluators)
        self.folder = RunFolder(recipe.workdir, recipe.keep_checkpoints)
        self.step = 0
        self.skipped: list[int] = []
        self.best: dict[str, float] | None = None
        self._started = False
        self._stopper = Stopper()

    # === Beginning ===

    def start(self) -> Self:
        """Checks what can be checked, builds model and optimizer, resumes. Returns self.

        Raises:
            UsageError: anything about the configuration, the data or the working folder that
                would make the run fail later; another process trains in the folder; workers are
                missing or have another recipe.
        """
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def _start(self) -> None:
        recipe = self.recipe
        self.runner = make_runner(recipe.strategy, recipe.deterministic, recipe.workdir)
        if self.runner.chief:
            self.folder.open()
        recorded = self.folder.recorded()
        if recorded is not None:  # what was chosen at the beginning is kept
            if recipe.precision == "auto":
                recipe = replace(recipe, precision=recorded.get("precision", "float32"))
            if not recipe.crops_per_pair:
                recipe = replace(recipe, crops_per_pair=recorded.get("crops_per_pair", 0))
        self.runner.connect(
            self._agreement(recipe), recipe.start_timeout, lambda: self._stopper.reason
        )
        if recipe.precision == "auto":
            precision = choose_precision(keras.backend.backend(), self.runner.gpus)
            recipe = replace(recipe, precision=precision)
        self.recipe = recipe
        self._identity = recipe.identity()
        self.folder.check(self._identity)
        self.runner.check_batch_size(recipe.batch_size)

        with self.runner.scope():
            task = open_task(recipe)
        self.stream = open_patches(recipe, task)
        self._identity["pictures"] = self.stream.fingerprint()
        if recorded is None:  # runs from before it was noted have 0
            self._identity["crops_per_pair"] = self.stream.crops_per_pair
        self._evaluators: list[Evaluator] = []
        if recipe.validate_every:
            validation, others = open_evaluators(recipe, task)
            self._identity["validation_pictures"] = validation.fingerprint()
            self._evaluators = [validation, *others, *self.evaluators]
        self.folder.check(self._identity)
        if task is not None:
            task.check(self.stream.batch(0, recipe.patch_size[0], slice(0, 1))[1])
        keras.utils.set_random_seed(recipe.seed)
        with self.runner.scope(), dtype_policy(recipe.precision):
            self.model = make_model(recipe)
            teacher = load_model(recipe.teacher) if recipe.teacher else None
            optimizer = make_optimizer(recipe)
            optimizer.build(self.model.trainable_variables)
            loss = DerainLoss(recipe.edge_weight)
            if recipe.loss == "psnr":
                loss = PSNRLoss(
                    ssim_weight=recipe.ssim_weight, brightness_weight=recipe.brightness_weight
                )
            self.model.compile(optimizer=optimizer, loss=loss)
        if teacher is not None:
            patches = self.stream.batch(0, recipe.patch_size[0], slice(0, 1))
            check_teacher(teacher, recipe.teacher, *patches[:2])
        self.runner.compile(
            self.model, optimizer, recipe.batch_size, loss, recipe.clip_norm,
            teacher, recipe.teacher_weight, task, recipe.task_weight,
        )  # fmt: skip
        if self.runner.chief:
            weights = sum(math.prod(variable.shape) for variable in self._variables().values())
            self.folder.check_space(4 * weights)
        self._resume()
        if self.runner.chief:
            self.folder.write_config(self._config())
        self._started = True

    def _agreement(self, recipe: Recipe) -> dict[str, Any]:
        if self.runner.workers == 1:
            return {}
        paths = self.folder.checkpoints.paths()
        return {
            **recipe.agreement(),
            "newest checkpoint in workdir": paths[-1].name if paths else None,
            "version of mspfn_tf": __version__,
            "what precision auto means": choose_precision(keras.backend.backend(), gpus=0),
        }

    def close(self) -> None:
        """Gives the working folder back; `save_checkpoint` comes before it."""
        self._started = False
        self.folder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # === The run, in the order of time ===

    def run(self) -> int:
        """Trains to the end, from the beginning of `start` or from where steps by hand have led.

        Returns:
            The exit status: 0; 1 (loss not finite); `INTERRUPTED` (75), saved.

        Raises:
            UsageError: as `start`; or a file could not be written, when the message names the last
                good checkpoint.
        """
        self._stopper = Stopper(self.recipe.max_minutes)
        with self._stopper, self:
            try:
                if not self._started:
                    self.start()
            except Stopped as error:
                print(f"{error}; run again to begin", flush=True)
                return INTERRUPTED
            print(f"{self.folder.path}: {'resuming at' if self.step else 'from'} step {self.step}")
            if self.runner.chief and self.step < self.recipe.steps and self.folder.weights.exists():
                # Whoever names the folder as a model gets these meanwhile.
                print(
                    f"{self.folder.weights} stays as an earlier end left it until step "
                    f"{self.recipe.steps} is done",
                    flush=True,
                )
            self._meter = Meter(self.recipe.batch_size, self.recipe.steps)
            self._callbacks = keras.callbacks.CallbackList(
                self._reports() + self.callbacks, model=self.model, steps=self.recipe.steps
            )
            self.model.stop_training = False
            self._callbacks.on_train_begin()
            self._begin_epoch()
            reason = None
            while reason is None and self.step < self.recipe.steps:
                try:
                    reason = self._train()
                    if reason is not None:
                        self.save_checkpoint()
                except NotFiniteError as error:
                    if not self._skip(error):
                        return 1
            self._callbacks.on_train_end()
            if reason is not None:
                print(f"\n{reason}: saved at step {self.step}; run again to resume", flush=True)
                return INTERRUPTED
            with self.averaged_weights():
                if self.runner.chief:
                    self._save_weights(self.folder.weights)
                    print(f"wrote {self.folder.weights}", flush=True)
            return 0

    def _reports(self) -> list[keras.callbacks.Callback]:
        if not self.runner.chief:
            return []
        reports = [ProgressLine(self.recipe.steps), JsonLog(self.folder, self.step)]
        if self.recipe.tensorboard:
            reports.append(TensorBoardLog(self.folder.path / "tensorboard", self._panels))
        return reports

    def _train(self) -> str | None:
        """Steps until the last one (None) or until something stops them: why."""
        for _, end, patch_size in self.recipe.stages():
            if self.step >= end:
                continue
            first = self.step
            batches = self.runner.batches(self.stream, first, end, patch_size, self.recipe.threads)
            self._begin_report()
            for step in range(first, end):
                with self._meter.waiting():
                    batch = next(batches)
                if step not in self.skipped:
                    self._meter.add(step, self.runner.train_step(batch))
                self.step = step + 1
                if step == first:
                    self._meter.restart_clock()  # the first step of a size compiles
                evaluate = bool(self._evaluators) and self._due(self.recipe.validate_every)
                save = self._due(self.recipe.checkpoint_every)
                report = evaluate or save or self._due(self.recipe.log_every) or self.step == end
                if report:
                    self._report(patch_size)
                if evaluate:
                    self._evaluate()
                if save:
                    self.save_checkpoint()
                if reason := self._reason_to_stop(report):
                    if not report:
                        self._report(patch_size)
                    return reason
                if evaluate:
                    self._begin_epoch()
                if report and self.step < end:
                    self._begin_report()
        return None

    def _due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.recipe.steps

    def _begin_report(self) -> None:
        self._meter.start()
        self._callbacks.on_train_batch_begin(self.step)

    def _begin_epoch(self) -> None:
        if self._evaluators and self.step < self.recipe.steps:
            self._callbacks.on_epoch_begin(self.step // self.recipe.validate_every + 1)

    def _report(self, patch_size: int) -> None:
        logs = self._meter.report(self.step)
        if logs:
            self.runner.write_back()
            rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
            logs |= {"learning_rate": rate, "patch_size": patch_size}
            self._callbacks.on_train_batch_end(self.step - 1, logs)

    def _evaluate(self) -> None:
        self._state()  # spoilt weights are no candidates for the best
        with self.averaged_weights():
            logs: dict[str, float] = {}
            for evaluator in self._evaluators:
                scores = evaluator.scores(self._predict)
                if not isinstance(scores, Mapping):
                    raise UsageError(
                        f"{type(evaluator).__name__}.scores gives {scores!r}: expected a dict of "
                        "numbers by name"
                    )
                if twice := logs.keys() & scores.keys():
                    raise UsageError(f"two evaluators give {', '.join(sorted(twice))}")
                if own := {"step", "best"} & scores.keys():
                    raise UsageError(
                        f"an evaluator gives {', '.join(sorted(own))}, as the logs call something "
                        "else: choose another name"
                    )
                logs |= scores
            better = self.best is None or logs["val_psnr"] > self.best["psnr"]
            if better:
                self.best = {"step": self.step, "psnr": logs["val_psnr"], "ssim": logs["val_ssim"]}
                if self.runner.chief:
                    self._save_weights(self.folder.best_weights)
            epoch = math.ceil(self.step / self.recipe.validate_every)  # the last may be shorter
            self._callbacks.on_epoch_end(epoch, {"step": self.step, **logs, "best": better})

    def _predict(self, rainy: np.ndarray) -> np.ndarray:
        derained = self.runner.predict(rainy)
        if not np.isfinite(derained).all():  # finite weights may be as large as that
            step = max(self.step - 1, 0)
            raise NotFiniteError(
                step, f"what the network makes of pictures is not finite after step {step}"
            )
        return derained

    def _panels(self) -> Iterator[tuple[str, list[np.ndarray]]]:
        for evaluator in self._evaluators:
            yield from evaluator.panels(self.runner.predict)

    def _reason_to_stop(self, report: bool) -> str | None:
        """Why to stop now; several workers agree on that, at the reports."""
        reason = self._stopper.reason
        if self.model.stop_training:
            reason = reason or "stopped by a callback"
        if self.runner.workers == 1:
            return reason
        if report and self.runner.any_worker(reason is not None):
            return reason or "stopped with another worker"
        return None

    def _skip(self, error: NotFiniteError) -> bool:
        """Goes back to the last checkpoint, past the bad batch; False where the run is to end."""
        paths = self.folder.checkpoints.paths()
        print(
            f"\nmspfn train: {error}. Last good checkpoint: {paths[-1] if paths else 'none'}. "
            f"Batch: {', '.join(self.stream.names(error.step))}",
            flush=True,
        )
        again = error.step in self.skipped  # it was not that batch: the checkpoint leads there
        if self.recipe.on_nan == "stop" or again or len(self.skipped) >= _MOST_SKIPPED:
            return False
        self.skipped.append(error.step)
        self._resume()
        for callback in self._callbacks.callbacks:
            if isinstance(callback, JsonLog):
                callback.rewind(self.step)
        return True

    # === One step ===

    def train_step(
        self, rainy: np.ndarray, clean: np.ndarray, *labels: np.ndarray
    ) -> dict[str, float]:
        """One step on a given global batch, float32 [batch_size, S, S, 3] in [0, 1] each.

        Args:
            rainy, clean: the patches.
            *labels: where the recipe has a task that needs them, int32 [batch_size, S, S, 1], -1
                where nothing is known.

        Returns:
            From before the update: loss, psnr (means of the batch; dB, RGB), gradient_norm, and
            task_loss where there is a task.

        Raises:
            UsageError: an array of another shape or type.
        """
        for name, array in (("rainy", rainy), ("clean", clean)):
            shape = (self.recipe.batch_size, *rainy.shape[1:3], 3)
            if (
                array.dtype != np.float32
                or array.shape != shape
                or any(s % MULTIPLE_OF for s in shape[1:3])
            ):
                raise UsageError(
                    f"{name} is {array.dtype} {list(array.shape)}: expected float32 "
                    f"[{self.recipe.batch_size}, S, S, 3] in [0, 1], the same for rainy and clean, "
                    f"S a multiple of {MULTIPLE_OF}"
                )
        shapes = [(label.dtype, label.shape) for label in labels]
        shape = (*rainy.shape[:3], 1)
        if shapes != [(np.int32, shape)] * self.stream.labelled:
            given = ", ".join(f"{dtype} {list(of)}" for dtype, of in shapes) or "none"
            expected = f"int32 {list(shape)}" if self.stream.labelled else "none"
            raise UsageError(f"labels: received {given}; expected {expected} with this recipe")
        logs = self.runner.train_step(self.runner.place(rainy, clean, *labels))
        self.step += 1
        self.runner.write_back()
        return {name: float(value) for name, value in logs.items()}

    # === State ===

    def _variables(self) -> dict[str, keras.Variable]:
        groups = {"model": self.model.weights, "optimizer": self.model.optimizer.variables}
        return {
            f"{group}/{index:04d}": variable
            for group, variables in groups.items()
            for index, variable in enumerate(variables)
        }

    def _state(self) -> dict[str, np.ndarray]:
        self.runner.write_back()
        arrays = {
            name: self.runner.to_numpy(variable) for name, variable in self._variables().items()
        }
        for name, array in arrays.items():
            if not np.all(np.isfinite(array)):
                step = max(self.step - 1, 0)
                raise NotFiniteError(step, f"{name} holds NaN or infinity after step {step}")
        return arrays

    def save_checkpoint(self) -> None:
        """Writes the state of the run (only the chief worker does).

        Raises:
            NotFiniteError: a weight is NaN or infinite; nothing is written.
            UsageError: the file cannot be written.
        """
        arrays = self._state()
        if self.runner.chief:
            state = {"skipped": self.skipped, "best": self.best}
            self.folder.save(self.step, arrays, state, self._identity)

    def _save_weights(self, path) -> None:
        with self.folder.writing(path):
            save_weights(self.model, path, overwrite=True)

    def _resume(self) -> None:
        """Takes up the newest checkpoint, or makes the first one."""
        loaded = self.folder.load(self._identity)
        if loaded is None:
            self.save_checkpoint()
            return
        arrays, state = loaded
        variables = self._variables()
        there = {name: array.shape for name, array in arrays.items()}
        here = {name: tuple(variable.shape) for name, variable in variables.items()}
        if there != here:
            raise UsageError(
                f"the checkpoints in {self.folder.checkpoints.folder} are those of another network"
            )
        if state["step"] > self.recipe.steps:
            raise UsageError(
                f"steps {self.recipe.steps}: the run in {self.folder.path} has done "
                f"{state['step']}, and cannot go back; give at least so many"
            )
        for name, variable in variables.items():
            variable.assign(arrays[name])
        self.runner.read_back()
        self.step, self.best = state["step"], state["best"]
        self.skipped = sorted({*self.skipped, *state["skipped"]})

    def _config(self) -> Mapping[str, Any]:
        return {
            "model": self.model.get_config(),
            "recipe": self._identity,
            "versions": {"mspfn_tf": __version__, "keras": keras.__version__},
            "backend": keras.backend.backend(),
            "platform": platform.platform(),
        }

    @contextlib.contextmanager
    def averaged_weights(self) -> Iterator[None]:
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
