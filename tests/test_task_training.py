"""Training for a task: labels in the patches, the loss, resuming."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow_datasets as tfds

from mspfn_tf.cli import main
from mspfn_tf.errors import UsageError
from mspfn_tf.model import MSPFN
from mspfn_tf.tasks.espnet import ESPNet, save_espnet
from mspfn_tf.tasks.segmentation import confusion, segmentation_scores
from mspfn_tf.training import Trainer
from mspfn_tf.training.pair_source import VOID, PairSource
from mspfn_tf.training.patch_stream import open_stream, tf_dataset
from mspfn_tf.weights_file import save_weights
from tests.pair_sets import prepare, smooth_pair
from tests.task_training import digest, first_step, peaceful_and_interrupted, task_recipe
from tests.tiny_recipe import TINY, recipe

pytestmark = pytest.mark.slow


def labelled(index, height=32, width=40):
    """A clean picture, and its mask: in which third of the levels its red channel lies."""
    _, clean = smooth_pair(index, height, width)
    mask = (clean[..., :1] // 86).astype(np.uint8)
    mask[:3] = 255
    return clean, mask


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tasks")
    prepare(folder, "tiny", make=smooth_pair)
    image = tfds.features.Image(shape=(None, None, 3), encoding_format="png")
    mask = tfds.features.Image(shape=(None, None, 1), encoding_format="png")
    features = {"image": image, "mask": mask, "name": tfds.features.Text()}

    def examples(first, count):
        for index in range(first, first + count):
            picture, truth = labelled(index)
            yield index, {"image": picture, "mask": truth, "name": str(index)}

    tfds.dataset_builders.store_as_tfds_dataset(
        name="labelled",
        version="1.0.0",
        data_dir=str(folder),
        features=tfds.features.FeaturesDict(features),
        split_datasets={"train": examples(0, 6), "validation": examples(6, 2)},
        file_format="array_record",
        disable_shuffling=True,
    )
    _segmenter().save(folder / "segmenter.keras")
    keras.utils.set_random_seed(4)
    network = MSPFN.from_preset("mspfn", load_weights=False, **TINY)
    save_weights(network, folder / "first.weights.h5")
    return folder


def _segmenter():
    """Knows the thirds of the red levels: scores 0, r - t1 and 2r - t1 - t2, times 20."""
    inputs = keras.Input((None, None, 3))
    x = keras.layers.BatchNormalization(epsilon=1e-9)(inputs)
    scores = keras.layers.Conv2D(3, 1)
    network = keras.Model(inputs, scores(x))
    kernel = np.zeros((1, 1, 3, 3))
    kernel[0, 0, 0] = 0, 20, 40
    scores.kernel.assign(kernel)
    scores.bias.assign(np.array([0, -20 * 85.5, -20 * (85.5 + 171.5)]) / 255)
    return network


def test_clean_pictures_stand_in_rain_that_stays(folder):
    source = PairSource("labelled", "train", folder)
    for index in range(2):
        rainy, clean = source[index]
        np.testing.assert_array_equal(clean, labelled(index)[0])
        assert (rainy != clean).any()
        np.testing.assert_array_equal(rainy, source[index][0])
    assert source.sizes().tolist() == [[32, 40]] * 6


def _as_void(mask, name):
    return np.where(mask == 255, VOID, mask.astype(np.int16))


def test_labels_are_cut_and_turned_with_their_pictures(folder):
    stream = open_stream(
        "labelled", folder, batch_size=6, seed=3, labelling=_as_void, crops_per_pair=1
    )
    transforms = set()
    for step in range(4):
        _, clean, labels = stream.batch(step, 24)
        assert labels.dtype == np.int32
        transforms |= {row.transform for row in stream.rows(step)}
        expected = np.rint(clean[..., :1] * 255) // 86
        known = labels != VOID
        np.testing.assert_array_equal(labels[known], expected[known])
        assert 0.8 < known.mean() <= 1
    assert len(transforms) == 8
    # Larger than the pictures: reflected, as they are.
    _, clean, labels = stream.batch(0, 48)
    known = labels != VOID
    np.testing.assert_array_equal(labels[known], (np.rint(clean[..., :1] * 255) // 86)[known])
    (element,) = tf_dataset(stream, 0, 1, 24)
    for array, wanted in zip(element, stream.batch(0, 24), strict=True):
        np.testing.assert_array_equal(array, wanted)


@pytest.fixture(scope="module")
def first_logs(folder):
    """Of the first step on TensorFlow."""
    return first_step(folder, "joined")


def test_the_task_joins_the_restoration_loss(folder, first_logs):
    fields = {"dataset": "labelled", "fresh_rain": 0.7, "validate_every": 0}
    fields["init_weights"] = folder / "first.weights.h5"
    with Trainer(recipe(folder, "alone", **fields)).start() as trainer:
        alone = trainer.train_step(*trainer.stream.batch(0, 16))
    assert "task_loss" not in alone
    assert first_logs["task_loss"] > 0.1
    assert first_logs["psnr"] == alone["psnr"]
    expected = alone["loss"] + 0.3 * first_logs["task_loss"]
    assert first_logs["loss"] == pytest.approx(expected, rel=1e-5)


def test_the_network_of_the_task_stays_and_its_loss_falls(folder):
    fields = {"steps": 60, "task_weight": 1.0, "task_terms": "labels", "checkpoint_every": 60}
    fields |= {"log_every": 10, "learning_rate": 1e-2, "clip_norm": 1.0, "fresh_rain": 0.0}
    trainer = Trainer(task_recipe(folder, "falls", **fields))
    assert trainer.run() == 0
    logs = (folder / "falls/log.jsonl").read_text().splitlines()
    losses = [entry["task_loss"] for entry in map(json.loads, logs) if "task_loss" in entry]
    assert np.mean(losses[-2:]) < 0.8 * losses[0]
    untouched = keras.saving.load_model(folder / "segmenter.keras")
    frozen = trainer.runner.task._looks
    for ours, theirs in zip(frozen.get_weights(), untouched.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_run_is_judged_by_the_task_too(folder):
    fields = {"validate_every": 2, "steps": 2, "task_terms": "labels", "validation_size": 16}
    assert Trainer(task_recipe(folder, "judged", **fields)).run() == 0
    entries = map(json.loads, (folder / "judged/log.jsonl").read_text().splitlines())
    (entry,) = [entry for entry in entries if "val_miou" in entry]
    assert entry["val_miou_clean"] == 1  # it knows what the masks are made of
    assert entry["val_miou_rainy"] < 0.9
    assert 0 < entry["val_miou"] < 1
    source = PairSource("labelled", "validation", folder)
    counts = 0
    for index in range(len(source)):
        labels = labelled(6 + index)[1][..., 0]
        counts = counts + confusion(labels, source[index][0][..., 0] // 86, 3)
    assert entry["val_miou_rainy"] == pytest.approx(segmentation_scores(counts)["miou"])


def test_validation_sets_with_masks_are_judged_and_those_without_are_not(folder):
    fields = {"validate_every": 2, "steps": 2, "task_terms": "labels", "validation_size": 16}
    sets = {"tiny": 1, "labelled": 1}
    recipe = task_recipe(folder, "chosen", validation_dataset=sets, **fields)
    assert Trainer(recipe).run() == 0
    entries = map(json.loads, (folder / "chosen/log.jsonl").read_text().splitlines())
    (entry,) = [entry for entry in entries if "val_psnr" in entry]
    assert entry["val_miou_clean"] == 1


def test_an_interrupted_run_ends_bit_for_bit_the_same(folder):
    peaceful, stopped = peaceful_and_interrupted(folder, "tensorflow")
    assert peaceful == stopped


def test_steps_by_hand_take_the_labels_that_the_task_needs(folder):
    fields = {"task_terms": "labels", "validate_every": 0}
    with Trainer(task_recipe(folder, "by_hand", **fields)).start() as trainer:
        rainy, clean, labels = trainer.stream.batch(0, 16)
        for wrong in ((), (labels[..., 0],), (labels.astype(np.float32),), (labels, labels)):
            with pytest.raises(UsageError, match=r"labels: received .*expected int32 \["):
                trainer.train_step(rainy, clean, *wrong)
        assert trainer.step == 0
        trainer.train_step(rainy, clean, labels)
    plain = Trainer(recipe(folder, "plain_by_hand", validate_every=0)).start()
    with plain, pytest.raises(UsageError, match="expected none with this recipe"):
        plain.train_step(*plain.stream.batch(0, 16), labels)


def test_features_need_no_labels(folder):
    fields = {"dataset": "tiny", "fresh_rain": 0.0, "task_terms": "features"}
    with Trainer(task_recipe(folder, "features", **fields)).start() as trainer:
        logs = trainer.train_step(*trainer.stream.batch(0, 16))
    assert logs["task_loss"] > 0
    with pytest.raises(UsageError, match="'tiny' has no 'mask' pictures"):
        Trainer(task_recipe(folder, "x", dataset="tiny")).start()


def test_jax_trains_for_the_task_as_tensorflow_does(folder, first_logs):
    script = Path(__file__).parent / "task_training.py"
    result = subprocess.run(
        [sys.executable, script, folder, "jax"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-3000:]
    on_jax = json.loads((folder / "jax.json").read_text())
    peaceful, stopped = on_jax["weights"]
    assert peaceful == stopped
    for name, value in first_logs.items():
        assert on_jax["logs"][name] == pytest.approx(value, rel=2e-3), name


def test_the_command_with_espnet(folder, capsys):
    keras.utils.set_random_seed(0)
    weights = folder / "espnet.weights.h5"
    save_espnet(ESPNet(classes=5, blocks=(0, 0)), weights)
    command = ["train", "--preset", "mspfn", "--model_arguments", json.dumps(TINY)]
    command += ["--dataset", "labelled"]
    command += ["--data_dir", str(folder), "--workdir", str(folder / "command")]
    command += ["--task", "segmentation", "--task_model", "espnet", "--task_weight", "0.2"]
    command += ["--fresh_rain", "1", "--steps", "2", "--batch_size", "2", "--patch_size", "32"]
    command += ["--validation_size", "32"]
    assert main(command) == 2
    assert "needs task_model_weights" in capsys.readouterr().err
    assert main([*command, "--task_model_weights", str(weights)]) == 0
    assert len(digest(folder / "command/model.weights.h5")) == 64
    # Another network of the task is another run.
    save_espnet(ESPNet(classes=5, blocks=(0, 0)), weights, overwrite=True)
    assert main([*command, "--task_model_weights", str(weights)]) == 2
    assert "task_model" in capsys.readouterr().err


def test_what_does_not_go_together(folder):
    with pytest.raises(UsageError, match="task and task_model go together"):
        task_recipe(folder, "x", task="none")
    with pytest.raises(UsageError, match="task and task_model go together"):
        task_recipe(folder, "x", task_model="")
    with pytest.raises(UsageError, match="mask holds the value 255; expected classes 0 to 2"):
        Trainer(task_recipe(folder, "x", task_void=7)).start()
    identity = recipe(folder, "x").identity()
    assert not [name for name in identity if name.startswith("task")]
