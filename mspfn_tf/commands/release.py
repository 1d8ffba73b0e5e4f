"""`mspfn release`: a folder of a model for others, or for the Hugging Face Hub."""

import argparse
import json
import sys
from pathlib import Path

from mspfn_tf.commands.arguments import EXPORT_STATUS, add_keras_model, keras_source
from mspfn_tf.errors import UsageError

HELP = "write a folder of a model to give to others: weights, LiteRT, ONNX, model card, SHA-256"

EXIT_STATUS = EXPORT_STATUS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", help="the folder to write")
    add_keras_model(parser)
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
    source = keras_source(arguments)
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
            source,
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
    fits = isinstance(card, dict) and all(
        isinstance(card.get(name, {}), dict) for name in ("training", "scores")
    )
    if not fits or not all(
        _is_score(score) and "count" in score and _is_score(score.get("input"))
        for score in card.get("scores", {}).values()
    ):
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
