"""Averages weights of runs that began as one.

    python -m tools.average_weights A.weights.h5 B.weights.h5 [...] OUTPUT.weights.h5

Networks that were trained further from the same weights, each on something else, can often be
averaged: the mean keeps most of what each has learned (Wortsman et al., Model soups, 2022).
"""

import argparse
from pathlib import Path

import numpy as np

from mspfn_tf.errors import UsageError
from mspfn_tf.model_files import load_model
from mspfn_tf.weights_file import save_weights


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.average_weights")
    parser.add_argument("weights", type=Path, nargs="+")
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args(argv)
    try:
        models = [load_model(path) for path in arguments.weights]
    except UsageError as error:
        parser.error(str(error))
    kinds = [[(weight.path, weight.shape) for weight in model.weights] for model in models]
    if any(kind != kinds[0] for kind in kinds):
        parser.error(f"not of one network: {', '.join(map(str, arguments.weights))}")
    for same in zip(*(model.weights for model in models), strict=True):
        same[0].assign(np.mean([np.asarray(weight) for weight in same], axis=0))
    try:
        save_weights(models[0], arguments.output)
    except UsageError as error:
        parser.error(str(error))
    print(f"mean of {len(models)}: {arguments.output}")


if __name__ == "__main__":
    main()
