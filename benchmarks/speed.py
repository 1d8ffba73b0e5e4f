"""Speed of the full-size networks beside what this machine multiplies at most, in one run.

    python -m benchmarks.speed [--image_size 256x256] [--preset mspfn --preset mspfn_m17n1]

Prints, per preset, the latency of one picture in `tf.function`, float32, on all cores, and the
effective rate of multiply-adds; before and after them the rate of a large matrix product, since
other load on the machine shows there. Takes about two minutes and 3 GB.
"""

import argparse
import json
import statistics
import time

from benchmarks import positive, run_main
from mspfn_tf.commands.arguments import parse_size
from mspfn_tf.presets import known_preset

SGEMM_SIDE = 4096


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", action="append", help="default: mspfn and mspfn_m17n1")
    parser.add_argument("--image_size", type=parse_size, default=(256, 256), metavar="HxW")
    parser.add_argument("--runs", type=positive, default=5, help="timed runs each (default: 5)")
    parser.add_argument("--sgemm_side", type=positive, default=SGEMM_SIDE, help="of the matrices")
    parser.add_argument("--output", help="also write the figures to this JSON file")
    arguments = parser.parse_args(argv)
    names = [known_preset(name) for name in arguments.preset or ("mspfn", "mspfn_m17n1")]

    figures = {"image_size": list(arguments.image_size), "sgemm_gmacs": []}
    figures["sgemm_gmacs"].append(sgemm(arguments.sgemm_side, arguments.runs))
    print(f"sgemm: {figures['sgemm_gmacs'][0]:.1f} GMAC/s")
    for name in names:
        figures[name] = network(name, arguments.image_size, arguments.runs)
        print(
            f"{name}: {figures[name]['median_ms']:.0f} ms, fastest "
            f"{figures[name]['fastest_ms']:.0f} ms, {figures[name]['multiply_adds'] / 1e9:.1f} "
            f"GMAC, {figures[name]['gmacs']:.1f} GMAC/s",
            flush=True,
        )
    figures["sgemm_gmacs"].append(sgemm(arguments.sgemm_side, arguments.runs))
    print(f"sgemm: {figures['sgemm_gmacs'][1]:.1f} GMAC/s")
    if arguments.output:
        with open(arguments.output, "w") as file:
            json.dump(figures, file, indent=1)
    return 0


def sgemm(side, runs):
    """1e9 multiply-adds per second of a float32 matrix product."""
    import tensorflow as tf

    a, b = (tf.random.stateless_uniform((side, side), (n, n)) for n in (1, 2))
    multiply = tf.function(tf.matmul)
    return side**3 / 1e9 / statistics.median(timed(lambda: multiply(a, b).numpy(), runs))


def network(name, image_size, runs):
    """Latency of a preset with random weights, which takes what trained ones take."""
    import tensorflow as tf

    from mspfn_tf.complexity import multiply_adds
    from mspfn_tf.model import MSPFN

    model = MSPFN.from_preset(name, load_weights=False)
    function = tf.function(lambda pictures: model(pictures, training=False))
    rainy = tf.random.stateless_uniform((1, *image_size, 3), (3, 3))
    times = timed(lambda: function(rainy).numpy(), runs)
    count = multiply_adds(model, image_size)
    return {
        "median_ms": 1e3 * statistics.median(times),
        "fastest_ms": 1e3 * min(times),
        "multiply_adds": count,
        "gmacs": count / 1e9 / statistics.median(times),
    }


def timed(function, runs):
    """Seconds of `runs` calls, after two that are not counted."""
    times = []
    for _ in range(runs + 2):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return times[2:]


if __name__ == "__main__":
    run_main(main)
