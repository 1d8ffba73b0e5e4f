import math
import os
import subprocess
import sys

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from mspfn_tf import metrics
from mspfn_tf.pictures import read_rgb
from tests.shared_data import shared


def photograph(seed=0, shape=(40, 52, 3)):
    """Smooth colours with some noise, uint8."""
    random = np.random.default_rng(seed)
    y, x, channel = np.meshgrid(*(np.arange(side) for side in shape), indexing="ij")
    smooth = 128 + 90 * np.sin(x / 9 + channel) * np.cos(y / 7 - channel)
    return np.clip(smooth + random.normal(0, 8, shape), 0, 255).astype(np.uint8)


def rainy(clean, seed=1):
    noise = np.random.default_rng(seed).normal(20, 25, clean.shape)
    return np.clip(clean + noise, 0, 255).astype(np.uint8)


def uniform(level, shape=(16, 16, 3)):
    return np.full(shape, level, np.uint8)


# --- values known by hand


@pytest.mark.parametrize(
    ("rgb", "luma"),
    [
        # What MATLAB's rgb2ycbcr gives for uint8 colours.
        ((0, 0, 0), 16),
        ((255, 255, 255), 235),
        ((255, 0, 0), 81),
        ((0, 255, 0), 145),
        ((0, 0, 255), 41),
        ((128, 128, 128), 126),
        ((255, 255, 0), 210),
    ],
)
def test_luma_is_matlabs(rgb, luma):
    assert metrics.luma(np.array(rgb, np.int32)) == luma


def test_luma_rounds_to_the_nearest_level():
    colours = np.stack(np.meshgrid(*[np.arange(0, 256, 5)] * 3), axis=-1)
    exact = 16 + colours @ np.array([65.481, 128.553, 24.966]) / 255
    assert np.abs(metrics.luma(colours) - exact).max() <= 0.5


# 100 and 110 gray are 102 and 110 in Y (101.88 and 110.47 before rounding).
@pytest.mark.parametrize(("protocol", "error"), [("rgb", 10), ("matlab_y", 8)])
def test_psnr_of_a_constant_error(protocol, error):
    expected = 20 * math.log10(255 / error)
    assert metrics.psnr(uniform(100), uniform(110), protocol) == pytest.approx(expected)


def test_ssim_of_two_flat_pictures():
    # No structure: what is left is the comparison of the means.
    c1 = (0.01 * 255) ** 2
    expected = (2 * 100 * 110 + c1) / (100**2 + 110**2 + c1)
    assert metrics.ssim(uniform(100), uniform(110), "rgb") == pytest.approx(expected, abs=5e-6)


@pytest.mark.parametrize(
    ("protocol", "psnr", "ssim"),
    [("matlab_y", 21.3691, 0.521712), ("rgb", 18.2415, 0.421035)],
)
def test_golden_values(protocol, psnr, ssim):
    clean = photograph()
    assert metrics.psnr(clean, rainy(clean), protocol) == pytest.approx(psnr, abs=1e-3)
    assert metrics.ssim(clean, rainy(clean), protocol) == pytest.approx(ssim, abs=1e-5)


# --- an independent implementation


@pytest.mark.parametrize("protocol", metrics.PROTOCOLS)
@pytest.mark.parametrize("shape", [(40, 52, 3), (11, 11, 3), (11, 30, 3)])
def test_agrees_with_scikit_image(protocol, shape):
    clean = photograph(shape=shape)
    image = rainy(clean)
    first, second = clean, image
    if protocol == "matlab_y":
        first, second = (metrics.luma(x.astype(np.int32)).astype(np.uint8) for x in (clean, image))
    assert metrics.psnr(clean, image, protocol) == pytest.approx(
        peak_signal_noise_ratio(first, second, data_range=255)
    )
    _, ssim_map = structural_similarity(
        first,
        second,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
        channel_axis=-1 if protocol == "rgb" else None,
        full=True,
    )
    valid = ssim_map[5:-5, 5:-5]
    assert metrics.ssim(clean, image, protocol) == pytest.approx(valid.mean(), abs=5e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "protocol", "psnr", "ssim"),
    [
        ("Rain100H", "matlab_y", 13.551, 0.3784),
        ("Rain100H", "rgb", 12.126, 0.3491),
        ("Rain100L", "matlab_y", 26.90, 0.838),
    ],
)
def test_anchor_values_of_published_test_sets(folder, protocol, psnr, ssim):
    inputs, targets = shared(f"data/{folder}/input"), shared("data/Rain100H/target")
    scores = []
    for path in sorted(inputs.glob("*.png")):
        target, image = read_rgb(targets / path.name), read_rgb(path)
        scores.append(
            (metrics.psnr(target, image, protocol), metrics.ssim(target, image, protocol))
        )
    assert len(scores) == 100
    assert np.mean(scores, axis=0) == pytest.approx((psnr, ssim), abs=5e-4)


