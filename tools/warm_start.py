"""Fills a network with what fits of the weights of a network of another shape.

    python -m tools.warm_start OLD.weights.h5 PRESET OUTPUT.weights.h5

Weights of the same name and shape are taken over, but for the attention, which may draw on other
means than before. Fusion blocks that the old network did not have start near the identity.
"""

import argparse
from pathlib import Path

import keras

from mspfn_tf.model import MSPFN
from mspfn_tf.model_files import load_model
from mspfn_tf.weights_file import save_weights

NEAR_IDENTITY = 0.05


def warm_start(old: keras.Model, new: keras.Model) -> int:
    """Fills `new` with what fits of `old`; returns how many arrays were taken over."""
    known = {weight.path: weight for weight in old.weights}
    blocks = {path.split("_")[0] for path in known if path.startswith("fusion")}
    taken = 0
    for weight in new.weights:
        source = known.get(weight.path)
        if source is not None and source.shape == weight.shape and "_squeeze" not in weight.path:
            weight.assign(source.value)
            taken += 1
        elif "_up/kernel" in weight.path and weight.path.split("_")[0] not in blocks:
            weight.assign(NEAR_IDENTITY * weight)
    return taken


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.warm_start")
    parser.add_argument("old", type=Path)
    parser.add_argument("preset")
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args(argv)
    new = MSPFN.from_preset(arguments.preset, load_weights=False)
    taken = warm_start(load_model(arguments.old), new)
    save_weights(new, arguments.output)
    print(f"{taken} of {len(new.weights)} arrays taken over: {arguments.output}")


if __name__ == "__main__":
    main()
