import json

import pytest

from benchmarks import bulk

pytestmark = pytest.mark.slow
pytest.importorskip("ray", reason='needs Ray: pip install "mspfn_tf[ray]"')


def test_commands_and_memory_are_measured(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- begin generated: bulk -->\n<!-- end generated: bulk -->\n")
    options = ["--preset", "mspfn_nano", "--size", "64x48", "--pictures", "24", "--actors", "1"]
    output = tmp_path / "found.json"
    bulk.main([*options, "--many", "20", "--output", str(output), "--update", str(page)])
    found = json.loads(output.read_text())
    ways = ["restore", "bulk --local", "bulk --actors 1"]
    assert [record["way"] for record in found["rates"]] == ways
    assert all(record["pictures_per_second"] > 0 for record in found["rates"])
    for record in found["rates"][1:]:
        assert set(record["shares"]) == {"read", "decode", "infer", "encode", "write"}
        assert 0 < sum(record["shares"].values()) <= 1.001  # how much, the machine's load decides
    assert found["memory"]["pictures"] == 20 and found["memory"]["driver"]["most_mb"] > 50
    assert "| `mspfn bulk --actors 1` |" in page.read_text()
