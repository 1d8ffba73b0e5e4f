"""Which compute type suits this machine, and layers that compute in it."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_INSTRUCTIONS = {"avx512_bf16", "amx_bf16"}


def cpu_has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 itself (Linux on x86; elsewhere unknown: no)."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return not _INSTRUCTIONS.isdisjoint(flags.split())


def choose_precision(backend: str, gpus: int) -> str:
    """What `precision="auto"` means here: "bfloat16" or "float32".

    bfloat16 pays on a CPU only with instructions for it and oneDNN, which uses them; without oneDNN
    TensorFlow computes it many times slower than float32.

    Args:
        backend: name of the Keras backend.
        gpus: how many GPUs the run is on.
    """
    onednn = os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "1"
    fast = backend == "tensorflow" and not gpus and onednn and cpu_has_bfloat16()
    return "bfloat16" if fast else "float32"


@contextlib.contextmanager
def dtype_policy(precision: str) -> Iterator[None]:
    """Layers made within it compute in `precision`; variables are float32 in any case."""
    import keras  # here, as `mspfn train --help` reads this file

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else "float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
