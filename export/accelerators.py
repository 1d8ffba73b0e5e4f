"""Which operators of a .tflite file LiteRT's accelerators run, by letting each compile it.

Compiling happens in a process of its own, `python accelerators.py FILE gpu`: what LiteRT says of
it comes on its output, and a driver that crashes must not end an export.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

SOFTWARE_DRIVER = Path("/usr/lib/chromium/vk_swiftshader_icd.json")
"""A Vulkan driver that runs on processors, as Debian's chromium brings it along."""

_REFUSALS = ("ops are not accelerated", "Failed to modify graph with delegate")
_LIMIT = 600  # seconds; a software driver takes some for a network of 512x512


def accelerators(path: str | os.PathLike) -> dict[str, dict]:
    """Asks LiteRT's accelerators of this machine for a file.

    Args:
        path: a `.tflite` file.

    Returns:
        For "cpu" (XNNPACK) and "gpu" (WebGPU) a dict: "available", whether this machine has it
        (without a graphics card, a software driver stands in, if chromium is installed); and if so
        "all_operators", whether it takes every operator of all signatures, "left_over", the names
        of those that it refuses as far as it tells them, and "device", the name of the GPU.
    """
    return {name: _ask(path, name) for name in ("cpu", "gpu")}


def _ask(path, name):
    environment = dict(os.environ)
    if "VK_ICD_FILENAMES" not in environment and SOFTWARE_DRIVER.is_file() and not _has_driver():
        environment["VK_ICD_FILENAMES"] = str(SOFTWARE_DRIVER)
        libraries = [str(SOFTWARE_DRIVER.parent), environment.get("LD_LIBRARY_PATH", "")]
        environment["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, libraries))
    command = [sys.executable, os.fspath(Path(__file__).resolve()), os.fspath(path), name]
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=_LIMIT,
        )
    except subprocess.TimeoutExpired:
        return {"available": False, "reason": f"no answer within {_LIMIT} s"}
    refused = refused_operators(done.stdout)
    device = re.search(r"Selected adapter: ([^,\n]+)", done.stdout)
    found: dict[str, bool | str] = {"available": True}
    if device:
        found["device"] = device[1]
    if done.returncode == 0:
        found["all_operators"] = bool(re.search(r"^all operators$", done.stdout, re.MULTILINE))
    elif refused or any(text in done.stdout for text in _REFUSALS):
        found["all_operators"] = False
    else:
        return {"available": False, "reason": _reason(done)}
    return {**found, "left_over": refused}


def refused_operators(text: str) -> list[str]:
    """The operators that LiteRT's GPU accelerator names as refused in what it writes."""
    lists = re.findall(r"Following operations are not supported.*?\n(.*?)\n\d+ op", text, re.DOTALL)
    return sorted({line.partition(":")[0] for part in lists for line in part.splitlines()})


def _has_driver():
    """Whether a Vulkan driver is installed, which the loader would find by itself."""
    folders = (Path("/etc/vulkan/icd.d"), Path("/usr/share/vulkan/icd.d"))
    return any(folder.is_dir() and any(folder.iterdir()) for folder in folders)


def _reason(done):
    for text, reason in (
        ("No adapters found", "no graphics card, or no Vulkan driver for it"),
        ("libvulkan", "no Vulkan loader is installed"),
    ):
        if text in done.stdout:
            return reason
    return f"it ended with status {done.returncode}"


def main(path: str, name: str) -> None:
    from ai_edge_litert.compiled_model import CompiledModel
    from ai_edge_litert.hardware_accelerator import HardwareAccelerator

    model = CompiledModel.from_file(path, hardware_accel=HardwareAccelerator[name.upper()])
    print("\nall operators" if model.is_fully_accelerated() else "\nnot all operators")


if __name__ == "__main__":
    main(*sys.argv[1:])
