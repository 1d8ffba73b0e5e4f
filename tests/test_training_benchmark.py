"""The training benchmark compares like with like, and the plot shows what the log holds."""

import importlib
import json

import numpy as np
import pytest

from benchmarks import run_main
from benchmarks.training import PublishedConvLSTM, published_conv_lstm
from mspfn_tf.layers import ConvLSTM
from mspfn_tf.model import MSPFN
from tools import plot_training

pytestmark = pytest.mark.slow


def test_the_dead_part_changes_nothing_but_the_size():
    x = np.random.default_rng(0).random((1, 6, 8, 3), np.float32)
    ours, published = ConvLSTM(4), PublishedConvLSTM(4, kernel_initializer="glorot_uniform")
    expected = np.array(published(x).numpy())
    ours(x)
    kernel, bias = published.conv.get_weights()
    for gate, first in (("input", 0), ("candidate", 4), ("output", 12)):
        part = slice(first, first + 4)
        ours.input_convs[gate].set_weights([kernel[:, :, :3, part], bias[part]])
    np.testing.assert_allclose(ours(x).numpy(), expected, atol=1e-6)


def test_the_naive_network_has_the_published_number_of_weights():
    # 64 per PReLU slope and bias aside, these are the weights that cannot have an effect.
    arguments = {"width": 8, "blocks": 1, "rcabs": (1, 1, 1), "hidden": (4, 8, 16)}
    with published_conv_lstm():
        naive = MSPFN(**arguments).count_params()
    hidden_kernels = sum(9 * h * 4 * h for h in arguments["hidden"])
    forget_gates = sum((9 * 4 + 1) * h for h in arguments["hidden"])
    assert naive - MSPFN(**arguments).count_params() == hidden_kernels + forget_gates


def test_plot(tmp_path, monkeypatch):
    entries = [{"step": 10, "loss": 0.5}, {"step": 20, "loss": 0.25}, {"step": 20, "val_psnr": 30}]
    log, output = tmp_path / "log.jsonl", tmp_path / "plot.svg"
    log.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    monkeypatch.setattr("sys.argv", ["plot", str(log), str(output)])
    plot_training.main()
    svg = output.read_text()
    assert svg.count("<polyline") == 2 and ">0.25<" in svg and ">30<" in svg
    log.write_text(log.read_text() + '{"step": 30, "lo')  # a run that goes on, or was killed
    output.unlink()
    plot_training.main()
    assert output.read_text() == svg


@pytest.mark.parametrize("text", [None, '{"st\n{"step": 1, "loss": 1}\n', ""])
def test_what_is_no_log_is_named(tmp_path, monkeypatch, capsys, text):
    log = tmp_path / "log.jsonl"
    if text is not None:
        log.write_text(text)
    monkeypatch.setattr("sys.argv", ["plot", str(log), str(tmp_path / "plot.svg")])
    with pytest.raises(SystemExit) as end:
        plot_training.main()
    assert end.value.code == 2 and "log.jsonl" in capsys.readouterr().err
    assert not (tmp_path / "plot.svg").exists()


@pytest.mark.parametrize(
    "benchmark, flags, words",
    [
        (
            "training",
            ["--preset", "mspfn_nano", "--steps", "0"],
            "--steps: expected a whole number",
        ),
        ("training", ["--preset", "mspfn_nan"], "mspfn_nano"),
        ("rain", ["--pairs", "-1"], "--pairs: expected a whole number from 1 on, received '-1'"),
        ("input_pipeline", ["--data_dir", "nowhere"], "rain800"),
        ("tiling", ["--pictures", "nowhere", "--output", "out.json"], "nowhere"),
    ],
)
def test_wrong_usage_of_a_benchmark(monkeypatch, capsys, tmp_path, benchmark, flags, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [benchmark, *flags])
    with pytest.raises(SystemExit) as end:
        run_main(importlib.import_module(f"benchmarks.{benchmark}").main)
    assert end.value.code == 2 and words in capsys.readouterr().err
