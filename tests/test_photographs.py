import pytest

from tools import photographs

pytestmark = pytest.mark.slow


def test_scores_and_sheet(tmp_path, monkeypatch):
    monkeypatch.setattr(photographs, "PHOTOGRAPHS", ("coffee",))
    first, sheet = photographs.results(lambda rainy: rainy, tmp_path / "first")
    assert first["count"] == 6
    assert first["output"] == first["input"]
    assert 12 < first["output"]["psnr"] < 30
    assert sheet.width > 3 * 600  # coffee has 600 columns

    again, _ = photographs.results(lambda rainy: rainy, tmp_path / "again")
    assert again["images"] == first["images"]
