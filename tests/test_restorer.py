import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from mspfn_tf import MSPFN, PRESETS
from mspfn_tf.errors import UsageError
from mspfn_tf.restorer import WHOLE_BYTES, Restorer, _finished, _is_gray
from mspfn_tf.runtimes import Runtime, open_runtime
from mspfn_tf.sizes import Sizes
from mspfn_tf.source import Source
from mspfn_tf.weights_file import save_weights

ROOT = Path(__file__).resolve().parent.parent
SIZES = [(1, 1), (1, 17), (3, 5), (8, 8), (31, 40), (64, 48)]


def residual_model(size=(None, None), dtype="float32", seed=0):
    """Subtracts a small, local and oriented filter, as a deraining network does."""
    keras.utils.set_random_seed(seed)
    image = keras.Input((*size, 3), dtype=dtype)
    scaled = keras.layers.Rescaling(1 / 255)(image) if dtype == "uint8" else image
    features = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(scaled)
    streaks = keras.layers.Conv2D(3, 3, padding="same", activation="tanh")(features)
    output = keras.layers.Subtract()([scaled, keras.layers.Rescaling(0.1)(streaks)])
    if dtype == "uint8":
        output = keras.ops.cast(keras.ops.round(keras.ops.clip(output * 255, 0, 255)), "uint8")
    return keras.Model(image, output)


def lite_bytes(model, number=None):
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if number is not None:
        random = np.random.default_rng(0)
        examples = [[random.random((1, *model.input_shape[1:]), np.float32)] for _ in range(8)]
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: examples
        converter.inference_input_type = converter.inference_output_type = number
    with warnings.catch_warnings():
        # The converter misses a scale for the bytes, which is the point of that file.
        warnings.filterwarnings("ignore", "Statistics for quantized inputs")
        return converter.convert()


@pytest.fixture(scope="module")
def model():
    return residual_model()


@pytest.fixture(scope="module")
def lite_files(tmp_path_factory):
    """The same weights at 32x40, in every kind of interface that a .tflite file may have."""
    folder = tmp_path_factory.mktemp("lite")
    model = residual_model((32, 40))
    files = {
        "float32": lite_bytes(model),
        "int8": lite_bytes(model, tf.int8),
        "uint8": lite_bytes(model, tf.uint8),
        "bytes": lite_bytes(residual_model((32, 40), "uint8")),
    }
    for name, content in files.items():
        (folder / f"{name}.tflite").write_bytes(content)
    return folder


def picture(size, seed=0):
    """Smooth with some noise, so that a wrong pixel order shows and values stay inside [0, 1]."""
    y, x = np.mgrid[0 : size[0], 0 : size[1]]
    waves = np.stack([np.sin(x / 7), np.cos(y / 5), np.sin((x + y) / 9)], axis=-1)
    noise = np.random.default_rng(seed).uniform(-0.1, 0.1, waves.shape)
    return (0.5 + 0.25 * waves + noise).astype(np.float32)


def expected(model, image, size=None):
    """What the model makes of a picture, padded as np.pad does it, without any of our code."""
    height, width = image.shape[:2]
    size = size or [max(32, side + -side % 8) for side in (height, width)]
    below, right = (max(0, want - have) for want, have in zip(size, (height, width), strict=True))
    padded = np.pad(image, [(0, below), (0, right), (0, 0)], mode="reflect")
    return np.clip(model(padded[None]).numpy()[0, :height, :width], 0, 1)


@pytest.mark.parametrize("size", SIZES)
def test_any_size_in_both_dtypes(model, size):
    restorer = Restorer(model)
    image = picture(size)
    result = restorer(image)
    assert result.dtype == np.float32 and result.shape == image.shape
    np.testing.assert_allclose(result, expected(model, image), atol=2e-6)
    pixels = np.rint(image * 255).astype(np.uint8)
    result = restorer(pixels)
    assert result.dtype == np.uint8 and result.shape == pixels.shape
    exact = expected(model, pixels.astype(np.float32) / 255) * 255
    assert np.abs(result - exact).max() <= 0.501  # rounded, not truncated


@pytest.mark.parametrize("offset", [-0.7, 0.7])
def test_results_are_clipped(offset):
    image = keras.Input((None, None, 3))
    restorer = Restorer(keras.Model(image, keras.layers.Rescaling(1.0, offset)(image)))
    result = restorer(picture((9, 9)))
    assert result.min() >= 0 and result.max() <= 1
    assert result.max() == 1 or result.min() == 0
    pixels = restorer(np.full((9, 9, 3), 128, np.uint8))
    assert (pixels == (255 if offset > 0 else 0)).all()


