"""Runtimes, and what the restorer promises on all of them: one result at any size."""

import functools
import multiprocessing
import os
import pickle
import shutil
import threading

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

from mspfn_tf import presets
from mspfn_tf import restorer as restoring
from mspfn_tf.errors import UsageError
from mspfn_tf.export import litert_file, quantization
from mspfn_tf.export.calibration import Patch
from mspfn_tf.export.litert import convert
from mspfn_tf.export.saved_model import write_saved_model
from mspfn_tf.inspection.litert import live_bytes
from mspfn_tf.pictures import read_rgb, write_picture
from mspfn_tf.presets import FULL_STRENGTH_SIDE, PRESETS, WEIGHTS
from mspfn_tf.restorer import Restorer
from mspfn_tf.restoring.file_restorer import FileRestorer
from mspfn_tf.restoring.plan import Job
from mspfn_tf.runtimes import litert, open_runtime
from mspfn_tf.runtimes.openvino import computes_bfloat16
from mspfn_tf.weights_file import save_weights
from tests.export_models import PHONE, small_model

pytestmark = pytest.mark.slow


SAMPLE = WEIGHTS.parent / "sample" / "rainy.jpg"
PICTURE = {**PHONE, "attention": "picture", "upsampling": "smooth"}


def photograph(size, seed=0):
    """Shapes and texture whose left and right halves are scenes of unlike brightness."""
    height, width = size
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = np.sin(x / 11)[..., None] * [0.2, 0.1, 0.15] + np.cos(y / 7)[..., None] * 0.1
    light = np.where(x[..., None] > width / 2, 0.75, 0.25)
    noise = rng.uniform(-0.08, 0.08, (height, width, 3))
    return np.rint(np.clip(light + waves + noise, 0, 1) * 255).astype(np.uint8)


@pytest.fixture(scope="module", params=["picture", "block"])
def files(request, tmp_path_factory):
    """One network as Keras weights, LiteRT (float16 weights) and SavedModel."""
    folder = tmp_path_factory.mktemp(request.param)
    model = small_model(**(PICTURE if request.param == "picture" else PHONE))
    for weight in model.weights:  # an attention that reacts to what it is told
        if "_excite/kernel" in weight.path:
            weight.assign(40 * weight)
    save_weights(model, folder / "m.weights.h5")
    (folder / "m.tflite").write_bytes(convert(model, (64, 64), "float16"))
    write_saved_model(model, folder / "saved")
    return folder


@functools.cache
def opened(path):
    """Its runtime, for tests that do not change it: a Keras model takes seconds to open."""
    return open_runtime(path)


def agreement(first, second):
    error = np.mean(np.square(first.astype(np.float64) - second))
    return np.inf if error == 0 else 10 * np.log10(255**2 / error)


@pytest.mark.parametrize(
    "size", [(8, 8), (7, 9), (1, 1), (33, 50), (64, 64), (320, 480), (481, 321), (600, 800)]
)
def test_keras_and_litert_give_one_result(files, size):
    image = photograph(size)
    keras_result = Restorer(opened(files / "m.weights.h5"))(image)
    lite_result = Restorer(opened(files / "m.tflite"))(image)
    assert agreement(keras_result, lite_result) >= 50
    assert np.abs(keras_result.astype(int) - lite_result).max() <= 2


SIZES = ((8, 8), (7, 9), (64, 64), (320, 480), (511, 333))


def sample(size):
    with Image.open(SAMPLE) as picture:
        return np.asarray(picture.convert("RGB").resize(size[::-1]))


def floats(size):
    """As bytes, one value of 64x64 that is rounded to the other level makes 89 dB."""
    return sample(size).astype(np.float32) / 255


@functools.cache
def by_litert(preset, size):
    """What every other runtime is compared with: of floats, in levels."""
    return 255 * Restorer(preset, runtime="litert")(floats(size)).astype(float)


@pytest.mark.slow
@pytest.mark.parametrize("preset", [name for name in PRESETS if PRESETS[name]["weights"]])
def test_keras_and_litert_give_one_result_with_shipped_weights(preset):
    keras_ = Restorer(preset, runtime="keras")
    for size in (*SIZES, (1200, 1600)):
        found = agreement(by_litert(preset, size), 255 * keras_(floats(size)))
        # Keras takes more memory, so that the largest goes through it in tiles.
        assert found > (50 if size == (1200, 1600) else 120), size


