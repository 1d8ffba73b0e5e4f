"""Turns the authors' PyTorch weights of ESPNet into a file that needs no PyTorch.

    python -m tools.convert_espnet espnet_p_2_q_8_camvid.pth espnet.weights.h5

Needs PyTorch (`pip install torch`), once. The source of the weights: github.com/sacmehta/ESPNet,
MIT licence.
"""

import argparse
import re
import sys
from collections.abc import Mapping

import numpy as np

from mspfn_tf.errors import UsageError

# Module paths of the authors' network -> names of the layers of `ESPNet`; the first match counts.
_NAMES = (
    (r"^encoder\.level1\.(conv|bn|act)$", r"stem_\1"),
    (r"^encoder\.b(\d)\.(bn|act)$", r"gather\1_\2"),
    (r"^encoder\.level(\d)_0\.", r"down\1_"),
    (r"^encoder\.level(\d)\.(\d+)\.", r"esp\1_\2_"),
    (r"^encoder\.classifier\.conv$", "project3"),
    (r"^br$", "project3_bn"),
    (r"^level3_C\.conv$", "project2"),
    (r"^up_l3\.0$", "up3"),
    (r"^combine_l2_l3\.0\.", "merge2_"),
    (r"^combine_l2_l3\.1\.", "merge2_esp_"),
    (r"^up_l2\.0$", "up2"),
    (r"^up_l2\.1\.", "up2_"),
    (r"^conv\.(conv|bn|act)$", r"merge1_\1"),
)
# What is left of a path below an ESP module.
_PARTS = (("c1.conv", "reduce"), ("bn.bn", "bn"), ("bn.act", "act"), (".conv", ""))
_BATCH_NORM = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}


def layer_name(module: str) -> str:
    """The layer of `ESPNet` for a module path of the authors' network."""
    for pattern, name in _NAMES:
        module, changed = re.subn(pattern, name, module)
        if changed:
            break
    for old, new in _PARTS:
        module = module.replace(old, new)
    return module


def convert(state: Mapping[str, np.ndarray]):
    """An `ESPNet` with the authors' weights.

    Args:
        state: the arrays of the PyTorch file by name, with `encoder` and decoder.

    Raises:
        UsageError: something is missing, left over or of another shape; the message names it.
    """
    from mspfn_tf.tasks.espnet import ESPNet

    state = {
        name.removeprefix("module."): array
        for name, array in state.items()
        if not name.endswith("num_batches_tracked")
    }
    if "classifier.weight" not in state:
        raise UsageError("no `classifier.weight`: expected the weights of ESPNet with its decoder")
    counts = [
        len({name.split(".")[2] for name in state if name.startswith(f"encoder.level{n}.")})
        for n in (2, 3)
    ]
    model = ESPNet(int(state["classifier.weight"].shape[0]), tuple(counts))
    variables = {
        f"{layer.name}/{variable.name}": variable
        for layer in model.layers
        for variable in layer.weights
    }
    known = frozenset(variables)
    for name, array in state.items():
        module, _, kind = name.rpartition(".")
        layer = layer_name(module)
        if f"{layer}/gamma" in known:
            kind = _BATCH_NORM[kind]
        elif f"{layer}/alpha" in known:
            kind, array = "alpha", array.reshape(1, 1, -1)
        else:
            # Both [out, in, h, w] of a conv and [in, out, h, w] of a transposed one end up so.
            kind, array = "kernel", array.transpose(2, 3, 1, 0)
        variable = variables.pop(f"{layer}/{kind}", None)
        if variable is None:
            raise UsageError(f"{name}: ESPNet has no weight {layer}/{kind}")
        if tuple(variable.shape) != array.shape:
            raise UsageError(f"{name} is {array.shape}, ESPNet has {tuple(variable.shape)} there")
        variable.assign(array)
    if variables:
        raise UsageError(f"the file lacks {', '.join(sorted(variables))}")
    return model


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", help="PyTorch file (.pth)")
    parser.add_argument("output", help=".weights.h5 file to write")
    parser.add_argument("--overwrite", action="store_true")
    args = parser.parse_args(argv)
    try:
        import torch
    except ImportError:
        print("convert_espnet: needs PyTorch: pip install torch", file=sys.stderr)
        return 2
    state = torch.load(args.source, weights_only=True, map_location="cpu")
    from mspfn_tf.tasks.espnet import save_espnet

    try:
        # Through lists, which works without NumPy support in PyTorch.
        model = convert({name: np.array(t.tolist(), np.float32) for name, t in state.items()})
        save_espnet(model, args.output, args.overwrite)
    except UsageError as error:
        print(f"convert_espnet: {error}", file=sys.stderr)
        return 2
    print(f"{args.output}: ESPNet{model.get_config()}, {model.count_params():,} weights")
    return 0


if __name__ == "__main__":
    sys.exit(main())
