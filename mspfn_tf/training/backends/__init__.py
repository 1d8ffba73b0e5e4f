"""One training step on every Keras backend; one file each."""

import importlib

import keras

from mspfn_tf.errors import UsageError


def make_runner(strategy, deterministic=False, workdir=None):
    """The runner of the active Keras backend for a value of `--strategy`.

    `auto` on TensorFlow: several workers if TF_CONFIG names them, else a TPU if TPU_NAME is set,
    else all GPUs if there are several, else one device. On JAX: all devices of the process.

    Raises:
        UsageError: a strategy that this backend or machine does not have.
    """
    backend = keras.backend.backend()
    runners = {"tensorflow": "TensorFlowRunner", "jax": "JaxRunner", "torch": "TorchRunner"}
    if backend not in runners:
        raise UsageError(f"KERAS_BACKEND={backend} cannot train: use {', '.join(runners)}")
    # Each file imports its own library, so only the one in use is loaded.
    module = importlib.import_module(f"mspfn_tf.training.backends.{backend}")
    return getattr(module, runners[backend])(strategy, deterministic, workdir)
