"""`mspfn score`: PSNR and SSIM of any method's pictures against the truth."""

import sys
from pathlib import Path

HELP = "measure any method's pictures against the truth"


def add_arguments(parser):
    parser.add_argument("predictions", metavar="PREDICTIONS", help="folder of the pictures")
    parser.add_argument("targets", metavar="TARGETS", help="folder of the clean pictures")
    add_protocol(parser)
    parser.add_argument("--output", metavar="DIR", help="write scores.json and scores.csv there")
    parser.add_argument("--overwrite", action="store_true", help="replace scores of an earlier run")
    add_allow_unmatched(parser)


def add_protocol(parser):
    parser.add_argument(
        "--protocol",
        choices=("matlab_y", "rgb"),
        default="matlab_y",
        help="matlab_y: the luma of MATLAB's rgb2ycbcr, as in the papers; rgb: the three channels",
    )


def add_allow_unmatched(parser):
    parser.add_argument(
        "--allow_unmatched",
        action="store_true",
        help="leave out (and list) pictures without a partner, or with several, instead of failing",
    )


def run(args):
    from mspfn_tf.errors import UsageError
    from mspfn_tf.evaluation import score, write_scores

    if args.output and not args.overwrite:
        for name in ("scores.json", "scores.csv"):
            if Path(args.output, name).exists():
                raise UsageError(
                    f"{Path(args.output, name)} exists already: choose another --output or pass "
                    "--overwrite"
                )
    scores = score(args.predictions, args.targets, args.protocol, args.allow_unmatched)
    if args.output and scores["count"]:
        write_scores(args.output, scores, args.overwrite)
    return report(scores, "score")


def report(scores, verb):
    """Prints the summary, and on standard error what is missing; returns the exit status."""
    from mspfn_tf.evaluation import describe

    for line in scores["left_out"]:
        print(f"mspfn {verb}: left out: {line}", file=sys.stderr)
    for failure in scores["failed"]:
        print(f"mspfn {verb}: failed: {failure['name']}: {failure['error']}", file=sys.stderr)
    if scores["count"]:
        print(describe(scores))
    if scores["failed"]:
        print(
            f"mspfn {verb}: {scores['count']} scored, {len(scores['failed'])} failed",
            file=sys.stderr,
        )
    return 1 if scores["failed"] else 0
