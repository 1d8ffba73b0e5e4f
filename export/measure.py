"""Times one model file in a process of its own: `python measure.py '{"kind": ..., ...}'`.

Run by its path rather than as a module, so that only what the model file itself needs is imported
and the peak of memory is its own. Prints one line of JSON.
"""

import json
import statistics
import sys
import time

import numpy as np

LEAST_RUNS, LEAST_SECONDS, MOST_RUNS = 5, 2.0, 50


def main(kind: str, path: str, image_size: list[int], threads: int) -> None:
    if kind in ("keras", "saved_model"):
        limit_tensorflow(threads)
    from mspfn_tf.runtimes import open_runtime

    name = kind if kind.startswith("openvino") else None  # else the file's own
    runtime = open_runtime(path, name, threads, resize=False)
    rainy = np.random.default_rng(0).random((1, *image_size, 3), np.float32)

    def run():
        return runtime.run(rainy)

    for _ in range(2):
        run()
    times = []
    while len(times) < LEAST_RUNS or (sum(times) < LEAST_SECONDS and len(times) < MOST_RUNS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    result = {
        "median_ms": 1e3 * statistics.median(times),
        "fastest_ms": 1e3 * min(times),
        "runs": len(times),
        "peak_mb": peak_memory() / 1e6,
    }
    print(json.dumps(result))


def limit_tensorflow(threads: int) -> None:
    """Before it starts: how many threads it may use."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def peak_memory() -> int:
    """Bytes of memory that this process held at its peak."""
    try:
        with open("/proc/self/status") as status:
            return 1024 * next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    except FileNotFoundError:
        # Not on Linux, where this number would start at the parent's.
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else 1024 * peak


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
