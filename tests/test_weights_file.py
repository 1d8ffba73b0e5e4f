"""Self-describing weights files, shipped weights and their checks."""

import json

import h5py
import keras
import numpy as np
import pytest

from mspfn_tf import MSPFN, PRESETS, presets
from mspfn_tf.errors import UsageError
from mspfn_tf.model_files import load_model
from mspfn_tf.presets import DEFAULT_PRESET, WEIGHTS, weights_path
from mspfn_tf.weights_file import fewest_weights, load_weights, save_weights
from tests.full_disk import files_end_at
from tests.mutated_models import COUNT, bounded, mutated, random_of

TINY = {"width": 8, "blocks": 1, "rcabs": (1, 1, 1), "hidden": (4, 4, 4)}


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    return MSPFN(**TINY)


@pytest.mark.slow
def test_float32_comes_back_bit_for_bit(model, tmp_path):
    path = tmp_path / "tiny.weights.h5"
    save_weights(model, path)
    loaded = load_model(path)
    assert loaded.get_config() == model.get_config()
    for ours, theirs in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.weights.h5"]


@pytest.mark.slow
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


@pytest.mark.slow
def test_existing_files_are_kept(model, tmp_path):
    path = tmp_path / "tiny.weights.h5"
    path.write_text("mine")
    with pytest.raises(ValueError, match="exists"):
        save_weights(model, path)
    assert path.read_text() == "mine"
    save_weights(model, path, overwrite=True)
    load_model(path)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_disk_that_is_just_full(model, tmp_path, dtype):
    """HDF5 cannot close a file then, and may end the process at its own end."""
    path = tmp_path / "tiny.weights.h5"
    save_weights(model, path, dtype)
    before = path.read_bytes()
    for room in (len(before) - 1, len(before) // 2, 100):
        with files_end_at(room), pytest.raises(UsageError, match="cannot write .*tiny.weights.h5"):
            save_weights(model, path, dtype, overwrite=True)
        assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_wrong_suffix_and_dtype(model, tmp_path):
    with pytest.raises(ValueError, match=r"\.weights\.h5"):
        save_weights(model, tmp_path / "model.h5")
    with pytest.raises(ValueError, match="float8"):
        save_weights(model, tmp_path / "model.weights.h5", dtype="float8")


@pytest.mark.slow
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


@pytest.mark.slow
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


# === Files from strangers ===


@pytest.fixture
def tiny(model, tmp_path):
    path = tmp_path / "tiny.weights.h5"
    save_weights(model, path)
    return path


def refused(path, words):
    for load in (load_model, lambda file: load_weights(MSPFN(**TINY), file)):
        with pytest.raises(UsageError, match=words):
            load(path)


def first_kernel(file):
    found = []
    file.visititems(
        lambda name, item: found.append(name) if getattr(item, "ndim", 0) == 4 else None
    )
    return found[0]


@pytest.mark.slow
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite(model, tiny, value, tmp_path):
    with h5py.File(tiny, "r+") as file:
        file[first_kernel(file)][0, 0, 0, 0] = value
    before = [np.array(variable) for variable in model.weights]
    refused(tiny, "holds NaN or infinity")
    with pytest.raises(UsageError, match="holds NaN"):
        load_weights(model, tiny)
    for variable, old in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(variable, old)  # the model stays as it was
    spoilt = MSPFN(**TINY)
    spoilt.get_layer("rain").kernel.assign(spoilt.get_layer("rain").kernel * value)
    for dtype in ("float32", "float16"):
        with pytest.raises(UsageError, match="is not written: .* holds NaN or infinity"):
            save_weights(spoilt, tmp_path / "spoilt.weights.h5", dtype)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.weights.h5"]


def test_arrays_declared_larger_than_the_file(tiny):
    with h5py.File(tiny, "r+") as file:
        name = first_kernel(file)
        del file[name]
        file.create_dataset(name, shape=(10**6, 10**6), chunks=(100, 100), dtype="float32")
    refused(tiny, "declared larger than the file")


def test_zeros_that_compress_well_are_no_weights(tiny):
    with h5py.File(tiny, "r+") as file:
        file.create_dataset("layers/zeros", data=np.zeros(10**7, np.float32), compression="gzip")
    refused(tiny, "declared larger than the file")


@pytest.mark.parametrize(
    "point, words",
    [
        (lambda file: h5py.ExternalLink("other.h5", "/x"), "is a link"),
        (lambda file: h5py.SoftLink("/layers"), "is a link"),
        (lambda file: file["layers"], "is there twice"),  # a group that holds itself
    ],
)
def test_pointers(tiny, point, words):
    with h5py.File(tiny, "r+") as file:
        file["layers/more"] = point(file)
    refused(tiny, words)


def test_arrays_in_other_files(tiny, tmp_path):
    with h5py.File(tiny, "r+") as file:
        file.create_dataset("other", (4,), "f4", external=[(str(tmp_path / "raw"), 0, 16)])
    refused(tiny, "points to other files")


def test_what_is_no_array_of_numbers(tiny):
    with h5py.File(tiny, "r+") as file:
        file["text"] = "words"
    refused(tiny, "no array of numbers")


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 20_000},
        {"blocks": 10**6},
        {"rcabs": [10**5, 0, 0]},
        {"hidden": [10**7, 4, 4]},
        {"recurrent_steps": 10**9},
        {"width": 1e300},
    ],
)
def test_a_network_larger_than_its_file_is_not_built(tiny, changes, tmp_path, monkeypatch):
    config = {**json.loads(json.dumps(MSPFN(**TINY).get_config())), **changes}
    with h5py.File(tiny, "r+") as file:
        file.attrs["mspfn_config"] = json.dumps(config)
    monkeypatch.setattr(MSPFN, "__init__", lambda *arguments, **options: pytest.fail("built"))
    with pytest.raises(UsageError, match="declares a network with at least"):
        load_model(tiny)
    run = tmp_path / "run"
    run.mkdir()
    tiny.rename(run / "model.weights.h5")
    with h5py.File(run / "model.weights.h5", "r+") as file:
        del file.attrs["mspfn_config"]
    (run / "config.json").write_text(json.dumps({"model": config}))
    with pytest.raises(UsageError, match="declares a network with at least"):
        MSPFN.from_preset(run)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        *[preset["arguments"] for preset in PRESETS.values() if preset["parameters"] < 2e6],
        TINY,
        {"width": 4, "blocks": 1, "rcabs": (0, 0, 0), "hidden": None, "reduction": None},
        {"width": 8, "blocks": 3, "rcabs": (1, 0, 2), "stem": 2, "upsampling": "subpixel"},
        {"width": 8, "blocks": 1, "upsampling": "nearest", "recurrent_steps": 3},
        {"width": 8, "blocks": 2, "upsampling": "smooth", "attention": "picture"},
    ],
)
def test_no_network_of_ours_is_thought_too_large(arguments):
    config = json.loads(json.dumps(MSPFN(**arguments).get_config()))
    count = MSPFN(**arguments).count_params()
    assert 0.1 * count < fewest_weights(config) <= count


