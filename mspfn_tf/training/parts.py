"""The parts of a training run that its recipe names, opened: network, data, evaluators."""

import functools
import inspect
from pathlib import Path

from mspfn_tf.errors import UsageError, argument
from mspfn_tf.model import MSPFN
from mspfn_tf.sets.prepared import feature_names
from mspfn_tf.source import resolve
from mspfn_tf.training.evaluators import Evaluator, Photographs, ValidationSet
from mspfn_tf.training.fresh_rain import FreshRain, read_streaks
from mspfn_tf.training.patch_stream import PatchStream, open_stream
from mspfn_tf.training.recipe import Recipe
from mspfn_tf.training.task_evaluator import TaskEvaluator
from mspfn_tf.training.task_loss import TaskLoss, as_labels, load_task_network
from mspfn_tf.weights_file import load_weights


def make_model(recipe: Recipe) -> MSPFN:
    """The network to train, with its first weights.

    Raises:
        UsageError: `MSPFN` has no such argument, or the weights do not fit.
    """
    unknown = recipe.model_arguments.keys() - inspect.signature(MSPFN).parameters.keys()
    if unknown:
        raise UsageError(f"model_arguments: MSPFN has no argument {', '.join(sorted(unknown))}")
    # What Keras takes besides: a dtype of its own breaks the step, and what is not trained stays as
    # it was, without a word.
    for name in ("dtype", "name", "trainable"):
        if name in recipe.model_arguments:
            raise UsageError(
                f"model_arguments: {name} is no argument of the network: leave it out"
                + (f", and give {argument('precision', 'bfloat16')}" if name == "dtype" else "")
            )
    if recipe.model_arguments.get("image_size") is not None:
        raise UsageError(
            "model_arguments: image_size fixes the size of pictures, but patches and validation "
            "crops have sizes of their own: leave it out, and give it when you export"
        )
    model = MSPFN.from_preset(recipe.preset, load_weights=False, **recipe.model_arguments)
    if recipe.init_weights:
        load_weights(model, weights_file(recipe.init_weights))
    return model


def weights_file(source: str) -> Path:
    """The weights file of a preset, of the folder of a model or run, or that `source` is itself.

    Raises:
        UsageError: there is none.
    """
    found = resolve(source)
    if found.kind not in ("preset", "folder", "weights") or found.weights_file is None:
        raise UsageError(
            f"init_weights {source}: expected a preset whose weights are shipped, the folder of a "
            "model or of a run, or a .weights.h5 file"
        )
    if not found.weights_file.is_file():
        raise UsageError(f"init_weights {source}: there is no {found.weights_file.name} in it yet")
    return found.weights_file


def open_task(recipe: Recipe) -> TaskLoss | None:
    """The loss of a frozen network on the derained patches, if the recipe has one.

    Raises:
        UsageError: there is no such network, or it cannot be read.
    """
    if recipe.task == "none":
        return None
    network = load_task_network(recipe.task_model, recipe.task_model_weights)
    return TaskLoss(network, recipe.task_terms)


def open_patches(recipe: Recipe, task: TaskLoss | None) -> PatchStream:
    """The batches of training patches, with labels where the task needs them.

    Raises:
        UsageError: a data set is not prepared, or holds no labels.
    """
    labelling = None
    if task is not None and task.needs_labels:
        labelling = functools.partial(as_labels, classes=task.classes, void=(recipe.task_void,))
    fresh_rain = None
    if recipe.fresh_rain:
        fresh_rain = FreshRain(recipe.fresh_rain, read_streaks(recipe.streaks), recipe.rain_mix)
    return open_stream(
        recipe.dataset,
        recipe.data_dir,
        crops_per_pair=recipe.crops_per_pair,
        cache_bytes=recipe.cache_mb * 2**20,
        labelling=labelling,
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        fresh_rain=fresh_rain,
        clean_share=recipe.clean_share,
        bars=recipe.bars,
        moved_rain=recipe.moved_rain,
        tone_curves=recipe.tone_curves,
        enlarged=recipe.enlarged,
        near_drops=recipe.near_drops,
        upright=recipe.symmetries == "upright",
    )


def open_evaluators(recipe: Recipe, task: TaskLoss | None) -> tuple[ValidationSet, list[Evaluator]]:
    """What judges the run at every validation: the validation set, and what comes after it.

    Raises:
        UsageError: a data set is not prepared, or has no validation split.
    """
    sets = recipe.validation_dataset or recipe.dataset
    validation = ValidationSet(
        sets, recipe.data_dir, recipe.validation_images, recipe.validation_size
    )
    others: list[Evaluator] = []
    labelled = {name: 1.0 for name in sets if "mask" in feature_names(name, recipe.data_dir)}
    if task is not None and task.needs_labels and labelled:
        others.append(
            TaskEvaluator(
                task, labelled, recipe.data_dir, recipe.validation_images, recipe.task_void
            )
        )
    if recipe.photographs:
        others.append(Photographs(recipe.photographs, recipe.data_dir, recipe.validation_size))
    return validation, others
