import argparse
import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mspfn_tf import presets
from mspfn_tf.commands import restore
from mspfn_tf.errors import UsageError
from mspfn_tf.pictures import Picture, read_picture, read_rgb, write_picture
from tests.half_light import save_half_light

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_half_light(tmp_path_factory.mktemp("model"))


@pytest.fixture
def photos(tmp_path):
    """photos/a.png, photos/b.jpg, photos/deep/er/c.png"""
    folder = tmp_path / "photos"
    for index, name in enumerate(("a.png", "b.jpg", "deep/er/c.png")):
        write_picture(folder / name, np.full((9 + index, 14, 3), 100 + 20 * index, np.uint8))
    return folder


def run(*arguments):
    parser = argparse.ArgumentParser()
    restore.add_arguments(parser)
    return restore.run(parser.parse_args([str(argument) for argument in arguments]))


def files(folder):
    found = [path for path in Path(folder).rglob("*") if path.is_file()]
    return sorted(path.relative_to(folder).as_posix() for path in found)


def test_one_file(tmp_path, photos, model, capsys):
    assert run(photos / "a.png", "--output", tmp_path / "new" / "out.png", "--model", model) == 0
    np.testing.assert_array_equal(read_rgb(tmp_path / "new" / "out.png"), 50)
    written = capsys.readouterr()
    assert f"{tmp_path}/new/out.png" in written.out and "1 restored, 0 failed" in written.out
    assert written.err == ""


def test_one_file_to_another_format_and_to_a_folder(tmp_path, photos, model):
    assert run(photos / "a.png", "--output", tmp_path / "out.webp", "--model", model) == 0
    with Image.open(tmp_path / "out.webp") as image:
        assert image.format == "WEBP"
    assert run(photos / "a.png", "--output", tmp_path / "plain", "--model", model) == 0
    assert run(photos / "a.png", "--output", f"{tmp_path}/plain.v2/", "--model", model) == 0
    assert files(tmp_path / "plain") == files(tmp_path / "plain.v2") == ["a.png"]


def test_folders_keep_their_tree(tmp_path, photos, model, capsys):
    (photos / "notes.txt").write_text("no picture")
    assert run(photos, "--output", tmp_path / "out", "--model", model) == 0
    assert files(tmp_path / "out") == ["a.png", "b.jpg", "deep/er/c.png"]
    np.testing.assert_array_equal(read_rgb(tmp_path / "out" / "deep/er/c.png"), 70)
    assert "[3/3]" in capsys.readouterr().out


def test_files_and_folders_together(tmp_path, photos, model):
    write_picture(tmp_path / "d.bmp", np.zeros((3, 4, 3), np.uint8))
    assert (
        run(photos / "deep", tmp_path / "d.bmp", "--output", tmp_path / "o", "--model", model) == 0
    )
    assert files(tmp_path / "o") == ["d.bmp", "er/c.png"]


def test_compare(tmp_path, photos, model):
    output = tmp_path / "out"
    assert run(photos, "--output", output, "--model", model, "--compare") == 0
    assert len(files(output)) == 6
    sheet = read_rgb(output / "deep/er/c_compare.png")
    assert sheet.shape[1] == 14 + 8 + 14
    assert (sheet[-11:, :14] == 140).all() and (sheet[-11:, -14:] == 70).all()


def test_what_came_with_the_picture_stays(tmp_path, model):
    gray = np.repeat(np.arange(0, 240, dtype=np.uint8).reshape(12, 20, 1), 3, axis=2)
    alpha = gray[::-1, :, 1]
    write_picture(tmp_path / "a.png", gray, Picture(gray, alpha=alpha, gray=True))
    assert run(tmp_path / "a.png", "--output", tmp_path / "b.png", "--model", model) == 0
    with Image.open(tmp_path / "b.png") as image:
        assert image.mode == "LA"
    picture = read_picture(tmp_path / "b.png")
    np.testing.assert_array_equal(picture.alpha, alpha)
    assert np.abs(picture.rgb - gray / 2).max() <= 0.51


