"""The path that phones take: LiteRT's GPU accelerator, on a Vulkan driver that needs no GPU.

ai-edge-litert comes with a WebGPU accelerator, Debian's chromium with SwiftShader, a Vulkan driver
for the processor. The accelerator reads the driver's place when the process starts, so every run
is a process of its own.
"""

import os
import subprocess
import sys

import numpy as np
import pytest

from mspfn_tf.export.accelerators import SOFTWARE_DRIVER as VULKAN_DRIVER
from mspfn_tf.export.accelerators import accelerators, refused_operators
from tests.export_models import PHONE, small_model

SIZE = (64, 64)

RUN = """
import sys
import numpy as np
from ai_edge_litert.compiled_model import CompiledModel
from ai_edge_litert.hardware_accelerator import HardwareAccelerator
from ai_edge_litert.options import CpuOptions, GpuOptions, Options

path, feeds, half = sys.argv[1], dict(np.load(sys.argv[2])), sys.argv[3] == "half"
results = {}
for name, accelerator in (("gpu", HardwareAccelerator.GPU), ("cpu", HardwareAccelerator.CPU)):
    options = Options(
        accelerator, cpu_options=CpuOptions(num_threads=1),
        gpu_options=GpuOptions(enforce_f32=not half) if name == "gpu" else None,
    )
    model = CompiledModel.from_file(path, options=options)
    if name == "gpu":
        results["accelerated"] = model.is_fully_accelerated()
    for key, signature in model.get_signature_list().items():
        outputs = {n: model.create_output_buffer_by_name(key, n) for n in signature["outputs"]}
        inputs = {n: model.create_input_buffer_by_name(key, n) for n in signature["inputs"]}
        details = model.get_output_tensor_details(key)
        for repeat in range(2):  # on some GPUs only the first inference is right
            for n, buffer in inputs.items():
                buffer.write(feeds[n])
            model.run_by_name(key, inputs, outputs)
            for n, buffer in outputs.items():
                size = int(np.prod(details[n]["shape"]))
                results[f"{name}/{key}/{n}/{repeat}"] = buffer.read(size, np.float32)
np.savez(sys.argv[4], **results)
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not VULKAN_DRIVER.is_file(), reason="chromium with SwiftShader is not installed"
    ),
]


def run_on_gpu(path, feeds, folder, half):
    np.savez(folder / "feeds.npz", **feeds)
    command = [sys.executable, "-c", RUN, str(path), str(folder / "feeds.npz")]
    done = subprocess.run(
        [*command, "half" if half else "single", str(folder / "results.npz")],
        env={
            **os.environ,
            "VK_ICD_FILENAMES": str(VULKAN_DRIVER),
            "LD_LIBRARY_PATH": str(VULKAN_DRIVER.parent),
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(np.load(folder / "results.npz"))


@pytest.fixture(scope="module")
def model():
    return small_model(**PHONE, attention="picture", reduction=4)


@pytest.mark.parametrize(
    ("quantize", "half", "tolerance"),
    [("none", False, 1e-5), ("float16", False, 1e-5), ("none", True, 4e-3)],
)
def test_every_signature_runs_on_the_gpu(model, tmp_path, quantize, half, tolerance):
    from mspfn_tf.export.litert import convert
    from mspfn_tf.runtimes import open_runtime

    path = tmp_path / "small.tflite"
    path.write_bytes(convert(model, SIZE, quantize))
    rng = np.random.default_rng(4)
    rainy = rng.random((1, *SIZE, 3), np.float32)
    statistics = np.array(open_runtime(path).measure(rainy))
    results = run_on_gpu(path, {"rainy": rainy, "statistics": statistics}, tmp_path, half)
    assert results.pop("accelerated"), "an operator is left to the processor"
    on_gpu = {name: values for name, values in results.items() if name.startswith("gpu/")}
    assert {name.split("/")[1] for name in on_gpu} == {"serving_default", "statistics", "guided"}
    for name, found in on_gpu.items():
        expected = results[name.replace("gpu/", "cpu/")]
        assert np.abs(found - expected).max() <= tolerance, name
    derained = on_gpu["gpu/serving_default/derained/0"]
    assert np.abs(derained - rainy.ravel()).max() > 0.05  # it does something


def test_what_the_accelerators_take(model, tmp_path):
    from mspfn_tf.export.litert import convert

    path = tmp_path / "small.tflite"
    path.write_bytes(convert(model, SIZE))
    found = accelerators(path)
    assert found["cpu"] == {"available": True, "all_operators": True, "left_over": []}
    assert found["gpu"].pop("device")
    assert found["gpu"] == {"available": True, "all_operators": True, "left_over": []}


def test_what_the_gpu_refuses(tmp_path):
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([8, 24], tf.float32)])
    def sums(rows):
        return tf.raw_ops.SegmentSum(data=rows, segment_ids=tf.constant([0, 0, 1, 1, 2, 2, 3, 3]))

    graph = sums.get_concrete_function()
    path = tmp_path / "sums.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([graph]).convert())
    found = accelerators(path)["gpu"]
    assert found["available"]
    assert not found["all_operators"]


def test_refused_operators_are_read_from_what_the_accelerator_writes():
    text = (
        "INFO: something\n"
        "ERROR: Following operations are not supported by GPU delegate:\n"
        "READ_VARIABLE: Operation is not supported.\n"
        "VAR_HANDLE: Operation is not supported.\n"
        "471 operations will run on the GPU, and the remaining 452 on the CPU.\n"
    )
    assert refused_operators(text + text) == ["READ_VARIABLE", "VAR_HANDLE"]
    assert refused_operators("ERROR: something else: not supported") == []


def test_an_answer_in_another_encoding_is_read(tmp_path, monkeypatch):
    program = tmp_path / "python"
    program.write_bytes(
        b"#!/bin/sh\necho 'Selected adapter: Caf\xe9 9, Vulkan'\necho all operators\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    found = accelerators(tmp_path / "small.tflite")["gpu"]
    assert found["device"] == "Caf\ufffd 9" and found["all_operators"]


def test_without_a_driver_the_gpu_is_not_tried(model, tmp_path, monkeypatch):
    from mspfn_tf.export.litert import convert

    path = tmp_path / "small.tflite"
    path.write_bytes(convert(model, SIZE))
    monkeypatch.setenv("VK_ICD_FILENAMES", str(tmp_path / "none.json"))
    found = accelerators(path)
    assert found["cpu"]["available"]
    assert not found["gpu"]["available"]
    assert found["gpu"]["reason"]
