import json

import numpy as np
import pytest
from PIL import Image

from mspfn_tf.errors import UsageError
from mspfn_tf.export import VerificationError, export_litert, litert, verification
from mspfn_tf.export.calibration import SAMPLE, read_patches
from mspfn_tf.export.description import open_source
from mspfn_tf.export.litert import PHONE_OPERATORS, QUANTIZATIONS, convert, is_for_phones
from mspfn_tf.export.litert_file import describe, read, with_uint8_interface, write
from mspfn_tf.files import sha256
from mspfn_tf.model import MSPFN
from mspfn_tf.presets import PRESETS
from mspfn_tf.restorer import Restorer
from mspfn_tf.runtimes import open_runtime
from tests.export_models import PHONE, small_model, with_real_rain, write_pairs

pytestmark = pytest.mark.slow

SIZE = (32, 48)


@pytest.fixture(scope="module")
def model():
    return small_model(**PHONE)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("pictures") / "pairs")


@pytest.fixture(scope="module")
def content(model):
    """The file of `model` in `SIZE`, not quantised."""
    return convert(model, SIZE)


@pytest.fixture
def converted(content, monkeypatch):
    """Exports of `model` in `SIZE` take that file, instead of converting again."""
    monkeypatch.setattr("mspfn_tf.export.litert.convert", lambda *arguments: content)


@pytest.mark.parametrize("quantize", QUANTIZATIONS)
def test_exports_what_the_model_does(model, pairs, tmp_path, quantize):
    path = tmp_path / "small.tflite"
    description = export_litert(model, path, SIZE, quantize, calibration=pairs)

    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "small.json",
        "small.tflite",
        "small_uint8.tflite",
    ]
    assert description == json.loads((tmp_path / "small.json").read_text())
    assert description["verified"] and not description["forced"]
    assert description["input"]["name"] == "rainy"
    assert description["output"]["shape"] == [1, *SIZE, 3]
    assert description["quantization"] == quantize
    assert set(description["operators"]) <= PHONE_OPERATORS
    assert description["files"]["float32"]["sha256"] == sha256(path)
    assert description["parity"]["psnr_loss_db"] is not None

    # Not by the code that checked it: through the restorer, pixel by pixel.
    patch = read_patches(pairs, SIZE)[0]
    expected = Restorer(model)(patch.rainy).astype(int)
    tolerance = {"none": 1, "float16": 1}.get(quantize, 8)
    for name in ("small.tflite", "small_uint8.tflite"):
        derained = Restorer(tmp_path / name, overlap=8)(patch.rainy)
        assert derained.dtype == np.uint8
        assert np.abs(derained.astype(int) - expected).max() <= tolerance


@pytest.mark.parametrize("preset", ["mspfn_mobile", "mspfn_nano"])
@pytest.mark.parametrize("quantize", ["none", "int8"])
def test_phone_presets_consist_of_what_phones_run(preset, quantize, pairs):
    model = MSPFN.from_preset(preset, load_weights=False, blocks=2)
    assert is_for_phones(model)
    content = convert(model, (64, 64), quantize, read_patches(pairs, (64, 64), count=1))
    structure = describe(read(content))
    assert set(structure["operators"]) <= PHONE_OPERATORS
    assert structure["signatures"] == ["serving_default", "statistics", "guided"]
    assert structure["largest_rank"] <= 4
    if quantize == "int8":
        # Those at the ends of the float32 subtraction, before the global means of three scales, and
        # where a sum wants another scale.
        assert structure["operators"]["DEQUANTIZE"] <= 3 + 3


@pytest.mark.parametrize("preset", ["mspfn_mobile", "mspfn_nano"])
def test_phone_presets_can_run_in_float16(preset):
    shipped = PRESETS[preset]["weights"] is not None
    model = MSPFN.from_preset(preset, load_weights=shipped)
    if not shipped:
        with_real_rain(model)
    half = MSPFN.from_preset(preset, load_weights=False, dtype="mixed_float16")
    half.set_weights(model.get_weights())
    for patch in read_patches(SAMPLE, (128, 128), count=3):
        expected, found = np.asarray(model(patch.batch)), np.asarray(half(patch.batch))
        assert 0 < np.abs(found - expected).max() < 2e-2


@pytest.mark.parametrize("preset", ["mspfn", "mspfn_m17n1"])
def test_full_size_presets_export_with_transposed_convs(preset, pairs, tmp_path):
    model = with_real_rain(
        MSPFN.from_preset(preset, load_weights=False, blocks=1, width=8, hidden=(4, 4, 4))
    )
    description = export_litert(model, tmp_path / "m.tflite", (32, 32), calibration=pairs)
    assert {"TRANSPOSE_CONV", "PRELU"} <= set(description["operators"])
    assert description["signatures"] == ["serving_default", "statistics", "guided"]


_SHARED = {}


