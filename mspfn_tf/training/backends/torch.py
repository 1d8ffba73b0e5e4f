"""The training step on PyTorch."""

import os
from typing import Any

import numpy as np
from keras import ops

from mspfn_tf.errors import UsageError
from mspfn_tf.training.backends.runner import Runner, clipped, global_norm


class TorchRunner(Runner):
    """Plain PyTorch on one device."""

    def __init__(self, strategy: str, deterministic: bool, workdir: str | os.PathLike | None):
        import torch

        if strategy not in ("auto", "one_device"):
            raise UsageError(f"strategy {strategy} needs the TensorFlow or the JAX backend")
        torch.use_deterministic_algorithms(deterministic)

    def _place(self, arrays, first_row):
        return tuple(map(ops.convert_to_tensor, arrays))

    def train_step(self, batch: Any) -> dict[str, Any]:
        import torch

        rainy, clean, *labels = batch
        taught = None
        if self.teacher is not None:
            with torch.no_grad():
                taught = self.teacher(rainy, training=False)
        self.model.zero_grad()
        derained = self.model(rainy, training=True)
        loss, logs = self._measures(derained, clean, taught, *labels)
        loss.backward()
        variables = self.model.trainable_variables
        with torch.no_grad():
            gradients = [variable.value.grad for variable in variables]
            norm = global_norm(gradients)
            self.optimizer.apply(clipped(gradients, norm, self.clip_norm), variables)
        logs = {name: value.detach() for name, value in logs.items()}
        return {"loss": loss.detach(), **logs, "gradient_norm": norm}

    def predict(self, rainy: np.ndarray) -> np.ndarray:
        import torch

        with torch.no_grad():
            return ops.convert_to_numpy(self.model(rainy, training=False))