@pytest.mark.parametrize("preset", [name for name in PRESETS if PRESETS[name]["weights"]])
@pytest.mark.parametrize("runtime", ["openvino", "openvino-bfloat16"])
def test_openvino_and_litert_give_one_result_with_shipped_weights(preset, runtime):
    pytest.importorskip("openvino")
    if runtime == "openvino-bfloat16" and not computes_bfloat16():
        with pytest.raises(UsageError, match="no instructions for bfloat16"):
            Restorer(preset, runtime=runtime)
        return
    openvino = Restorer(preset, runtime=runtime)
    assert openvino.runtime.kind == runtime
    assert openvino.digest == Restorer(preset, runtime="litert").digest
    # In bfloat16 most values round to the same level, single ones to a level some way off.
    least, most = (100, 0.01) if runtime == "openvino" else (50, 8)
    # Larger ones take long where bfloat16 has no matrix units.
    for size in (*SIZES, (480, 640) if runtime == "openvino-bfloat16" else (1200, 1600)):
        if runtime == "openvino":
            image, scale, first = floats(size), 255, by_litert(preset, size)
        else:
            image, scale, first = sample(size), 1, np.rint(by_litert(preset, size))
        second = scale * openvino(image).astype(float)
        assert agreement(first, second) > least, size
        assert np.abs(first - second).max() <= most, size
    if runtime == "openvino-bfloat16":
        assert agreement(first, second) < 75  # else it computes in float32
    tiled = scale * Restorer(openvino.runtime, tile=384)(image).astype(float)
    assert agreement(tiled, second) > 46


@pytest.mark.parametrize("preset", [name for name in PRESETS if PRESETS[name]["weights"]])
def test_shipped_openvino_graphs_name_their_ends(preset):
    file = presets.shipped_file(preset, presets.OPENVINO[0])
    graph = pytest.importorskip("openvino").Core().read_model(file)
    assert len(graph.inputs) == len(graph.outputs) == 1
    assert "rainy" in graph.inputs[0].get_names()
    assert "derained" in graph.outputs[0].get_names()


@pytest.mark.parametrize("preset", [name for name in PRESETS if PRESETS[name]["weights"]])
def test_eight_bits_are_near_with_shipped_weights(preset):
    int8 = Restorer(preset, runtime="litert-int8")
    assert int8.runtime.kind == "litert-int8" and int8.runtime.coarse_first
    assert int8.digest == Restorer(preset, runtime="litert").digest
    for size in SIZES:
        image = sample(size)
        found = int8(image)
        assert 36 < agreement(np.rint(by_litert(preset, size)), found) < 70, size
    tiled = Restorer(int8.runtime, tile=192)(image)
    assert agreement(tiled, found) > 42


def test_a_change_of_size_changes_no_result_of_eight_bits():
    """With means in 8 bits, the third of these sizes was 4 levels off, others all of the range."""
    rng = np.random.default_rng(0)
    runtime = open_runtime("mspfn_nano", "litert-int8")
    for _ in range(8):
        coarse = rng.random((1, *rng.integers(4, 40, 2), 3), np.float32)
        rainy = np.kron(coarse, np.ones((1, 8, 8, 1), np.float32))
        fresh = open_runtime("mspfn_nano", "litert-int8").run(rainy)
        np.testing.assert_array_equal(runtime.run(rainy), fresh)


def test_files_with_means_in_eight_bits_are_opened_anew_for_every_size(tmp_path, monkeypatch):
    monkeypatch.setattr(quantization, "STAYS_FLOAT", ("SUB", "INPUT", "OUTPUT"))
    image = photograph((48, 64))
    patches = [Patch(image[:32, :32]), Patch(image[16:, 32:])]
    content = convert(small_model(**PICTURE), (32, 32), "int8", patches)
    (tmp_path / "m.tflite").write_bytes(content)
    restorer = Restorer(tmp_path / "m.tflite")
    made = []
    begin = Interpreter.__init__
    monkeypatch.setattr(
        Interpreter, "__init__", lambda self, **given: (made.append(self), begin(self, **given))[1]
    )
    monkeypatch.setattr(litert, "SMALL_BYTES", 1)  # small ones have interpreters of their own
    for height in (48, 48, 40, 48):
        restorer(image[:height])
    assert len(made) == 3


