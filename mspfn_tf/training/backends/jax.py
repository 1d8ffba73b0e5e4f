"""The training step on JAX."""

import os
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from mspfn_tf.errors import UsageError
from mspfn_tf.training.backends.runner import Runner, clipped, global_norm


class JaxRunner(Runner):
    """One `jax.jit` function over all devices of the process, the batch split between them."""

    def __init__(self, strategy: str, deterministic: bool, workdir: str | os.PathLike | None):
        import jax

        if strategy not in ("auto", "one_device", "mirrored"):
            raise UsageError(f"strategy {strategy} needs the TensorFlow backend; on JAX use auto")
        if deterministic and jax.default_backend() == "gpu":
            raise UsageError(
                "deterministic on JAX: set XLA_FLAGS=--xla_gpu_deterministic_ops=true instead"
            )
        if workdir is not None:
            # What took minutes to compile is found again when the run resumes.
            jax.config.update(
                "jax_compilation_cache_dir", str(Path(workdir).resolve() / "jax_cache")
            )
        devices = jax.devices()[:1] if strategy == "one_device" else jax.devices()
        self.replicas = len(devices)
        self.gpus = len(devices) if jax.default_backend() == "gpu" else 0
        self._distribution = None
        if self.replicas > 1:
            self._distribution = keras.distribution.DataParallel(devices=devices)
            keras.distribution.set_distribution(self._distribution)

    def _build(self):
        import jax

        def loss_of(trainable, fixed, task_state, rainy, clean, taught, labels):
            derained, fixed = self.model.stateless_call(trainable, fixed, rainy, training=True)
            loss, logs = self._measures(derained, clean, taught, labels, task_state)
            return loss, (logs, fixed)

        def step(trainable, fixed, slots, frozen, rainy, clean, labels=None):
            teacher_state, task_state = frozen
            taught = None
            if self.teacher is not None:
                taught, _ = self.teacher.stateless_call(*teacher_state, rainy, training=False)
            gradient_of = jax.value_and_grad(loss_of, has_aux=True)
            (loss, (logs, fixed)), gradients = gradient_of(
                trainable, fixed, task_state, rainy, clean, taught, labels
            )
            norm = global_norm(gradients)
            gradients = clipped(gradients, norm, self.clip_norm)
            trainable, slots = self.optimizer.stateless_apply(slots, gradients, trainable)
            return (trainable, fixed, slots), {
                "loss": loss,
                **logs,
                "gradient_norm": norm,
            }

        def predict(trainable, fixed, rainy):
            return self.model.stateless_call(trainable, fixed, rainy, training=False)[0]

        self._step = jax.jit(step, donate_argnums=(0, 1, 2))
        self._predict = jax.jit(predict)
        # Arguments of the step: as constants, the weights would be compiled into it.
        teacher_state = None
        if self.teacher is not None:
            groups = self.teacher.trainable_variables, self.teacher.non_trainable_variables
            teacher_state = [[v.value for v in group] for group in groups]
        self._frozen = teacher_state, None if self.task is None else self.task.state
        self.read_back()

    def _variables(self):
        model = self.model
        return (
            model.trainable_variables,
            model.non_trainable_variables,
            self.optimizer.variables,
        )

    def write_back(self) -> None:
        for variables, values in zip(self._variables(), self._state, strict=True):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)

    def read_back(self) -> None:
        # Copies: the step gives its arguments' memory away.
        self._state = tuple([ops.copy(v.value) for v in group] for group in self._variables())

    def _place(self, arrays, first_row):
        if self._distribution is None:
            return tuple(map(ops.convert_to_tensor, arrays))
        layout = self._distribution.get_data_layout(arrays[0].shape)
        return tuple(keras.distribution.distribute_tensor(x, layout) for x in arrays)

    def train_step(self, batch: Any) -> dict[str, Any]:
        self._state, logs = self._step(*self._state, self._frozen, *batch)
        return logs

    def predict(self, rainy: np.ndarray) -> np.ndarray:
        groups = self._variables()[:2]
        return np.asarray(self._predict(*[[v.value for v in group] for group in groups], rainy))
