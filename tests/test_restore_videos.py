"""`mspfn restore` with videos."""

import argparse
import re
import sys

import numpy as np
import pytest
from PIL import Image

from mspfn_tf.commands import restore
from mspfn_tf.errors import UsageError

pytest.importorskip("av")

from tests.half_light import save_half_light  # noqa: E402
from tests.video_clips import moving_window, read_video, write_video  # noqa: E402

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_half_light(tmp_path_factory.mktemp("model"))


@pytest.fixture
def folder(tmp_path):
    """in/clip.mp4, in/deep/nameless (a video), in/photo.png, in/notes.txt"""
    (tmp_path / "in" / "deep").mkdir(parents=True)
    clip = write_video(tmp_path / "in" / "clip.mp4", moving_window(5, (48, 64)), sound=True)
    (tmp_path / "in" / "deep" / "nameless").write_bytes(clip.read_bytes())
    Image.fromarray(moving_window(1, (48, 64))[0]).save(tmp_path / "in" / "photo.png")
    (tmp_path / "in" / "notes.txt").write_text("rain")
    return tmp_path / "in"


def run(*arguments):
    parser = argparse.ArgumentParser()
    restore.add_arguments(parser)
    return restore.run(parser.parse_args([str(argument) for argument in arguments]))


def is_half(before, after):
    levels = read_video(after)["frames"].astype(float), read_video(before)["frames"] / 2
    return np.abs(levels[0] - levels[1]).mean() < 4


def test_one_video(tmp_path, folder, model, capsys):
    target = tmp_path / "out" / "clean.mkv"
    assert run(folder / "clip.mp4", "--output", target, "--model", model, "--no_temporal") == 0
    assert "clean.mkv (5 frames, " in capsys.readouterr().out
    assert is_half(folder / "clip.mp4", target)


def test_folder_of_videos_and_pictures(tmp_path, folder, model, capsys):
    arguments = (folder, "--output", tmp_path / "out", "--model", model, "--format", "jpg")
    assert run(*arguments, "--compare") == 0
    found = sorted(
        p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.*")
    )
    names = ["clip.mp4", "clip_compare.mp4", "deep/nameless.mkv", "deep/nameless_compare.mkv"]
    assert [name for name in found if not name.startswith(".")] == [
        *names,
        "photo.jpg",
        "photo_compare.jpg",
    ]
    assert is_half(folder / "clip.mp4", tmp_path / "out" / "deep" / "nameless.mkv")
    written = capsys.readouterr()
    assert (
        "3 restored, 1 left out" in written.out
        and "notes.txt (no readable picture or video)" in written.err
    )
    assert run(*arguments, "--compare", "--resume") == 0
    assert "0 restored, 3 skipped" in capsys.readouterr().out


def test_the_content_tells_what_is_a_video(tmp_path, folder, model):
    (folder / "clip.mp4").rename(tmp_path / "rain.jpg")
    assert run(tmp_path / "rain.jpg", "--output", tmp_path / "out", "--model", model) == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["rain.mkv"]
    assert run(tmp_path / "rain.jpg", "--output", tmp_path / "a.mp4", "--model", model) == 0


def test_flags(tmp_path, folder, model):
    clip = folder / "clip.mp4"
    base = (clip, "--model", model, "--output")
    flags = ("--codec", "ffv1", "-e", "level=3", "-e", "slices=4", "--start", 0.04)
    assert run(*base, tmp_path / "a.mkv", *flags, "--duration", 0.08) == 0
    found = read_video(tmp_path / "a.mkv")
    assert found["codec"] == "ffv1" and len(found["frames"]) == 2
    for quality in (10, 45):
        assert run(*base, tmp_path / f"{quality}.mp4", "--crf", quality) == 0
    assert (tmp_path / "10.mp4").stat().st_size > (tmp_path / "45.mp4").stat().st_size


