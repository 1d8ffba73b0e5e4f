"""`mspfn convert`: the authors' TensorFlow 1 checkpoint as a weights file or a Keras model."""

import argparse
from pathlib import Path

from mspfn_tf.errors import UsageError

HELP = "convert the authors' TensorFlow 1 checkpoint to .weights.h5 or .keras"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint", metavar="CHECKPOINT", help="its prefix: the path without .index"
    )
    parser.add_argument(
        "--preset", required=True, help="the layout: mspfn, or mspfn_m17n1 for the released weights"
    )
    parser.add_argument("--output", required=True, help="a .weights.h5 or .keras file")
    parser.add_argument("--blocks", type=int, help="fusion blocks (default: the preset's)")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")


def run(arguments: argparse.Namespace) -> int:
    from mspfn_tf.files import atomic_write, clear_leftovers, sha256, writing
    from mspfn_tf.presets import known_preset

    known_preset(arguments.preset)
    output = arguments.output
    if not output.endswith((".weights.h5", ".keras")):
        raise UsageError(f"--output must end in .weights.h5 or .keras; received {output}")
    overrides = {} if arguments.blocks is None else {"blocks": arguments.blocks}

    from mspfn_tf.layers import weights_to_come
    from mspfn_tf.model import MSPFN
    from mspfn_tf.reference_checkpoint import load_reference_checkpoint
    from mspfn_tf.weights_file import save_weights

    with weights_to_come():
        model = MSPFN.from_preset(arguments.preset, load_weights=False, **overrides)
    load_reference_checkpoint(model, arguments.checkpoint)
    clear_leftovers(Path(output).parent)
    if output.endswith(".keras"):
        with atomic_write(output, arguments.overwrite) as temporary, writing(output):
            model.save(temporary)
    else:
        save_weights(model, output, overwrite=arguments.overwrite)
    print(f"{output}: {model.count_params():,} weights, SHA-256 {sha256(output)}")
    return 0
