"""Tiles of which the coarser scales see more than the full one."""

import numpy as np
import pytest

from mspfn_tf.errors import UsageError
from mspfn_tf.export.calibration import SAMPLE, read_patches
from mspfn_tf.export.litert import convert, convert_tiles
from mspfn_tf.export.openvino import write
from mspfn_tf.export.verification import check_tiles
from mspfn_tf.pictures import read_rgb
from mspfn_tf.restorer import Restorer
from mspfn_tf.runtimes import LiteRTRuntime, open_runtime
from mspfn_tf.source import resolve
from mspfn_tf.weights_file import save_weights
from tests.export_models import PHONE, small_model

pytestmark = pytest.mark.slow

ARGUMENTS = {**PHONE, "attention": "picture", "upsampling": "smooth"}
KINDS = ("keras", "litert", "openvino")
BOX = (80, 120, 112, 96)  # top, left, height, width
FAR = 40  # pixels: further than the full scale of one block looks


@pytest.fixture(scope="module")
def model():
    return small_model(**ARGUMENTS)


@pytest.fixture(scope="module")
def runtimes(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runtimes")
    save_weights(model, folder / "m.weights.h5")
    (folder / "m.tflite").write_bytes(convert(model, (64, 64)))
    (folder / "m.tiles.tflite").write_bytes(convert_tiles(model, (64, 64)))
    write(model, folder / "m.xml")
    lite = folder / "m.tflite"
    return {
        "keras": open_runtime(folder / "m.weights.h5"),
        "litert": LiteRTRuntime(resolve(lite), lite, tiles=folder / "m.tiles.tflite"),
        "openvino": open_runtime(folder / "m.xml"),
    }


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).random((1, 264, 320, 3), np.float32)


def cut(pictures, far=0):
    top, left, height, width = BOX
    return pictures[:, top + far : top + height - far, left + far : left + width - far]


@pytest.mark.parametrize("kind", KINDS)
def test_all_of_the_surroundings_is_the_whole(runtimes, pictures, kind):
    runtime = runtimes[kind]
    assert runtime.coarse_first
    statistics = runtime.measure(pictures)
    whole, _ = runtime.run_guided(pictures, statistics)
    found = runtime.run_tile(pictures, statistics, (0, 0, *pictures.shape[1:3]))
    np.testing.assert_allclose(found, whole, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_knows_its_surroundings(runtimes, pictures, kind):
    runtime = runtimes[kind]
    statistics = runtime.measure(pictures)
    whole = cut(runtime.run_guided(pictures, statistics)[0])
    found = runtime.run_tile(pictures, statistics, BOX)
    expected = runtimes["keras"].run_tile(pictures, statistics, BOX)
    # Files clip their results, a Keras model does not.
    np.testing.assert_allclose(np.clip(found, 0, 1), np.clip(expected, 0, 1), rtol=0, atol=2e-6)
    inside = np.s_[:, FAR:-FAR, FAR:-FAR]
    np.testing.assert_allclose(found[inside], whole[inside], rtol=0, atol=1e-6)
    alone, _ = runtime.run_guided(np.ascontiguousarray(cut(pictures)), statistics)
    # The coarser scales look further (measured: 3.7e-5).
    assert np.abs(alone[inside] - whole[inside]).max() > 2e-5


@pytest.mark.parametrize("kind", KINDS)
def test_tiles_of_shipped_weights_agree_with_the_whole_picture(kind):
    scene = read_rgb(SAMPLE.parent / "rainy.jpg")
    scene = np.concatenate([scene, scene[::-1] // 3], axis=1)[:520, :840]
    whole = Restorer("mspfn_nano", runtime=kind)(scene).astype(float)
    restorer = Restorer("mspfn_nano", tile=256, runtime=kind)
    assert restorer.overlap == 64

    def agreement():
        return -10 * np.log10(np.mean(np.square((restorer(scene) - whole) / 255)))

    found = agreement()
    assert found > 72  # measured: 74.1
    restorer.runtime.coarse_first = False
    assert agreement() < found - 2  # measured: 70.0


@pytest.mark.parametrize("kind", KINDS)
def test_without_that_all_scales_see_the_surroundings(runtimes, pictures, kind, monkeypatch):
    runtime = runtimes[kind]
    monkeypatch.setattr(runtime, "coarse_first", False)
    statistics = runtime.measure(pictures)
    whole, _ = runtime.run_guided(pictures, statistics)
    np.testing.assert_array_equal(runtime.run_tile(pictures, statistics, BOX), cut(whole))


def test_another_network_is_noticed(model, runtimes, tmp_path):
    other = small_model(**ARGUMENTS)
    kernel = other.get_layer("fusion1_half_to_full").kernel
    kernel.assign(1.5 * kernel)
    (tmp_path / "other.tiles.tflite").write_bytes(convert_tiles(other, (64, 64)))
    patches = read_patches(SAMPLE, (64, 96), count=2)
    lite = runtimes["litert"].path
    right = check_tiles(model, (lite, lite.with_suffix(".tiles.tflite")), "none", patches)
    assert right["problems"] == [] and right["max_error"] < 1e-6
    wrong = check_tiles(model, (lite, tmp_path / "other.tiles.tflite"), "none", patches)
    assert "max_error" in wrong["problems"][0]


def test_a_missing_file_is_named_when_it_is_needed(runtimes, pictures, tmp_path):
    lite = runtimes["litert"].path
    runtime = LiteRTRuntime(resolve(lite), lite, tiles=tmp_path / "none.tiles.tflite")
    statistics = runtime.measure(pictures)
    with pytest.raises(UsageError, match="cannot read .*none.tiles.tflite"):
        runtime.run_tile(pictures, statistics, BOX)