# --- what goes in


@pytest.mark.parametrize("measure", [metrics.psnr, metrics.ssim])
@pytest.mark.parametrize("protocol", metrics.PROTOCOLS)
def test_floats_are_rounded_to_uint8_first(measure, protocol):
    clean = photograph()
    image = rainy(clean)
    expected = measure(clean, image, protocol)
    for dtype in (np.float16, np.float32, np.float64):
        assert measure(clean, image.astype(dtype) / dtype(255), protocol) == expected
    just_off = image.astype(np.float32) / 255 + np.float32(0.4 / 255)
    assert measure(clean.astype(np.float32) / 255, just_off, protocol) == expected


def test_predictions_beyond_the_range_are_clipped():
    image = np.full((16, 16, 3), 1.3, np.float32)
    assert metrics.psnr(uniform(255), image) == math.inf
    assert metrics.psnr(uniform(0), -image) == math.inf


@pytest.mark.parametrize("protocol", metrics.PROTOCOLS)
def test_identical_images(protocol):
    image = photograph()
    assert metrics.psnr(image, image, protocol) == math.inf
    assert metrics.ssim(image, image, protocol) == 1.0


@pytest.mark.parametrize("measure", [metrics.psnr, metrics.ssim])
def test_a_batch_is_measured_image_by_image(measure):
    clean = np.stack([photograph(seed) for seed in range(3)])
    image = rainy(clean)
    values = measure(clean, image)
    assert values.shape == (3,)
    assert list(values) == list(measure(clean, image, "matlab_y"))  # the figures of the papers
    assert list(values) == [measure(*pair) for pair in zip(clean, image, strict=True)]
    assert isinstance(measure(clean[0], image[0]), float)


@pytest.mark.parametrize("measure", [metrics.psnr, metrics.ssim])
@pytest.mark.parametrize(
    ("target", "image", "message"),
    [
        (uniform(1), uniform(1, (16, 17, 3)), r"same shape.*\[16, 16, 3\].*\[16, 17, 3\]"),
        (uniform(1), uniform(1, (16, 16)), r"`image` must be RGB.*\[16, 16\]"),
        (uniform(1, (16, 16, 4)), uniform(1), r"`target` must be RGB.*\[16, 16, 4\]"),
        (uniform(1, (0, 16, 3)), uniform(1, (0, 16, 3)), "not empty"),
        (uniform(1).astype(np.int64), uniform(1), "int64"),
        (uniform(1) - np.float32(2), uniform(9), r"`target` must lie in \[0, 1\].*-1"),
        (uniform(9).astype(np.float32), uniform(9), r"`target` must lie in \[0, 1\].*9"),
        (uniform(1), np.full((16, 16, 3), np.nan), "`image` holds values that are not finite"),
    ],
)
def test_wrong_images_are_refused(measure, target, image, message):
    with pytest.raises(ValueError, match=message):
        measure(target, image)


def test_unknown_protocol_is_refused():
    with pytest.raises(ValueError, match="one of matlab_y, rgb. Received: 'y'"):
        metrics.psnr(uniform(1), uniform(1), protocol="y")


@pytest.mark.parametrize("shape", [(10, 40, 3), (40, 10, 3), (1, 1, 3)])
def test_images_smaller_than_the_window_have_a_psnr_but_no_ssim(shape):
    assert metrics.psnr(uniform(100, shape), uniform(110, shape)) > 0
    with pytest.raises(ValueError, match=f"at least 11x11.*height {shape[0]}, width {shape[1]}"):
        metrics.ssim(uniform(100, shape), uniform(110, shape))


def test_unknown_names_of_the_module():
    with pytest.raises(AttributeError, match="no attribute 'LPIPS'"):
        metrics.LPIPS  # noqa: B018


def test_importing_metrics_does_not_load_keras():
    code = "import sys, mspfn_tf.metrics; sys.exit('keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- Keras metrics


@pytest.fixture(scope="module")
def floats():
    clean = np.stack([photograph(seed, (20, 23, 3)) for seed in range(5)])
    image = rainy(clean).astype(np.float32) / 255
    return clean.astype(np.float32) / 255, image


@pytest.mark.parametrize("protocol", metrics.PROTOCOLS)
@pytest.mark.parametrize(("name", "measure"), [("PSNR", metrics.psnr), ("SSIM", metrics.ssim)])
def test_keras_metrics_are_the_mean_over_images(floats, protocol, name, measure):
    target, image = floats
    expected = measure(target, image, protocol).mean()
    metric = getattr(metrics, name)(protocol)
    for part in (slice(0, 3), slice(3, 5)):
        metric.update_state(target[part], image[part])
    assert float(metric.result()) == pytest.approx(expected, rel=1e-5)
    metric.reset_state()
    metric.update_state(np.round(target * 255).astype(np.uint8), image)
    assert float(metric.result()) == pytest.approx(expected, rel=1e-5)


