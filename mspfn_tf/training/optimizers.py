"""The optimizer that a recipe asks for, and its learning rate over the run."""

from typing import Any

import keras
from keras import ops

from mspfn_tf.layers import Tensor
from mspfn_tf.training.recipe import Recipe


@keras.saving.register_keras_serializable(package="mspfn_tf")
class PublishedSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate of the published script: initial * 0.8^(step / 20000) + 1e-6, continuous.

    Args:
        initial: float. Default 5e-4.
    """

    def __init__(self, initial: float = 5e-4):
        self.initial = initial

    def __call__(self, step: Tensor) -> Tensor:
        step = keras.ops.cast(step, "float32")
        return self.initial * keras.ops.power(0.8, step / 20_000.0) + 1e-6

    def get_config(self) -> dict[str, Any]:
        return {"initial": self.initial}


@keras.saving.register_keras_serializable(package="mspfn_tf")
class ConvMuon(keras.optimizers.Muon):
    """Muon for networks of convolutions: every kernel is updated as a matrix [kh * kw * in, out].

    Keras' Muon orthogonalises the momentum of matrices only and leaves kernels of convolutions to
    Adam. Jordan et al. 2024 flatten them; the step is scaled to the size of one of Adam (Liu et al.
    2025, section 2.2), so that learning rates carry over. What `exclude_layers` names, and all that
    has less than two axes, is updated by Adam.
    """

    def _should_use_adamw(self, variable):
        return len(variable.shape) != 4 or any(
            part in variable.path for part in self.exclude_layers
        )

    def _muon_update_step(self, gradient, variable, lr, m):
        self.assign_add(m, gradient + m * (self.momentum - 1))
        step = gradient + self.momentum * m if self.nesterov else m
        step = self.zeropower_via_newtonschulz5(
            ops.reshape(step, (-1, variable.shape[-1])), self.ns_steps
        )
        self.assign_sub(variable, ops.reshape(self.lr_adjust(lr * step), variable.shape))


def make_schedule(recipe: Recipe) -> keras.optimizers.schedules.LearningRateSchedule:
    """The learning rate of a recipe, as a Keras schedule."""
    if recipe.schedule == "published":
        return PublishedSchedule(recipe.learning_rate)
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if recipe.warmup_steps else recipe.learning_rate,
        warmup_target=recipe.learning_rate if recipe.warmup_steps else None,
        warmup_steps=recipe.warmup_steps,
        decay_steps=recipe.steps - recipe.warmup_steps,
        alpha=0.01,
    )


def make_optimizer(recipe: Recipe) -> keras.Optimizer:
    """The Keras optimizer of a recipe, with its schedule and moving average of the weights."""
    # Adam(0.9, 0.999, 1e-8) is the published one. Keras' Adam divides by sqrt(v) + epsilon before
    # the bias correction of v ("epsilon-hat"), as that of TensorFlow 1 does.
    arguments = {
        "learning_rate": make_schedule(recipe),
        "beta_1": 0.9,
        "beta_2": 0.999,
        "epsilon": 1e-8,
    }
    if recipe.ema:
        arguments |= {"use_ema": True, "ema_momentum": recipe.ema}
    if recipe.optimizer == "muon":
        del arguments["beta_1"], arguments["beta_2"]
        return ConvMuon(
            weight_decay=recipe.weight_decay,
            adam_weight_decay=recipe.weight_decay,
            # The ends of the network: their kernels meet images, not features.
            exclude_layers=["shallow_", "rain/"],
            **arguments,
        )
    if recipe.optimizer == "adamw":
        return keras.optimizers.AdamW(weight_decay=recipe.weight_decay, **arguments)
    return keras.optimizers.Adam(**arguments)