def test_eight_bits_come_with_presets_alone(files):
    with pytest.raises(UsageError, match="no 8-bit file comes with .*m.tflite: export one"):
        Restorer(files / "m.tflite", runtime="litert-int8")
    with pytest.raises(UsageError, match="no 8-bit file comes with mspfn_m17n1"):
        Restorer("mspfn_m17n1", runtime="litert-int8")


def test_tiles_of_an_eight_bit_file_agree_with_the_whole_picture(tmp_path):
    model = small_model(**PICTURE)
    for weight in model.weights:
        if "_excite/kernel" in weight.path:
            weight.assign(40 * weight)
    image = photograph((240, 400))
    patches = [Patch(image[:64, x : x + 64]) for x in range(0, 336, 48)]
    (tmp_path / "m.tflite").write_bytes(convert(model, (64, 64), "int8", patches))
    restorer = Restorer(tmp_path / "m.tflite", tile=96, overlap=32)
    assert restorer.runtime.statistics == "given"
    whole, tiled = Restorer(restorer.runtime)(image), restorer(image)
    assert agreement(whole, tiled) >= 44
    exact = open_runtime(model).measure(image[None].astype(np.float32) / 255)
    found = restorer.runtime.measure(image[None].astype(np.float32) / 255)
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-5 * np.abs(exact).max())
    restorer.runtime.statistics = None
    with pytest.warns(UserWarning, match="cannot be given the statistics"):
        plain = restorer(image)
    assert agreement(whole, plain) < agreement(whole, tiled) - 0.2


def test_a_shipped_graph_that_was_changed_is_refused(tmp_path, monkeypatch):
    pytest.importorskip("openvino")
    shutil.copytree(WEIGHTS, tmp_path / "weights")
    monkeypatch.setattr(presets, "WEIGHTS", (tmp_path / "weights").resolve())
    changed = presets.shipped_file("mspfn_nano", presets.OPENVINO[0]).with_suffix(".bin")
    content = bytearray(changed.read_bytes())
    content[len(content) // 2] ^= 1
    changed.write_bytes(content)
    with pytest.raises(UsageError, match="damaged or was changed"):
        Restorer("mspfn_nano", runtime="openvino")


def test_a_small_picture_is_padded_no_further_than_it_must(files):
    restorer = Restorer(files / "m.tflite")
    seen = []
    run = restorer.runtime.run
    restorer.runtime.run = lambda x: seen.append(x.shape) or run(x)
    restorer(photograph((60, 90)))
    restorer(photograph((7, 9)))
    assert seen == [(1, 64, 96, 3), (1, 32, 32, 3)]


@pytest.mark.parametrize("name", ["m.weights.h5", "m.tflite", "saved"])
def test_tiles_agree_with_the_whole_picture(files, name):
    image = photograph((240, 400))
    restorer = Restorer(files / name, tile=96, overlap=32)
    assert restorer.runtime.statistics == (
        "given" if files.name.startswith("picture") else "iterated"
    )
    whole, tiled = Restorer(restorer.runtime)(image), restorer(image)
    assert agreement(whole, tiled) >= 46
    # The promise is one of the statistics: with the tiles' own, the result is another.
    restorer.runtime.statistics = None
    with pytest.warns(UserWarning, match="cannot be given the statistics"):
        plain = restorer(image)
    assert agreement(whole, plain) < agreement(whole, tiled) - 0.2


@pytest.mark.parametrize("size", [(384, 640), (648, 400)])
def test_statistics_of_the_whole_are_those_of_its_tiles(files, size):
    image = photograph(size).astype(np.float32) / 255
    restorer = Restorer(opened(files / "m.weights.h5"), tile=128, overlap=32)
    whole = restorer.runtime.measure(image[None])
    tiled = restorer._statistics(image)
    exact = 1e-5 if size == (384, 640) else 0.01  # means over an odd number of rows of features
    tolerance = exact if files.name.startswith("picture") else 0.25
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=tolerance * np.abs(whole).max())