def test_keras_metrics_weigh_images(floats):
    target, image = floats
    metric = metrics.PSNR()
    metric.update_state(target, image, sample_weight=np.array([1, 0, 0, 0, 1], np.float32))
    assert float(metric.result()) == pytest.approx(
        metrics.psnr(target, image)[[0, 4]].mean(), rel=1e-5
    )


def test_weights_in_a_column_are_those_of_the_images(floats):
    target, image = floats
    weights = np.array([1, 0, 0, 0, 3], np.float32)
    for measure in (metrics.PSNR, metrics.SSIM):
        found = []
        for given in (weights, weights[:, None]):
            metric = measure()
            metric.update_state(target, image, sample_weight=given)
            found.append(float(metric.result()))
        assert found[0] == found[1]


def test_images_of_no_weight_do_not_count(floats):
    target, image = floats
    image = np.concatenate([image, target[:1]])  # the last one equals its target
    target = np.concatenate([target, target[:1]])
    metric = metrics.PSNR()
    weights = [1.0] * (len(image) - 1) + [0.0]
    metric.update_state(target, image, sample_weight=np.array(weights))
    assert np.isfinite(float(metric.result()))
    metric.update_state(target, image)
    assert float(metric.result()) == np.inf


def test_keras_metrics_of_identical_and_of_broken_images(floats):
    target, image = floats
    for name, perfect in (("PSNR", math.inf), ("SSIM", 1.0)):
        metric = getattr(metrics, name)()
        metric.update_state(target, target)
        assert float(metric.result()) == perfect
        broken = image.copy()
        broken[2, 3, 4, 1] = np.nan
        metric.update_state(target, broken)
        assert math.isnan(metric.result())


def test_keras_metrics_refuse_wrong_images(floats):
    target, image = floats
    with pytest.raises(ValueError, match="same shape"):
        metrics.PSNR().update_state(target, image[:, 1:])
    with pytest.raises(ValueError, match="must be RGB images"):
        metrics.PSNR().update_state(target[0], image[0])
    with pytest.raises(ValueError, match="at least 11x11"):
        metrics.SSIM().update_state(target[:, :9], image[:, :9])
    with pytest.raises(ValueError, match="one of matlab_y, rgb"):
        metrics.SSIM(protocol="y")


def test_keras_metrics_in_a_graph_of_unknown_size(floats):
    import tensorflow as tf

    target, image = floats
    metric = metrics.SSIM()
    any_size = tf.TensorSpec((None, None, None, 3))
    tf.function(metric.update_state, input_signature=[any_size, any_size])(target, image)
    assert float(metric.result()) == pytest.approx(metrics.ssim(target, image).mean(), rel=1e-5)


def test_keras_metrics_are_serialised():
    import keras

    metric = metrics.SSIM(protocol="rgb", name="ssim_rgb")
    copy = keras.metrics.deserialize(keras.metrics.serialize(metric))
    assert isinstance(copy, metrics.SSIM)
    assert copy.get_config() == {"protocol": "rgb", "name": "ssim_rgb", "dtype": "float32"}


IN_COMPILE = """
import contextlib
import keras, numpy as np
from mspfn_tf import metrics

scope = contextlib.nullcontext()
if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    scope = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope()

random = np.random.default_rng(0)
target = random.random((7, 16, 16, 3), np.float32)
rainy = target + random.normal(0, 0.1, target.shape).astype(np.float32)
with scope:
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, keras.layers.Rescaling(0.9)(inputs))
    model.compile(loss="mse", metrics=[metrics.PSNR(), metrics.SSIM("rgb", name="ssim_rgb")])
    # 4 + 3 images: the last batch is smaller, and the replicas' shares of it differ.
    logs = model.evaluate(rainy, target, batch_size=4, verbose=0, return_dict=True)
restored = model.predict(rainy, batch_size=7, verbose=0)
expected = metrics.psnr(target, restored).mean(), metrics.ssim(target, restored, "rgb").mean()
np.testing.assert_allclose((logs["psnr"], logs["ssim_rgb"]), expected, rtol=1e-5)
"""


def test_float16_is_measured_as_its_values_in_float32():
    target, image = np.random.default_rng(0).random((2, 2, 64, 64, 3)).astype(np.float16)
    for measure in (metrics.psnr, metrics.ssim):
        wide = measure(target.astype(np.float32), image.astype(np.float32))
        np.testing.assert_array_equal(measure(target, image), wide)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_keras_metrics_in_compile(backend):
    """On TensorFlow under two replicas."""
    pytest.importorskip(backend)
    environment = os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    result = subprocess.run(
        [sys.executable, "-c", IN_COMPILE],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
