"""Flags and reports that several verbs share."""

import argparse
import shlex
import sys
from pathlib import Path


def add_protocol(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--protocol",
        choices=("matlab_y", "rgb"),
        default="matlab_y",
        help="matlab_y: the luma of MATLAB's rgb2ycbcr, as in the papers; rgb: the three channels",
    )


def add_allow_unmatched(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--allow_unmatched",
        action="store_true",
        help="leave out (and list) pictures without a partner, or with several, instead of failing",
    )


def parse_size(text: str) -> tuple[int, int]:
    """(height, width) from HxW.

    Raises:
        argparse.ArgumentTypeError: not of this form.
    """
    height, _, width = text.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise argparse.ArgumentTypeError(f"expected HxW, such as 256x256; received {text!r}")
    return int(height), int(width)


def command_line() -> str:
    """The command that this process was started by, as results record it."""
    program = Path(sys.argv[0]).name.replace("__main__.py", "mspfn")
    return shlex.join([program, *sys.argv[1:]])


def report_scores(scores: dict, verb: str) -> int:
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
