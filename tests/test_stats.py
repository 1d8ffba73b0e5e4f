"""What `mspfn stats` tells of a prepared set."""

import json

import numpy as np
import pytest

from mspfn_tf import metrics
from mspfn_tf.cli import main
from mspfn_tf.datasets.preparing import prepare
from mspfn_tf.errors import UsageError
from mspfn_tf.pictures import read_rgb
from mspfn_tf.sets.prepared import Examples
from mspfn_tf.sets.statistics import Range, split_statistics
from tests.rain_pictures import clean, rainy, write


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Five scenes, one of them brighter as a whole, one without rain."""
    folder = tmp_path_factory.mktemp("stats")
    pictures = {}
    for n in range(1, 6):
        wet = {4: clean(n) + np.uint8(20), 5: clean(n)}.get(n, rainy(n))
        pictures |= {f"train/input/{n}.png": wet, f"train/target/{n}.png": clean(n)}
    pictures |= {"test/input/8.png": rainy(8), "test/target/8.png": clean(8)}
    write(folder / "pairs", pictures)
    write(folder / "photographs", {"1.png": rainy(1), "2.png": rainy(2)})
    prepare("paired_folder", folder / "pairs", folder / "tfds")
    prepare("real_rain", folder / "photographs", folder / "tfds")
    return folder / "tfds"


def test_measures(data_dir):
    found, sheet = split_statistics(Examples("paired_folder", "train", data_dir), "train")
    assert (found.pairs, found.scenes, found.measured, found.equal) == (5, 5, 5, 1)
    assert found.height == Range(16, 16, 16, 16) and found.width == Range(20, 20, 20, 20)
    psnrs = [metrics.psnr(clean(n), rainy(n)) for n in (1, 2, 3)]
    psnrs.append(metrics.psnr(clean(4), clean(4) + np.uint8(20)))
    assert found.psnr.mean == pytest.approx(np.mean(psnrs))
    ssims = [metrics.ssim(clean(n), rainy(n)) for n in (1, 2, 3)]
    ssims.append(metrics.ssim(clean(4), clean(4) + np.uint8(20)))
    assert found.ssim.mean == pytest.approx(np.mean(ssims))  # without the pair that is equal
    # Four of twenty columns are rain; a change of exposure is none, but shifts the brightness.
    assert found.coverage.mean == pytest.approx(3 / 5 * 4 / 20)
    assert found.shift.high > 15 and found.shift.low == pytest.approx(0, abs=2)
    assert sheet.dtype == np.uint8 and sheet.shape[2] == 3


def test_only_some_are_measured(data_dir):
    found, _ = split_statistics(Examples("paired_folder", "train", data_dir), "train", most=2)
    assert (found.pairs, found.scenes, found.measured) == (5, 5, 2)
    with pytest.raises(UsageError, match="at least one pair has to be measured"):
        split_statistics(Examples("paired_folder", "train", data_dir), "train", most=0)


def test_command(data_dir, tmp_path, capsys):
    arguments = ["--data_dir", str(data_dir), "--output", str(tmp_path / "out")]
    assert main(["stats", "paired_folder", *arguments]) == 0
    text = capsys.readouterr().out
    assert "train: 5 pairs, 5 scenes" in text and "test: 1 pairs, 1 scenes" in text
    for line in ("rainy PSNR", "rainy SSIM", "rain coverage", "shift by rain"):
        assert line in text
    record = json.loads((tmp_path / "out/stats.json").read_text())
    assert [split["split"] for split in record["splits"]] == ["train", "test"]
    assert read_rgb(tmp_path / "out/train.png").shape[0] > 5 * 16
    assert main(["stats", "paired_folder", *arguments]) == 2
    assert "stats.json exists already" in capsys.readouterr().err
    assert main(["stats", "paired_folder", *arguments, "--overwrite", "--split", "test"]) == 0
    assert "train" not in capsys.readouterr().out


def test_photographs(data_dir, capsys):
    assert main(["stats", "real_rain", "--data_dir", str(data_dir)]) == 0
    text = capsys.readouterr().out
    assert "test: 2 photographs, 2 scenes" in text and "brightness" in text and "PSNR" not in text


def test_what_is_not_there(data_dir, capsys):
    assert main(["stats", "rain800", "--data_dir", str(data_dir)]) == 2
    assert "dataset 'rain800' is not prepared" in capsys.readouterr().err
    assert main(["stats", "paired_folder", "--split", "x", "--data_dir", str(data_dir)]) == 2
    assert "has no split 'x', only: train, test" in capsys.readouterr().err
