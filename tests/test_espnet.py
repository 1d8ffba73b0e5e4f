"""ESPNet and the conversion of its published weights."""

import keras
import numpy as np
import pytest
from PIL import Image

from mspfn_tf.errors import UsageError
from mspfn_tf.tasks.adapters import espnet
from mspfn_tf.tasks.espnet import ESPNet, load_espnet, save_espnet
from mspfn_tf.tasks.networks import open_network
from mspfn_tf.tasks.segmentation import confusion, segmentation_scores
from tests.shared_data import shared
from tools.convert_espnet import convert, layer_name, main

X = np.random.default_rng(0).random((1, 24, 40, 3), np.float32)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return ESPNet()


def test_size_is_that_of_the_paper(model):
    # 354k parameters, as published; running means and variances are not counted.
    assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) == 354_517
    assert model(X).shape == (1, 24, 40, 12)


@pytest.mark.slow
def test_weights_carry_their_configuration(model, tmp_path):
    small = ESPNet(classes=5, blocks=(0, 1))
    save_espnet(small, tmp_path / "small.weights.h5")
    loaded = load_espnet(tmp_path / "small.weights.h5")
    assert loaded.blocks == (0, 1)
    np.testing.assert_allclose(loaded(X), small(X), atol=1e-6)
    with pytest.raises(UsageError, match="exists already"):
        save_espnet(small, tmp_path / "small.weights.h5")
    with pytest.raises(UsageError, match="must end in .weights.h5"):
        save_espnet(small, tmp_path / "small.h5")
    small.save_weights(tmp_path / "plain.weights.h5")
    with pytest.raises(UsageError, match="no weights of ESPNet .*convert_espnet"):
        load_espnet(tmp_path / "plain.weights.h5")
    small.save(tmp_path / "small.keras")
    network = open_network(tmp_path / "small.keras")
    np.testing.assert_allclose(network(X)[0], small(X), atol=1e-5)


@pytest.mark.parametrize("arguments", [{"classes": 3}, {"blocks": (2,)}, {"image_size": (20, 24)}])
def test_wrong_arguments(arguments):
    with pytest.raises(UsageError, match=next(iter(arguments))):
        ESPNet(**arguments)


def _as_published(model):
    """Arrays named and shaped as in the authors' file, with the weights of `model`."""
    own = {f"{la.name}/{w.name}": np.asarray(w) for la in model.layers for w in la.weights}
    state = {}

    def conv(name, layer):
        state[f"{name}.weight"] = own[f"{layer}/kernel"].transpose(3, 2, 0, 1)

    def norm(name, layer):
        for theirs, ours in (
            ("weight", "gamma"),
            ("bias", "beta"),
            ("running_mean", "moving_mean"),
            ("running_var", "moving_variance"),
        ):
            state[f"{name}.{theirs}"] = own[f"{layer}_bn/{ours}"]

    def act(name, layer):
        state[f"{name}.weight"] = own[f"{layer}_act/alpha"].ravel()

    def block(name, layer, nested):
        conv(f"{name}.c1.conv", f"{layer}_reduce")
        for dilation in (1, 2, 4, 8, 16):
            conv(f"{name}.d{dilation}.conv", f"{layer}_d{dilation}")
        norm(f"{name}.bn.bn" if nested else f"{name}.bn", layer)
        act(f"{name}.bn.act" if nested else f"{name}.act", layer)

    conv("encoder.level1.conv", "stem_conv")
    norm("encoder.level1.bn", "stem")
    act("encoder.level1.act", "stem")
    for number in (1, 2, 3):
        norm(f"encoder.b{number}.bn", f"gather{number}")
        act(f"encoder.b{number}.act", f"gather{number}")
    for level, count in zip((2, 3), model.blocks, strict=True):
        block(f"encoder.level{level}_0", f"down{level}", nested=False)
        for index in range(count):
            block(f"encoder.level{level}.{index}", f"esp{level}_{index}", nested=True)
    conv("encoder.classifier.conv", "project3")
    norm("br", "project3")
    conv("level3_C.conv", "project2")
    for name, layer in (("up_l3.0", "up3"), ("up_l2.0", "up2"), ("classifier", "classifier")):
        conv(name, layer)
    norm("combine_l2_l3.0.bn", "merge2")
    act("combine_l2_l3.0.act", "merge2")
    block("combine_l2_l3.1", "merge2_esp", nested=True)
    norm("up_l2.1.bn", "up2")
    act("up_l2.1.act", "up2")
    conv("conv.conv", "merge1_conv")
    norm("conv.bn", "merge1")
    act("conv.act", "merge1")
    return state


@pytest.mark.slow
def test_conversion_uses_every_weight(model):
    rng = np.random.default_rng(3)
    for variable in model.weights:
        variable.assign(rng.uniform(0.5, 1.5, variable.shape) * 0.1)
    state = _as_published(model)
    assert len(state) == 189  # as in the authors' file for CamVid
    converted = convert({f"module.{name}": array for name, array in state.items()})
    np.testing.assert_array_equal(converted(X), model(X))
    lacking = {name: a for name, a in state.items() if name != "encoder.b2.bn.bias"}
    with pytest.raises(UsageError, match="lacks gather2_bn/beta"):
        convert(lacking)
    with pytest.raises(UsageError, match="encoder.extra.weight: ESPNet has no weight"):
        convert(state | {"encoder.extra.weight": np.zeros((1, 1, 1, 1))})
    with pytest.raises(UsageError, match="br.weight is"):
        convert(state | {"br.weight": np.zeros(3)})
    with pytest.raises(UsageError, match="with its decoder"):
        convert({"encoder.level1.conv.weight": np.zeros((16, 3, 3, 3))})
    assert layer_name("encoder.level3.7.d16.conv") == "esp3_7_d16"


def test_score_of_the_published_weights(tmp_path):
    """On CamVid's validation frames, whose scenes are easier than those of the test split."""
    source = shared("data/tasks/espnet_p_2_q_8_camvid.pth")
    folder = shared("data/tasks/camvid_validation")
    pytest.importorskip("torch", reason="reading the authors' file needs PyTorch")
    weights = tmp_path / "espnet.weights.h5"
    assert main([str(source), str(weights)]) == 0
    network, counts = open_network(weights), 0
    for path in sorted((folder / "images").iterdir())[::6]:
        truth = np.asarray(Image.open(folder / "labels" / f"{path.stem}.png"))
        labels = espnet(np.asarray(Image.open(path)), network)
        counts = counts + confusion(truth, labels, 11, (11,))
    assert segmentation_scores(counts)["miou"] > 0.6
