"""Flags and reports that several verbs share."""

import argparse
import shlex
import sys
from pathlib import Path

from mspfn_tf.errors import UsageError
from mspfn_tf.presets import DEFAULT_PRESET, PRESETS, known_preset
from mspfn_tf.runtimes import CHOICES
from mspfn_tf.source import HUB

EXPORT_STATUS = """\
exit status:
  0  all done
  1  what was written falls short of the model: it is removed, and the message says why
  2  wrong usage or configuration: nothing was written
"""


def add_model(parser: argparse._ActionsContainer, more: str = "") -> None:
    """`--preset` or `--model`; `model_source` tells what was named."""
    model = parser.add_mutually_exclusive_group()
    model.add_argument("--preset", help=f"built-in model (default: {DEFAULT_PRESET})")
    model.add_argument(
        "--model",
        metavar="PATH",
        help=f"your own{more}: a .keras, .weights.h5, .tflite, .onnx or .xml (OpenVINO) file, the "
        "directory of a model or a SavedModel, or hf://owner/name",
    )


def add_keras_model(parser: argparse._ActionsContainer) -> None:
    """`--preset` or `--model`, of what Keras loads; `keras_source` tells what was named."""
    model = parser.add_mutually_exclusive_group()
    model.add_argument("--preset", help=f"a built-in preset (default: {DEFAULT_PRESET})")
    model.add_argument("--model", help="a .keras or .weights.h5 file, or a directory of a model")


def keras_source(args: argparse.Namespace) -> str:
    """A preset's name or the path of a model; raises `UsageError` where there is no such preset."""
    return args.model or known_preset(DEFAULT_PRESET if args.preset is None else args.preset)


def add_runtime(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--runtime",
        choices=CHOICES,
        help="what runs a preset (default: litert). litert-int8 and openvino-bfloat16 take down to "
        "half the time on processors that are fast in 8 bits or in bfloat16 (large pictures, "
        "mspfn_mobile, videos), and are less exact: by 39 dB and more in 8 bits, 52 in bfloat16",
    )


def model_source(args: argparse.Namespace) -> str:
    """A preset's name, an address on the Hub, or the absolute path of a model, which is never taken
    for a preset of the same name.

    Raises:
        UsageError: no such preset or file, or a preset without weights.
    """
    if args.model is not None:
        if args.model.startswith(HUB):
            return args.model
        if not Path(args.model).exists():
            advice = f". Did you mean --preset {args.model}?" if args.model in PRESETS else ""
            raise UsageError(f"--model {args.model}: no such file or directory{advice}")
        return str(Path(args.model).absolute())
    preset = known_preset(args.preset or DEFAULT_PRESET)
    if PRESETS[preset]["weights"] is None:
        shipped = ", ".join(name for name, about in PRESETS.items() if about["weights"])
        raise UsageError(
            f"no weights come with preset {preset!r}: choose --preset {shipped}, or give weights "
            "of your own by --model (`mspfn train` makes some, `mspfn convert` takes the authors')"
        )
    return preset


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


def counts_line(
    restored: int,
    skipped: int,
    left_out: int,
    failed: int,
    seconds: float,
    what: str = "pictures",
) -> str:
    """What became of many files, and how fast, in one line."""
    parts = [f"{restored} restored"]
    parts += [f"{skipped} skipped"] if skipped else []
    parts += [f"{left_out} left out"] if left_out else []
    parts += [f"{failed} failed", f"{seconds:.1f} s"]
    parts += [f"{restored / seconds:.1f} {what}/s"] if restored > 1 else []
    return ", ".join(parts)


def report_scores(scores: dict, verb: str) -> int:
    """Prints the summary, and on standard error what is missing; returns the exit status."""
    from mspfn_tf.evaluation import describe

    if scores["model"] is not None:
        print(f"model {scores['model']}, weights {str(scores['weights_sha256'])[:12]}")
    for line in scores["left_out"]:
        print(f"mspfn {verb}: left out: {line}", file=sys.stderr)
    if scores["count"]:
        print(describe(scores))
    return report_failures(scores, verb, "scored")


def report_failures(scores: dict, verb: str, done: str) -> int:
    """Prints on standard error what failed; returns the exit status."""
    for failure in scores["failed"]:
        print(f"mspfn {verb}: failed: {failure['name']}: {failure['error']}", file=sys.stderr)
    if not scores["failed"]:
        return 0
    counts = f"{scores['count']} {done}, {len(scores['failed'])} failed"
    print(f"mspfn {verb}: {counts}", file=sys.stderr)
    return 1
