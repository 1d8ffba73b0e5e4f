"""Training: one loop for every backend and strategy, which can be killed at any moment.

    recipe = Recipe(preset="mspfn_mobile", dataset="rain800", data_dir=..., workdir=...)
    status = Trainer(recipe).run()

`Trainer(recipe).start()` followed by `train_step(rainy, clean)` is the same training with batches
of your own. A reader starts at `trainer.py`.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mspfn_tf.training.meter import NotFiniteError
    from mspfn_tf.training.optimizers import PublishedSchedule
    from mspfn_tf.training.recipe import Recipe
    from mspfn_tf.training.trainer import INTERRUPTED, Trainer

_NAMES = {
    "INTERRUPTED": "trainer",
    "NotFiniteError": "meter",
    "PublishedSchedule": "optimizers",
    "Recipe": "recipe",
    "Trainer": "trainer",
}

__all__ = ["INTERRUPTED", "NotFiniteError", "PublishedSchedule", "Recipe", "Trainer"]


def __getattr__(name: str) -> object:
    # What needs Keras is imported when it is first used.
    if name not in _NAMES:
        raise AttributeError(f"module 'mspfn_tf.training' has no attribute '{name}'")
    return getattr(importlib.import_module(f"mspfn_tf.training.{_NAMES[name]}"), name)
