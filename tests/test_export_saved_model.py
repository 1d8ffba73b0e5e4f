import json
import shutil
import subprocess

import numpy as np
import pytest
import tensorflow as tf

from mspfn_tf.errors import UsageError
from mspfn_tf.export import VerificationError, export_saved_model, saved_model, verification
from mspfn_tf.export.calibration import read_patches
from mspfn_tf.presets import PRESETS
from mspfn_tf.restorer import Restorer
from tests.export_models import small_model, write_pairs

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("pictures") / "pairs")


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture(scope="module")
def results():
    """{name: array}: what the signatures of `exported` gave when it was checked."""
    return {}


@pytest.fixture(scope="module")
def exported(model, pairs, results, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "saved"
    run = subprocess.run

    def kept(command, **options):
        done = run(command, **options)
        with np.load(command[-1]) as arrays:
            results.update(arrays)
        return done

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(verification.subprocess, "run", kept)
        return path, export_saved_model(model, path, calibration=pairs)


@pytest.fixture(scope="module")
def loaded(exported):
    return tf.saved_model.load(str(exported[0]))


def test_describes_itself(exported, model):
    path, description = exported
    assert description == json.loads(path.with_name("saved.json").read_text())
    assert description["verified"]
    assert set(description["signatures"]) == {"serving_default", "uint8", "encoded"}
    # Each weight is stored once, in four bytes.
    (data,) = (path / "variables").glob("*.data-*")
    assert data.stat().st_size < 5 * model.count_params()


def test_leaves_nothing_else_beside(exported):
    path, _ = exported
    assert sorted(file.name for file in path.parent.iterdir()) == ["saved", "saved.json"]


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (8, 8), (21, 34)])
def test_any_size_in_batches(loaded, model, size):
    rainy = np.random.default_rng(0).integers(0, 256, (2, *size, 3), np.uint8)
    restorer = Restorer(model)
    derained = loaded.signatures["serving_default"](rainy=tf.constant(rainy / np.float32(255)))
    for given, found in zip(rainy, derained["derained"].numpy(), strict=True):
        np.testing.assert_allclose(found, restorer(given / np.float32(255)), atol=1e-5)
    found = loaded.signatures["uint8"](rainy=tf.constant(rainy))["derained"].numpy()
    assert found.dtype == np.uint8
    expected = np.stack([restorer(given) for given in rainy]).astype(int)
    assert np.abs(found - expected).max() <= 1  # a value at a half may round either way


def test_encoded_pictures_of_several_sizes(loaded):
    pictures = [
        np.random.default_rng(n).integers(0, 256, (*size, 3), np.uint8)
        for n, size in enumerate([(9, 17), (16, 8)])
    ]
    files = [tf.io.encode_png(picture) for picture in pictures]
    derained = loaded.signatures["encoded"](rainy_bytes=tf.stack(files))["derained_bytes"]
    for picture, content in zip(pictures, derained, strict=True):
        expected = loaded.signatures["uint8"](rainy=tf.constant(picture[None]))["derained"][0]
        np.testing.assert_array_equal(tf.io.decode_png(content), expected)
    jpeg = tf.io.encode_jpeg(pictures[0])
    (content,) = loaded.signatures["encoded"](rainy_bytes=jpeg[None])["derained_bytes"]
    assert tf.io.decode_png(content).shape == (9, 17, 3)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n and no more"])
def test_garbage_is_refused(loaded, content):
    with pytest.raises(tf.errors.InvalidArgumentError):
        loaded.signatures["encoded"](rainy_bytes=tf.constant([content]))


def test_what_falls_short_is_not_written(exported, model, pairs, tmp_path, monkeypatch):
    def write(model, directory, max_pixels):
        shutil.copytree(exported[0], directory, dirs_exist_ok=True)

    monkeypatch.setattr(saved_model, "write_saved_model", write)
    found = {"problems": ["max_error is 1; expected at most 1e-05"]}
    monkeypatch.setattr(saved_model, "check_saved_model", lambda *arguments: dict(found))
    with pytest.raises(VerificationError, match="max_error is 1"):
        export_saved_model(model, tmp_path / "saved", calibration=pairs)
    assert not any(tmp_path.iterdir())
    assert export_saved_model(model, tmp_path / "saved", calibration=pairs, force=True)["forced"]


def test_every_signature_is_compared(exported, results, model, pairs, monkeypatch):
    assert exported[1]["problems"] == [] and exported[1]["parity"]["uint8_max_error"] > 0
    patches = read_patches(pairs, saved_model.CHECK_SIZE, count=4)
    for signature, words in (
        ("serving_default", "max_error"),
        ("uint8", "signature uint8"),
        ("encoded", "signature encoded"),
    ):

        def another(command, signature=signature, **options):
            names = [name for name in results if name.startswith(signature)]
            np.savez(command[-1], **{**results, **{name: results[name] // 2 for name in names}})
            return subprocess.CompletedProcess(command, 0)

        monkeypatch.setattr(verification.subprocess, "run", another)
        problems = verification.check_saved_model(model, exported[0], patches)["problems"]
        assert problems and all(words in problem or "multiple" in problem for problem in problems)


def test_bounds(pairs):
    (patch,) = read_patches(pairs, (16, 16), count=1)[:1]
    given = patch.rainy / np.float32(255)
    same = verification.compare([given], [given], [patch], {"max_error": 0.0, "psnr_loss_db": 0.0})
    assert same["problems"] == []
    assert same["agreement_db"] == 120
    worse = verification.compare([given], [given + 0.1], [patch], {"agreement_db": 20.1})
    assert worse["agreement_db"] == pytest.approx(20, abs=1e-3)
    assert worse["max_error"] == pytest.approx(0.1, abs=1e-6)
    assert worse["problems"] == ["agreement_db is 20; expected at least 20.1"]


def test_existing_outputs(model, pairs, tmp_path):
    (tmp_path / "saved").mkdir()
    with pytest.raises(UsageError, match="exists already"):
        export_saved_model(model, tmp_path / "saved", calibration=pairs)
    (tmp_path / "saved/mine.txt").touch()
    with pytest.raises(UsageError, match="holds something else"):
        export_saved_model(model, tmp_path / "saved", calibration=pairs, overwrite=True)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot write"):
        export_saved_model(model, tmp_path / "file" / "saved", calibration=pairs)


@pytest.mark.parametrize("preset", [name for name, p in PRESETS.items() if p["weights"]])
def test_shipped_presets_pass_their_verification(preset, tmp_path):
    assert export_saved_model(preset, tmp_path / "saved")["verified"]
