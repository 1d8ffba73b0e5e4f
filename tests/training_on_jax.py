"""Continues a training run on JAX, on two virtual devices, as if TensorFlow were not installed.

python training_on_jax.py FOLDER WORKDIR STEPS
"""

import os
import sys
from pathlib import Path

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from without_tensorflow import hide_tensorflow  # noqa: E402

hide_tensorflow()

from tiny_recipe import recipe  # noqa: E402

from mspfn_tf.training import Trainer  # noqa: E402

if __name__ == "__main__":
    folder, workdir, steps = sys.argv[1:]
    trainer = Trainer(recipe(folder, workdir, steps=int(steps)))
    status = trainer.run()
    assert trainer.runner.replicas == 2
    assert "tensorflow" not in sys.modules
    sys.exit(status)
