"""The `train` verb: its flags are the fields of the recipe."""

import argparse
import dataclasses

from mspfn_tf import cli
from mspfn_tf.commands import train
from mspfn_tf.training.recipe import Recipe

REQUIRED = ["--dataset", "rain800:2,synthetic_rain/mixed", "--data_dir", "tfds", "--workdir", "run"]


def recipe(*flags):
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    values = vars(parser.parse_args([*REQUIRED, *flags]))
    return Recipe(**values)


def test_flags_are_the_fields_with_the_presets_defaults():
    expected = Recipe(preset="mspfn", dataset=REQUIRED[1], data_dir="tfds", workdir="run")
    assert recipe("--preset", "mspfn") == expected
    flags = ["--patch_size", "64,96", "--ema", "0.99", "--tensorboard", "--batch_size", "8"]
    changed = recipe(*flags)
    assert (changed.patch_size, changed.ema, changed.tensorboard) == ("64,96", 0.99, True)
    assert changed == dataclasses.replace(
        recipe(), patch_size="64,96", ema=0.99, tensorboard=True, batch_size=8
    )


def test_wrong_usage_ends_with_status_2(capsys, tmp_path):
    flags = ["--data_dir", str(tmp_path), "--workdir", str(tmp_path / "run")]
    assert cli.main(["train", "--dataset", "rain800", "--patch_size", "100", *flags]) == 2
    assert "mspfn train: error: --patch_size 100" in capsys.readouterr().err
    assert cli.main(["train", "--dataset", "rain800", *flags]) == 2
    assert "mspfn prepare rain800" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.npz"))
