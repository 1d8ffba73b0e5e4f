"""Training patches per second from a prepared set: `python -m benchmarks.input_pipeline`.

    python -m benchmarks.input_pipeline --dataset rain800 --data_dir DIR [--threads 2] [--carriers]
    python -m benchmarks.input_pipeline --fresh_rain

float32 batches, with decoded pictures cached, and without a cache at 1 to 16 crops per decoded
pair. `--carriers` compares Grain, which training uses, with Keras' PyDataset and with `tf.data`.
The first epoch, which fills the cache, is not timed. `--fresh_rain` measures the drawing of rain on
patches of 192x192, in seconds of processor time, so that other work on the machine counts little.
"""

import argparse
import os
import time

import numpy as np

from benchmarks import positive, run_main
from mspfn_tf.errors import UsageError
from mspfn_tf.training.fresh_rain import FreshRain
from mspfn_tf.training.patch_stream import open_stream, read_ahead, tf_dataset


def speeds(batches, batch_size, seconds):
    """Patches per second, and per second of processor time, over at least `seconds`."""
    next(batches)
    started, processor, count = time.perf_counter(), time.process_time(), 0
    for _ in batches:
        count += batch_size
        if time.perf_counter() - started > seconds:
            break
    elapsed = time.perf_counter() - started
    return count / elapsed, count / (time.process_time() - processor)


def fresh_rain_speeds(size=192, count=300):
    """Yields (what, patches per second of processor time) for each way of drawing rain."""
    rng = np.random.default_rng(0)
    patches = [rng.integers(0, 256, (size, size, 3), np.uint8) for _ in range(8)]
    streaks = [np.uint8(255 * (rng.random((400, 600)) > 0.97)) for _ in range(4)]
    for what, rain in (
        ("procedural", FreshRain(1.0)),
        ("with streak pictures", FreshRain(1.0, streaks)),
        ("RainMix", FreshRain(1.0, mix=1.0)),
        ("RainMix of streak pictures", FreshRain(1.0, streaks, mix=1.0)),
    ):
        began = time.process_time()
        for index in range(count):
            rain.draw(patches[index % len(patches)], np.random.default_rng(index))
        yield what, count / (time.process_time() - began)


def py_dataset_batches(stream, patch_size, threads):
    """The batches as `fit` reads them from a `keras.utils.PyDataset`."""
    import keras
    from keras.src.trainers.data_adapters.py_dataset_adapter import PyDatasetAdapter

    class Steps(keras.utils.PyDataset):
        def __len__(self):
            return 2**31

        def __getitem__(self, step):
            return stream.batch(step, patch_size)

    steps = Steps(workers=threads, use_multiprocessing=False, max_queue_size=4 * threads)
    return PyDatasetAdapter(steps, shuffle=False).get_numpy_iterator()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="rain800")
    parser.add_argument("--data_dir")
    parser.add_argument("--fresh_rain", action="store_true", help="measure the drawing of rain")
    parser.add_argument("--batch_size", type=positive, default=16)
    parser.add_argument("--patch_size", type=positive, default=96)
    parser.add_argument("--threads", type=positive, default=2)
    parser.add_argument("--seconds", type=float, default=5, help="time of each measurement")
    parser.add_argument("--carriers", action="store_true", help="also PyDataset and tf.data")
    args = parser.parse_args()
    if args.fresh_rain:
        print("| fresh rain on patches of 192x192 | patches/s of processor time |")
        print("|---|---|")
        for what, speed in fresh_rain_speeds():
            print(f"| {what} | {speed:,.0f} |", flush=True)
        return
    if not args.data_dir:
        raise UsageError("--data_dir is missing")

    def run(name, cache_bytes, crops, carrier="Grain"):
        stream = open_stream(
            args.dataset,
            args.data_dir,
            batch_size=args.batch_size,
            seed=0,
            cache_bytes=cache_bytes,
            crops_per_pair=crops,
        )
        seconds = args.seconds
        if cache_bytes > 2**33:
            for source, index in [(s, i) for s in stream.sources for i in range(len(s))]:
                stream.cache.get(source, index)
        if carrier == "tf.data":
            # To the end, for the reason that `tf_dataset` gives.
            stop, seconds = int(seconds * 60), float("inf")
            batches = iter(tf_dataset(stream, 0, stop, args.patch_size, threads=args.threads))
        elif carrier == "PyDataset":
            batches = py_dataset_batches(stream, args.patch_size, args.threads)
        else:
            batches = read_ahead(stream, 0, 2**31, args.patch_size, threads=args.threads)
        both = speeds(batches, args.batch_size, seconds)
        print(
            "| {} | {} | {} | {:,.0f} | {:,.0f} |".format(name, carrier, crops, *both), flush=True
        )

    print(
        f"{args.dataset}, batch {args.batch_size}, {args.patch_size}x{args.patch_size}, float32, "
        f"{args.threads} threads, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n"
    )
    print(
        "| decoded pictures | carrier | crops per decoded pair | patches/s "
        "| patches/s of processor time |"
    )
    print("|---|---|---|---|---|")
    run("all cached", 2**40, 1)
    if args.carriers:
        run("all cached", 2**40, 1, "PyDataset")
        run("all cached", 2**40, 1, "tf.data")
    for crops in (1, 4, 16):
        # 64 pairs is what the stream crops from at a time.
        run("a window of 64 pairs" if crops > 1 else "none", 2**27 * (crops > 1), crops)


if __name__ == "__main__":
    run_main(main)
