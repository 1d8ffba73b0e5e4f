import os

import numpy as np
import pytest
from PIL import Image

from mspfn_tf.video import is_video, video_target

pytest.importorskip("av")

from tests.video_clips import moving_window, write_video  # noqa: E402


def test_what_is_no_file_is_no_video(tmp_path):
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for ever
    assert not is_video(tmp_path / "pipe") and not is_video(tmp_path / "none")


def test_names_of_videos(tmp_path):
    for name, target in (
        ("a.mp4", "a.mp4"),
        ("a.avi", "a.mkv"),
        ("trip.2024", "trip.2024.mkv"),
        ("a", "a.mkv"),
    ):
        assert video_target(name).name == target


@pytest.mark.slow
def test_is_video(tmp_path):
    frames = moving_window(3, (48, 64))
    for name, codec in (
        ("a.mp4", "libx264"),
        ("a.mov", "libx264"),
        ("a.mkv", "libx264"),
        ("a.webm", "libvpx-vp9"),
        ("a.avi", "mpeg4"),
        ("a.ts", "libx264"),
        ("a.mpg", "mpeg2video"),
        ("a.flv", "libx264"),
        ("a.wmv", "wmv2"),
        ("a.mxf", "mpeg2video"),
        ("a.m2ts", "libx264"),
        ("a.h264", "libx264"),
        ("a.hevc", "libx265"),
    ):
        write_video(tmp_path / name, frames, codec)
        (tmp_path / name).rename(tmp_path / "nameless")
        assert is_video(tmp_path / "nameless"), name
    write_video(tmp_path / "a.dv", np.zeros((3, 576, 720, 3), np.uint8), "dvvideo")
    assert is_video(tmp_path / "a.dv")
    for name in ("a.jpg", "a.png", "a.gif", "a.webp", "a.avif", "a.tif", "a.bmp"):
        Image.fromarray(frames[0]).save(tmp_path / name)
        assert not is_video(tmp_path / name), name
    (tmp_path / "text").write_text("G" * 2000)
    (tmp_path / "empty").write_bytes(b"")
    for path in (tmp_path / "text", tmp_path / "empty", tmp_path, tmp_path / "missing"):
        assert not is_video(path)
