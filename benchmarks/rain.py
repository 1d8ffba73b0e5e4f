"""Speed of the rain renderer: `python -m benchmarks.rain [--pairs N]`.

Prints pairs of 481x321 per second and core, and the PSNR of the rainy against the clean pictures.
"""

import argparse
import dataclasses
import time

import numpy as np

from benchmarks import positive, run_main
from mspfn_tf.datasets.synthetic_rain.contact_sheet import draw_scene
from mspfn_tf.datasets.synthetic_rain.parameters import PRESETS
from mspfn_tf.datasets.synthetic_rain.rain import rain
from mspfn_tf.metrics import psnr


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=positive, default=100, help="pairs per configuration")
    pairs = parser.parse_args().pairs
    scenes = [draw_scene(np.random.default_rng(seed)) for seed in range(8)]
    columns = ("pairs/s/core", "ms/pair", "slowest ms", "PSNR", "10 %", "90 %")
    print(" " * 8 + "".join(f"{column:>13}" for column in columns))
    for name, parameters in PRESETS.items():
        # Dry pictures cost nothing and have no PSNR.
        parameters = dataclasses.replace(parameters, rain_free=0.0)
        seconds, scores = [], []
        for index in range(pairs):
            clean, rng = scenes[index % len(scenes)], np.random.default_rng(index)
            # Processor time: what other programs take does not count, nor would a second core.
            start = time.process_time()
            rainy = rain(clean, rng, parameters)
            seconds.append(time.process_time() - start)
            scores.append(psnr(clean, rainy))
        low, high = np.quantile(scores, [0.1, 0.9])
        mean = np.mean(seconds)
        values = 1 / mean, 1e3 * mean, 1e3 * max(seconds), np.mean(scores), low, high
        print(f"{name:8}" + "".join(f"{value:13.1f}" for value in values))


if __name__ == "__main__":
    run_main(main)