@pytest.mark.parametrize("size", [(1, 1), (50, 130), (129, 131)])
def test_tiles_of_a_local_model_equal_the_whole(model, size):
    # The filter reaches 2 pixels, the tiles' zero padding is felt there with a small weight only.
    image = picture(size)
    tiled = Restorer(model, tile=64, overlap=32)(image)
    np.testing.assert_allclose(tiled, expected(model, image), atol=1e-3)


def watched(restorer, monkeypatch):
    """The shapes of what goes through the model of a restorer, as they come."""
    seen = []
    run = restorer.runtime.run
    monkeypatch.setattr(restorer.runtime, "run", lambda x: seen.append(x.shape) or run(x))
    return seen


def test_pictures_go_through_whole_as_long_as_memory_allows(model, monkeypatch):
    runtime = open_runtime(model)
    monkeypatch.setattr(runtime, "bytes_per_pixel", WHOLE_BYTES / (512 * 512))
    restorer = Restorer(runtime)
    assert restorer.overlap == 192  # three eighths of the largest square that may go through whole
    seen = watched(restorer, monkeypatch)
    restorer(np.zeros((256, 1024, 3), np.uint8))
    assert seen == [(1, 256, 1024, 3)]
    seen.clear()
    restorer(np.zeros((520, 520, 3), np.uint8))
    assert seen == [(1, 360, 360, 3)] * 4
    seen.clear()
    restorer(np.zeros((40, 3000, 3), np.uint8))
    assert seen == [(1, 40, 3000, 3)]


@pytest.mark.parametrize(
    "bytes_per_pixel, overlap",
    [(300, 288), (900, 256), (2_800, 240), (20_000, 136), (300_000, 48)],
    # of tiles of 1152, 664, 640, 344 and of 128, the least
)
def test_tiles_are_as_large_as_memory_allows(model, monkeypatch, bytes_per_pixel, overlap):
    runtime = open_runtime(model)
    monkeypatch.setattr(runtime, "bytes_per_pixel", bytes_per_pixel)
    assert Restorer(runtime).overlap == overlap


def test_small_tiles_are_batched_within_bounds(model, monkeypatch):
    restorer = Restorer(model, tile=64, overlap=8)
    seen = watched(restorer, monkeypatch)
    restorer(np.zeros((232, 400, 3), np.uint8))
    assert sum(shape[0] for shape in seen) == 4 * 7
    assert max(shape[0] for shape in seen) == 7 and seen[0][1:] == (64, 64, 3)


@pytest.mark.parametrize("tile", [None, 16])
def test_ensemble_averages_the_eight_symmetries(model, tile):
    image = picture((20, 33))
    single = Restorer(model, tile=tile, overlap=8)
    total = 0
    for transpose in (False, True):
        for flips in (np.s_[:, :], np.s_[::-1, :], np.s_[:, ::-1], np.s_[::-1, ::-1]):
            turned = image[flips].swapaxes(0, 1) if transpose else image[flips]
            result = single(turned)
            total = total + (result.swapaxes(0, 1) if transpose else result)[flips]
    result = Restorer(model, tile=tile, overlap=8, ensemble=8)(image)
    np.testing.assert_allclose(result, total / 8, atol=1e-6)
    assert np.abs(result - single(image)).max() > 1e-3


def test_gray_is_what_differs_by_two_levels_at_most():
    # All levels: the quotients of some lie further apart than 2 / 255, by rounding.
    pixels = np.add.outer(np.arange(254), [0, 1, 2]).astype(np.uint8)[:, None]
    assert _is_gray(pixels) and _is_gray(pixels.astype(np.float32) / 255)
    pixels[100] = 100, 101, 103
    assert not _is_gray(pixels) and not _is_gray(pixels.astype(np.float32) / 255)


def test_of_gray_the_luma_of_the_rain_is_taken():
    before = np.full((1, 1, 3), 0.5, np.float32)
    derained = np.array([[[0.4, 0.7, 0.1]]], np.float32)
    rain = 0.299 * 0.1 - 0.587 * 0.2 + 0.114 * 0.4
    for strength in (1.0, 0.25):
        found = _finished(before, derained, True, strength)
        np.testing.assert_allclose(found, 0.5 - strength * rain, atol=1e-6)
    # Channels that differ by rounding lose the same, but not more than they have.
    dark = np.array([[[0.0, 0.004, 0.006]]], np.float32)
    assert _finished(dark, np.zeros_like(dark), True, 1.0).min() == 0


