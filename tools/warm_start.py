"""Fills a network with what fits of the weights of a network of another shape.

    python -m tools.warm_start OLD.weights.h5 PRESET OUTPUT.weights.h5 [--model_arguments JSON]

Weights of the same name and shape are taken over, but for the attention where it draws on other
means than before. A wider network starts as the old one (Net2Net, Chen et al. 2016): its further
channels are drawn at random and read by nothing that was there before. Fusion blocks that the old
network did not have start near the identity.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from mspfn_tf.errors import UsageError
from mspfn_tf.model import MSPFN
from mspfn_tf.model_files import load_model
from mspfn_tf.weights_file import save_weights

NEAR_IDENTITY = 0.05


def warm_start(old: MSPFN, new: MSPFN) -> int:
    """Fills `new` with what fits of `old`; returns how many arrays were taken over."""
    known = {weight.path: weight for weight in old.weights}
    blocks = {path.split("_")[0] for path in known if path.startswith("fusion")}
    widening = new.width > old.width and new.upsampling != "transposed"
    taken = 0
    for weight in new.weights:
        source = known.get(weight.path)
        if "_squeeze" in weight.path and new.attention != old.attention:
            continue
        if source is not None and source.shape == weight.shape:
            weight.assign(source.value)
            taken += 1
        elif source is not None and widening:
            weight.assign(_widened(np.asarray(source), np.asarray(weight), old.width))
            taken += 1
        elif "_up/kernel" in weight.path and weight.path.split("_")[0] not in blocks:
            weight.assign(NEAR_IDENTITY * weight)
    return taken


def _widened(old, drawn, width):
    """`drawn`, with `old` at the channels that there were: [..., inputs, outputs] or [outputs].

    `width`: of the old network. Where tensors are concatenated, or pixels folded into channels,
    an axis holds several groups of that many channels.
    """
    new = drawn.copy()
    kept = []
    for old_size, new_size in zip(old.shape, new.shape, strict=True):
        groups = max(1, old_size // width)
        channels = np.arange(old_size).reshape(groups, -1)
        moved = np.arange(groups)[:, None] * (new_size - old_size) // groups
        kept.append((channels + moved).ravel())
    if old.ndim > 1:
        inputs, outputs = kept[-2:]
        others = np.setdiff1d(np.arange(new.shape[-2]), inputs)
        new[..., others[:, None], outputs] = 0
    new[np.ix_(*kept)] = old
    return new


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.warm_start")
    parser.add_argument("old", type=Path)
    parser.add_argument("preset")
    parser.add_argument("output", type=Path)
    parser.add_argument(
        "--model_arguments", type=json.loads, default={}, help="that differ from the preset's"
    )
    arguments = parser.parse_args(argv)
    try:
        new = MSPFN.from_preset(arguments.preset, load_weights=False, **arguments.model_arguments)
        taken = warm_start(load_model(arguments.old), new)
        save_weights(new, arguments.output)
    except (UsageError, ValueError) as error:
        parser.error(str(error))
    print(f"{taken} of {len(new.weights)} arrays taken over: {arguments.output}")


if __name__ == "__main__":
    main()
