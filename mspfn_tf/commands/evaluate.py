"""`mspfn evaluate`: restores and scores pairs of rainy and clean pictures."""

import argparse

from mspfn_tf.commands.arguments import (
    add_allow_unmatched,
    add_model,
    add_protocol,
    add_runtime,
    command_line,
    model_source,
    report_scores,
)
from mspfn_tf.errors import UsageError

HELP = "restore and score pairs of rainy and clean pictures"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    pairs = parser.add_mutually_exclusive_group(required=True)
    pairs.add_argument("--pairs", metavar="DIR", help="folder with input/ and target/")
    pairs.add_argument("--dataset", metavar="NAME", help="a set that `mspfn prepare` built")
    parser.add_argument("--split", help="of the dataset: train, validation or test")
    parser.add_argument("--data_dir", metavar="DIR", help="where the dataset was built")
    add_model(parser)
    parser.add_argument(
        "--output",
        metavar="DIR",
        required=True,
        help="folder for scores.json, scores.csv and sheet.png; "
        "the same command continues an interrupted run there",
    )
    add_protocol(parser)
    parser.add_argument(
        "--tile",
        type=int,
        help="restore in tiles of at most so many pixels (default: whole pictures as long as "
        "memory allows, as `mspfn restore` does)",
    )
    parser.add_argument("--overlap", type=int, help="of the tiles (default: as `mspfn restore`)")
    add_runtime(parser)
    parser.add_argument(
        "--strength",
        type=float,
        default=1.0,
        metavar="S",
        help="share of the rain layer that is taken away, 0..1 (default: 1)",
    )
    parser.add_argument(
        "--ensemble",
        type=int,
        choices=(1, 8),
        default=1,
        help="8: mean over the rotations of the picture and of its mirror image",
    )
    parser.add_argument(
        "--crop_multiple",
        type=int,
        default=1,
        metavar="N",
        help="first crop both pictures at the right and the bottom to multiples of N pixels",
    )
    add_allow_unmatched(parser)


def run(args: argparse.Namespace) -> int:
    from mspfn_tf import evaluation
    from mspfn_tf.restorer import Restorer

    source = model_source(args)
    pairs, which = _open_pairs(args)
    restorer = Restorer(source, args.tile, args.overlap, args.ensemble, args.runtime, args.strength)
    scores = evaluation.evaluate(
        restorer,
        pairs,
        args.output,
        {**evaluation.describe_restorer(restorer), **which},
        args.protocol,
        args.crop_multiple,
        command_line(),
    )
    return report_scores(scores, "evaluate")


def _open_pairs(args):
    """The pairs and, for the configuration, what they are."""
    from mspfn_tf.files import check_outside
    from mspfn_tf.sets.pairs import FolderPairs

    if args.pairs:
        for option in ("split", "data_dir"):
            if getattr(args, option):
                raise UsageError(f"--{option} goes with --dataset, not with --pairs")
        for part in ("input", "target"):
            check_outside(args.output, f"{args.pairs}/{part}")
        pairs = FolderPairs(args.pairs, args.allow_unmatched)
        return pairs, {"files": pairs.fingerprint()}
    for option in ("split", "data_dir"):
        if not getattr(args, option):
            raise UsageError(f"--dataset needs --{option}")
    if args.allow_unmatched:
        raise UsageError("--allow_unmatched goes with --pairs, not with --dataset")
    from mspfn_tf.training.pair_source import PairSource

    pairs = PairSource(args.dataset, args.split, args.data_dir)
    which = {"dataset": args.dataset, "split": args.split, "files": pairs.fingerprint()}
    return pairs, which