def test_a_file_without_statistics_falls_back_with_a_warning(tmp_path):
    content = convert(small_model(**PHONE), (64, 64), "none")
    model = litert_file.read(content)
    model.subgraphs, model.signatureDefs = model.subgraphs[:1], model.signatureDefs[:1]
    (tmp_path / "old.tflite").write_bytes(litert_file.write(model))
    restorer = Restorer(tmp_path / "old.tflite", tile=64, overlap=16)
    assert restorer.runtime.statistics is None and restorer.runtime.needs_statistics
    with pytest.warns(UserWarning, match="tiles may differ in brightness"):
        restorer(photograph((100, 100)))
    # One without global means needs none.
    plain = convert(small_model(**{**PHONE, "reduction": None}), (64, 64), "none")
    (tmp_path / "plain.tflite").write_bytes(plain)
    restorer = Restorer(tmp_path / "plain.tflite", tile=64, overlap=16)
    assert not restorer.runtime.needs_statistics
    restorer(photograph((100, 100)))  # a warning would be an error here


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("ensemble", [1, 8])
def test_gray_stays_gray(files, dtype, ensemble):
    gray = photograph((40, 56))[..., :1].repeat(3, axis=2)
    if dtype == np.float32:
        gray = gray.astype(np.float32) / 255
    result = Restorer(opened(files / "m.weights.h5"), ensemble=ensemble)(gray)
    assert (result == result[..., :1]).all()
    assert (result != gray).any()


def test_colours_are_not_taken_for_gray(files):
    image = photograph((40, 56))
    result = Restorer(opened(files / "m.weights.h5"))(image)
    assert (result.max(axis=2).astype(int) - result.min(axis=2)).max() > 10


def test_strength_scales_the_rain_layer(files):
    image = photograph((48, 64)).astype(np.float32) / 255
    runtime = opened(files / "m.weights.h5")
    full = Restorer(runtime)(image)
    half = Restorer(runtime, strength=0.5)(image)
    none = Restorer(runtime, strength=0)(image)
    np.testing.assert_array_equal(none, image)
    np.testing.assert_allclose(half, (image + full) / 2, atol=1e-6)
    for wrong in (-0.1, 1.5, float("nan"), "1", True):
        with pytest.raises(UsageError, match="strength must"):
            Restorer(runtime, strength=wrong)


def test_tiny_pictures_change_no_more_than_large_ones(files):
    """They are continued by reflection, so that the coarse scales see a picture."""
    restorer = Restorer(opened(files / "m.weights.h5"))
    large = photograph((128, 128))
    typical = np.abs(restorer(large).astype(int) - large).mean()
    for size in ((8, 8), (7, 9), (3, 5)):
        tiny = large[: size[0], : size[1]]
        assert np.abs(restorer(tiny).astype(int) - tiny).mean() <= 3 * typical + 1


@pytest.mark.parametrize("preset", [name for name in PRESETS if PRESETS[name]["weights"]])
def test_presets_change_tiny_pictures_within_bounds(preset):
    """Cut out of a photograph anywhere, few pixels look like a streak: 40 levels were changed."""
    restorer, half = Restorer(preset), Restorer(preset, strength=0.5)
    with Image.open(SAMPLE) as image:
        picture = np.asarray(image.convert("RGB"))
    for height, width in ((8, 8), (7, 9), (3, 200), (1, 1), (16, 16)):
        bound = 255 * (min(height, width) / FULL_STRENGTH_SIDE) ** 2
        for top, left in ((0, 0), (60, 80), (120, 40)):
            tiny = picture[top : top + height, left : left + width]
            change = np.abs(restorer(tiny).astype(int) - tiny)
            assert change.max() <= np.ceil(bound)
            assert np.abs(half(tiny).astype(int) - tiny).max() <= np.ceil(bound / 2)
    # From that side on, nothing is held back.
    piece = picture[:32, :40].astype(np.float32) / 255
    derained = np.clip(restorer.runtime.run(piece[None])[0], 0, 1)
    np.testing.assert_allclose(restorer(piece), derained, atol=1e-6)


