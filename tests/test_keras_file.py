import io
import json
import zipfile

import keras
import numpy as np
import pytest

from mspfn_tf.errors import UsageError
from mspfn_tf.model import MSPFN
from mspfn_tf.model_files import load_model
from mspfn_tf.restorer import Restorer
from mspfn_tf.weights_file import save_weights
from tests.export_models import small_model
from tests.mutated_models import COUNT, bounded, mutated, random_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """{name: bytes} of the members of a file of ours, and of one of plain Keras layers."""
    folder = tmp_path_factory.mktemp("whole")
    image = keras.Input((None, None, 3))
    plain = keras.Model(image, keras.layers.Conv2D(3, 3, padding="same", name="filter")(image))
    found = {}
    for name, model in (("ours", small_model()), ("plain", plain)):
        model.save(folder / f"{name}.keras")
        found[name] = (folder / f"{name}.keras").read_bytes()
    return found


def members(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(parts, method=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return file.getvalue()


def with_config(content, old, new):
    parts = members(content)
    assert old in parts["config.json"]
    return packed({**parts, "config.json": parts["config.json"].replace(old, new)})


@pytest.mark.parametrize("kind", ["ours", "plain"])
def test_whole_files_load(files, tmp_path, kind):
    (tmp_path / "a.keras").write_bytes(files[kind])
    assert isinstance(load_model(tmp_path / "a.keras"), keras.Model)
    (tmp_path / "a.keras").write_bytes(packed(members(files[kind])))
    assert isinstance(load_model(tmp_path / "a.keras"), keras.Model)


def hostile(files):
    ours, plain = files["ours"], files["plain"]
    yield "too many members", packed({**members(ours), "../evil": b"x"}), "found .*evil"
    yield "no weights", packed({"config.json": b"{}", "metadata.json": b"{}"}), "expected config"
    yield "no zip", b"nothing of the kind", "damaged"
    yield "cut", ours[: len(ours) // 2], "damaged"
    zeros = {**members(ours), "metadata.json": bytes(50_000_000)}
    yield "bomb", packed(zeros, zipfile.ZIP_DEFLATED), "larger than the file"
    yield "module", with_config(plain, b'"keras.layers"', b'"antigravity"'), "import 'antigravity'"
    yield "list", packed({**members(ours), "config.json": b"[]"}), "no JSON object"
    deep = b"[" * 100_000 + b"]" * 100_000
    yield "deep", packed({**members(ours), "config.json": deep}), "damaged"
    huge = with_config(plain, b'"filters": 3', b'"filters": 900000000')
    yield "huge layer", huge, "declares a network of 2[0-9,]* weights, but holds 84"
    yield "huge network", with_config(ours, b'"width": 8', b'"width": 80000'), "is not built"
    endless = with_config(ours, b'"blocks": 1', b'"blocks": 1000000')
    yield "endless network", endless, "is not built"
    lambda_ = json.loads(members(plain)["config.json"])
    lambda_["config"]["layers"][1]["class_name"] = "Lambda"
    lambda_["config"]["layers"][1]["config"] = {
        "name": "filter",
        "function": {"class_name": "__lambda__", "config": {"code": "", "defaults": None}},
    }
    code = packed({**members(plain), "config.json": json.dumps(lambda_).encode()})
    yield "code", code, "damaged|refused"


def test_hostile_files_are_refused_before_they_are_built(files, tmp_path, monkeypatch):
    path = tmp_path / "a.keras"
    for what, content, message in hostile(files):
        path.write_bytes(content)
        with bounded(), pytest.raises(UsageError, match=f"a.keras.*({message})"):
            load_model(path)
        assert [file.name for file in tmp_path.iterdir()] == ["a.keras"], what


def test_weights_that_are_not_finite_are_refused(tmp_path):
    model = small_model()
    model.get_layer("rain").kernel.assign(model.get_layer("rain").kernel * np.nan)
    model.save(tmp_path / "a.keras")
    with pytest.raises(UsageError, match="a.keras is refused: .*holds NaN or infinity"):
        load_model(tmp_path / "a.keras")


def test_damaged_files_give_a_picture_or_a_message(files, tmp_path):
    random = random_of(23)
    path = tmp_path / "a.keras"
    seen = {"picture": 0, "message": 0}
    picture = np.zeros((40, 40, 3), np.uint8)
    for index in range(COUNT):
        content = files["plain" if index % 5 else "ours"]  # plain layers are built at once
        if index % 4 < 2:
            damaged = mutated(content, random)
        else:  # inside of an archive that is whole
            parts = members(content)
            name = "model.weights.h5" if index % 3 else "config.json"
            damaged = packed({**parts, name: mutated(parts[name], random)})
        path.write_bytes(damaged)
        with bounded():
            try:
                assert Restorer(path)(picture).shape == picture.shape
                seen["picture"] += 1
            except UsageError as error:
                text = str(error)
                assert "a.keras" in text or "not finite" in text or "same shape" in text
                seen["message"] += 1
    print(seen)
    assert seen["message"] and sum(seen.values()) == COUNT


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 10**6}, "declares a network with at least"),
        ({"blocks": 10**9}, "declares a network with at least"),
        ({"recurrent_steps": 10**6}, "declares a network with at least"),
        ({"width": "8"}, "width must be an int"),
        ({"blocks": None}, "blocks must be an int|declares a network"),
        ({"rcabs": {}}, "rcabs must be three ints"),
        ({"hidden": [1, 2, None]}, "hidden"),
        ({"stem": [1]}, "stem must be one of"),
        ({"activation": {}}, "activation must be one of"),
        ({"image_size": "large"}, "image_size"),
        ({"depth": 3}, "MSPFN has no argument depth"),
        ({"name": 7}, "name"),
    ],
)
def test_what_config_json_may_say(tmp_path, change, message):
    model = small_model()
    save_weights(model, tmp_path / "model.weights.h5")
    config = {**model.get_config(), **change}
    (tmp_path / "config.json").write_text(json.dumps({"model": config}))
    with bounded(), pytest.raises(UsageError, match=message):
        Restorer(tmp_path)


def test_damaged_configurations_give_a_picture_or_a_message(tmp_path):
    model = small_model()
    save_weights(model, tmp_path / "model.weights.h5")
    whole = json.dumps({"model": model.get_config()}).encode()
    random = random_of(24)
    seen = {"picture": 0, "message": 0}
    for _ in range(COUNT):
        (tmp_path / "config.json").write_bytes(mutated(whole, random))
        with bounded():
            try:
                Restorer(tmp_path)(np.zeros((40, 40, 3), np.uint8))
                seen["picture"] += 1
            except UsageError:
                seen["message"] += 1
    print(seen)
    assert seen["message"] and sum(seen.values()) == COUNT


def test_networks_within_the_bounds_are_those_of_the_presets():
    with pytest.raises(UsageError, match="is not built"):
        MSPFN(width=1024)
