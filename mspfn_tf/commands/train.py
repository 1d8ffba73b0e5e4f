"""`mspfn train`: trains a network on a prepared pair set; run again, it resumes."""

import argparse
import dataclasses
import json
import os
from typing import Any

from mspfn_tf.errors import UsageError
from mspfn_tf.training.precision import cpu_has_bfloat16
from mspfn_tf.training.recipe import RECIPES, REQUIRED, Recipe

HELP = "train a network on a prepared pair set; with the same --workdir again, it resumes"

EXIT_STATUS = """\
exit status:
   0  all steps done
   1  the loss was not finite: the message names step, pairs and the last good checkpoint
   2  wrong usage or configuration: nothing was trained; or a file could not be written: the
      message names it and the last good checkpoint
  75  stopped by a signal, --max_minutes or a callback: saved, run again to resume
"""


def mixture(text: str) -> dict[str, float]:
    """The sets and weights of `NAME`, `NAME/CONFIG` or `rain800:1,synthetic_rain/heavy:2`.

    Raises:
        UsageError: it is none of these, or names a set twice.
    """
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, colon, weight = part.strip().partition(":")
        if name in weights:
            raise UsageError(f"'{text}' names {name} twice: give it one number")
        try:
            weights[name] = float(weight) if colon else 1.0
        except ValueError as error:
            raise UsageError(
                f"'{text}': '{part}' should be NAME or NAME:WEIGHT, such as "
                "rain800:1,synthetic_rain/heavy:2"
            ) from error
    return weights


def sizes(text: str) -> tuple[int, ...]:
    """The patch sizes of `96` or `64,96,128`.

    Raises:
        UsageError: it is not that.
    """
    try:
        return tuple(int(size) for size in text.split(","))
    except ValueError as error:
        raise UsageError(f"'{text}': expected 96, or 64,96,128") from error


def arguments(text: str) -> dict[str, Any]:
    """The arguments of the network in a JSON object, such as `{"width": 24}`.

    Raises:
        UsageError: it is not that.
    """
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(f"'{text}': {error}") from error
    if not isinstance(value, dict):
        raise UsageError(f"'{text}': must be a JSON object")
    return value


# How the text of a flag becomes the value of its field, and what its help adds.
_TEXT = {
    "dataset": (mixture, "; a mixture is rain800:1,synthetic_rain/heavy:2"),
    "validation_dataset": (mixture, ""),
    "moved_rain": (mixture, ": rain100l:0.5,rain100h:0.8"),
    "patch_size": (sizes, ": 96, or 64,96,128"),
    "model_arguments": (arguments, ", a JSON object"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds a flag for every field of `Recipe`."""
    for field in dataclasses.fields(Recipe):
        help = field.metadata["help"]
        if field.type is bool:
            parser.add_argument(f"--{field.name}", action="store_true", help=help)
            continue
        kind = field.type
        if field.name in _TEXT:
            kind, more = str, _TEXT[field.name][1]
            help += more
        if any(field.name in recipe for recipe in RECIPES.values()):
            help += " (default: the preset's)"
        elif field.default not in (None, ""):
            help += f" (default: {field.default})"
        parser.add_argument(
            f"--{field.name}",
            type=kind,
            default=field.default,
            choices=field.metadata.get("choices"),
            required=field.name in REQUIRED,
            help=help,
        )


def recipe_of(args: argparse.Namespace) -> Recipe:
    """The recipe that the flags ask for.

    Raises:
        UsageError: a value that cannot work.
    """
    values = {field.name: getattr(args, field.name) for field in dataclasses.fields(Recipe)}
    for name, (parse, _) in _TEXT.items():
        if isinstance(values[name], str):
            try:
                values[name] = parse(values[name])
            except UsageError as error:
                raise UsageError(f"{name} {error}") from error
    return Recipe(**values)


def run(args: argparse.Namespace) -> int:
    recipe = recipe_of(args)
    if recipe.precision != "float32" and cpu_has_bfloat16():
        # What computes bfloat16 on processors; TensorFlow reads this when it is imported.
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    from mspfn_tf.training import Trainer

    return Trainer(recipe).run()
