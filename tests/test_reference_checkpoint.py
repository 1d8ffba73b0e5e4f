"""The importer of the authors' TensorFlow 1 checkpoints: all or nothing."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from mspfn_tf import MSPFN, load_reference_checkpoint
from mspfn_tf.cli import main
from mspfn_tf.errors import UsageError
from mspfn_tf.model_files import load_model
from mspfn_tf.reference_checkpoint import _check_extent
from tests.mutated_models import COUNT, bounded, mutated, random_of
from tests.reference_recipe import variables, write_checkpoint

pytestmark = pytest.mark.slow


SMALL = {"width": 8, "hidden": (4, 6, 8)}
LAYOUTS = {"M17N1": (1, 1, 1), "MSPFN": (1, 3, 3)}


def small_model(layout, blocks=2, **arguments):
    return MSPFN(**SMALL, blocks=blocks, rcabs=LAYOUTS[layout], **arguments)


def checkpoint(folder, layout="M17N1", change=lambda shapes: shapes, **arguments):
    return write_checkpoint(folder, change(variables(layout, 2, **SMALL)), **arguments)


def weights(model):
    return {variable.path: np.array(variable) for variable in model.weights}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_scopes_block_names_and_slots_make_no_difference(tmp_path, layout):
    plain, renamed = small_model(layout), small_model(layout)
    (tmp_path / "plain").mkdir()
    (tmp_path / "renamed").mkdir()
    load_reference_checkpoint(plain, checkpoint(tmp_path / "plain", layout))

    def other(name):
        if layout == "M17N1":
            return name.replace("generator/", "model/").replace("BCM", "URAB")
        return name.replace("model/", "generator/").replace("URAB", "BCM")

    load_reference_checkpoint(
        renamed,
        checkpoint(tmp_path / "renamed", layout, rename=other, slots=True, counters=True),
    )
    for path, value in weights(plain).items():
        np.testing.assert_array_equal(weights(renamed)[path], value)


def test_recurrence_takes_the_hidden_kernels_and_the_forget_gate(tmp_path):
    prefix = checkpoint(tmp_path)
    once, twice = small_model("M17N1"), small_model("M17N1", recurrent_steps=2)
    load_reference_checkpoint(once, prefix)
    load_reference_checkpoint(twice, prefix)
    kernel = twice.get_layer("recurrent_full_convlstm").hidden_convs["forget"].kernel
    assert tuple(kernel.shape) == (3, 3, 8, 8)
    assert np.any(kernel)
    for path, value in weights(once).items():
        np.testing.assert_array_equal(weights(twice)[path], value)


@pytest.mark.parametrize(
    "change, words",
    [
        (
            lambda shapes: {n: s for n, s in shapes.items() if "rnn5/alpha" not in n},
            ["missing: rnn5/alpha [4]"],
        ),
        (
            lambda shapes: {**shapes, "generator/extra/weight": (3, 3, 1, 1)},
            ["left over: extra/weight [3, 3, 1, 1]"],
        ),
        (
            lambda shapes: {**shapes, "generator/rnn7/weight": (3, 3, 3, 5)},
            ["shape of rnn7/weight: expected [3, 3, 3, 4], found [3, 3, 3, 5]"],
        ),
        (
            lambda shapes: {**shapes, "other/weight": (3, 3, 1, 1)},
            ["one scope", "generator, other"],
        ),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_loaded(tmp_path, change, words):
    model = small_model("M17N1")
    before = weights(model)
    with pytest.raises(ValueError) as error:
        load_reference_checkpoint(model, checkpoint(tmp_path, change=change))
    for word in words:
        assert word in str(error.value)
    for path, value in weights(model).items():
        np.testing.assert_array_equal(value, before[path])


@pytest.mark.parametrize(
    "arguments, word",
    [
        ({"blocks": 1}, "left over: BCM4_1/"),
        ({"blocks": 3}, "missing: BCM4_2/"),
        ({"stem": 2}, "another shape of rain/kernel: [3, 3, 4, 3], not [3, 3, 4, 12]"),
        ({"activation": "relu"}, "the published graph has no rain/bias"),
    ],
)
def test_another_network_is_refused(tmp_path, arguments, word):
    with pytest.raises(ValueError) as error:
        load_reference_checkpoint(small_model("M17N1", **arguments), checkpoint(tmp_path))
    assert word in str(error.value)


def test_no_checkpoint_and_a_broken_one(tmp_path):
    model = small_model("M17N1")
    with pytest.raises(ValueError, match="nowhere"):
        load_reference_checkpoint(model, tmp_path / "nowhere")
    prefix = checkpoint(tmp_path)
    data = tmp_path / "epoch50.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:1000])
    with pytest.raises(ValueError, match="epoch50"):
        load_reference_checkpoint(model, prefix)


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
def test_convert_command(tmp_path, capsys, suffix):
    prefix = write_checkpoint(tmp_path, variables("M17N1", 1))
    output = tmp_path / f"converted{suffix}"
    command = ["convert", prefix, "--preset", "mspfn_m17n1", "--blocks", "1"]
    assert main([*command, "--output", str(output)]) == 0
    assert "SHA-256" in capsys.readouterr().out
    model = MSPFN(blocks=1, rcabs=(1, 1, 1))
    load_reference_checkpoint(model, prefix)
    loaded = load_model(output)
    for ours, theirs in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert main([*command, "--output", str(output)]) == 2
    assert "--overwrite" in capsys.readouterr().err


def test_convert_command_refuses(tmp_path, capsys):
    command = ["convert", str(tmp_path / "none"), "--preset", "mspfn_m17n1", "--output"]
    assert main([*command, str(tmp_path / "out.npz")]) == 2
    assert ".weights.h5" in capsys.readouterr().err
    command[3] = "mspfn_giant"
    assert main([*command, str(tmp_path / "out.keras")]) == 2
    assert "mspfn_giant" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_damaged_checkpoints_load_or_give_a_message(tmp_path):
    prefix = checkpoint(tmp_path)
    model = small_model("M17N1")
    files = [f"{prefix}.index", f"{prefix}.data-00000-of-00001"]
    whole = {file: Path(file).read_bytes() for file in files}
    random = random_of(26)
    seen = {"loaded": 0, "message": 0}
    for index in range(COUNT):
        file = files[index % 4 == 3]
        Path(file).write_bytes(mutated(whole[file], random))
        with bounded():
            try:
                load_reference_checkpoint(model, prefix)
                seen["loaded"] += 1
            except UsageError as error:
                assert str(prefix) in str(error)
                seen["message"] += 1
        Path(file).write_bytes(whole[file])
    print(seen)
    assert seen["message"] and sum(seen.values()) == COUNT


def test_variables_larger_than_the_files_are_refused(tmp_path):
    shapes = {"generator/rnn1/weight": [2**20, 2**20]}
    types = {"generator/rnn1/weight": tf.float32}
    (tmp_path / "a.index").write_bytes(b"123")
    with pytest.raises(UsageError, match="declared larger than the files, which have 3 bytes"):
        _check_extent(tmp_path / "a", shapes, types)
    with pytest.raises(UsageError, match="of type string, no number"):
        _check_extent(tmp_path / "a", {"b": []}, {"b": tf.string})
