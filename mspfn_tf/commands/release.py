"""`mspfn release`: a folder of a model for others, or for the Hugging Face Hub."""

import argparse
import json
import sys
from pathlib import Path

from mspfn_tf.errors import UsageError
from mspfn_tf.presets import DEFAULT_PRESET

HELP = "write a folder of a model to give to others: weights, LiteRT, ONNX, model card, SHA-256"

EXIT_STATUS = """\
exit status:
  0  all done
  1  what was written falls short of the model: it is removed, and the message says why
  2  wrong usage or configuration: nothing was written
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", help="the folder to write")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--preset", help=f"a built-in preset (default: {DEFAULT_PRESET})")
    source.add_argument("--model", help="a .keras or .weights.h5 file, or a directory of a model")
    parser.add_argument(
        "--card",
        metavar="FILE",
        help="JSON with `training` and `scores` for the model card (default: the preset's own)",
    )
    parser.add_argument(
        "--calibration", metavar="DIR", help="pictures or pairs to check the formats on"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing folder")


def run(arguments: argparse.Namespace) -> int:
    from mspfn_tf.presets import known_preset

    if arguments.preset is not None:
        known_preset(arguments.preset)
    card = None
    if arguments.card is not None:
        try:
            card = json.loads(Path(arguments.card).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(f"cannot read {arguments.card}: {error}") from error
        _check_card(card, arguments.card)
    from mspfn_tf.export import VerificationError
    from mspfn_tf.export.release import write_release

    try:
        digests = write_release(
            arguments.model or arguments.preset or DEFAULT_PRESET,
            arguments.folder,
            card=card,
            calibration=arguments.calibration,
            overwrite=arguments.overwrite,
        )
    except VerificationError as error:
        print(f"mspfn release: {error}", file=sys.stderr)
        return 1
    for name, digest in digests.items():
        print(f"{digest}  {Path(arguments.folder) / name}")
    print(f"upload it with: hf upload OWNER/NAME {arguments.folder}")
    return 0


def _check_card(card, path):
    """What the model card takes of it: `training` by name, and `scores` of sets."""
    parts = (
        [card.get(name, {}) for name in ("training", "scores")] if isinstance(card, dict) else []
    )
    fits = len(parts) == 2 and all(isinstance(part, dict) for part in parts)
    if fits:
        fits = all(
            _is_score(score) and "count" in score and _is_score(score.get("input"))
            for score in parts[1].values()
        )
    if not fits:
        raise UsageError(
            f"{path}: expected a JSON object with `training` (texts by name) and `scores` (by set: "
            "count, psnr, ssim, input with psnr and ssim), as in mspfn_tf/weights/*.json"
        )


def _is_score(score):
    """Whether it has both figures; as JSON has no infinity, a PSNR may be the text inf."""
    if not isinstance(score, dict):
        return False
    psnr, ssim = score.get("psnr"), score.get("ssim")
    return isinstance(ssim, int | float) and (psnr == "inf" or isinstance(psnr, int | float))