@pytest.mark.slow
def test_bad_files_are_named_and_the_rest_goes_on(tmp_path, photos, model, capsys):
    (photos / "a_text.png").write_text("no picture")
    whole = (photos / "b.jpg").read_bytes()
    (photos / "b_cut.jpg").write_bytes(whole[: len(whole) // 2])
    Image.new("1", (15_000, 15_000)).save(photos / "bomb.png")
    assert run(photos, "--output", tmp_path / "out", "--model", model) == 1
    assert files(tmp_path / "out") == ["a.png", "b.jpg", "deep/er/c.png"]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    for line, name in zip(sorted(lines[:3]), ("a_text.png", "b_cut.jpg", "bomb.png"), strict=True):
        assert line.startswith(f"mspfn restore: {photos}/{name}: ")
    assert lines[-1].startswith("3 restored, 3 failed")
    assert "[6/6]" not in lines


def test_alpha_that_the_output_cannot_hold_is_an_error_of_that_file(tmp_path, model, capsys):
    picture = np.zeros((4, 4, 3), np.uint8)
    write_picture(tmp_path / "a.png", picture, Picture(picture, alpha=picture[..., 0]))
    assert run(tmp_path / "a.png", "--output", tmp_path / "b.jpg", "--model", model) == 1
    assert files(tmp_path) == ["a.png"]
    error = capsys.readouterr().err
    assert f"{tmp_path}/a.png: {tmp_path}/b.jpg: '.jpg' files cannot hold alpha" in error


def test_damaged_exif_is_a_plain_warning(tmp_path, model, capsys):
    image = Image.new("RGB", (8, 8))
    image.save(tmp_path / "a.png", exif=b"Exif\0\0nonsense")
    assert run(tmp_path / "a.png", "--output", tmp_path / "b.png", "--model", model) == 0
    assert capsys.readouterr().err.startswith(f"mspfn restore: warning: {tmp_path}/a.png: its EXIF")


def test_a_warning_is_said_once(tmp_path, model, capsys):
    """Pillow warns anew whenever the same block is looked at."""
    cut = b"Exif\0\0II*\0\x08\0\0\0\x02\0" + b"\x0e\x01\x02\0"
    (tmp_path / "in").mkdir()
    for name in ("a.jpg", "b.jpg"):
        Image.new("RGB", (8, 8)).save(tmp_path / "in" / name, exif=cut)
    assert run(tmp_path / "in", "--output", tmp_path / "out", "--model", model) == 0
    lines = capsys.readouterr().err.splitlines()
    for name in ("a.jpg", "b.jpg"):
        warned = [line for line in lines if f"warning: {tmp_path}/in/{name}: Corrupt EXIF" in line]
        assert len(warned) == 1, lines


def test_nothing_is_overwritten_unless_asked(tmp_path, photos, model):
    output = tmp_path / "out"
    write_picture(output / "b.jpg", np.zeros((3, 3, 3), np.uint8))
    with pytest.raises(UsageError, match=r"out/b\.jpg exists already"):
        run(photos, "--output", output, "--model", model)
    assert files(output) == ["b.jpg"]
    assert run(photos, "--output", output, "--model", model, "--overwrite") == 0
    assert read_rgb(output / "b.jpg").shape == (10, 14, 3)


def test_existing_comparisons_count_too(tmp_path, photos, model):
    write_picture(tmp_path / "out_compare.png", np.zeros((3, 3, 3), np.uint8))
    with pytest.raises(UsageError, match=r"out_compare\.png exists already"):
        run(photos / "a.png", "--output", tmp_path / "out.png", "--model", model, "--compare")
    assert not (tmp_path / "out.png").exists()


def test_a_preset_without_weights_comes_with_advice(tmp_path, photos, monkeypatch):
    monkeypatch.setitem(presets.PRESETS, "mspfn", {**presets.PRESETS["mspfn"], "weights": None})
    with pytest.raises(UsageError, match="choose --preset .*mspfn_nano.* or give .* by --model"):
        run(photos, "--output", tmp_path / "out", "--preset", "mspfn")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("inputs", "output", "message"),
    [
        (["photos/none.png"], "out.png", "no such file or folder: .*none.png"),
        (["empty"], "out", "no pictures or videos in .*empty"),
        (["photos"], "photos/out", "within the input folder"),
        (["photos"], "photos", "within the input folder"),
        (["photos/a.png"], "photos/a.png", r"a\.png is an input"),
        (["photos/a.png"], "photos", r"a\.png is an input"),
        (["photos/a.png"], "out.psd", r"cannot write '\.psd' files"),
        (["photos"], "out.png", r"out\.png is a picture's name; expected a folder's"),
        (["photos/a.png", "photos/b.jpg"], "out.png", "expected a folder's"),
        (["photos"], "text", "text is a file, expected a folder"),
        (["photos"], "text/deeper", "text is a file, expected a folder"),
    ],
)
def test_wrong_usage_is_found_before_any_work(tmp_path, photos, model, inputs, output, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").touch()
    write_picture(tmp_path / "other" / "a.png", np.zeros((3, 3, 3), np.uint8))
    before = files(tmp_path)
    paths = [tmp_path / name for name in inputs]
    with pytest.raises(UsageError, match=message):
        run(*paths, "--output", tmp_path / output, "--model", model, "--overwrite")
    assert files(tmp_path) == before


def test_a_comparison_and_a_picture_of_its_name_collide(tmp_path, photos, model):
    write_picture(photos / "a_compare.png", np.zeros((3, 3, 3), np.uint8))
    assert run(photos, "--output", tmp_path / "plain", "--model", model) == 0
    with pytest.raises(UsageError, match=r"written to .*a_compare\.png: .* or without comparisons"):
        run(photos, "--output", tmp_path / "out", "--model", model, "--compare")
    (photos / "a_compare.png").unlink()
    again = (photos, "--output", tmp_path / "plain", "--model", model, "--compare", "--resume")
    (tmp_path / "plain" / "a.png").unlink()
    other = (tmp_path / "plain" / "a_compare.png").read_bytes()
    with pytest.raises(UsageError, match=r"a_compare\.png exists already, but not .*a\.png"):
        run(*again)
    assert (tmp_path / "plain" / "a_compare.png").read_bytes() == other


def test_an_output_folder_without_permission_is_wrong_usage(tmp_path, photos, model, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    for output in ("out.png", "out", "deeper/out.png"):
        with pytest.raises(UsageError, match=f"no permission to write to {tmp_path}$"):
            run(photos / "a.png", "--output", tmp_path / output, "--model", model)


def test_wrong_options(tmp_path, photos, model):
    common = [photos, "--output", tmp_path / "out"]
    for options, message in [
        (["--model", tmp_path / "none.keras"], r"none\.keras"),
        (["--preset", "nonsense"], "unknown preset 'nonsense'"),
        (["--model", model, "--tile", "100"], "multiple of 8"),
        (["--model", model, "--tile", "32", "--overlap", "32"], "overlap must be less"),
    ]:
        with pytest.raises(UsageError, match=message):
            run(*common, *options)
    for options in (["--ensemble", "4"], ["--preset", "mspfn", "--model", model]):
        with pytest.raises(SystemExit):
            run(*common, *options)
    assert not (tmp_path / "out").exists()


def test_options_reach_the_restorer(tmp_path, monkeypatch, photos):
    seen = []

    class Recorder:
        runtime = "opened"

        def __init__(self, source, **options):
            seen.append((source, options))

        def __call__(self, image):
            if seen[-1][1]["tile"] == 512:
                raise MemoryError
            return image

    monkeypatch.setattr("mspfn_tf.restorer.Restorer", Recorder)
    options = ["--tile", "64", "--overlap", "16", "--ensemble", "8", "--preset", "mspfn_nano"]
    options += ["--strength", "0.5", "--runtime", "keras"]
    assert run(photos / "a.png", "--output", tmp_path / "out.png", *options) == 0
    model = {"tile": 64, "overlap": 16, "ensemble": 8, "strength": 0.5}
    assert seen == [("mspfn_nano", {**model, "runtime": "keras"})]
    # What memory does not suffice for goes through the same runtime in smaller tiles.
    seen.clear()
    assert run(photos / "a.png", "--output", tmp_path / "b.png", "--tile", "512") == 0
    default = presets.DEFAULT_PRESET
    assert seen == [
        (default, {"tile": 512, "ensemble": 1, "runtime": None}),
        ("opened", {"tile": 256, "ensemble": 1}),
    ]


def test_one_format_for_a_folder(tmp_path, photos, model):
    output = tmp_path / "out"
    assert run(photos, "--output", output, "--model", model, "--format", "WebP") == 0
    assert files(output) == ["a.webp", "b.webp", "deep/er/c.webp"]
    with pytest.raises(SystemExit):
        run(photos, "--output", output, "--format", "psd")


def test_resume_does_the_rest(tmp_path, photos, model, capsys):
    common = [photos, "--output", tmp_path / "out", "--model", model]
    assert run(*common) == 0
    (tmp_path / "out" / "b.jpg").unlink()
    before = (tmp_path / "out" / "a.png").stat().st_mtime_ns
    capsys.readouterr()
    assert run(*common, "--resume") == 0
    assert "1 restored, 2 skipped, 0 failed" in capsys.readouterr().out
    assert files(tmp_path / "out") == ["a.png", "b.jpg", "deep/er/c.png"]
    assert (tmp_path / "out" / "a.png").stat().st_mtime_ns == before
    assert run(*common, "--resume") == 0
    assert "0 restored, 3 skipped" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        run(*common, "--resume", "--overwrite")


def test_shards_do_all_together(tmp_path, photos, model):
    for index in (1, 2, 3):
        common = [photos, "--output", tmp_path / "out", "--model", model]
        assert run(*common, "--shard", f"{index}/3") == 0
    assert files(tmp_path / "out") == ["a.png", "b.jpg", "deep/er/c.png"]
    for wrong in ("0/3", "4/3", "1", "a/b"):
        with pytest.raises(SystemExit):
            run(*common, "--shard", wrong)


def test_what_is_left_out_is_counted_and_named(tmp_path, photos, model, capsys):
    (photos / "notes\x1b[31m.txt").write_text("no picture")
    os.mkfifo(photos / "pipe.jpg")
    for number in range(25):
        (photos / f"z{number:02}.txt").touch()
    assert run(photos, "--output", tmp_path / "out", "--model", model) == 0
    written = capsys.readouterr()
    assert "3 restored, 27 left out, 0 failed" in written.out
    (line,) = written.err.splitlines()
    assert line.startswith("mspfn restore: 27 left out: ")
    assert f"{photos}/notes\\x1b[31m.txt (no readable picture or video)" in line
    assert f"{photos}/pipe.jpg (a pipe or device)" in line
    assert "z24" not in line and "and 7 more (--verbose names all)" in line
    common = [photos, "--output", tmp_path / "out", "--model", model, "--overwrite"]
    assert run(*common, "--verbose") == 0
    assert "z24.txt" in capsys.readouterr().err


def test_control_characters_in_names_do_not_reach_the_terminal(tmp_path, photos, model, capsys):
    (photos / "\x1b[2J.png").write_text("no picture")
    (photos / "a.png").rename(photos / "\x1b]0;title\x07.png")
    assert run(photos, "--output", tmp_path / "out", "--model", model) == 1
    written = capsys.readouterr()
    assert "\x1b" not in written.out + written.err
    assert (
        "\\x1b[2J.png: not a picture" in written.err and "\\x1b]0;title\\x07.png ->" in written.out
    )


def test_names_of_any_letters_and_length(tmp_path, photos, model, capsys):
    (photos / "a.png").rename(photos / ("ä" * 120 + ".png"))
    os.rename(photos / "b.jpg", os.fsencode(photos) + b"/\xff\xfe.jpg")
    assert run(photos, "--output", tmp_path / "out", "--model", model, "--compare") == 0
    assert len(files(tmp_path / "out")) == 6
    assert "\\xff\\xfe.jpg ->" in capsys.readouterr().out


def test_a_bar_on_a_terminal_and_lines_with_verbose(tmp_path, photos, model, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    common = [photos, "--model", model]
    assert run(*common, "--output", tmp_path / "out") == 0
    written = capsys.readouterr()
    assert written.out.startswith("3 restored, 0 failed") and "3.0/3" in written.err
    assert run(*common, "--output", tmp_path / "more", "--verbose") == 0
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_standard_input_and_output(tmp_path, photos, model, monkeypatch, capsysbinary):
    class Standard:
        buffer = io.BytesIO((photos / "b.jpg").read_bytes())

    monkeypatch.setattr(sys, "stdin", Standard)
    assert run("-", "--output", "-", "--model", model) == 0
    written = capsysbinary.readouterr()
    with Image.open(io.BytesIO(written.out)) as image:
        assert image.format == "JPEG" and np.array(image)[0, 0, 0] == 60
    assert written.err.startswith(b"standard input -> standard output")
    Standard.buffer.seek(0)
    assert run("-", "--output", tmp_path / "a.png", "--model", model) == 0
    assert read_rgb(tmp_path / "a.png")[0, 0, 0] == 60
    capsysbinary.readouterr()
    assert run(photos / "a.png", "--output", "-", "--model", model, "--format", "webp") == 0
    assert capsysbinary.readouterr().out.startswith(b"RIFF")
    Standard.buffer = io.BytesIO(b"no picture")
    assert run("-", "--output", "-", "--model", model) == 1
    written = capsysbinary.readouterr()
    assert written.out == b"" and b"standard input: not a picture" in written.err
    for wrong in (["-", photos / "a.png"], [photos], ["-", "--compare"], []):
        with pytest.raises(UsageError):
            run(*wrong, "--output", "-", "--model", model)


def test_warnings_call_standard_input_by_its_name(tmp_path, model, monkeypatch, capsysbinary):
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG", exif=b"Exif\0\0nonsense")

    class Standard:
        buffer = io.BytesIO(file.getvalue())

    monkeypatch.setattr(sys, "stdin", Standard)
    assert run("-", "--output", "-", "--model", model) == 0
    written = capsysbinary.readouterr().err
    assert b"warning: standard input: its EXIF block is damaged" in written
    assert b"/tmp" not in written


@pytest.mark.parametrize(
    "closed, inputs, status, message",
    [
        ("2>&-", "a.png --output b.png", 0, b""),
        (">&- 2>&-", "a.png --output b.png", 0, b""),
        (">&-", "a.png --output -", 2, b"standard output is closed"),
        ("<&-", "- --output b.png", 2, b"standard input is closed"),
    ],
)
def test_closed_standard_streams(tmp_path, model, closed, inputs, status, message):
    """As daemons start commands: files must not take the streams' places."""
    write_picture(tmp_path / "a.png", np.full((8, 8, 3), 50, np.uint8))
    command = f'"{sys.executable}" -m mspfn_tf restore {inputs} --model "{model}" {closed}'
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == status and message in done.stderr
    if status == 0:
        np.testing.assert_array_equal(read_rgb(tmp_path / "b.png"), 25)


def test_a_dataset_is_too_much_for_standard_output(model):
    with pytest.raises(UsageError, match="a dataset has many pictures, standard output is one"):
        run("--dataset", "x", "--split", "test", "--data_dir", "d", "--output", "-")


def test_the_limit_of_pixels(tmp_path, photos, model, capsys):
    before = Image.MAX_IMAGE_PIXELS
    common = [photos / "a.png", "--model", model, "--output", tmp_path / "a.png"]
    assert run(*common, "--limit_pixels", "100") == 1
    assert "too large, the limit is 100 pixels" in capsys.readouterr().err
    assert run(*common, "--limit_pixels", "0") == 0
    assert before == Image.MAX_IMAGE_PIXELS
    with pytest.raises(UsageError, match="at least 0"):
        run(*common, "--limit_pixels", "-1")


def test_what_an_output_cannot_hold_is_said(tmp_path, model, capsys):
    image, preview = Image.new("RGB", (16, 16)), Image.new("RGB", (8, 8))
    image.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[preview])
    assert run(tmp_path / "a.jpg", "--output", tmp_path / "b.jpg", "--model", model) == 0
    assert f"{tmp_path}/a.jpg: left behind: 1 more picture" in capsys.readouterr().err


def test_animations_and_pages(tmp_path, photos, model, capsys):
    frames = [Image.new("RGB", (16, 8), (level,) * 3) for level in (60, 120, 180)]
    frames[0].save(photos / "moving.gif", save_all=True, append_images=frames[1:], duration=90)
    assert run(photos, "--output", tmp_path / "out", "--model", model) == 0
    with Image.open(tmp_path / "out" / "moving.gif") as image:
        assert image.n_frames == 3 and image.info["duration"] == 90
    assert "moving.gif (3 frames, " in capsys.readouterr().out


def test_the_shipped_default_restores_without_tensorflow(tmp_path):
    lite = presets.tflite_path(presets.DEFAULT_PRESET)
    if lite is None:
        pytest.skip("the default preset ships no .tflite file")
    script = (
        "import sys\n"
        "from mspfn_tf.cli import main\n"
        "status = main(sys.argv[1:])\n"
        "print(status, sorted({'tensorflow', 'keras', 'jax', 'torch'} & set(sys.modules)))\n"
    )
    sample = ROOT / "mspfn_tf" / "sample" / "rainy.jpg"
    done = subprocess.run(
        [sys.executable, "-c", script, "restore", sample, "--output", tmp_path / "clean.jpg"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines()[-1] == "0 []", done.stderr
    assert read_rgb(tmp_path / "clean.jpg").shape == read_rgb(sample).shape