def test_progress_is_told_per_tile(files):
    told = []
    Restorer(files / "m.tflite", tile=64, overlap=16)(
        photograph((100, 150)), progress=lambda done, total: told.append((done, total))
    )
    assert told == [(n, 6) for n in range(1, 7)]


@pytest.mark.parametrize("name", ["m.weights.h5", "m.tflite", "saved"])
def test_threads_get_their_own_results(files, name):
    restorer = Restorer(opened(files / name))
    images = [photograph((40 + 8 * n, 56), seed=n) for n in range(4)]
    expected = [restorer(image) for image in images]
    wrong = []

    def work(index):
        for _ in range(8):
            if not np.array_equal(restorer(images[index]), expected[index]):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def _opened(path, queue):
    try:
        queue.put(repr(Restorer(path)))
    except UsageError as error:
        queue.put(str(error))


def _restored(restorer, image, queue):
    try:
        queue.put(restorer(image))
    except UsageError as error:
        queue.put(str(error))


def test_sizes_of_small_pictures_are_kept_ready(files, monkeypatch):
    random = np.random.default_rng(0)
    shown = [random.random((1, 8 * side, 64, 3), np.float32) for side in (4, 5, 6, 7, 8, 9)]
    expected = [open_runtime(files / "m.tflite").run(picture) for picture in shown]
    ready = litert.SMALL_SIZES + 1
    made = []
    allocate = Interpreter.allocate_tensors
    monkeypatch.setattr(
        Interpreter, "allocate_tensors", lambda self: (made.append(self), allocate(self))[1]
    )
    runtime = open_runtime(files / "m.tflite")
    del made[:]
    for number in [*range(ready)] * 3:
        np.testing.assert_array_equal(runtime.run(shown[number]), expected[number])
    assert len(made) == ready  # for its first picture each; none since
    for number in [*range(len(shown))] * 2:
        np.testing.assert_array_equal(runtime.run(shown[number]), expected[number])
    assert len(set(made)) == ready
    monkeypatch.setattr(litert, "SMALL_BYTES", 1)
    del made[:]
    for number in (0, 1, 0):
        np.testing.assert_array_equal(runtime.run(shown[number]), expected[number])
    assert len(set(made)) == 1  # large ones come one after the other


@pytest.mark.filterwarnings("ignore:.*fork.*:")
def test_after_a_fork_results_are_right_or_refused(files):
    image = photograph((40, 56))
    context = multiprocessing.get_context("fork")
    for name in ("m.weights.h5", "saved", "m.tflite"):
        restorer = Restorer(files / name)
        expected = restorer(image)
        queue = context.Queue()
        child = context.Process(target=_restored, args=(restorer, image, queue))
        child.start()
        found = queue.get(timeout=60)
        child.join(60)
        if name == "m.tflite":
            np.testing.assert_array_equal(found, expected)
        else:
            assert "before this process was forked" in found


@pytest.mark.filterwarnings("ignore:.*fork.*:")
@pytest.mark.parametrize("name", ["m.weights.h5", "saved"])
def test_a_child_of_a_process_that_has_opened_one_is_told_so(files, name):
    """It would wait for the threads of TensorFlow, which stayed with its parent."""
    Restorer(files / name)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_opened, args=(files / name, queue))
    child.start()
    try:
        assert "forked after its parent opened models" in queue.get(timeout=4)
    finally:
        child.kill()
        child.join(60)


@pytest.mark.filterwarnings("ignore:.*fork.*:")
def test_a_child_that_is_forked_while_a_file_is_opened_waits_for_nobody(files, monkeypatch):
    inside, end = threading.Event(), threading.Event()
    quiet = litert.native_quiet

    def waiting():
        inside.set()
        end.wait()
        return quiet()

    monkeypatch.setattr(litert, "native_quiet", waiting)
    thread = threading.Thread(target=Restorer, args=(files / "m.tflite",))
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_opened, args=(files / "m.tflite", queue))
    thread.start()
    try:
        inside.wait()
        monkeypatch.setattr(litert, "native_quiet", quiet)
        child.start()
        assert "m.tflite" in queue.get(timeout=8)
    finally:
        end.set()
        thread.join()
        child.kill()
        child.join(60)


