"""What the runners of all backends share.

A runner does one training step: `scope()` for making variables, `compile(...)`, `batches(...)`,
`place(rainy, clean)` for a given global batch, `train_step(batch)` and `predict(rainy)`. The loss
is always the mean over the *global* batch, and gradients are clipped by the norm of the whole,
summed gradient, so that the number of devices does not show in the results.
"""

import contextlib
import math

from keras import ops

from mspfn_tf.errors import UsageError
from mspfn_tf.training.patch_stream import read_ahead


def global_norm(gradients):
    """Euclidean norm of all gradients together."""
    return ops.sqrt(sum(ops.sum(ops.square(gradient)) for gradient in gradients))


def clipped(gradients, norm, limit):
    if not limit:
        return gradients
    scale = ops.minimum(1.0, limit / ops.maximum(norm, 1e-12))
    return [gradient * scale for gradient in gradients]


class Runner:
    """What the runners share. `replicas`: devices of all workers; `chief`: this process writes."""

    replicas = 1
    workers = 1
    chief = True

    def scope(self):
        """Context in which the variables of model and optimizer are made."""
        return contextlib.nullcontext()

    def check_batch_size(self, batch_size):
        """Raises `UsageError` if the replicas cannot share a batch evenly."""
        if batch_size % self.replicas:
            raise UsageError(
                f"--batch_size {batch_size} must be divisible by the {self.replicas} replicas"
            )

    def compile(
        self, model, optimizer, batch_size, loss, clip_norm=0.0, teacher=None, teacher_weight=0.0
    ):
        """Prepares `train_step`.

        Args:
            model: the network.
            optimizer: its Keras optimizer, built.
            batch_size: size of the global batch.
            loss: Keras loss whose `call` gives one value per example.
            clip_norm: largest norm of the gradient; 0: no clipping.
            teacher: network whose output is learnt too, or None.
            teacher_weight: share of that in the loss, 0..1.
        """
        self.check_batch_size(batch_size)
        self.model, self.optimizer, self.teacher = model, optimizer, teacher
        self.batch_size, self.loss, self.clip_norm = batch_size, loss, clip_norm
        self.teacher_weight = teacher_weight
        self._build()

    def _measures(self, derained, clean, taught):
        """Loss, and RGB PSNR (dB) of the clipped output, of these rows as parts of the mean."""
        losses = self.loss.call(clean, derained)
        if taught is not None:
            share = self.teacher_weight
            losses = (1 - share) * losses + share * self.loss.call(taught, derained)
        error = ops.mean(ops.square(ops.clip(derained, 0.0, 1.0) - clean), axis=(1, 2, 3))
        psnr = (-10.0 / math.log(10.0)) * ops.log(ops.maximum(error, 1e-10))
        return ops.sum(losses) / self.batch_size, ops.sum(psnr) / self.batch_size

    def any_worker(self, flag):
        """Whether `flag` is true on any of the workers."""
        return flag

    def write_back(self):
        """Brings the Keras variables up to date with the training."""

    def to_numpy(self, variable):
        """The value of a Keras variable."""
        return ops.convert_to_numpy(variable)

    def read_back(self):
        """Takes over Keras variables that were assigned from outside."""

    rows = slice(None)
    """The rows of the global batch that this process takes."""

    def batches(self, stream, start, stop, patch_size, threads):
        """Yields the batches start .. stop - 1 of a `PatchStream`, ready for `train_step`."""
        for rainy, clean in read_ahead(stream, start, stop, patch_size, self.rows, threads):
            yield self._place(rainy, clean, self.rows.start or 0)

    def place(self, rainy, clean):
        """A given global batch, made ready for `train_step`."""
        return self._place(rainy, clean, 0)
