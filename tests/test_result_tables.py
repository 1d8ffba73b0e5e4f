import copy
import json

import pytest

from mspfn_tf import presets
from mspfn_tf.errors import UsageError
from mspfn_tf.files import sha256
from tools import result_tables

MARKED = (
    "# Title\n\n<!-- begin generated: results -->\nold\n<!-- end generated: results -->\n\nEnd\n"
)


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Two evaluations of a preset whose weights are made up for the test."""
    (tmp_path / "nano.weights.h5").write_bytes(b"weights")
    monkeypatch.setattr(presets, "WEIGHTS", tmp_path)
    card = {"file": "nano.weights.h5", "training_data": "made-up rain"}
    monkeypatch.setitem(presets.PRESETS["mspfn_nano"], "weights", card)
    scores = {
        "protocol": "matlab_y",
        "count": 2,
        "input": {"psnr": 13.551, "ssim": 0.3784},
        "output": {"psnr": 25.126, "ssim": 0.81},
        "output_rgb": {"psnr": 23.5, "ssim": 0.79},
        "model": "mspfn_nano",
        "weights_sha256": sha256(tmp_path / "nano.weights.h5"),
        "configuration": {"tile": "whole", "overlap": 32, "ensemble": 1, "crop_multiple": 1},
        "failed": [],
        "left_out": [],
    }
    ensemble = copy.deepcopy(scores)
    ensemble["configuration"]["ensemble"] = 8
    ensemble["output"]["psnr"] = 25.5
    folder = tmp_path / "results"
    for path, content in (
        ("Rain100H/mspfn_nano.json", scores),
        ("Rain100H/mspfn_nano-x8.json", ensemble),
    ):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(json.dumps(content))
    return folder


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_tables_are_written_between_the_markers(results, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(MARKED)
    assert result_tables.main([str(page), "--results", str(results)]) == 0
    text = page.read_text()
    assert text.startswith("# Title\n")
    assert text.endswith("<!-- end generated: results -->\n\nEnd\n")
    assert "old" not in text
    lines = text.splitlines()
    assert "| rainy input | - | - | 13.55 / 0.378 | - | - | - |" in lines
    ours = lines.index("| `mspfn_nano` | made-up rain | - | 25.13 / 0.810 | - | - | - |")
    assert lines[ours + 1].startswith("| `mspfn_nano, ensemble of 8` | made-up rain | - | 25.50 /")
    assert "| `mspfn_nano` | 23.50 / 0.790 |" in lines  # RGB, in a table of its own
    assert any("28.24 / 0.851 | 32.13 / - |" in line and "issues 7" in line for line in lines)
    result_tables.main([str(page), "--results", str(results)])
    assert page.read_text() == text


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"protocol": "rgb"}, "measured with protocol rgb"),
        ({"weights_sha256": "0" * 64}, "not the weights that mspfn_nano ships now"),
        ({"model": "other.keras"}, "other.keras is no preset"),
        ({"failed": [{"name": "1", "error": ""}]}, "some pictures failed"),
        ({"input": {"psnr": 14, "ssim": 0.4}}, "inputs of Rain100H differ"),
    ],
)
def test_what_does_not_belong_in_one_table_is_refused(results, values, message):
    change(results / "Rain100H/mspfn_nano.json", **values)
    with pytest.raises(UsageError, match=message):
        result_tables.tables(result_tables.read_results(results))


def test_two_files_for_one_cell_are_refused(results):
    first = results / "Rain100H/mspfn_nano.json"
    first.with_name("copy.json").write_bytes(first.read_bytes())
    with pytest.raises(UsageError, match="a second file for mspfn_nano on Rain100H"):
        result_tables.read_results(results)


def test_unknown_sets_and_missing_markers_are_refused(results, tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text("no markers")
    assert result_tables.main([str(page), "--results", str(results)]) == 2
    assert "once, found 0" in capsys.readouterr().err
    (results / "Rain100H").rename(results / "Rain100X")
    with pytest.raises(UsageError, match="expected a folder named as a set"):
        result_tables.read_results(results)


def test_published_averages():
    """The averages that the papers print agree with the figures typed in."""
    averages = {
        "DerainNet": (22.48, 0.796),
        "UMRL": (28.02, 0.880),
        "RESCAN": (28.59, 0.857),
        "PReNet": (29.42, 0.897),
        "MSPFN": (30.75, 0.903),
        "MPRNet": (32.73, 0.921),
        "Restormer": (34.01, None),
    }
    published = {other.method: other.scores for other in result_tables.PUBLISHED}
    for method, (psnr, ssim) in averages.items():
        scores = published[method].values()
        assert len(scores) == 5
        assert sum(score[0] for score in scores) / 5 == pytest.approx(psnr, abs=0.0101)
        if ssim is not None:
            assert sum(score[1] for score in scores) / 5 == pytest.approx(ssim, abs=0.0011)
