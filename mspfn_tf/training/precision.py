"""Which compute type suits this machine."""

import os
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