def test_ensemble_of_a_symmetric_model_changes_nothing():
    image = keras.Input((None, None, 3))
    restorer = Restorer(keras.Model(image, keras.layers.Rescaling(0.5)(image)), ensemble=8)
    pixels = picture((13, 30))
    np.testing.assert_allclose(restorer(pixels), pixels / 2, atol=1e-6)


@pytest.mark.slow
def test_an_mspfn_from_every_kind_of_file(tmp_path):
    keras.utils.set_random_seed(1)
    model = MSPFN(width=4, blocks=1, rcabs=(0, 1, 0), hidden=None, reduction=2)
    image = picture((37, 21))
    reference = Restorer(model)(image)
    np.testing.assert_allclose(reference, expected(model, image), atol=1e-5)
    assert np.abs(reference - image).max() > 1e-3
    model.save(tmp_path / "model.keras")
    save_weights(model, tmp_path / "model.weights.h5")
    module = tf.Module()
    module.model = model
    serve = tf.function(
        lambda image: {"derained": model(image)},
        input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32, name="image")],
    )
    tf.saved_model.save(module, tmp_path / "saved", signatures=serve)
    for source in ("model.keras", "model.weights.h5", "saved"):
        np.testing.assert_allclose(Restorer(tmp_path / source)(image), reference, atol=1e-5)
    np.testing.assert_allclose(Restorer(f"{tmp_path}/saved")(image), reference, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in PRESETS if PRESETS[name]["weights"]])
def test_presets_with_weights_restore(name):
    image = picture((24, 24))
    assert Restorer(name)(image).shape == image.shape


def test_a_model_of_fixed_size_works_in_tiles_of_that_size(model):
    fixed = residual_model((32, 40))
    assert Restorer(fixed).overlap == 8  # a quarter
    restorer = Restorer(fixed, overlap=16)
    assert restorer.sizes.fixed == (32, 40)
    for size in SIZES[:-1]:
        image = picture(size)
        np.testing.assert_allclose(restorer(image), expected(fixed, image, (32, 40)), atol=2e-6)
    image = picture((75, 90))
    inside = np.s_[:70, :86]  # away from the padding, which reaches further than without tiles
    np.testing.assert_allclose(restorer(image)[inside], expected(model, image)[inside], atol=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "tolerance"),
    [("float32", 1e-5), ("bytes", 0.5 / 255), ("int8", 0.03), ("uint8", 0.03)],
)
@pytest.mark.parametrize("size", [(32, 40), (75, 90), (3, 2)])
def test_lite_files_restore_as_the_keras_model_does(lite_files, name, tolerance, size):
    reference = Restorer(residual_model((32, 40)), overlap=8)
    restorer = Restorer(open_runtime(lite_files / f"{name}.tflite", resize=False), overlap=8)
    assert restorer.sizes.fixed == (32, 40)
    pixels = np.rint(picture(size) * 255).astype(np.uint8)
    image = pixels.astype(np.float32) / 255
    np.testing.assert_allclose(restorer(image), reference(image), atol=tolerance + 1e-6)
    difference = restorer(pixels).astype(int) - reference(pixels)
    assert np.abs(difference).max() <= np.ceil(tolerance * 255)


def test_a_lite_file_of_free_size(tmp_path, model):
    (tmp_path / "free.tflite").write_bytes(lite_bytes(model))
    restorer = Restorer(tmp_path / "free.tflite")
    assert restorer.sizes.fixed is None
    for size in SIZES:
        image = picture(size)
        np.testing.assert_allclose(restorer(image), expected(model, image), atol=2e-6)


def test_a_lite_file_needs_neither_tensorflow_nor_keras(lite_files):
    script = (
        "import sys, numpy\n"
        "from mspfn_tf import Restorer\n"
        "restorer = Restorer(sys.argv[1], overlap=8)\n"
        "assert restorer(numpy.zeros((50, 60, 3), numpy.uint8)).shape == (50, 60, 3)\n"
        "heavy = {'tensorflow', 'keras', 'jax', 'torch', 'h5py'}\n"
        "print(sorted(heavy & {name.split('.')[0] for name in sys.modules}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, lite_files / "float32.tflite"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


@pytest.mark.slow
def test_another_backend_gives_the_same_picture(tmp_path):
    pytest.importorskip("jax")
    model = residual_model()
    image = picture((37, 50))
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "image.npy", image)
    script = (
        "import sys, keras, numpy\n"
        "from mspfn_tf import Restorer\n"
        "assert keras.backend.backend() == 'jax'\n"
        "restorer = Restorer('model.keras', tile=32, overlap=16)\n"
        "numpy.save('result.npy', restorer(numpy.load('image.npy')))\n"
    )
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    reference = Restorer(model, tile=32, overlap=16)(image)
    np.testing.assert_allclose(np.load(tmp_path / "result.npy"), reference, atol=1e-5)


