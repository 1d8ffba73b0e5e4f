"""`mspfn train`: trains a network on a prepared pair set; run again, it resumes."""

import dataclasses
import os

from mspfn_tf.training.recipe import Recipe

HELP = "train a network on a prepared pair set; with the same --workdir again, it resumes"


def add_arguments(parser):
    parser.epilog = (parser.epilog or "") + (
        "  75 stopped by a signal or --max_minutes: saved, run again to resume\n"
    )
    for field in dataclasses.fields(Recipe):
        help = field.metadata["help"]
        if field.type is bool:
            parser.add_argument(f"--{field.name}", action="store_true", help=help)
            continue
        if field.default is None and field.name not in (
            "dataset",
            "data_dir",
            "workdir",
        ):
            help += " (default: the preset's)"
        elif field.default not in (None, ""):
            help += f" (default: {field.default})"
        parser.add_argument(
            f"--{field.name}",
            type=field.type,
            default=field.default,
            choices=field.metadata.get("choices"),
            required=field.name in ("dataset", "data_dir", "workdir"),
            help=help,
        )


def run(args):
    names = [field.name for field in dataclasses.fields(Recipe)]
    recipe = Recipe(**{name: getattr(args, name) for name in names})

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from mspfn_tf.training import Trainer

    return Trainer(recipe).run()
