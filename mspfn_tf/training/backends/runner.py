"""What the runners of all backends share."""

import abc
import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from mspfn_tf.errors import UsageError
from mspfn_tf.training.patch_stream import PatchStream, read_ahead
from mspfn_tf.training.stopping import StopReason
from mspfn_tf.training.task_loss import TaskLoss


def global_norm(gradients: Sequence) -> Any:
    """Euclidean norm of all gradients together."""
    return ops.sqrt(sum(ops.sum(ops.square(gradient)) for gradient in gradients))


def clipped(gradients: Sequence, norm: Any, limit: float) -> Sequence:
    """The gradients, scaled so that their global norm is at most `limit` (0: no limit).

    Args:
        gradients: tensors.
        norm: their `global_norm`.
        limit: largest norm.
    """
    if not limit:
        return gradients
    scale = ops.minimum(1.0, limit / ops.maximum(norm, 1e-12))
    return [gradient * scale for gradient in gradients]


# What a backend does not need of `connect`, `_build`, `write_back` and `read_back` stays empty.
# ruff: noqa: B027


class Runner(abc.ABC):
    """Makes the training step of one backend.

    In the order of use: `connect()`, `scope()` for making variables, `compile(...)`, `batches(...)`
    or `place(rainy, clean)`, `train_step(batch)`, `predict(rainy)`. The loss is always the mean
    over the *global* batch, and gradients are clipped by the norm of the whole, summed gradient, so
    that the number of devices does not show in the results.

    Attributes:
        replicas: devices of all workers.
        workers: processes that train together.
        chief: whether this one writes.
        gpus: GPUs among the replicas of this process.
        rows: the rows of the global batch that this process takes.
    """

    replicas = 1
    workers = 1
    chief = True
    gpus = 0
    rows = slice(None)

    def connect(self, agreement: Mapping[str, Any], minutes: float, stop: StopReason) -> None:
        """Joins the other workers, where there are any; before it no device is known.

        Args:
            agreement: what must be the same on all workers, as JSON can hold it.
            minutes: how long to wait for them.
            stop: tells why to give up waiting.

        Raises:
            UsageError: workers are missing, or have another agreement.
            Stopped: `stop` said so.
        """

    def scope(self) -> contextlib.AbstractContextManager:
        """Context in which the variables of model and optimizer are made."""
        return contextlib.nullcontext()

    def check_batch_size(self, batch_size: int) -> None:
        """Raises `UsageError` if the replicas cannot share a batch evenly."""
        if batch_size % self.replicas:
            raise UsageError(
                f"batch_size {batch_size} must be divisible by the {self.replicas} replicas"
            )

    def compile(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        batch_size: int,
        loss: keras.losses.Loss,
        clip_norm: float = 0.0,
        teacher: keras.Model | None = None,
        teacher_weight: float = 0.0,
        task: TaskLoss | None = None,
        task_weight: float = 0.0,
    ) -> None:
        """Prepares `train_step`.

        Args:
            model: the network.
            optimizer: its Keras optimizer, built.
            batch_size: size of the global batch.
            loss: Keras loss whose `call` gives one value per example.
            clip_norm: largest norm of the gradient; 0: no clipping.
            teacher: network whose output is learnt too, or None.
            teacher_weight: share of that in the loss, 0..1.
            task: loss of a frozen network on the derained patches, which is added, or None.
            task_weight: factor of that.
        """
        self.check_batch_size(batch_size)
        self.model, self.optimizer, self.teacher = model, optimizer, teacher
        self.batch_size, self.loss, self.clip_norm = batch_size, loss, clip_norm
        self.teacher_weight = teacher_weight
        self.task, self.task_weight = task, task_weight
        self._build()

    def _build(self) -> None:
        """Compiles the step of this backend."""

    def batches(
        self, stream: PatchStream, start: int, stop: int, patch_size: int, threads: int
    ) -> Iterator:
        """Yields the batches start .. stop - 1 of a `PatchStream`, ready for `train_step`."""
        for arrays in read_ahead(stream, start, stop, patch_size, self.rows, threads):
            yield self._place(arrays, self.rows.start or 0)

    def place(self, *arrays: np.ndarray) -> Any:
        """A given global batch, made ready for `train_step`.

        Args:
            *arrays: rainy and clean, float32 [batch, S, S, 3] each; labels if the task needs them.
        """
        return self._place(arrays, 0)

    @abc.abstractmethod
    def _place(self, arrays: Sequence[np.ndarray], first_row: int) -> Any:
        """This worker's rows of a batch, which begin at `first_row`, on its devices."""

    @abc.abstractmethod
    def train_step(self, batch: Any) -> dict[str, Any]:
        """One step; scalars that may still be computed: loss, psnr, gradient_norm, task_loss."""

    @abc.abstractmethod
    def predict(self, rainy: np.ndarray) -> np.ndarray:
        """The derained pictures, float32 as the rainy ones [batch, H, W, 3]."""

    def _measures(
        self, derained: Any, clean: Any, taught: Any, labels: Any = None, task_state: Any = None
    ) -> tuple[Any, dict[str, Any]]:
        """The loss of these rows as part of the mean, and likewise what is only reported.

        Reported are the RGB PSNR (dB) of the clipped output, and the task's loss, if there is one.
        """
        losses = self.loss.call(clean, derained)
        if taught is not None:
            share = self.teacher_weight
            losses = (1 - share) * losses + share * self.loss.call(taught, derained)
        error = ops.mean(ops.square(ops.clip(derained, 0.0, 1.0) - clean), axis=(1, 2, 3))
        psnr = (-10.0 / math.log(10.0)) * ops.log(ops.maximum(error, 1e-10))
        logs = {"psnr": ops.sum(psnr) / self.batch_size}
        if self.task is not None:
            task_losses = self.task.losses(derained, clean, labels, task_state)
            losses = losses + self.task_weight * task_losses
            logs["task_loss"] = ops.sum(task_losses) / self.batch_size
        return ops.sum(losses) / self.batch_size, logs

    def any_worker(self, flag: bool) -> bool:
        """Whether `flag` is true on any of the workers."""
        return flag

    def write_back(self) -> None:
        """Brings the Keras variables up to date with the training."""

    def read_back(self) -> None:
        """Takes over Keras variables that were assigned from outside."""

    def to_numpy(self, variable: keras.Variable) -> np.ndarray:
        """The value of a Keras variable."""
        return ops.convert_to_numpy(variable)
