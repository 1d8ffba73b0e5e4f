"""Released folders and the Hub: written, fetched, pinned, used offline, refused."""

import json
import os
import shutil
import subprocess
import sys

import keras
import numpy as np
import onnxruntime
import pytest
from huggingface_hub import constants

from mspfn_tf import hub
from mspfn_tf.cli import main
from mspfn_tf.commands import release
from mspfn_tf.errors import UsageError
from mspfn_tf.files import sha256
from mspfn_tf.model import MSPFN
from mspfn_tf.released import check_released
from mspfn_tf.restorer import Restorer
from mspfn_tf.source import resolve
from mspfn_tf.weights_file import save_weights
from tests.export_models import PHONE, small_model, write_pairs
from tests.hub_server import Hub, serve

pytestmark = pytest.mark.slow

NAME = "rain/small"


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """(the model, the folder that the command wrote of it)."""
    folder = tmp_path_factory.mktemp("released")
    model = small_model(**PHONE)
    save_weights(model, folder / "small.weights.h5")
    card = {
        "training": {"training_data": "made-up rain", "licence_of_the_data": "research use"},
        "scores": {
            "Rain100L": {
                "count": 100,
                "psnr": 30.0,
                "ssim": 0.9,
                "input": {"psnr": 26.9, "ssim": 0.838},
            }
        },
    }
    (folder / "card.json").write_text(json.dumps(card))
    pairs = write_pairs(folder / "pairs")
    options = ["--model", folder / "small.weights.h5", "--card", folder / "card.json"]
    command = ["release", folder / "model", *options, "--calibration", pairs]
    assert main([str(part) for part in command]) == 0
    return model, folder / "model"


@pytest.fixture
def online(released, tmp_path, monkeypatch):
    """The stand-in, with the released folder in it, as the Hub of this process."""
    _, folder = released
    here = Hub()
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    here.repositories[NAME] = {"main": files}
    with serve(here) as address:
        point_to(monkeypatch, address)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
        yield here


def point_to(patch, address):
    """What `HF_ENDPOINT` does when huggingface_hub is imported."""
    patch.setattr(constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def picture():
    return np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)


def test_the_folder_is_whole(released):
    model, folder = released
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "SHA256SUMS",
        "config.json",
        "metadata.json",
        "model.onnx",
        "model.tflite",
        "model.weights.h5",
    ]
    sums = [line.split("  ") for line in (folder / "SHA256SUMS").read_text().splitlines()]
    assert len(sums) == 6
    for digest, name in sums:
        assert sha256(folder / name) == digest
    config = json.loads((folder / "config.json").read_text())
    assert config["class_name"] == "MSPFN" and config["registered_name"] == "mspfn_tf>MSPFN"
    # What Keras itself makes of the file, without this package's reader.
    again = keras.saving.deserialize_keras_object(config)
    again.load_weights(folder / "model.weights.h5")
    for one, other in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    card = (folder / "README.md").read_text()
    for part in (
        "library_name: keras",
        "pipeline_tag: image-to-image",
        "license: apache-2.0",
        "| Rain100L | 100 | 26.90 / 0.8380 | 30.00 / 0.9000 |",
        "made-up rain",
        "research use",
    ):
        assert part in card
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    assert session.get_inputs()[0].shape[1] == 3


def test_a_released_folder_restores(released):
    model, folder = released
    lite, whole = Restorer(folder), Restorer(folder, runtime="keras")
    assert (lite.runtime.kind, whole.runtime.kind) == ("litert", "keras")
    assert lite.digest == whole.digest == sha256(folder / "model.weights.h5")
    expected = Restorer(model)(picture()).astype(int)
    assert np.abs(whole(picture()) - expected).max() <= 1
    assert np.abs(lite(picture()) - expected).max() <= 1


def test_refuses_to_replace_other_folders(released, tmp_path, capsys):
    _, folder = released
    assert main(["release", str(folder)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/config.json").write_text("{}")  # as a run of training has one
    assert main(["release", str(tmp_path / "mine"), "--overwrite"]) == 2
    assert "holds something else" in capsys.readouterr().err
    assert (tmp_path / "mine/config.json").exists()
    assert main(["release", str(tmp_path / "new"), "--preset", "mspfn_giant"]) == 2
    assert main(["release", str(tmp_path / "new"), "--card", str(tmp_path / "no.json")]) == 2
    assert "cannot read" in capsys.readouterr().err
    for card in ("[]", '{"training": "x"}', '{"scores": {"a": {}}}'):
        (tmp_path / "card.json").write_text(card)
        command = ["release", str(tmp_path / "new"), "--card", str(tmp_path / "card.json")]
        assert main(command) == 2
        assert "expected a JSON object with `training`" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "wrong",
    [{"input": None}, {"input": {"psnr": 1.0}}, {"psnr": None}, {"psnr": "?"}, {"ssim": "x"}],
)
def test_scores_of_a_card_are_numbers(tmp_path, capsys, wrong):
    score = {"count": 1, "psnr": 30.0, "ssim": 0.9, "input": {"psnr": "inf", "ssim": 1}}
    release._check_card({"scores": {"a": score}}, "card.json")
    (tmp_path / "card.json").write_text(json.dumps({"scores": {"a": {**score, **wrong}}}))
    command = ["release", str(tmp_path / "new"), "--card", str(tmp_path / "card.json")]
    assert main(command) == 2
    assert "expected a JSON object with `training`" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["/etc/hostname", "../secret", "a/b", "x" * 300])
