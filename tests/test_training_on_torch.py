"""PyTorch's training step makes the step of TensorFlow's. Skipped where PyTorch is missing."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mspfn_tf.training import Trainer, checkpoints
from tests.pair_sets import prepare, smooth_pair
from tests.tiny_recipe import recipe

torch_is_missing = importlib.util.find_spec("torch") is None


@pytest.mark.slow
@pytest.mark.skipif(torch_is_missing, reason='needs PyTorch: pip install "mspfn_tf[torch]"')
def test_three_steps_on_torch_are_those_on_tensorflow(tmp_path):
    prepare(tmp_path, "tiny", make=smooth_pair)
    fields = {"steps": 3, "log_every": 1, "validate_every": 3}
    run = recipe(tmp_path, "start", **fields)
    with Trainer(run).start():
        pass
    for name in ("tensorflow", "torch"):  # both from the same drawn weights
        (tmp_path / name / "checkpoints").mkdir(parents=True)
        for file in ("config.json", "checkpoints/step-00000000.npz"):
            (tmp_path / name / file).write_bytes((tmp_path / "start" / file).read_bytes())
    assert Trainer(recipe(tmp_path, "tensorflow", **fields)).run() == 0
    script = Path(__file__).with_name("training_on_torch.py")
    result = subprocess.run(
        [sys.executable, script, tmp_path, "torch", json.dumps(fields)],
        env={**os.environ, "KERAS_BACKEND": "torch"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    logs = {
        name: [json.loads(line) for line in (tmp_path / name / "log.jsonl").open()]
        for name in ("tensorflow", "torch")
    }
    for ours, theirs in zip(logs["torch"], logs["tensorflow"], strict=True):
        assert ours.keys() == theirs.keys()
        for key in ours.keys() & {"loss", "gradient_norm", "val_psnr"}:
            assert ours[key] == pytest.approx(theirs[key], rel=1e-3)
    one, other = (
        checkpoints.read(tmp_path / name / "checkpoints/step-00000003.npz")[0] for name in logs
    )
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_allclose(array, other[name], rtol=1e-2, atol=2e-4, err_msg=name)