def test_pickles_by_its_source(files):
    image = photograph((40, 56))
    restorer = Restorer(files / "m.tflite", tile=32, strength=0.5)
    restorer.strength = 0.25
    again = pickle.loads(pickle.dumps(restorer))
    assert again.strength == 0.25
    assert (again.tile, again.overlap) == (32, restorer.overlap)
    np.testing.assert_array_equal(again(image), restorer(image))
    with pytest.raises(TypeError, match="make it from its source"):
        pickle.dumps(Restorer(open_runtime(files / "m.tflite")))


def test_repr_tells_model_runtime_and_sizes(files):
    text = repr(Restorer(files / "m.tflite"))
    assert text.startswith("Restorer('m.tflite', runtime='litert', whole up to ")
    assert "tiles of up to 64x64" in repr(Restorer(files / "m.tflite", tile=64, overlap=8))
    fixed = Restorer(open_runtime(files / "m.tflite", resize=False))
    assert "tiles of 64x64" in repr(fixed)


def test_runtimes_are_chosen(files):
    assert Restorer(files / "m.weights.h5").runtime.kind == "keras"
    assert Restorer(files / "saved").runtime.kind == "saved_model"
    with pytest.raises(UsageError, match="has no .tflite file"):
        Restorer(files / "m.weights.h5", runtime="litert")
    with pytest.raises(UsageError, match="has no .xml file"):
        Restorer(files / "m.tflite", runtime="openvino")
    with pytest.raises(UsageError, match="runtime 'keras' cannot open"):
        Restorer(files / "m.tflite", runtime="keras")
    with pytest.raises(UsageError, match="runtime must be"):
        Restorer(files / "m.tflite", runtime="onnx")


def test_memory_bounds_what_goes_through_whole(files, monkeypatch):
    restorer = Restorer(files / "m.tflite")
    pixels = restorer.whole_pixels
    assert pixels == int(restoring.WHOLE_BYTES / restorer.runtime.bytes_per_pixel)
    monkeypatch.setattr(restoring, "WHOLE_BYTES", restoring.WHOLE_BYTES / 4)
    assert restorer.whole_pixels == pytest.approx(pixels / 4, abs=1)


def test_live_bytes():
    # a -> b -> c, and b again at the end: three at once when c is made.
    operators = [(["w", "a"], ["b"]), (["b"], ["c"]), (["b", "c"], ["d"])]
    assert live_bytes(operators, {"a": 1, "b": 10, "c": 100, "d": 1000}) == 1110


def test_keras_models_of_others_run(tmp_path):
    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.layers.Conv2D(3, 3, padding="same")(image))
    model.save(tmp_path / "theirs.keras")
    restorer = Restorer(tmp_path / "theirs.keras", tile=64, overlap=16)
    restorer(photograph((100, 80)))
    assert os.path.basename(restorer.name) == "theirs.keras"


@pytest.mark.parametrize(
    "words", ["", "XNNPack delegate failed to reshape runtimeNode number 419 failed to prepare."]
)
def test_litert_tells_a_lack_of_memory_and_begins_anew(tmp_path, monkeypatch, words):
    """Smaller tiles are tried then, by interpreters that did not fail: those may crash later."""
    failed = []

    def without_memory(self, source, target, picture):
        failed.append(self)
        raise RuntimeError(words)

    restorer = Restorer("mspfn_nano")
    picture = np.random.default_rng(0).integers(0, 256, (300, 280, 3), np.uint8)
    expected = Restorer(restorer.runtime, tile=256)(picture)
    monkeypatch.setattr(litert._Interpreter, "run", without_memory)
    with pytest.raises(MemoryError, match="not enough memory for 280x304"):
        restorer(picture)
    write_picture(tmp_path / "a.png", picture)
    files = FileRestorer(restorer, lambda tile: Restorer(restorer.runtime, tile=tile))
    outcome = files.restore(Job(tmp_path / "a.png", tmp_path / "b.png"))
    assert outcome.status == "restored", outcome.message
    np.testing.assert_array_equal(read_rgb(tmp_path / "b.png"), expected)
    assert failed[0] is not failed[1] and restorer.runtime._main not in failed
