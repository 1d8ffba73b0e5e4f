import json

import pytest

from mspfn_tf import presets
from mspfn_tf.errors import UsageError
from mspfn_tf.files import sha256
from tools import task_tables

MARKED = "# T\n\n<!-- begin generated: task_results -->\n<!-- end generated: task_results -->\n"


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Two presets in the same rain, whose weights are made up for the test."""
    monkeypatch.setattr(presets, "WEIGHTS", tmp_path)
    for name, miou in (("mspfn_nano", 0.4), ("mspfn_mobile", 0.5)):
        (tmp_path / f"{name}.h5").write_bytes(name.encode())
        monkeypatch.setitem(presets.PRESETS[name], "weights", {"file": f"{name}.h5"})
        versions = {"rainy": 0.3, "derained": miou, "clean": 0.7}
        scores = {
            "task": "segmentation",
            "count": 48,
            "task_network": "espnet.weights.h5",
            "model": name,
            "weights_sha256": sha256(tmp_path / f"{name}.h5"),
            "scores": {
                version: {"miou": value, "mpa": None, "pixel_accuracy": value + 0.1}
                for version, value in versions.items()
            },
            "input": {"psnr": 20.0, "ssim": 0.6},
            "output": {"psnr": "inf", "ssim": 0.7},
            "configuration": {"rain": "mixed"},
            "failed": [],
        }
        (tmp_path / "results").mkdir(exist_ok=True)
        (tmp_path / f"results/{name}.json").write_text(json.dumps(scores))
    return tmp_path / "results"


def test_rows_of_one_setting_stand_together(results, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(MARKED)
    assert task_tables.main([str(page), "--results", str(results)]) == 0
    where = "| espnet.weights.h5, 48 pictures | mixed | "
    assert [line for line in page.read_text().splitlines() if line.startswith(where)] == [
        where + "rainy | 0.300 | - | 0.400 | 20.00 / 0.600 |",
        where + "derained by `mspfn_mobile` | 0.500 | - | 0.600 | inf / 0.700 |",
        where + "derained by `mspfn_nano` | 0.400 | - | 0.500 | inf / 0.700 |",
        where + "clean | 0.700 | - | 0.800 | - |",
    ]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"weights_sha256": "0" * 64}, "not the weights that mspfn_nano ships now"),
        ({"failed": [{"name": "1"}]}, "some pictures failed"),
        ({"task": "depth"}, "unknown task depth"),
        ({"task": None}, "unknown task"),
    ],
)
def test_what_does_not_belong_there_is_refused(results, tmp_path, capsys, values, message):
    path = results / "mspfn_nano.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    with pytest.raises(UsageError, match=message):
        task_tables.read_results(results)
    assert task_tables.main([str(tmp_path / "x.md"), "--results", str(results)]) == 2
    assert message in capsys.readouterr().err


def test_other_files_and_none_at_all_are_refused(results, tmp_path):
    (results / "scores.json").write_text("{}")
    with pytest.raises(UsageError, match="no result of mspfn evaluate-task"):
        task_tables.read_results(results)
    with pytest.raises(UsageError, match="no results"):
        task_tables.tables([])
