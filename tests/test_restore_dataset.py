"""`mspfn restore --dataset`: pictures of prepared sets, also of those without a truth."""

import pytest

from mspfn_tf.cli import main
from mspfn_tf.datasets.preparing import prepare
from mspfn_tf.pictures import read_rgb
from tests.rain_pictures import rainy, write


@pytest.fixture
def data_dir(tmp_path):
    write(tmp_path / "photographs", {"street/1.png": rainy(1), "2.jpg": rainy(2)})
    prepare("real_rain", tmp_path / "photographs", tmp_path / "tfds")
    return tmp_path / "tfds"


def test_photographs_of_rain(data_dir, tmp_path, capsys):
    arguments = ["--dataset", "real_rain", "--split", "test", "--data_dir", str(data_dir)]
    output = tmp_path / "out"
    arguments += ["--output", str(output), "--preset", "mspfn_nano", "--compare", "--verbose"]
    assert main(["restore", *arguments]) == 0
    files = sorted(path.relative_to(output).as_posix() for path in output.rglob("*.*"))
    assert files == ["2.jpg", "2_compare.jpg", "street/1.png", "street/1_compare.png"]
    assert read_rgb(output / "street/1.png").shape == (16, 20, 3)
    told = capsys.readouterr().out
    assert "real_rain/test/street/1.png -> " in told and "mspfn-" not in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name pictures or folders to restore, or a --dataset"),
        (["a.png", "--dataset", "real_rain"], "--dataset takes the place of INPUT"),
        (["a.png", "--split", "test"], "--split goes with --dataset"),
        (["--dataset", "real_rain", "--split", "test"], "--dataset needs --data_dir"),
        (
            ["--dataset", "real_rain", "--split", "train", "--data_dir", "{data_dir}"],
            "has no split 'train', only: test",
        ),
    ],
)
def test_wrong_usage(data_dir, tmp_path, capsys, arguments, message):
    arguments = [argument.format(data_dir=data_dir) for argument in arguments]
    assert main(["restore", *arguments, "--output", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