def test_one_trace_serves_all_sizes():
    traces = []

    class Counting(keras.layers.Layer):
        def call(self, inputs):
            traces.append(inputs.shape)
            return inputs * 0.5

    image = keras.Input((None, None, 3))
    restorer = Restorer(keras.Model(image, Counting()(image)))
    traces.clear()
    for size in SIZES:
        restorer(picture(size))
    assert len(traces) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tile": 100}, "tile must be a multiple of 8; received 100"),
        ({"tile": 0}, "tile must be an int of at least 8; received 0"),
        ({"tile": 64.0}, "tile must be an int"),
        ({"tile": True}, "tile must be an int"),
        ({"tile": 32, "overlap": 32}, "overlap must be less than the tile of 32"),
        ({"tile": 32, "overlap": 25}, "overlap must be less than the tile of 32"),
        ({"overlap": 9999}, "overlap must be less than the tile of [0-9]+ pixels"),
        ({"overlap": -1}, "overlap must be an int of at least 0"),
        ({"ensemble": 4}, "ensemble must be 1 or 8; received 4"),
    ],
)
def test_wrong_arguments(model, arguments, message):
    with pytest.raises(UsageError, match=message):
        Restorer(model, **arguments)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((8, 8, 3)), "received float64"),
        (np.zeros((8, 8, 3), np.uint16), "received uint16"),
        (np.zeros((8, 8), np.uint8), r"received the shape \[8, 8\]"),
        (np.zeros((8, 8, 4), np.uint8), r"received the shape \[8, 8, 4\]"),
        (np.zeros((1, 8, 8, 3), np.uint8), "received the shape"),
        (np.zeros((0, 8, 3), np.uint8), "received the shape"),
        (np.full((8, 8, 3), 200, np.float32), r"received values in \[200, 200\]"),
        (
            np.full((8, 8, 3), 1.0000001, np.float32),
            r"received values in \[1.00000012, 1.00000012\]",
        ),
        (np.full((8, 8, 3), -0.1, np.float32), r"expected float32 values in \[0, 1\]"),
        (np.full((8, 8, 3), np.nan, np.float32), "without NaN"),
        (Image.new("YCbCr", (8, 8)), "expected a picture in RGB; received one of mode YCbCr"),
        (Image.new("LAB", (8, 8)), "received one of mode LAB"),
    ],
)
def test_wrong_pictures(model, image, message):
    with pytest.raises(UsageError, match=message):
        Restorer(model)(image)


def test_wrong_sources(tmp_path, lite_files):
    (tmp_path / "empty.tflite").touch()
    (tmp_path / "text.tflite").write_text("This is no flat buffer, however long one reads.")
    for name, message in [
        ("none.tflite", "no model file"),
        ("empty.tflite", "cannot load"),
        ("text.tflite", "cannot load"),
        ("none.keras", "none.keras"),
        ("none.weights.h5", "none.weights.h5"),
        ("no_preset", "no_preset"),
    ]:
        with pytest.raises(UsageError, match=message):
            Restorer(str(tmp_path / name))
    with pytest.raises(UsageError, match="mspfn_mobile"):
        Restorer("mspfn_mobil")
    with pytest.raises(UsageError, match="of type int"):
        Restorer(3)
    with pytest.raises(UsageError, match=r"tile=64, but .* takes pieces of 32x40 only"):
        Restorer(open_runtime(lite_files / "float32.tflite", resize=False), tile=64)
    with pytest.raises(UsageError, match="overlap must be less than the tile of 32"):
        Restorer(open_runtime(lite_files / "float32.tflite", resize=False), overlap=32)


