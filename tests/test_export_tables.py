import json

import pytest

from tools.export_tables import main

pytestmark = pytest.mark.slow


MARKED = """# Title
<!-- begin generated: formats -->
<!-- end generated: formats -->
between
<!-- begin generated: parity -->
old
<!-- end generated: parity -->
"""


def test_writes_both_tables(tmp_path):
    markdown, rows, export = (tmp_path / name for name in ("a.md", "rows.json", "m.json"))
    markdown.write_text(MARKED)
    row = {
        "model": "mspfn_nano",
        "weights": "random",
        "image_size": [256, 256],
        "parameters": 1234567,
        "multiply_adds": 2_500_000_000,
        "format": "litert_int8",
        "bytes": 1_500_000,
        "threads": 2,
        "median_ms": 12.5,
        "gmacs": 200.0,
        "peak_mb": 51.4,
    }
    machine = {"processor": "a machine", "cores": 2, "tensorflow": "2", "ai-edge-litert": "3"}
    rows.write_text(json.dumps({"machine": machine, "rows": [row]}))
    parity = {"max_error": 0.01, "agreement_db": 49.44, "psnr_loss_db": 0.0071}
    found = {"model": "mspfn_nano", "quantization": "int8", "format": "litert", "verified": True}
    export.write_text(json.dumps({**found, "image_size": [256, 256], "parity": parity}))

    assert main([str(markdown), str(rows), str(export)]) == 0
    text = markdown.read_text()
    assert "| mspfn_nano | litert_int8 | 2 | 1,234,567 | 2.50 | 1.50 | 12.5 | 200.0 | 51 |" in text
    assert "| mspfn_nano | litert int8 | 256x256 | 1.0e-02 | 49.4 | 0.007 | yes |" in text
    assert "With random weights, as none are shipped: mspfn_nano." in text
    assert "between" in text and "old" not in text
