import json

import numpy as np
import pytest

from benchmarks import restore
from mspfn_tf.pictures import read_rgb

pytestmark = pytest.mark.slow


def test_the_photograph_is_the_sample_mirrored():
    sample = read_rgb(restore._SAMPLE)
    height, width = sample.shape[:2]
    large = restore.photograph(2 * width + 5, height + 7)
    np.testing.assert_array_equal(large[:height, :width], sample)
    np.testing.assert_array_equal(large[:height, width : 2 * width], sample[:, ::-1])
    np.testing.assert_array_equal(large[height:, :width], sample[::-1][:7])


def test_sizes_and_folders_are_measured(tmp_path, monkeypatch, capsys):
    runs = []

    def run(source, target, preset, runtime):
        runs.append((source.name, preset, runtime))
        shape = read_rgb(source).shape if source.suffix else len(list(source.iterdir()))
        assert shape in ((30, 40, 3), 5, 6)
        return {"seconds": 2.0 / len(runs), "processor_seconds": 1.0, "peak_mb": 10.0 * len(runs)}

    monkeypatch.setattr(restore, "run", run)
    options = ["--size", "40x30", "--folder", "5", "--repeat", "2", "--preset", "mspfn_nano"]
    options += ["--mixed", "3"]
    page = tmp_path / "page.md"
    page.write_text("<!-- begin generated: restore -->\n<!-- end generated: restore -->\n")
    output = tmp_path / "found.json"
    restore.main([*options, "--output", str(output), "--update", str(page)])
    model = ("mspfn_nano", "litert")
    names = [name for name in ("folder5", "mixed", "40x30.jpg") for _ in range(2)]
    assert runs == [(name, *model) for name in names]
    found = json.loads(output.read_text())
    assert found["sizes"][0]["seconds"] == 2 / 6 and found["sizes"][0]["peak_mb"] == 60.0
    assert found["folders"][0]["pictures_per_second"] == 5.0
    assert "| 5 pictures of 64x64 | mspfn_nano | litert | 1.0 | 5 | 20 |" in page.read_text()
    row = "| 3 pictures of 64x64 and as many of 480x320 | mspfn_nano | litert | 0.5 | 12 | 40 |"
    assert row in page.read_text()
