from benchmarks import browser


def test_the_table_of_milliseconds():
    row = {"preset": "mspfn_nano", "threads": 2, "browser": [[30.0, 20.0], [40.0, 40.0]]}
    row["python"] = [[10.0, 10.0], [10.0, 30.0]]
    weights = [{"preset": "mspfn_nano", "weights_sha256": "0123456789abcdef"}]
    text = browser.table({"machine": "2 cores, a processor", "weights": weights, "rows": [row]})
    assert "2 cores, a processor. Weights: mspfn_nano `0123456789ab...`." in text
    assert "| `mspfn_nano` | 2 | 35 | 10 | 2.2 (2.0 to 2.5) |" in text