def test_released_folders_do_not_lead_out_of_themselves(tmp_path, name):
    (tmp_path / "metadata.json").write_text(json.dumps({"sha256": {name: "0"}}))
    with pytest.raises(UsageError, match="metadata.json is damaged: .* is no file of the folder"):
        check_released(tmp_path)
    (tmp_path / "metadata.json").write_text("[" * 200_000)
    with pytest.raises(UsageError, match="metadata.json is damaged"):
        check_released(tmp_path)


def test_a_released_folder_without_its_weights_has_their_digest(released, tmp_path):
    _, folder = released
    for name in ("config.json", "metadata.json", "model.tflite"):
        shutil.copyfile(folder / name, tmp_path / name)
    restorer = Restorer(tmp_path)
    assert restorer.runtime.kind == "litert"
    assert restorer.digest == sha256(folder / "model.weights.h5")


def test_from_the_hub(released, online):
    model, folder = released
    handle = f"hf://{NAME}"
    restorer = Restorer(handle)
    assert (restorer.runtime.kind, restorer.name) == ("litert", NAME)
    np.testing.assert_array_equal(restorer(picture()), Restorer(folder)(picture()))
    fetched = MSPFN.from_preset(handle)
    for one, other in zip(model.get_weights(), fetched.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert MSPFN.from_preset(handle, load_weights=False).count_params() == model.count_params()
    # Neither the ONNX file nor the model card is fetched.
    assert not any(path.endswith((".onnx", ".md")) for path in online.requests)


def test_a_pinned_revision_stays(online):
    first = online.commit(NAME, "main")
    before = hub.fetch(f"hf://{NAME}")
    changed = {**online.repositories[NAME]["main"], "metadata.json": b"{}"}
    online.repositories[NAME] = {"v1": online.repositories[NAME]["main"], "main": changed}
    assert hub.fetch(f"hf://{NAME}@v1") == hub.fetch(f"hf://{NAME}@{first}") == before
    after = hub.fetch(f"hf://{NAME}")
    assert after != before and (after / "metadata.json").read_bytes() == b"{}"
    asked = len(online.requests)
    assert hub.fetch(f"hf://{NAME}@{first}") == before
    assert len(online.requests) == asked  # nothing to ask: a commit does not change


def test_without_a_network(online, monkeypatch):
    handle = f"hf://{NAME}"
    with monkeypatch.context() as patch:
        point_to(patch, "http://127.0.0.1:9")  # nobody listens there
        with pytest.raises(UsageError, match="not in the cache"):
            hub.fetch(handle)
    there = hub.fetch(handle)
    point_to(monkeypatch, "http://127.0.0.1:9")
    assert hub.fetch(handle) == there


@pytest.mark.parametrize(
    ("handle", "message"),
    [
        ("hf://rain/none", "no model rain/none at http://127.0.0.1"),
        (f"hf://{NAME}@v9", "no revision 'v9'"),
        ("hf://small", "expected hf://owner/name"),
        ("hf://a/b/c", "expected hf://owner/name"),
        ("hf://", "expected hf://owner/name"),
    ],
)
def test_unknown_names(online, handle, message):
    with pytest.raises(UsageError, match=message):
        resolve(handle)


def test_damaged_and_foreign_repositories(online, tmp_path):
    files = online.repositories[NAME]["main"]
    online.repositories["a/damaged"] = {"main": {**files, "model.tflite": b"something else"}}
    with pytest.raises(UsageError, match=r"model\.tflite is damaged .* Fetch the model again"):
        Restorer("hf://a/damaged")
    online.repositories["a/empty"] = {"main": {"README.md": b"nothing"}}
    with pytest.raises(UsageError, match="expected config.json"):
        Restorer("hf://a/empty")
    other = {"class_name": "ResNetBackbone", "config": {"depth": 50}}
    online.repositories["a/resnet"] = {"main": {"config.json": json.dumps(other).encode()}}
    with pytest.raises(UsageError, match="class ResNetBackbone; expected MSPFN"):
        MSPFN.from_preset("hf://a/resnet")
    online.repositories["a/metadata"] = {"main": {**files, "metadata.json": b"{"}}
    with pytest.raises(UsageError, match="metadata.json is damaged"):
        Restorer("hf://a/metadata")


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UsageError, match=r'pip install "mspfn_tf\[hub\]"'):
        Restorer(f"hf://{NAME}")


def test_by_the_environment_in_a_fresh_process(online, tmp_path):
    """`HF_ENDPOINT`, `HF_HUB_CACHE` and `HF_HUB_OFFLINE` as users set them; no TensorFlow."""
    program = (
        "import sys, numpy, mspfn_tf\n"
        f"restorer = mspfn_tf.Restorer('hf://{NAME}')\n"
        "print(restorer(numpy.zeros((32, 32, 3), numpy.uint8)).shape)\n"
        "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules\n"
    )

    def run(**variables):
        cache = {"HF_HUB_CACHE": str(tmp_path / "other_cache"), "HF_HUB_DISABLE_TELEMETRY": "1"}
        return subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            env={**os.environ, **cache, **variables},
        )

    offline = run(HF_HUB_OFFLINE="1")
    assert offline.returncode and "not in the cache" in offline.stderr
    fetched = run(HF_ENDPOINT=constants.ENDPOINT)
    assert fetched.stdout == "(32, 32, 3)\n", fetched.stderr
    asked = len(online.requests)
    offline = run(HF_HUB_OFFLINE="1")
    assert offline.stdout == "(32, 32, 3)\n", offline.stderr
    assert len(online.requests) == asked
