"""Continues a training run on JAX, on two virtual devices, as if TensorFlow were not installed.

python training_on_jax.py FOLDER WORKDIR STEPS
"""

import os
import sys
from pathlib import Path

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = " ".join(
    [os.environ.get("XLA_FLAGS", ""), "--xla_force_host_platform_device_count=2"]
)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.without_tensorflow import hide_tensorflow  # noqa: E402

hide_tensorflow()

from mspfn_tf.training import INTERRUPTED, Trainer  # noqa: E402
from tests.tiny_recipe import recipe  # noqa: E402

if __name__ == "__main__":
    folder, workdir, steps = sys.argv[1:]
    trainer = Trainer(recipe(folder, workdir, steps=int(steps)))
    assert trainer.run() == 0
    assert trainer.runner.replicas == 2
    # A teacher, bfloat16 and a time limit are the same on this backend.
    teacher = str(Path(folder, workdir, "model.weights.h5"))
    options = {"teacher": teacher, "precision": "bfloat16", "validate_every": 0}
    taught = Trainer(recipe(folder, f"{workdir}_taught", max_minutes=1e-6, **options))
    assert taught.run() == INTERRUPTED and taught.step == 1
    assert "tensorflow" not in sys.modules
