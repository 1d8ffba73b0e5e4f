"""Which compute type suits this machine, and layers that compute in it."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_CPU = Path("/proc/cpuinfo")


def cpu_has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 itself (Linux on x86; elsewhere unknown: no)."""
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(_of_cpu("flags"))


def cpu_is_faster_in_bfloat16() -> bool:
    """Whether training in bfloat16 is faster than in float32 on this processor.

    So it was wherever AMX is, and by AVX-512 on AMD's, which multiply twice as many numbers then.
    Intel's without AMX, as virtual machines hide it, took a quarter longer.
    """
    flags = _of_cpu("flags")
    return "amx_bf16" in flags or (
        "avx512_bf16" in flags and _of_cpu("vendor_id") != ["GenuineIntel"]
    )


def _of_cpu(what):
    """The words of a line of the first core."""
    try:
        lines = _CPU.read_text().splitlines()
    except OSError:
        return []
    line = next((line for line in lines if line.startswith(what)), "")
    return line.partition(":")[2].split()


def choose_precision(backend: str, gpus: int) -> str:
    """What `precision="auto"` means here: "bfloat16" or "float32".

    bfloat16 pays on a CPU only with fast instructions for it and oneDNN, which uses them; without
    oneDNN TensorFlow computes it many times slower than float32.

    Args:
        backend: name of the Keras backend.
        gpus: how many GPUs the run is on.
    """
    onednn = os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "1"
    fast = backend == "tensorflow" and not gpus and onednn and cpu_is_faster_in_bfloat16()
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
