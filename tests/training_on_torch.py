"""A training run on PyTorch, for the tests.

python training_on_torch.py FOLDER WORKDIR FIELDS
"""

import json
import os
import sys
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mspfn_tf.training import Trainer  # noqa: E402
from tests.tiny_recipe import recipe  # noqa: E402

if __name__ == "__main__":
    folder, workdir, fields = sys.argv[1:]
    trainer = Trainer(recipe(folder, workdir, **json.loads(fields)))
    assert trainer.run() == 0
    assert type(trainer.runner).__name__ == "TorchRunner"
