"""The loss of a frozen segmenter on derained patches."""

import keras
import numpy as np
import pytest
from keras import ops

from mspfn_tf.errors import UsageError
from mspfn_tf.tasks.espnet import ESPNet, save_espnet
from mspfn_tf.training.pair_source import VOID
from mspfn_tf.training.task_loss import TaskLoss, as_labels, load_task_network

pytestmark = pytest.mark.slow


CLEAN = np.random.default_rng(0).random((2, 16, 24, 3), np.float32)


def network(classes=3):
    """Scores: the colours, times ten, so that the largest channel is the class."""
    inputs = keras.Input((None, None, 3))
    outputs = keras.layers.Conv2D(classes, 1, use_bias=False)(inputs)
    model = keras.Model(inputs, outputs)
    model.layers[-1].kernel.assign(10 * np.eye(3, classes)[None, None])
    return model


def labels_of(pictures):
    return pictures.argmax(-1)[..., None].astype(np.int16)


def test_cross_entropy_equals_that_of_keras():
    labels = labels_of(np.random.default_rng(1).random((2, 16, 24, 3)))
    labels[0, :3] = VOID
    found = np.asarray(TaskLoss(network()).losses(CLEAN, CLEAN, labels))
    scores = 10 * CLEAN
    for row in range(2):
        known = labels[row, ..., 0] != VOID
        wanted = keras.losses.sparse_categorical_crossentropy(
            labels[row, ..., 0][known], scores[row][known], from_logits=True
        )
        assert found[row] == pytest.approx(float(ops.mean(wanted)), rel=1e-5)


def test_nothing_labelled_is_no_loss():
    labels = np.full((2, 16, 24, 1), VOID, np.int16)
    np.testing.assert_array_equal(TaskLoss(network()).losses(CLEAN, CLEAN, labels), [0, 0])


def test_features_by_hand():
    loss = TaskLoss(network(), "features")
    assert not loss.needs_labels
    np.testing.assert_array_equal(loss.losses(CLEAN, CLEAN), [0, 0])
    darker = CLEAN * np.float32([1, 0.5])[:, None, None, None]
    np.testing.assert_allclose(loss.losses(darker, CLEAN), [0, 0.5], rtol=1e-5)


def test_both_adds_them_and_clips_the_picture():
    labels = labels_of(CLEAN)
    parts = [TaskLoss(network(), terms).losses(CLEAN * 0.9, CLEAN, labels)
             for terms in ("labels", "features", "both")]  # fmt: skip
    np.testing.assert_allclose(parts[0] + parts[1], parts[2], rtol=1e-6)
    loss = TaskLoss(network())
    np.testing.assert_array_equal(
        loss.losses(CLEAN * 4 - 2, CLEAN, labels),
        loss.losses(np.clip(CLEAN * 4 - 2, 0, 1), CLEAN, labels),
    )


def test_espnet_is_frozen_and_its_features_are_those_of_the_encoder():
    keras.utils.set_random_seed(0)
    espnet = ESPNet(classes=5, blocks=(0, 1))
    loss = TaskLoss(espnet, "both")
    before = [np.array(w) for w in espnet.get_weights()]
    labels = np.zeros((2, 16, 24, 1), np.int16)
    value = loss.losses(CLEAN * 0.5, CLEAN, labels)
    assert (np.asarray(value) > 0).all()
    assert not espnet.trainable_variables
    for old, new in zip(before, espnet.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    # With the variables handed in, as a compiled function does, the same.
    np.testing.assert_allclose(
        loss.losses(CLEAN * 0.5, CLEAN, labels, loss.state), value, rtol=1e-5
    )


def test_the_gradient_points_to_what_the_network_understands():
    import tensorflow as tf

    labels = labels_of(CLEAN)
    picture = tf.Variable(np.full_like(CLEAN, 0.5))
    loss = TaskLoss(network())
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(loss.losses(picture, CLEAN, labels))
    gradient = tape.gradient(value, picture).numpy()
    chosen = np.take_along_axis(gradient, labels.astype(int), axis=-1)
    assert (chosen < 0).all()  # brighter in the channel of the class


def test_labels_are_checked():
    mask = np.uint8([[[0], [2], [255]]])
    assert as_labels(mask, "a", 3, (255,)).ravel().tolist() == [0, 2, VOID]
    with pytest.raises(UsageError, match="a: its mask holds the value 255; expected .* 0 to 2"):
        as_labels(mask, "a", 3, (11,))


def test_networks_that_do_not_fit_are_refused(tmp_path):
    inputs = keras.Input((None, None, 3))
    flat = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(inputs))
    with pytest.raises(UsageError, match="expected class scores"):
        TaskLoss(flat)
    two = keras.Model(inputs, [inputs * 1, inputs * 2])
    with pytest.raises(UsageError, match="one picture in, scores out"):
        TaskLoss(two)
    with pytest.raises(UsageError, match="choose from labels, features, both"):
        TaskLoss(network(), "boxes")
    small = keras.Model(inputs, keras.layers.AveragePooling2D(2)(inputs))
    with pytest.raises(UsageError, match=r"makes \[2, 8, 12, 3\] of patches"):
        TaskLoss(small).check(CLEAN)
    one_size = keras.Input(CLEAN.shape[1:])
    fixed = keras.Model(one_size, keras.layers.Conv2D(3, 3, padding="same")(one_size))
    with pytest.raises(UsageError, match="expected one for pictures of any size"):
        TaskLoss(fixed).check(CLEAN)


def test_networks_are_found(tmp_path):
    save_espnet(ESPNet(classes=5, blocks=(0, 0)), tmp_path / "e.weights.h5")
    assert load_task_network("espnet", tmp_path / "e.weights.h5").classes == 5
    assert load_task_network(tmp_path / "e.weights.h5").classes == 5
    network().save(tmp_path / "n.keras")
    assert load_task_network(tmp_path / "n.keras").output_shape[-1] == 3
    for model, weights, message in (
        ("espnet", "", "needs task_model_weights"),
        (tmp_path / "n.keras", "x", "goes with task_model espnet"),
        ("segnet", "", "task_model segnet: expected espnet"),
        (tmp_path / "none.weights.h5", "", "no weights file"),
    ):
        with pytest.raises(UsageError, match=message):
            load_task_network(model, weights)
    (tmp_path / "bad.keras").write_bytes(b"")
    with pytest.raises(UsageError, match="cannot load"):
        load_task_network(tmp_path / "bad.keras")


def test_probabilities_are_no_scores():
    plain = network()
    ended = keras.Model(plain.inputs, keras.layers.Softmax()(plain.outputs[0]))
    for terms in ("labels", "both"):
        with pytest.raises(UsageError, match="makes probabilities of patches; expected class"):
            TaskLoss(ended, terms).check(CLEAN)
    TaskLoss(ended, "features").check(CLEAN)
    TaskLoss(plain, "labels").check(CLEAN)
