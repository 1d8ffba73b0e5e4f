"""Self-describing weights files, shipped weights and their checks."""

import json

import h5py
import keras
import numpy as np
import pytest

from mspfn_tf import MSPFN, PRESETS, presets
from mspfn_tf.model_files import load_model
from mspfn_tf.presets import DEFAULT_PRESET, WEIGHTS, weights_path
from mspfn_tf.weights_file import load_weights, save_weights

TINY = {"width": 8, "blocks": 1, "rcabs": (1, 1, 1), "hidden": (4, 4, 4)}


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    return MSPFN(**TINY)


def test_float32_comes_back_bit_for_bit(model, tmp_path):
    path = tmp_path / "tiny.weights.h5"
    save_weights(model, path)
    loaded = load_model(path)
    assert loaded.get_config() == model.get_config()
    for ours, theirs in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.weights.h5"]


def test_float16_is_half_the_size_and_rounds_once(model, tmp_path):
    save_weights(model, tmp_path / "full.weights.h5")
    save_weights(model, tmp_path / "half.weights.h5", dtype="float16")
    loaded = load_model(tmp_path / "half.weights.h5")
    for ours, theirs in zip(model.weights, loaded.weights, strict=True):
        assert theirs.dtype == "float32"
        np.testing.assert_array_equal(np.float16(ours), theirs)
    with h5py.File(tmp_path / "half.weights.h5") as file:
        kinds = set()
        file.visititems(lambda name, item: kinds.add(getattr(item, "dtype", None)))
    assert kinds == {None, np.dtype("float16")}


def test_float16_refuses_what_it_cannot_hold(tmp_path):
    model = MSPFN(**TINY)
    model.get_layer("rain").kernel.assign(model.get_layer("rain").kernel * 0 + 1e5)
    with pytest.raises(ValueError, match="float16"):
        save_weights(model, tmp_path / "big.weights.h5", dtype="float16")
    assert list(tmp_path.iterdir()) == []


def test_existing_files_are_kept(model, tmp_path):
    path = tmp_path / "tiny.weights.h5"
    path.write_text("mine")
    with pytest.raises(ValueError, match="exists"):
        save_weights(model, path)
    assert path.read_text() == "mine"
    save_weights(model, path, overwrite=True)
    load_model(path)


def test_wrong_suffix_and_dtype(model, tmp_path):
    with pytest.raises(ValueError, match=r"\.weights\.h5"):
        save_weights(model, tmp_path / "model.h5")
    with pytest.raises(ValueError, match="float8"):
        save_weights(model, tmp_path / "model.weights.h5", dtype="float8")


def test_other_networks_and_broken_files(model, tmp_path):
    path = tmp_path / "wide.weights.h5"
    save_weights(MSPFN(**{**TINY, "width": 16}), path)
    with pytest.raises(ValueError, match=r"wide\.weights\.h5.*width=16 there, 8 here"):
        load_weights(model, path)
    MSPFN(**{**TINY, "width": 16}).save_weights(path, overwrite=True)  # says nothing of its network
    with pytest.raises(ValueError, match=r"cannot load .*wide\.weights\.h5"):
        load_weights(model, path)
    broken = tmp_path / "broken.weights.h5"
    broken.write_bytes(b"not an HDF5 file")
    for load in (load_model, lambda file: load_weights(model, file)):
        with pytest.raises(ValueError, match="broken"):
            load(broken)
    with pytest.raises(ValueError, match="nowhere"):
        load_model(tmp_path / "nowhere.weights.h5")
    with pytest.raises(ValueError, match="mspfn_nano"):
        load_model("mspfn_giant")


def test_plain_keras_weights_are_told_by_their_number(model, tmp_path):
    nano = MSPFN.from_preset("mspfn_nano", load_weights=False)
    nano.save_weights(tmp_path / "nano.weights.h5")
    assert load_model(tmp_path / "nano.weights.h5").width == nano.width
    model.save_weights(tmp_path / "tiny.weights.h5")
    with pytest.raises(ValueError, match="does not say of which network"):
        load_model(tmp_path / "tiny.weights.h5")


def test_a_changed_weights_file_is_refused(model, tmp_path, monkeypatch):
    monkeypatch.setattr(presets, "WEIGHTS", tmp_path)
    path = tmp_path / "tiny.weights.h5"
    save_weights(model, path)
    entry = {**PRESETS["mspfn_nano"], "weights": {"file": path.name, "sha256": "0" * 64}}
    monkeypatch.setitem(PRESETS, "mspfn_nano", entry)
    with pytest.raises(ValueError, match="damaged or was changed"):
        load_weights(model, path)


@pytest.mark.parametrize("name", PRESETS)
def test_shipped_weights_load_and_their_card_is_whole(name):
    if PRESETS[name]["weights"] is None:
        with pytest.raises(ValueError, match="no weights are shipped"):
            weights_path(name)
        return
    loaded = MSPFN.from_preset(name)
    derained = loaded.predict_on_batch(np.full((1, 16, 16, 3), 0.5, "float32"))
    assert np.all(np.isfinite(derained))
    card = json.loads((WEIGHTS / f"{name}.json").read_text())
    assert card["scores"]
    assert card["training"]
    assert weights_path(name).stat().st_size < 40e6


def test_default_preset_is_shipped():
    assert PRESETS[DEFAULT_PRESET]["weights"] is not None
    assert presets.weights_path(DEFAULT_PRESET).is_file()