@pytest.fixture
def shared(preset, monkeypatch):
    """Exports of one preset share its model, what Keras makes of the pictures, and graphs."""

    def once(key, make, *arguments):
        if (preset, key) not in _SHARED:
            _SHARED[preset, key] = make(*arguments)
        return _SHARED[preset, key]

    def converted(key, *arguments):
        half = arguments[-1]
        return read(once((key, half), lambda: write(convert_graph(key, *arguments))))

    convert_graph, run_keras = litert._converted, verification._run_keras
    monkeypatch.setattr(litert, "open_source", lambda source: once(source, open_source, source))
    monkeypatch.setattr(litert, "_converted", converted)

    def by_keras(model, pictures):  # others for 8 bits
        return once(b"".join(picture.tobytes() for picture in pictures), run_keras, model, pictures)

    monkeypatch.setattr(verification, "_run_keras", by_keras)


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize("preset", [name for name, p in PRESETS.items() if p["weights"]])
@pytest.mark.parametrize("quantize", QUANTIZATIONS)
def test_shipped_presets_pass_their_verification(preset, quantize, tmp_path):
    description = export_litert(preset, tmp_path / "m.tflite", (64, 64), quantize)
    assert description["verified"]
    assert description["weights_sha256"] == PRESETS[preset]["weights"]["sha256"]


@pytest.mark.parametrize(
    "lighter, level", [(2.0, 1.0), pytest.param(-2.0, 0.0, marks=pytest.mark.slow)]
)
def test_the_output_is_clipped(tmp_path, lighter, level):
    model = small_model(**PHONE)
    bias = model.get_layer("rain").bias
    bias.assign(np.full(bias.shape, -2 * lighter))  # of differences in [-1, 1]
    (tmp_path / "light.tflite").write_bytes(convert(model, (16, 16)))
    rainy = np.random.default_rng(0).random((1, 16, 16, 3), np.float32)
    unclipped = np.asarray(model(rainy))
    assert unclipped.min() > 1 if lighter > 0 else unclipped.max() < 0
    runtime = open_runtime(tmp_path / "light.tflite")
    np.testing.assert_array_equal(runtime.run(rainy), level)
    statistics = runtime.measure(rainy)
    np.testing.assert_array_equal(runtime.run_guided(rainy, statistics)[0], level)


def test_the_file_of_bytes_is_compared_too(model, content, pairs, tmp_path):
    patches = read_patches(pairs, SIZE, count=1)
    darker = small_model(**PHONE)
    bias = darker.get_layer("rain").bias
    bias.assign(np.full(bias.shape, 0.2))
    files = {name: tmp_path / f"{name}.tflite" for name in ("float32", "uint8", "darker")}
    files["float32"].write_bytes(content)
    files["uint8"].write_bytes(with_uint8_interface(files["float32"].read_bytes()))
    files["darker"].write_bytes(with_uint8_interface(convert(darker, SIZE)))
    assert verification.check_litert(model, files, "none", patches)["problems"] == []
    files["uint8"] = files["darker"]
    (problem,) = verification.check_litert(model, files, "none", patches)["problems"]
    assert "uint8" in problem


def test_what_falls_short_is_not_written(model, converted, pairs, tmp_path, monkeypatch):
    monkeypatch.setitem(verification.BOUNDS, "none", {"max_error": -1.0})
    path = tmp_path / "small.tflite"
    with pytest.raises(VerificationError, match="max_error"):
        export_litert(model, path, SIZE, calibration=pairs)
    assert not any(tmp_path.iterdir())

    forced = export_litert(model, path, SIZE, calibration=pairs, force=True)
    assert path.is_file()
    assert forced["forced"] and not forced["verified"]
    assert "max_error" in forced["problems"][0]


def test_refuses_operators_that_phones_lack(model, converted, pairs, tmp_path, monkeypatch):
    monkeypatch.setattr("mspfn_tf.export.litert.PHONE_OPERATORS", PHONE_OPERATORS - {"CONV_2D"})
    with pytest.raises(VerificationError, match="CONV_2D"):
        export_litert(model, tmp_path / "m.tflite", SIZE, calibration=pairs)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"output": "m.lite"}, "must end in .tflite"),
        ({"quantize": "int4"}, "none, float16, dynamic, int8"),
        ({"image_size": (100, 96)}, "multiples of 8"),
        ({"image_size": (0, 96)}, "positive multiples of 8"),
        ({"calibration": "empty"}, "no pictures to calibrate on"),
        ({"calibration": "nowhere"}, "not a folder"),
        ({"output": "file/m.tflite"}, "cannot write"),
        ({"output": "there.tflite"}, "exists already"),
        ({"source": "mspfn_giant"}, "neither a preset"),
    ],
)
def test_refuses(model, pairs, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "there.tflite").touch()
    before = sorted(tmp_path.rglob("*"))
    defaults = {"source": model, "output": "m.tflite", "calibration": pairs}
    with pytest.raises(UsageError, match=message):
        export_litert(**{**defaults, **arguments})
    assert sorted(tmp_path.rglob("*")) == before


def test_overwrites_when_told(model, converted, pairs, tmp_path):
    path = tmp_path / "m.tflite"
    path.write_text("old")
    export_litert(model, path, SIZE, calibration=pairs, overwrite=True)
    assert path.stat().st_size > 1000


@pytest.mark.parametrize("count", [1, 7, 16, 29, 30, 40])
def test_pieces_come_from_pictures_all_over_the_folder(tmp_path, count):
    for n in range(30):
        Image.new("RGB", (16, 16), (n, 0, 0)).save(tmp_path / f"{n:02}.png")
    found = [int(patch.rainy[0, 0, 0]) for patch in read_patches(tmp_path, (16, 16), count)]
    assert found == sorted(set(found))
    assert len(found) == min(count, 30)
    assert max(np.diff([*found, 30])) <= -(-30 // len(found))
