import csv
import json
import math
import os

import numpy as np
import pytest
from PIL import Image

from mspfn_tf import evaluation, metrics
from mspfn_tf.errors import UsageError
from mspfn_tf.files import partial_path
from mspfn_tf.sets.pairs import FolderPairs

NAMES = ("a", "b", "c", "d", "e", "f", "g")


@pytest.fixture
def folder(tmp_path):
    """Seven pairs 24x20, each rainier than the one before."""
    random = np.random.default_rng(0)
    for strength, name in enumerate(NAMES, 1):
        clean = random.integers(30, 180, (20, 24, 3)).astype(np.uint8)
        rainy = clean + random.integers(0, 10 * strength, clean.shape).astype(np.uint8)
        for part, picture in (("input", rainy), ("target", clean)):
            path = tmp_path / "pairs" / part / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(path)
    return tmp_path / "pairs"


class Darken:
    """A restorer that counts its calls, and can be told to break down."""

    def __init__(self, fails_after=None):
        self.calls = 0
        self.fails_after = fails_after

    def __call__(self, image):
        if self.calls == self.fails_after:
            raise KeyboardInterrupt
        self.calls += 1
        return np.maximum(image, 12) - 12


CONFIGURATION = {"model": "darken", "weights_sha256": "0" * 64, "tile": "whole"}


def evaluate(folder, output, restorer=None, **options):
    pairs = FolderPairs(folder)
    return evaluation.evaluate(restorer or Darken(), pairs, output, CONFIGURATION, **options)


def test_scores_json(folder, tmp_path):
    scores = evaluate(folder, tmp_path / "out", command="mspfn evaluate --pairs DIR")
    assert scores == json.loads((tmp_path / "out/scores.json").read_text())
    assert scores["protocol"] == "matlab_y"
    assert scores["count"] == 7
    assert scores["model"] == "darken"
    assert scores["weights_sha256"] == "0" * 64
    assert scores["configuration"]["crop_multiple"] == 1
    assert scores["versions"].keys() >= {"mspfn_tf", "python", "numpy", "pillow"}
    assert scores["command"] == "mspfn evaluate --pairs DIR"
    assert scores["date"].endswith("+00:00")
    assert scores["failed"] == scores["left_out"] == []
    assert [image["name"] for image in scores["images"]] == list(NAMES)

    pairs = FolderPairs(folder)
    for image, (rainy, clean) in zip(
        scores["images"], map(pairs.__getitem__, range(7)), strict=True
    ):
        restored = Darken()(rainy)
        assert image["input_psnr"] == pytest.approx(metrics.psnr(clean, rainy), abs=1e-6)
        assert image["psnr"] == pytest.approx(metrics.psnr(clean, restored), abs=1e-6)
        assert image["ssim"] == pytest.approx(metrics.ssim(clean, restored), abs=1e-6)
        rgb = metrics.psnr(clean, restored, "rgb")
        assert image["psnr_rgb"] == pytest.approx(rgb, abs=1e-6)
        rgb = metrics.ssim(clean, restored, "rgb")
        assert image["ssim_rgb"] == pytest.approx(rgb, abs=1e-6)
    for block, columns in (
        ("input", ("input_psnr", "input_ssim")),
        ("output", ("psnr", "ssim")),
        ("output_rgb", ("psnr_rgb", "ssim_rgb")),
    ):
        for key, column in zip(("psnr", "ssim"), columns, strict=True):
            mean = np.mean([image[column] for image in scores["images"]])
            assert scores[block][key] == pytest.approx(mean, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "cell"),
    [("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"), ("+1", "'+1"), ("-1", "'-1"), ("@x", "'@x"),
     ("\t=1", "'\t=1"), ("\r=1", "'\r=1"), ("\n=1", "'\n=1"),
     ("＝1", "'＝1"), ('a"b\nc,d', 'a"b\nc,d'), ("plain", "plain")],
)  # fmt: skip
def test_names_are_text_for_spreadsheets(tmp_path, name, cell):
    evaluation.write_table(tmp_path / "scores.csv", [{"name": name, "psnr": -1.5}])
    with open(tmp_path / "scores.csv", newline="") as file:
        assert list(csv.reader(file)) == [["name", "psnr"], [cell, "-1.5"]]


