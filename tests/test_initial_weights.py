"""What training may begin with, or end in: weights of another shape, means of several runs."""

import json

import keras
import numpy as np
import pytest

from mspfn_tf.model import MSPFN
from mspfn_tf.model_files import load_model
from mspfn_tf.weights_file import save_weights
from tools import average_weights
from tools.warm_start import main as warm_start_main
from tools.warm_start import warm_start


def test_a_warm_start_takes_over_what_fits():
    keras.utils.set_random_seed(0)
    arguments = {
        "width": 8,
        "rcabs": (1, 1, 1),
        "hidden": (4, 4, 4),
        "activation": "relu",
        "stem": 2,
    }
    old = MSPFN(blocks=1, upsampling="subpixel", **arguments)
    new = MSPFN(blocks=2, upsampling="smooth", attention="picture", **arguments)
    taken = warm_start(old, new)
    assert 0 < taken < len(old.weights)
    known = {weight.path: np.asarray(weight.value) for weight in old.weights}
    for weight in new.weights:
        if weight.path in known and "_squeeze" not in weight.path:
            np.testing.assert_array_equal(weight.value, known[weight.path])
    ups = [np.abs(w.value).max() for w in new.weights if w.path == "fusion2_full_up/kernel"]
    assert 0 < ups[0] < 0.05


def test_a_wider_network_starts_as_the_narrow_one():
    keras.utils.set_random_seed(0)
    arguments = {
        "rcabs": (1, 1, 1),
        "activation": "relu",
        "stem": 2,
        "upsampling": "smooth",
        "attention": "picture",
    }
    old = MSPFN(width=8, hidden=(4, 4, 4), blocks=1, **arguments)
    for weight in old.weights:  # far from the start, at which the rain layer is almost zero
        weight.assign(weight + 0.02 * keras.random.normal(weight.shape))
    new = MSPFN(width=12, hidden=(6, 6, 6), blocks=1, **arguments)
    assert warm_start(old, new) == len(old.weights) == len(new.weights)
    rainy = keras.random.uniform((1, 32, 40, 3))
    derained = old.predict(rainy, verbose=0)
    np.testing.assert_allclose(new.predict(rainy, verbose=0), derained, atol=1e-6)
    assert np.abs(derained - np.asarray(rainy)).max() > 1e-2
    (kernel,) = (np.asarray(w) for w in new.weights if w.path == "shallow_full/kernel")
    assert np.abs(kernel[..., 8:]).min() > 0  # the new channels see the picture


def test_nothing_is_drawn_where_weights_are_loaded(tmp_path, monkeypatch):
    """JAX compiles a program for every shape that is drawn: half a minute for a preset."""
    small = MSPFN(width=8, blocks=1, rcabs=(1, 0, 0))  # with transposed convs and a ConvLSTM
    save_weights(small, tmp_path / "small.weights.h5")
    (tmp_path / "config.json").write_text(json.dumps(small.get_config()))
    save_weights(small, tmp_path / "model.weights.h5")

    def drawn(*arguments, **options):
        raise AssertionError("drawn")

    for initializer in (keras.initializers.VarianceScaling, keras.initializers.TruncatedNormal):
        monkeypatch.setattr(initializer, "__call__", drawn)
    shipped = MSPFN.from_preset("mspfn_nano")
    assert all(np.any(weight.value) for weight in shipped.weights if "kernel" in weight.path)
    for loaded in (load_model(tmp_path / "small.weights.h5"), MSPFN.from_preset(tmp_path)):
        for weight, there in zip(loaded.weights, small.weights, strict=True):
            np.testing.assert_array_equal(weight.value, there.value)
    with pytest.raises(AssertionError, match="drawn"):
        MSPFN.from_preset("mspfn_nano", load_weights=False)


def test_weights_are_averaged(tmp_path, capsys):
    arguments = {"width": 8, "blocks": 1, "rcabs": (1, 1, 1), "hidden": (4, 4, 4)}
    files = [str(tmp_path / f"{name}.weights.h5") for name in ("a", "b", "other", "mean")]
    models = [MSPFN(**arguments), MSPFN(**arguments), MSPFN(**{**arguments, "width": 4})]
    for model, file in zip(models, files, strict=False):
        save_weights(model, file)
    average_weights.main([files[0], files[1], files[3]])
    mean = load_model(files[3])
    for found, first, second in zip(mean.weights, *(m.weights for m in models[:2]), strict=True):
        expected = (np.asarray(first) + np.asarray(second)) / 2
        np.testing.assert_allclose(np.asarray(found), expected, atol=1e-7)
    with pytest.raises(SystemExit):
        average_weights.main([files[0], files[2], files[3]])
    assert "not of one network" in capsys.readouterr().err


def test_missing_weights_are_named_without_a_traceback(tmp_path, capsys):
    missing, output = str(tmp_path / "missing.weights.h5"), str(tmp_path / "mean.weights.h5")
    for main, arguments in [
        (average_weights.main, [missing, missing, output]),
        (warm_start_main, [missing, "mspfn_nano", output]),
        (warm_start_main, [missing, "mspfn_nan", output]),
    ]:
        with pytest.raises(SystemExit) as end:
            main(arguments)
        told = capsys.readouterr().err
        assert end.value.code == 2 and ("missing.weights.h5" in told or "mspfn_nano" in told)
