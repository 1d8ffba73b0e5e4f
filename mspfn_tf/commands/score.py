"""`mspfn score`: PSNR and SSIM of any method's pictures against the truth."""

import argparse
from pathlib import Path

from mspfn_tf.commands.arguments import (
    add_allow_unmatched,
    add_protocol,
    command_line,
    report_scores,
)
from mspfn_tf.errors import UsageError

HELP = "measure any method's pictures against the truth"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("predictions", metavar="PREDICTIONS", help="folder of the pictures")
    parser.add_argument("targets", metavar="TARGETS", help="folder of the clean pictures")
    add_protocol(parser)
    parser.add_argument("--output", metavar="DIR", help="write scores.json and scores.csv there")
    parser.add_argument("--overwrite", action="store_true", help="replace scores of an earlier run")
    add_allow_unmatched(parser)


def run(args: argparse.Namespace) -> int:
    from mspfn_tf.evaluation import score, write_scores

    if args.output and not args.overwrite:
        for name in ("scores.json", "scores.csv"):
            if Path(args.output, name).exists():
                raise UsageError(
                    f"{Path(args.output, name)} exists already: choose another --output or pass "
                    "--overwrite"
                )
    scores = score(
        args.predictions, args.targets, args.protocol, args.allow_unmatched, command_line()
    )
    if args.output and scores["count"]:
        write_scores(args.output, scores, args.overwrite)
    return report_scores(scores, "score")
