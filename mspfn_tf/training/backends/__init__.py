"""One training step on every Keras backend; one file each."""

import importlib
import os

import keras

from mspfn_tf.errors import UsageError
from mspfn_tf.training.backends.runner import Runner

_RUNNERS = {"tensorflow": "TensorFlowRunner", "jax": "JaxRunner", "torch": "TorchRunner"}


def make_runner(
    strategy: str = "auto",
    deterministic: bool = False,
    workdir: str | os.PathLike | None = None,
) -> Runner:
    """The runner of the active Keras backend, still to be connected (`Runner.connect`).

    Args:
        strategy: a value of `Recipe.strategy`. "auto" on TensorFlow: several workers if TF_CONFIG
            names them, else a TPU if TPU_NAME is set, else all GPUs if there are several, else one
            device. On JAX: all devices of the process.
        deterministic: whether to force deterministic kernels.
        workdir: folder that may keep what was compiled, or None.

    Raises:
        UsageError: a strategy that this backend or machine does not have.
    """
    backend = keras.backend.backend()
    if backend not in _RUNNERS:
        raise UsageError(f"KERAS_BACKEND={backend} cannot train: use {', '.join(_RUNNERS)}")
    # Each file imports its own library, so only the one in use is loaded.
    module = importlib.import_module(f"mspfn_tf.training.backends.{backend}")
    return getattr(module, _RUNNERS[backend])(strategy, deterministic, workdir)