def test_a_separator_of_another_country_begins_no_cell(tmp_path):
    for name in ("a;=1", "a\t=1"):
        evaluation.write_table(tmp_path / "scores.csv", [{"name": name, "psnr": 30.0}])
        assert (tmp_path / "scores.csv").read_text() == f'"name","psnr"\n"{name}",30.0\n'


def test_scores_csv_and_sheet(folder, tmp_path):
    scores = evaluate(folder, tmp_path / "out")
    with open(tmp_path / "out/scores.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == list(NAMES)
    assert [float(row["psnr"]) for row in rows] == [image["psnr"] for image in scores["images"]]
    with Image.open(tmp_path / "out/sheet.png") as sheet:
        pixels = np.asarray(sheet)
    # Two worst, two typical, two best: six rows with room for their text.
    assert pixels.shape == (6 * (24 + 20 + 8), 3 * 340 + 2 * 8, 3)
    pairs = FolderPairs(folder)
    worst_first = sorted(range(7), key=lambda index: scores["images"][index]["psnr"])
    for row, place in ((0, 0), (1, 1), (4, 6), (5, 5)):
        rainy, clean = pairs[worst_first[place]]
        pictures = pixels[row * 52 + 24 :][:20]
        np.testing.assert_array_equal(pictures[:, :24], rainy)
        np.testing.assert_array_equal(pictures[:, 348:][:, :24], Darken()(rainy))
        np.testing.assert_array_equal(pictures[:, 696:][:, :24], clean)
    assert {path.name for path in (tmp_path / "out").glob("[!.]*")} == {
        "scores.json",
        "scores.csv",
        "sheet.png",
    }


def test_an_interrupted_run_continues(folder, tmp_path):
    whole = evaluate(folder, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        evaluate(folder, tmp_path / "out", Darken(fails_after=4))
    assert not (tmp_path / "out/scores.json").exists()
    with open(tmp_path / "out/partial.jsonl", "a") as file:
        file.write('{"index": 4, "na')  # torn when the process was killed
    restorer = Darken()
    scores = evaluate(folder, tmp_path / "out", restorer)
    assert restorer.calls == 3 + 6  # what was missing, and the rows of the sheet
    assert scores["images"] == whole["images"]
    assert not (tmp_path / "out/partial.jsonl").exists()


def test_what_a_killed_run_left_is_cleared(folder, tmp_path):
    mine = partial_path(tmp_path / "out/sheet.png")
    dead = mine.with_name(mine.name.replace(f"-{os.getpid()}-", "-4194303-"))
    mine.parent.mkdir()
    mine.touch()
    dead.touch()
    evaluate(folder, tmp_path / "out")
    assert mine.exists() and not dead.exists()


def test_a_complete_evaluation_is_not_repeated(folder, tmp_path):
    first = evaluate(folder, tmp_path / "out")
    restorer = Darken()
    assert evaluate(folder, tmp_path / "out", restorer) == first
    assert restorer.calls == 0


@pytest.mark.parametrize("interrupted", [False, True])
def test_results_of_another_configuration_are_refused(folder, tmp_path, interrupted):
    if interrupted:
        with pytest.raises(KeyboardInterrupt):
            evaluate(folder, tmp_path / "out", Darken(fails_after=2))
    else:
        evaluate(folder, tmp_path / "out")
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with pytest.raises(UsageError, match="protocol .there 'matlab_y', now 'rgb'"):
        evaluate(folder, tmp_path / "out", protocol="rgb")
    assert before == {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}


def test_crop_multiple_crops_right_and_bottom(folder, tmp_path):
    scores = evaluate(folder, tmp_path / "out", crop_multiple=16)
    rainy, clean = FolderPairs(folder)[0]
    expected = metrics.psnr(clean[:16, :16], rainy[:16, :16])
    assert scores["images"][0]["input_psnr"] == pytest.approx(expected, abs=1e-6)
    with pytest.raises(UsageError, match="24x20 pixels leave nothing .* multiple of 32"):
        evaluate(folder, tmp_path / "none", crop_multiple=32)
    with pytest.raises(UsageError, match="at least 1. Received: 0"):
        evaluate(folder, tmp_path / "none", crop_multiple=0)


def test_pairs_that_cannot_be_scored_are_counted_and_tried_again(folder, tmp_path):
    good = (folder / "input/b.png").read_bytes()
    (folder / "input/b.png").write_bytes(b"no picture")
    Image.new("RGB", (24, 19)).save(folder / "input/d.png")
    for part in ("input", "target"):
        Image.new("RGB", (24, 8)).save(folder / part / "e.png")
    scores = evaluate(folder, tmp_path / "out")
    assert scores["count"] == 4
    assert [failure["name"] for failure in scores["failed"]] == ["b", "d", "e"]
    reasons = [failure["error"] for failure in scores["failed"]]
    assert "input/b.png" in reasons[0]
    assert "rainy is 24x19 pixels, clean 24x20" in reasons[1]
    assert "at least 11x11" in reasons[2]

    (folder / "input/b.png").write_bytes(good)
    restorer = Darken()
    again = evaluate(folder, tmp_path / "out", restorer)
    assert again["count"] == 5
    assert [image["name"] for image in again["images"]] == ["a", "b", "c", "f", "g"]


def test_errors_of_the_restorer_are_not_swallowed(folder, tmp_path):
    def broken(image):
        raise ValueError("bug")

    with pytest.raises(ValueError, match="bug"):
        evaluate(folder, tmp_path / "out", broken)


def test_few_pictures_fill_a_smaller_sheet(folder, tmp_path):
    for name in NAMES[1:]:
        for part in ("input", "target"):
            (folder / part / f"{name}.png").unlink()
    evaluate(folder, tmp_path / "out")
    with Image.open(tmp_path / "out/sheet.png") as sheet:
        assert sheet.height == 24 + 20 + 8


def test_rgb_protocol(folder, tmp_path):
    scores = evaluate(folder, tmp_path / "out", protocol="rgb")
    assert scores["output"] == scores["output_rgb"]
    rainy, clean = FolderPairs(folder)[0]
    assert scores["images"][0]["input_psnr"] == pytest.approx(
        metrics.psnr(clean, rainy, "rgb"), abs=1e-6
    )
    assert evaluation.describe(scores).count("output") == 1


def test_infinite_scores_are_valid_json(folder):
    scores = evaluation.score(folder / "target", folder / "target")
    text = json.dumps(scores, allow_nan=False)
    assert json.loads(text)["output"] == {"psnr": "inf", "ssim": 1.0}
    assert float(scores["images"][0]["psnr"]) == math.inf
    assert "7 pictures equal their target" in evaluation.describe(scores)
    for image in scores["images"]:
        image |= {"psnr": 30.0, "input_psnr": "inf"}
    assert "7 rainy pictures equal their target" in evaluation.describe(scores)


def test_unknown_protocol(folder, tmp_path):
    with pytest.raises(UsageError, match="one of matlab_y, rgb"):
        evaluation.score(folder / "input", folder / "target", protocol="Y")
    with pytest.raises(UsageError, match="one of matlab_y, rgb"):
        evaluate(folder, tmp_path / "out", protocol="Y")


def test_folder_of_pairs_must_hold_both_parts(tmp_path):
    (tmp_path / "input").mkdir()
    with pytest.raises(UsageError, match=r"target: not a folder; a folder of pairs holds input/"):
        FolderPairs(tmp_path)


def test_fingerprint_notices_changed_files(folder):
    before = FolderPairs(folder).fingerprint()
    assert FolderPairs(folder).fingerprint() == before
    Image.new("RGB", (24, 20)).save(folder / "input/a.png")
    assert FolderPairs(folder).fingerprint() != before


def test_a_picture_too_large_for_the_memory_does_not_end_the_others(tmp_path):
    folder = tmp_path / "pairs"
    rng = np.random.default_rng(0)
    for part in ("input", "target"):
        (folder / part).mkdir(parents=True)
        for number in (1, 2):
            picture = rng.integers(0, 256, (20, 16 * number, 3), dtype=np.uint8)
            Image.fromarray(picture).save(folder / part / f"{number}.png")

    def restorer(rainy):
        if rainy.shape[1] == 32:
            raise MemoryError("(1, 32, 32, 3)")
        return rainy

    configuration = {"model": "m", "weights_sha256": "0"}
    scores = evaluation.evaluate(restorer, FolderPairs(folder), tmp_path / "out", configuration)
    assert scores["count"] == 1
    assert scores["failed"][0]["name"] == "2"
    assert "give a smaller tile" in scores["failed"][0]["error"]