@pytest.mark.parametrize(
    "flags, message",
    [
        (("--codec", "x999"), "codec x999: FFmpeg has no such encoder"),
        (("--codec", "libvpx"), "codec libvpx: .mp4 files cannot hold it"),
        (("--crf", "99"), "crf must be from 0 to 51 for libx264; received 99"),
        (("-e", "presset=slow"), "codec libx264 has no option presset"),
        (("--start", "-1"), "start must be seconds from 0 up; received -1"),
        (("--duration", "nan"), "duration must be seconds"),
        (("--duration", "0"), "duration must be seconds, more than 0; received 0"),
        (("--output", "out.avi"), "cannot write '.avi' videos"),
        (("--output", "out.png"), "cannot write '.png' videos"),
    ],
)
def test_wrong_flags(tmp_path, folder, model, flags, message):
    output = () if flags[0] == "--output" else ("--output", tmp_path / "out.mp4")
    with pytest.raises(UsageError, match=message):
        run(folder / "clip.mp4", "--model", model, *output, *flags)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in"]


def test_wrong_flags_for_one_of_many_videos(tmp_path, folder, model):
    write_video(folder / "clip.webm", moving_window(2, (48, 64)), "libvpx-vp9")
    with pytest.raises(UsageError, match="codec libx264: .webm files cannot hold it"):
        run(folder, "--output", tmp_path / "out", "--model", model, "--codec", "libx264")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in"]


def test_flags_for_videos_where_there_is_none(tmp_path, folder, model):
    with pytest.raises(UsageError, match="--crf is for videos: there is none"):
        run(folder / "photo.png", "--output", tmp_path / "a.png", "--model", model, "--crf", 3)
    with pytest.raises(UsageError, match="--temporal is for videos"):
        run(folder / "photo.png", "--output", tmp_path / "a.png", "--model", model, "--no_temporal")


def test_a_picture_becomes_no_video(tmp_path, folder, model):
    with pytest.raises(UsageError, match=r"photo\.png is no video, .*a\.mp4 would be one"):
        run(folder / "photo.png", "--output", tmp_path / "a.mp4", "--model", model)


def test_several_inputs_need_a_folder(tmp_path, folder, model):
    with pytest.raises(UsageError, match=r"a\.mp4 is a video's name; expected a folder's"):
        run(folder, "--output", tmp_path / "a.mp4", "--model", model)


@pytest.mark.parametrize("output", ["a.mp4", "out"])
def test_without_pyav_the_extra_is_named(tmp_path, folder, model, monkeypatch, output):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UsageError, match=r'videos need PyAV: pip install "mspfn_tf\[video\]"'):
        run(folder / "clip.mp4", "--output", tmp_path / output, "--model", model)


@pytest.mark.parametrize("module", ["av", "cv2"])
def test_without_the_extra_pictures_beside_videos_are_restored(
    tmp_path, folder, model, monkeypatch, capsys, module
):
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, "mspfn_tf.video.temporal", raising=False)
    out = tmp_path / "out"
    assert run(folder, "--output", out, "--model", model) == 1
    assert [p.name for p in out.rglob("*.*")] == ["photo.png"]
    said = capsys.readouterr().err
    for name in ("clip.mp4", "nameless"):
        assert re.search(rf"{name}: .*pip install \"mspfn_tf\[video\]\"", said)
    assert "1 restored" in said and "2 failed" in said
    with pytest.raises(UsageError, match="mspfn_tf.video"):
        run(folder, "--output", tmp_path / "more", "--model", model, "--crf", "20")


def test_a_library_that_pyav_lacks_is_named(tmp_path, folder, model, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "av"]:
        monkeypatch.delitem(sys.modules, name)
    (tmp_path / "av.py").write_text("raise ImportError('libx.so.6: cannot open')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match=r"videos need PyAV: .*libx\.so\.6: cannot open"):
        run(folder / "clip.mp4", "--output", tmp_path / "a.mp4", "--model", model)


def test_options_are_pairs(capsys):
    parser = argparse.ArgumentParser()
    restore.add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["a.mp4", "--output", "b.mp4", "-e", "preset"])
    assert "expected KEY=VALUE, such as preset=slow; got 'preset'" in capsys.readouterr().err


def test_a_damaged_video_is_named_and_the_others_go_on(tmp_path, folder, model, capsys):
    data = (folder / "clip.mp4").read_bytes()
    (folder / "broken.mp4").write_bytes(data[: len(data) // 2])
    (folder / "empty.mkv").touch()
    assert run(folder, "--output", tmp_path / "out", "--model", model) == 1
    written = capsys.readouterr()
    for name in ("broken.mp4", "empty.mkv"):
        assert f"{name}: cannot be read as a video" in written.err
    assert "3 restored" in written.err and "2 failed" in written.err
