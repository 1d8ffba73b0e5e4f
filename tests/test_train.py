"""The `train` verb: its flags are the fields of the recipe."""

import argparse
import dataclasses
import os

import pytest

from mspfn_tf import cli
from mspfn_tf.commands import train
from mspfn_tf.errors import UsageError
from mspfn_tf.training import precision
from mspfn_tf.training.recipe import Recipe

REQUIRED = ["--dataset", "rain800:2,synthetic_rain/mixed", "--data_dir", "tfds", "--workdir", "run"]
MIXTURE = {"rain800": 2, "synthetic_rain/mixed": 1}


def recipe(*flags):
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    return train.recipe_of(parser.parse_args([*REQUIRED, *flags]))


def test_flags_are_the_fields_with_the_presets_defaults():
    expected = Recipe(preset="mspfn", dataset=MIXTURE, data_dir="tfds", workdir="run")
    assert recipe("--preset", "mspfn") == expected
    flags = ["--patch_size", "64,96", "--ema", "0.99", "--tensorboard", "--batch_size", "8"]
    changed = recipe(*flags)
    assert (changed.patch_size, changed.ema, changed.tensorboard) == ((64, 96), 0.99, True)
    assert changed == dataclasses.replace(
        recipe(), patch_size=(64, 96), ema=0.99, tensorboard=True, batch_size=8
    )


def test_the_command_and_python_ask_for_the_same_run():
    python = Recipe(
        dataset=MIXTURE,
        data_dir="tfds",
        workdir="run",
        patch_size=96,
        model_arguments={"width": 24},
        validation_dataset="rain800",
    )
    flags = ["--patch_size", "96", "--model_arguments", '{"width": 24}']
    command = recipe(*flags, "--validation_dataset", "rain800")
    assert command == python and command.identity() == python.identity()


def test_text_of_several_values():
    assert train.mixture("rain800") == {"rain800": 1.0}
    assert train.mixture("a:1, b/heavy:3") == {"a": 1.0, "b/heavy": 3.0}
    assert train.sizes("64,96") == (64, 96)
    assert train.arguments('{"width": 24}') == {"width": 24}


@pytest.mark.parametrize(
    "flag, text",
    [
        *(("dataset", text) for text in
          ("", "a,,b", "a:0", "a:-1", "a:x", ":2", "a:inf", "a:nan", "a,a")),
        ("patch_size", "big"), ("patch_size", "64,"),
        ("model_arguments", "{"), ("model_arguments", "[1]"),
    ],
)  # fmt: skip
def test_text_that_means_nothing(flag, text):
    with pytest.raises(UsageError, match=flag):
        recipe(f"--{flag}={text}")


def test_wrong_usage_ends_with_status_2(capsys, tmp_path):
    flags = ["--data_dir", str(tmp_path), "--workdir", str(tmp_path / "run")]
    assert cli.main(["train", "--dataset", "rain800", "--patch_size", "100", *flags]) == 2
    assert "mspfn train: error: patch_size (100,)" in capsys.readouterr().err
    assert cli.main(["train", "--dataset", "rain800", *flags]) == 2
    assert "mspfn prepare rain800" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.npz"))


@pytest.mark.parametrize("able", [True, False])
@pytest.mark.parametrize("asked", ["float32", "auto", "bfloat16"])
def test_onednn_is_switched_on_for_bfloat16_where_the_processor_has_it(
    monkeypatch, tmp_path, able, asked
):
    monkeypatch.setattr(train, "cpu_has_bfloat16", lambda: able)
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    flags = ["--data_dir", str(tmp_path), "--workdir", str(tmp_path / "run")]
    assert cli.main(["train", "--dataset", "rain800", "--precision", asked, *flags]) == 2
    on = able and asked != "float32"
    assert os.environ.get("TF_ENABLE_ONEDNN_OPTS") == ("1" if on else None)
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)


def test_what_auto_means(monkeypatch):
    monkeypatch.setattr(precision, "cpu_is_faster_in_bfloat16", lambda: True)
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")
    assert precision.choose_precision("tensorflow", gpus=0) == "bfloat16"
    assert precision.choose_precision("jax", gpus=0) == "float32"
    assert precision.choose_precision("tensorflow", gpus=1) == "float32"
    monkeypatch.setattr(precision, "cpu_is_faster_in_bfloat16", lambda: False)
    assert precision.choose_precision("tensorflow", gpus=0) == "float32"
    monkeypatch.setattr(precision, "cpu_is_faster_in_bfloat16", lambda: True)
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS")
    assert precision.choose_precision("tensorflow", gpus=0) == "float32"


@pytest.mark.parametrize(
    "vendor, flags, has, faster",
    [
        ("GenuineIntel", "fma avx512_bf16 amx_bf16 amx_tile", True, True),
        ("GenuineIntel", "fma avx512_bf16", True, False),
        ("AuthenticAMD", "fma avx512_bf16", True, True),
        ("AuthenticAMD", "fma avx2", False, False),
    ],
)
def test_bfloat16_of_processors(monkeypatch, tmp_path, vendor, flags, has, faster):
    cpu = tmp_path / "cpuinfo"
    cpu.write_text(f"processor\t: 0\nvendor_id\t: {vendor}\nflags\t\t: {flags}\nbugs\t\t:\n")
    monkeypatch.setattr(precision, "_CPU", cpu)
    assert precision.cpu_has_bfloat16() is has
    assert precision.cpu_is_faster_in_bfloat16() is faster
    monkeypatch.setattr(precision, "_CPU", tmp_path / "none")
    assert precision.cpu_has_bfloat16() is precision.cpu_is_faster_in_bfloat16() is False