def test_models_of_other_shapes_are_refused(tmp_path):
    gray = keras.Input((None, None, 1))
    with pytest.raises(UsageError, match="expected pictures"):
        Restorer(keras.Model(gray, keras.layers.Rescaling(1.0)(gray)))
    flat = keras.Input((16, None, 3))
    with pytest.raises(UsageError, match="both fixed or both free"):
        Restorer(keras.Model(flat, keras.layers.Rescaling(1.0)(flat)))
    image = keras.Input((None, None, 3))
    with pytest.raises(UsageError, match="2 inputs"):
        Restorer(keras.Model([image, flat], keras.layers.Rescaling(1.0)(image)))
    same = keras.layers.Rescaling(1.0)(image)
    for outputs in ([same, image], {"rain": same, "derained": image}):
        with pytest.raises(UsageError, match="2 outputs; expected one"):
            Restorer(keras.Model(image, outputs))
    levels = keras.Input((None, None, 3), dtype="uint8")
    with pytest.raises(UsageError, match="dtype uint8; expected floating point"):
        Restorer(keras.Model(levels, keras.layers.Rescaling(1 / 255)(levels)))
    with pytest.raises(UsageError, match="expected the same shape"):
        Restorer(keras.Model(image, keras.layers.MaxPool2D()(image)))(picture((8, 8)))
    module = tf.Module()
    module.double = tf.function(lambda x: 2 * x, input_signature=[tf.TensorSpec([2], tf.float32)])
    tf.saved_model.save(module, tmp_path / "vector", signatures=module.double)
    with pytest.raises(UsageError, match="expected pictures"):
        Restorer(tmp_path / "vector")
    tf.saved_model.save(module, tmp_path / "named", signatures={"double": module.double})
    with pytest.raises(UsageError, match=r"no signature serving_default \(it has: double\)"):
        Restorer(tmp_path / "named")


def test_values_that_are_not_finite_are_never_written():
    image = keras.Input((None, None, 3))
    restorer = Restorer(keras.Model(image, keras.layers.Lambda(lambda x: x / 0.0)(image)))
    with pytest.raises(UsageError, match="not finite"):
        restorer(np.zeros((8, 8, 3), np.uint8))


@pytest.mark.parametrize(
    "text", ["DefaultCPUAllocator: can't allocate memory", "RESOURCE_EXHAUSTED: Out of memory"]
)
def test_a_lack_of_memory_is_the_same_error_on_every_backend_of_keras(model, monkeypatch, text):
    def run(pictures):
        raise RuntimeError(text)  # as PyTorch and JAX say it

    restorer = Restorer(model)
    monkeypatch.setattr(restorer.runtime, "run", run)
    with pytest.raises(MemoryError, match="32x40"):
        restorer(np.zeros((32, 40, 3), np.uint8))


def test_the_digest_is_that_of_the_weights_in_use(tmp_path):
    path = tmp_path / "net.keras"
    residual_model(seed=1).save(path)
    opened = Restorer(path)
    before = Restorer(path).digest
    other = residual_model(seed=2)
    other.save(path)
    assert opened.digest == before != Restorer(path).digest
    trained = Restorer(other)
    before = trained.digest
    other.set_weights([weight + 1 for weight in other.get_weights()])
    assert trained.digest == Restorer(other).digest != before


def test_strength_is_any_number():
    image = picture((16, 16))
    for strength in (np.int64(1), np.float32(1), 1):
        np.testing.assert_array_equal(
            Restorer("mspfn_nano", strength=strength)(image), Restorer("mspfn_nano")(image)
        )


def test_a_run_that_has_not_ended_says_so(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UsageError, match="has not ended: go on with mspfn train$"):
        Restorer(tmp_path)
    (tmp_path / "best.weights.h5").write_bytes(b"")
    for _ in range(2):  # also where it was copied without its checkpoints
        with pytest.raises(UsageError, match="or name .*best.weights.h5, the best so far"):
            Restorer(tmp_path)
        shutil.rmtree(tmp_path / "checkpoints", ignore_errors=True)


class Iterated(Runtime):
    """Its statistics are the mean of a picture; while others are in use, these and one more."""

    kind, source, sizes = "keras", Source("model", "iterated"), Sizes()
    statistics, batches = "iterated", False

    def __init__(self):
        self.given = []

    def run(self, pictures):
        raise AssertionError("tiles are given the statistics of the whole picture")

    def measure(self, pictures):
        return pictures.mean(keepdims=True)

    def run_guided(self, pictures, statistics):
        self.given.append(round(float(statistics.item()), 5))
        return pictures, statistics + 1


def test_statistics_that_depend_on_those_in_use_are_measured_twice():
    runtime = Iterated()
    picture = np.full((300, 256, 3), 0.25, np.float32)
    picture[:, 128:] = 0.75
    Restorer(runtime, tile=128, overlap=0)(picture)
    parts = len(runtime.given) // 2  # as many as tiles here
    assert parts == 6 and runtime.given == [0.5] * parts + [1.5] * parts
