"""Training: one loop for every backend and strategy, which can be killed at any moment.

    recipe = Recipe(preset="mspfn_mobile", dataset="rain800", data_dir=..., workdir=...)
    status = Trainer(recipe).run()

`Trainer(recipe).start()` followed by `train_step(rainy, clean)` is the same training with batches
of your own.
"""

import importlib

_NAMES = {
    "INTERRUPTED": "trainer",
    "NotFiniteError": "trainer",
    "PublishedSchedule": "optimizers",
    "Recipe": "recipe",
    "Trainer": "trainer",
}

__all__ = list(_NAMES)


def __getattr__(name):
    # What needs Keras is imported when it is first used.
    if name not in _NAMES:
        raise AttributeError(f"module 'mspfn_tf.training' has no attribute '{name}'")
    return getattr(importlib.import_module(f"mspfn_tf.training.{_NAMES[name]}"), name)
