"""Training runs of a second or two, for the tests: their recipe, and what they log."""

import json
from pathlib import Path

from mspfn_tf.training.recipe import Recipe

TINY = {"width": 4, "blocks": 1, "rcabs": [1, 0, 0], "hidden": None}


def recipe(folder, workdir, **fields):
    """Trains on the set `tiny` in `folder`, which is where `workdir` stands, too."""
    return Recipe(
        **{
            "preset": "mspfn",
            "model_arguments": TINY,
            "dataset": "tiny",
            "data_dir": str(folder),
            "workdir": str(Path(folder, workdir)),
            "steps": 12,
            "batch_size": 4,
            "patch_size": 16,
            "learning_rate": 2e-3,
            "ema": 0.9,
            "clip_norm": 0.05,
            "checkpoint_every": 4,
            "log_every": 2,
            "validate_every": 6,
            "keep_checkpoints": 9,
            **fields,
        }
    )


def log_of(folder, kind):
    """The entries of a run's log that hold `kind`."""
    lines = (folder / "log.jsonl").read_text().splitlines()
    return [entry for entry in map(json.loads, lines) if kind in entry]