def test_presets_are_not_thought_too_large():
    for preset in PRESETS.values():
        assert fewest_weights(preset["arguments"]) <= preset["parameters"]


@pytest.mark.parametrize(
    "text", ["{", "[1]", "3", '"x"', '{"width": "8"}', '{"wide": 8}', '{"width": [8]}', "\0",
             '{"rcabs": 3}', '{"hidden": "abc"}', '{"blocks": true}', "[" * 10_000],
)  # fmt: skip
def test_configurations_of_other_types(tiny, text):
    with h5py.File(tiny, "r+") as file:
        file.attrs["mspfn_config"] = np.bytes_(text)
    with pytest.raises(UsageError):
        load_model(tiny)


@pytest.mark.slow
def test_damaged_files_load_or_give_a_message(tmp_path):
    """Every fifth one tells its network, which is built; the others are of two plain layers."""
    tiny = tmp_path / "tiny.weights.h5"
    save_weights(MSPFN(**{**TINY, "rcabs": (1, 0, 0), "hidden": None}), tiny)
    whole = tiny.read_bytes()
    image = keras.Input((None, None, 3))
    features = keras.layers.Conv2D(20, 3, name="one")(image)
    model = keras.Model(image, keras.layers.Conv2D(3, 3, name="two")(features))
    model.save_weights(tiny.with_name("plain.weights.h5"))
    plain = tiny.with_name("plain.weights.h5").read_bytes()
    random = random_of(29)
    seen = {"loaded": 0, "message": 0}
    for index in range(COUNT):
        # The heads of groups stand in front; elsewhere are mostly weights, which may be anything.
        content = plain if index % 5 else whole
        tiny.write_bytes(mutated(content, random, (0, 4096) if index % 2 else None))
        with bounded():
            try:
                if content is plain:
                    load_weights(model, tiny)
                else:
                    load_model(tiny)
                seen["loaded"] += 1
            except UsageError as error:
                assert str(tiny) in str(error)
                seen["message"] += 1
    print(seen)
    assert min(seen.values()) > COUNT // 20 and sum(seen.values()) == COUNT


@pytest.mark.slow
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
