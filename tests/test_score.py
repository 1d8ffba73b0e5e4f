import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from mspfn_tf.cli import main


@pytest.fixture
def folders(tmp_path):
    random = np.random.default_rng(0)
    made = tmp_path / "predictions", tmp_path / "targets"
    for folder in made:
        folder.mkdir()
    for number in range(1, 4):
        target = random.integers(0, 200, (16, 18, 3)).astype(np.uint8)
        Image.fromarray(target + np.uint8(number)).save(made[0] / f"rain-00{number}.png")
        Image.fromarray(target).save(made[1] / f"norain-00{number}.png")
    return made


def score(*arguments):
    return main(["score", *map(str, arguments)])


def test_scores_are_printed_and_written(folders, tmp_path, capsys):
    assert score(*folders, "--output", tmp_path / "out") == 0
    scores = json.loads((tmp_path / "out/scores.json").read_text())
    # A constant error of n levels in RGB.
    expected = np.mean([20 * np.log10(255 / n) for n in (1, 2, 3)])
    assert scores["output_rgb"]["psnr"] == pytest.approx(expected, abs=1e-6)
    assert scores["count"] == 3
    assert "input" not in scores
    columns = '"name","psnr","ssim","psnr_rgb","ssim_rgb"\n'
    assert (tmp_path / "out/scores.csv").read_text().startswith(columns)
    text = capsys.readouterr().out
    assert "3 pictures" in text
    assert f"rgb       {expected:.3f} / " in text


def test_a_copy_of_the_targets_is_perfect(folders, capsys):
    assert score(folders[1], folders[1]) == 0
    assert "matlab_y  inf / 1.0000" in capsys.readouterr().out


def test_unmatched_pictures_fail_unless_allowed(folders, tmp_path, capsys):
    (folders[0] / "rain-002.png").rename(folders[0] / "rain-7.png")
    assert score(*folders, "--output", tmp_path / "out") == 2
    message = capsys.readouterr().err
    assert "rain-7.png: no target" in message
    assert "norain-002.png: nothing belongs to this target" in message
    assert not (tmp_path / "out").exists()
    assert score(*folders, "--output", tmp_path / "out", "--allow_unmatched") == 0
    assert "left out: " in capsys.readouterr().err
    scores = json.loads((tmp_path / "out/scores.json").read_text())
    assert scores["count"] == 2
    assert len(scores["left_out"]) == 2


def test_pictures_that_cannot_be_measured_are_named_and_counted(folders, capsys):
    Image.new("RGB", (16, 18)).save(folders[0] / "rain-002.png")
    assert score(*folders) == 1
    captured = capsys.readouterr()
    assert "failed: rain-002" in captured.err
    assert "[16, 18, 3], image [18, 16, 3]" in captured.err
    assert "2 scored, 1 failed" in captured.err
    assert "2 pictures" in captured.out


def test_scores_are_not_replaced_unasked(folders, tmp_path, capsys):
    output = tmp_path / "out"
    assert score(*folders, "--output", output) == 0
    before = (output / "scores.json").read_bytes()
    assert score(*folders, "--output", output, "--protocol", "rgb") == 2
    assert "scores.json exists already" in capsys.readouterr().err
    assert (output / "scores.json").read_bytes() == before
    assert score(*folders, "--output", output, "--protocol", "rgb", "--overwrite") == 0
    assert json.loads((output / "scores.json").read_text())["protocol"] == "rgb"


def test_scoring_loads_neither_keras_nor_tensorflow(folders):
    code = (
        "import sys; from mspfn_tf.commands import score; import argparse\n"
        "parser = argparse.ArgumentParser(); score.add_arguments(parser)\n"
        "status = score.run(parser.parse_args(sys.argv[1:]))\n"
        "sys.exit(status or bool({'keras', 'tensorflow'} & sys.modules.keys()))"
    )
    command = [sys.executable, "-c", code, *map(str, folders)]
    assert subprocess.run(command, check=False).returncode == 0
