"""Training speed of a preset: `python -m benchmarks.training`.

    python -m benchmarks.training --preset mspfn_mobile mspfn --naive             # a CPU
    KERAS_BACKEND=jax python -m benchmarks.training --preset mspfn --precision bfloat16 \
        --batch_size 16 32 64 128 --data_dir DIR                                  # a GPU

Patches per second of the whole step (forward, backward, Adam) and model FLOP/s: 6 per multiply-add
of the network, 2 forward and 4 backward, nothing else counted. `--naive` adds the network as the
published graph has it, with the part of the ConvLSTM that cannot have an effect. With `--data_dir`
the patches come from a prepared set, and the share of time spent waiting for them is told.
"""

import argparse
import contextlib
import os
import time

import keras
import numpy as np
from keras import layers, ops

import mspfn_tf.layers
from benchmarks import positive, run_main
from mspfn_tf.complexity import multiply_adds
from mspfn_tf.losses import DerainLoss
from mspfn_tf.model import MSPFN
from mspfn_tf.training.backends import make_runner
from mspfn_tf.training.optimizers import make_optimizer
from mspfn_tf.training.patch_stream import open_stream
from mspfn_tf.training.recipe import Recipe

# Dense bfloat16 TFLOP/s that the makers state.
PEAKS = {"H200": 989.0, "H100": 989.0, "A100": 312.0, "L4": 121.0}


class PublishedConvLSTM(layers.Layer):
    """One step from a zero state as the published graph computes it: all gates, zeros and all."""

    def __init__(self, filters, steps=1, activation="tanh", kernel_initializer=None, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.conv = layers.Conv2D(
            4 * filters,
            3,
            padding="same",
            kernel_initializer=kernel_initializer,
            dtype=self.dtype_policy,
            name="conv",
        )

    def build(self, input_shape):
        self.conv.build((*input_shape[:-1], input_shape[-1] + self.filters))

    def call(self, x):
        zeros = ops.zeros((*ops.shape(x)[:3], self.filters), dtype=x.dtype)
        gates = self.conv(ops.concatenate([x, zeros], axis=-1))
        i, j, f, o = ops.split(gates, 4, axis=-1)
        cell = zeros * ops.sigmoid(f + 1.0) + ops.sigmoid(i) * ops.tanh(j)
        return ops.tanh(cell) * ops.sigmoid(o)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.filters)


@contextlib.contextmanager
def published_conv_lstm():
    """Models made within it carry the dead part."""
    ours = mspfn_tf.layers.ConvLSTM
    mspfn_tf.layers.ConvLSTM = PublishedConvLSTM
    try:
        yield
    finally:
        mspfn_tf.layers.ConvLSTM = ours


def measure(preset, batch_size, args, naive=False):
    """(patches per second, share of time waiting for data, seconds to compile)."""
    recipe = Recipe(preset=preset, dataset="none", data_dir="none", workdir="none")
    keras.config.set_dtype_policy("mixed_bfloat16" if args.precision == "bfloat16" else "float32")
    runner = make_runner("one_device" if args.one_device else "auto")
    runner.connect({}, minutes=10, stop=lambda: None)
    with runner.scope(), published_conv_lstm() if naive else contextlib.nullcontext():
        model = MSPFN.from_preset(preset, load_weights=False)
        optimizer = make_optimizer(recipe)
        optimizer.build(model.trainable_variables)
    runner.compile(model, optimizer, batch_size, DerainLoss(), recipe.clip_norm)
    steps = args.warm_up + args.steps
    if args.data_dir:
        stream = open_stream(
            args.dataset, args.data_dir, batch_size=batch_size, seed=0, cache_bytes=2**34
        )
        batches = runner.batches(stream, 0, steps, args.patch_size, args.threads)
    else:
        random = np.random.default_rng(0)
        shape = (batch_size, args.patch_size, args.patch_size, 3)
        batch = runner.place(*(random.random(shape, np.float32) for _ in range(2)))
        batches = (batch for _ in range(steps))
    began = time.perf_counter()
    logs = runner.train_step(next(batches))
    float(logs["loss"])
    compiling = time.perf_counter() - began
    for _ in range(args.warm_up - 1):
        logs = runner.train_step(next(batches))
    float(logs["loss"])
    began, waited = time.perf_counter(), 0.0
    for _ in range(args.steps):
        asked = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - asked
        logs = runner.train_step(batch)
    float(logs["loss"])  # devices run behind the loop until here
    elapsed = time.perf_counter() - began
    return args.steps * batch_size / elapsed, waited / elapsed, compiling


def device():
    """Name and stated peak (FLOP/s, or None) of the device."""
    name = f"{os.cpu_count()} CPU cores, load {os.getloadavg()[0]:.1f}"
    if keras.backend.backend() == "jax":
        import jax

        if jax.default_backend() != "cpu":
            name = jax.devices()[0].device_kind
    elif keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        for gpu in tf.config.list_physical_devices("GPU")[:1]:
            name = tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
    peaks = [1e12 * peak for key, peak in PEAKS.items() if key in name]
    return name, peaks[0] if peaks else None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", nargs="+", default=["mspfn_mobile", "mspfn"])
    parser.add_argument("--batch_size", nargs="+", type=positive, default=[4])
    parser.add_argument("--patch_size", type=positive, default=96)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--naive", action="store_true", help="also with the dead part")
    parser.add_argument("--warm_up", type=positive, default=2, help="steps before the timing")
    parser.add_argument("--steps", type=positive, default=5, help="steps timed")
    parser.add_argument("--one_device", action="store_true")
    parser.add_argument("--dataset", default="rain800")
    parser.add_argument("--data_dir")
    parser.add_argument("--threads", type=positive, default=2)
    args = parser.parse_args()
    measure_all(args)


def measure_all(args):
    """Prints the table, a line as soon as it is measured."""
    name, peak = device()
    size = f"{args.patch_size}x{args.patch_size}"
    print(f"{name}, {keras.backend.backend()}, {args.precision}, patches of {size}\n")
    print(
        "| preset | batch | patches/s | GFLOP/s of the model | of the peak | waiting for data "
        "| first step | speed-up over the naive graph |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for preset in args.preset:
        model = MSPFN.from_preset(preset, load_weights=False)
        flops = 6 * multiply_adds(model, (args.patch_size, args.patch_size))
        for batch_size in args.batch_size:
            speed, waiting, compiling = measure(preset, batch_size, args)
            ratio = "-"
            if args.naive and model.hidden is not None:
                ratio = f"{speed / measure(preset, batch_size, args, naive=True)[0]:.2f}"
            share = f"{flops * speed / peak:.1%}" if peak else "-"
            waited = f"{waiting:.1%}" if args.data_dir else "-"
            print(
                f"| {preset} | {batch_size} | {speed:.2f} | {flops * speed / 1e9:.1f} | {share} "
                f"| {waited} | {compiling:.0f} s | {ratio} |",
                flush=True,
            )


if __name__ == "__main__":
    run_main(main)
