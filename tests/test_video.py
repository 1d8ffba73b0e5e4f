"""Videos: what goes in comes out, without the rain."""

import io
import os
import re
import struct
import subprocess
import sys
import threading
import time
import warnings
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from mspfn_tf.errors import UsageError
from mspfn_tf.video import restore_video, video_target
from mspfn_tf.video.encoding import check_encoding
from mspfn_tf.video.formats import VIDEO_SUFFIXES
from mspfn_tf.video.reader import VideoReader

av = pytest.importorskip("av")

from tests.video_clips import moving_window, read_video, write_video  # noqa: E402

pytestmark = pytest.mark.slow


CHAPTERS = [
    {"id": 1, "start": 0, "end": 200, "time_base": Fraction(1, 1000), "metadata": {"title": "a"}},
    {"id": 2, "start": 200, "end": 400, "time_base": Fraction(1, 1000), "metadata": {"title": "b"}},
]
BT709 = {"colorspace": 1, "color_range": 1, "color_primaries": 1, "color_trc": 1}


def same(picture):
    return picture


def write_titled(path, **arguments):
    frames = moving_window(10, (64, 80), (1, 2))
    return write_video(
        path, frames, sound=True, title="Rain", chapters=CHAPTERS, tags=BT709, **arguments
    )


@pytest.mark.parametrize("suffix", [".mp4", ".m4v", ".mkv", ".mov"])
def test_everything_besides_the_rain_is_kept(tmp_path, suffix):
    source = write_titled(tmp_path / "rain.mp4", aspect=Fraction(4, 3), rotation=90)
    report = restore_video(same, source, tmp_path / f"clean{suffix}")
    assert report.frames == 10
    before, after = read_video(source), read_video(tmp_path / f"clean{suffix}")
    for name in ("size", "rate", "aspect", "colours", "rotation", "title", "chapters", "pix_fmt"):
        assert after[name] == before[name], name
    assert [kind for kind, _ in after["streams"]] == ["video", "audio"]
    assert [data for _, data in after["sound"]] == [data for _, data in before["sound"]]
    # Matroska has no times before zero: all streams are moved together.
    shift = after["sound"][0][0] - before["sound"][0][0]
    assert shift < Fraction(1, 40) and (suffix == ".mkv" or shift == 0)
    for time_before, time_after in zip(before["times"], after["times"], strict=True):
        assert abs(time_after - time_before - shift) <= Fraction(1, 1000)
    difference = after["frames"].astype(int) - before["frames"]
    assert np.abs(difference).mean() < 3
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"clean{suffix}", "rain.mp4"]


def test_language_of_the_sound(tmp_path):
    source = write_titled(tmp_path / "rain.mkv")
    for name in ("clean.mkv", "clean.mp4"):
        restore_video(same, source, tmp_path / name)
        assert ("audio", "deu") in read_video(tmp_path / name)["streams"]


@pytest.mark.parametrize("temporal", [True, False])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_variable_frame_rate(tmp_path, suffix, temporal):
    times = [0, 40, 120, 130, 500, 520, 1000]
    source = write_video(
        tmp_path / f"rain{suffix}",
        moving_window(7, (48, 64)),
        times=times,
        time_base=Fraction(1, 1000),
    )
    restore_video(same, source, tmp_path / f"clean{suffix}", temporal=temporal)
    found = read_video(tmp_path / f"clean{suffix}")["times"]
    assert found == read_video(source)["times"] == [Fraction(t, 1000) for t in times]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_the_last_frame_is_shown_as_long_as_before(tmp_path, suffix):
    def seconds(path):
        with av.open(str(path)) as file:
            return file.duration / 1e6

    def held(path):
        with av.open(str(path), "w") as file:
            video = file.add_stream("mpeg4", rate=25)
            video.height, video.width, video.pix_fmt = 48, 64, "yuv420p"
            packets = []
            for n, picture in enumerate(moving_window(5, (48, 64))):
                frame = av.VideoFrame.from_ndarray(picture, "rgb24")
                frame.pts, frame.time_base = n, Fraction(1, 25)
                packets += video.encode(frame)
            packets += video.encode(None)
            packets[-1].duration = 250  # of a recording of a screen on which nothing moved
            file.mux(packets)
        return path

    for source in (held(tmp_path / "a.mp4"), held(tmp_path / "a.mkv")):
        target = tmp_path / f"clean{suffix}"
        for options in ({}, {"g": "1"}):  # frames are decoded in another order, or in that of time
            restore_video(same, source, target, options=options, temporal=False, overwrite=True)
            assert seconds(target) == seconds(source) == 10.16
        restore_video(same, source, target, duration=2, temporal=False, overwrite=True)
        assert seconds(target) == 2
        again = tmp_path / "again.mkv"
        restore_video(same, target, again, temporal=False, overwrite=True)
        assert seconds(again) == pytest.approx(2, abs=0.1)


def test_the_network_sees_upright_frames(tmp_path):
    frames = moving_window(4, (48, 80))
    frames[:, :24, :40] = (255, 0, 0)  # top left as stored
    source = write_video(tmp_path / "rain.mp4", frames, rotation=-90)  # shown turned clockwise
    seen = []

    def restorer(picture):
        seen.append(picture)
        return picture

    restore_video(restorer, source, tmp_path / "clean.mp4", comparison=tmp_path / "both.mp4")
    assert seen[0].shape == (80, 48, 3)
    corner = seen[0][5:35, 29:43].astype(int)  # now top right
    assert np.abs(corner - (255, 0, 0)).max() < 12
    after = read_video(tmp_path / "clean.mp4")
    assert after["size"] == (48, 80) and after["rotation"] == -90
    assert np.abs(after["frames"][0, 5:19, 5:35].astype(int) - (255, 0, 0)).max() < 12
    both = read_video(tmp_path / "both.mp4")
    assert both["size"] == (96, 80)  # beside each other once it is turned
    assert np.abs(np.rot90(both["frames"][0], -1)[:, :48].astype(int) - seen[0]).mean() < 5


@pytest.mark.parametrize(
    "matrix, upright",  # where a step to the right and a step down lead: across and down
    [
        ((-1, 0, 0, 1), lambda frame: frame[:, ::-1]),
        ((1, 0, 0, -1), lambda frame: frame[::-1]),
        ((-1, 0, 0, -1), lambda frame: frame[::-1, ::-1]),
        ((0, 1, 1, 0), lambda frame: frame.swapaxes(0, 1)),
        ((0, 1, -1, 0), lambda frame: np.rot90(frame, -1)),
        ((0, -1, -1, 0), lambda frame: frame[::-1, ::-1].swapaxes(0, 1)),
        ((0, 0, 0, 0), lambda frame: frame),  # of a damaged file
    ],
)
def test_the_network_sees_what_is_mirrored_upright(tmp_path, matrix, upright):
    a, b, c, d = (number << 16 for number in matrix)
    source = write_video(tmp_path / "rain.mp4", moving_window(2, (48, 80)))
    content = bytearray(source.read_bytes())
    place = content.index(b"tkhd") + 44
    content[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    source.write_bytes(content)
    seen = []

    def restorer(picture):
        seen.append(picture)
        return picture

    restore_video(restorer, source, tmp_path / "clean.mp4", temporal=False)
    before, after = read_video(source), read_video(tmp_path / "clean.mp4")
    shown = upright(before["frames"][0].astype(int))
    assert shown.shape == seen[0].shape and np.abs(shown - seen[0]).mean() < 5
    assert np.abs(before["frames"][0].astype(int) - after["frames"][0]).mean() < 5
    assert (tmp_path / "clean.mp4").read_bytes().count(bytes(content[place : place + 36])) == 1


COLOURS = np.array(
    [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0], [200, 120, 40]], np.uint8
)


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p", "yuv420p10le"])
@pytest.mark.parametrize("matrix, limits", [(1, 1), (1, 2), (5, 1), (6, 2), (9, 1)])
def test_colours(tmp_path, matrix, limits, pix_fmt):
    patches = COLOURS.reshape(2, 3, 3).repeat(16, 0).repeat(16, 1)
    source = write_video(
        tmp_path / "rain.mp4",
        patches[None].repeat(2, 0),
        pix_fmt=pix_fmt,
        tags={"colorspace": matrix, "color_range": limits},
    )
    seen = []

    def restorer(picture):
        seen.append(picture)
        return picture

    restore_video(restorer, source, tmp_path / "clean.mp4", crf=1)
    deep = pix_fmt.endswith("10le")
    assert seen[0].dtype == (np.float32 if deep else np.uint8)
    levels = np.rint(seen[0] * 255) if deep else seen[0]
    assert np.abs(levels[8::16, 8::16].reshape(-1, 3) - COLOURS.astype(int)).max() <= 2
    before, after = read_video(source), read_video(tmp_path / "clean.mp4")
    assert after["colours"] == before["colours"] and after["pix_fmt"] == before["pix_fmt"]
    middle = np.s_[0, 8::16, 8::16]
    assert np.abs(after["frames"][middle].astype(int) - before["frames"][middle]).max() <= 2


@pytest.mark.parametrize("codec", ["ffv1", "libx264"])
@pytest.mark.parametrize(
    "pix_fmt, limits", [("gray10le", 2), ("yuv444p10le", 2), ("yuv444p10le", 1), ("gbrp10le", 2)]
)
def test_levels_of_ten_bits(tmp_path, pix_fmt, limits, codec):
    darkest, whitest = (64, 940) if limits == 1 else (0, 1023)
    ramp = np.linspace(darkest, whitest, 64).round().astype("<u2").repeat(64).reshape(64, 64)

    def luma(frame):
        plane = frame.planes[0]
        return np.frombuffer(plane, "<u2").reshape(64, -1)[:, :64].astype(int)

    source, target = tmp_path / "rain.mkv", tmp_path / "clean.mkv"
    with av.open(str(source), "w") as file:
        video = file.add_stream("ffv1", rate=25)
        video.height, video.width, video.pix_fmt = 64, 64, pix_fmt
        video.codec_context.color_range = limits
        frame = av.VideoFrame(64, 64, pix_fmt)
        for number, plane in enumerate(frame.planes):
            level = 512 if number and pix_fmt.startswith("yuv") else ramp
            plane.update(np.broadcast_to(level, ramp.shape).astype("<u2").tobytes())
        frame.pts, frame.color_range = 0, limits
        file.mux(video.encode(frame) + video.encode(None))
    seen = []

    def restorer(picture):
        seen.append(picture)
        return picture

    options = {"qp": "0"} if codec == "libx264" else {}
    restore_video(restorer, source, target, codec=codec, options=options)
    shades = (ramp.astype(float) - darkest) / (whitest - darkest)
    assert np.abs(seen[0] - shades[..., None]).max() < 1e-3
    with av.open(str(target)) as file:
        after = next(file.decode(video=0))
    if after.format.name.startswith("yuv") and pix_fmt.startswith("gbr"):
        ramp = 64 + shades * 876  # limited range, as players expect it
    assert np.abs(luma(after) - ramp).max() <= 1
    assert np.abs((luma(after) - ramp).mean()) < 0.1


@pytest.mark.parametrize("size", [(47, 63), (48, 63), (47, 64)])
@pytest.mark.parametrize("target", ["clean.mp4", "clean.webm"])
def test_odd_sizes(tmp_path, size, target):
    source = write_video(tmp_path / "rain.mkv", moving_window(3, size), "ffv1")
    assert read_video(source)["pix_fmt"] == "yuv420p"
    restore_video(same, source, tmp_path / target)
    before, after = read_video(source), read_video(tmp_path / target)
    assert after["size"] == size
    difference = np.abs(after["frames"].astype(int) - before["frames"])
    assert (
        difference.mean() < 5 and difference[:, -1].mean() < 8 and difference[:, :, -1].mean() < 8
    )


def test_small_frames(tmp_path):
    for size in ((2, 2), (16, 2), (20, 34)):
        source = write_video(
            tmp_path / "rain.mkv", moving_window(6, (64, 64))[:, : size[0], : size[1]]
        )
        restore_video(same, source, tmp_path / "clean.mkv", overwrite=True)
        assert read_video(tmp_path / "clean.mkv")["size"] == size


def test_part_of_a_video(tmp_path):
    source = write_titled(tmp_path / "rain.mp4")
    shade = {}

    def restorer(picture):
        shade[len(shade)] = picture.mean()
        return picture

    report = restore_video(restorer, source, tmp_path / "part.mkv", start=0.16, duration=0.12)
    assert report.frames == 3
    before, after = read_video(source), read_video(tmp_path / "part.mkv")
    assert np.abs(after["frames"].astype(int) - before["frames"][4:7]).mean() < 4
    first = after["times"][0]  # Matroska begins with what the sound needs before
    assert first < Fraction(1, 40)
    assert [t - first for t in after["times"]] == [0, Fraction(40, 1000), Fraction(80, 1000)]
    assert after["chapters"] == [
        (0, Fraction(4, 100), {"title": "a"}),
        (Fraction(4, 100), Fraction(12, 100), {"title": "b"}),
    ]
    inside = [data for t, data in before["sound"] if Fraction(16, 100) <= t < Fraction(28, 100)]
    assert [data for _, data in after["sound"]] == inside


def test_comparison(tmp_path):
    source = write_titled(tmp_path / "rain.mp4")
    restore_video(lambda p: 255 - p, source, tmp_path / "a.mp4", comparison=tmp_path / "b.mp4")
    both, clean = read_video(tmp_path / "b.mp4"), read_video(tmp_path / "a.mp4")
    assert both["size"] == (64, 160)
    assert np.abs(both["frames"][:, :, 80:].astype(int) - clean["frames"]).mean() < 4
    before = read_video(source)["frames"]
    assert np.abs(both["frames"][:, :, :80].astype(int) - before).mean() < 4
    assert len(both["sound"]) == len(clean["sound"]) > 0


def test_libx264_is_fast_unless_told_otherwise(tmp_path):
    """It writes its settings into the video; how finely it searches for motion is told by subme."""
    source = write_video(tmp_path / "rain.mp4", moving_window(6, (64, 80), (1, 2)))
    for options, effort in (({}, b"subme=2 "), ({"preset": "slow"}, b"subme=8 ")):
        target = tmp_path / "clean.mp4"
        restore_video(same, source, target, options=options, overwrite=True)
        assert effort in target.read_bytes()


def test_encoder_options(tmp_path):
    source = write_video(tmp_path / "rain.mp4", moving_window(6, (64, 80), (1, 2)))
    sizes = {}
    for crf in (8, 40):
        restore_video(same, source, tmp_path / f"{crf}.mp4", crf=crf)
        sizes[crf] = (tmp_path / f"{crf}.mp4").stat().st_size
    assert sizes[8] > 2 * sizes[40]
    restore_video(same, source, tmp_path / "a.mkv", codec="ffv1", options={"level": "3"})
    assert read_video(tmp_path / "a.mkv")["codec"] == "ffv1"
    with pytest.raises(UsageError, match="libx264 has no option presset"):
        restore_video(same, source, tmp_path / "x.mp4", options={"presset": "fast"})
    with pytest.raises(UsageError, match="no such encoder"):
        restore_video(same, source, tmp_path / "x.mp4", codec="x999")
    with pytest.raises(UsageError, match="aac: an encoder for audio"):
        restore_video(same, source, tmp_path / "x.mp4", codec="aac")
    with pytest.raises(UsageError, match="codec libx264: .webm files cannot hold it"):
        restore_video(same, source, tmp_path / "x.webm", codec="libx264")
    with pytest.raises(UsageError, match="cannot write '.avi' videos, only .m4v"):
        restore_video(same, source, tmp_path / "x.avi")
    with pytest.raises(UsageError, match="does not take"):
        restore_video(same, source, tmp_path / "x.mp4", options={"crf": "many"})
    with pytest.raises(UsageError, match="crf must be from 0 to 51 for libx264; received 99"):
        restore_video(same, source, tmp_path / "x.mp4", crf=99)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["40.mp4", "8.mp4", "a.mkv", "rain.mp4"]


def test_what_no_video_can_be_written_with_is_known_before(tmp_path):
    for suffix in VIDEO_SUFFIXES:
        check_encoding(suffix)
    check_encoding(".mkv", "ffv1", options={"level": "3"})
    # It takes frames of a few sizes only, of which the tried one is none.
    check_encoding(".mov", "dvvideo")
    for arguments, message in (
        ((".webm", "libx264"), "codec libx264: .webm files cannot hold it"),
        ((".mov", "libvpx-vp9"), "codec libvpx-vp9: .mov files cannot hold it"),
        ((".webm", None, 64), "libvpx-vp9 does not take .* with crf=64, b=0"),
        ((".mp4", "libx265", 52), "crf must be from 0 to 51 for libx265"),
        ((".mp4", "mpeg4", 20), "mpeg4 has no option crf"),
        ((".mp4", None, -1), "crf must be from 0 to 51 for libx264; received -1"),
        ((".mkv", "ffv1", None, {"levle": "3"}), "ffv1 has no option levle"),
    ):
        with pytest.raises(UsageError, match=message):
            check_encoding(*arguments)


def test_encoders_are_quiet(tmp_path, capfd):
    source = write_video(tmp_path / "rain.mp4", moving_window(3, (64, 80)))
    codecs = [codec for codec in ("libx265", "libsvtav1") if codec in av.codecs_available]
    for codec in codecs:
        restore_video(same, source, tmp_path / f"{codec}.mkv", codec=codec)
    restore_video(
        same, source, tmp_path / "i.mkv", codec="libx265", options={"x265-params": "keyint=1"}
    )
    with av.open(str(tmp_path / "i.mkv")) as written:
        assert all(packet.is_keyframe for packet in written.demux(video=0) if packet.size)
    assert capfd.readouterr().err == ""


def write_subtitles(folder):
    video = write_video(folder / "plain.mkv", moving_window(10, (48, 64)))
    with av.open(str(video)) as plain, av.open(str(folder / "rain.mkv"), "w") as file:
        copy = file.add_stream_from_template(plain.streams.video[0], opaque=True)
        texts = file.add_mux_stream("subrip", time_base=Fraction(1, 1000))
        texts.metadata["language"] = "fra"
        for packet in plain.demux(video=0):
            if packet.size:
                packet.stream = copy
                file.mux(packet)
        for start, text in ((0, b"Il pleut"), (200, b"encore")):
            packet = av.Packet(text)
            packet.stream, packet.time_base = texts, Fraction(1, 1000)
            packet.pts = packet.dts = start
            packet.duration = 150
            file.mux(packet)
    return folder / "rain.mkv"


def read_subtitles(path):
    with av.open(str(path)) as file:
        (texts,) = file.streams.subtitles
        assert texts.language == "fra"
        return [(p.pts, p.duration, bytes(p)) for p in file.demux(texts) if p.dts is not None]


def test_subtitles(tmp_path):
    source = write_subtitles(tmp_path)
    restore_video(same, source, tmp_path / "clean.mkv")
    found = read_subtitles(tmp_path / "clean.mkv")
    assert found == [(0, 150, b"Il pleut"), (200, 150, b"encore")]
    report = restore_video(same, source, tmp_path / "clean.webm")
    (dropped,) = report.dropped
    assert re.fullmatch(r"stream 1 \(subtitle, .*\), which .webm files cannot hold", dropped)


def test_subtitles_are_cut_where_the_video_is(tmp_path):
    source, target = write_subtitles(tmp_path), tmp_path / "clean.mkv"
    restore_video(same, source, target, start=0.12, duration=0.16)
    assert read_subtitles(target) == [(0, 30, b"Il pleut"), (80, 80, b"encore")]
    with av.open(str(target)) as file:
        assert file.duration == 160_000
    restore_video(same, source, target, start=0.2, overwrite=True)
    assert read_subtitles(target) == [(0, 150, b"encore")]


def test_a_cover_is_left_behind_and_said(tmp_path):
    cover = io.BytesIO()
    Image.new("RGB", (64, 48)).save(cover, "JPEG")
    source = tmp_path / "rain.mp4"
    with av.open(str(source), "w") as file:
        video, picture = file.add_stream("libx264", rate=25), file.add_stream("mjpeg", rate=1)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuvj420p"
        picture.disposition = av.stream.Disposition.attached_pic
        file.start_encoding()
        packet = av.Packet(cover.getvalue())
        packet.stream, packet.pts, packet.dts, packet.time_base = picture, 0, 0, Fraction(1)
        file.mux(packet)
        for frame in moving_window(3, (48, 64)):
            file.mux(video.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        file.mux(video.encode(None))
    for suffix in (".mp4", ".mkv"):
        report = restore_video(same, source, tmp_path / f"clean{suffix}")
        assert report.dropped == ("stream 1, the cover, which may show the rain",)
        assert read_video(tmp_path / f"clean{suffix}")["streams"][1:] == []


def test_bad_files(tmp_path):
    whole = write_titled(tmp_path / "rain.mp4")
    data = whole.read_bytes()
    target = tmp_path / "clean.mp4"

    def check(name, content, message):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(UsageError, match=message) as caught:
            restore_video(same, path, target)
        assert str(path) in str(caught.value)
        assert not target.exists()

    check("no.mp4", None, "no such file")
    check("text.mp4", b"not a video at all" * 100, "cannot be read as a video")
    check("empty.mkv", b"", "cannot be read as a video")
    check("headless.mp4", data[: len(data) // 2], "cannot be read as a video")
    with av.open(str(tmp_path / "sound.m4a"), "w", format="mp4") as file:
        audio = file.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
        frame.sample_rate = 48000
        file.mux(audio.encode(frame))
        file.mux(audio.encode(None))
    check("sound.m4a", None, "holds no video")
    long = write_video(tmp_path / "long.mp4", moving_window(60, (48, 64), (0, 2)))
    ahead = tmp_path / "ahead.mp4"
    restore_video(same, long, ahead)  # with its index in front
    content = ahead.read_bytes()
    check("cut.mp4", content[: len(content) * 3 // 4], r"cut off, its frames end at .* of 2\.4 s")
    restore_video(same, tmp_path / "cut.mp4", target, duration=0.4)
    assert len(read_video(target)["frames"]) == 10
    target.unlink()
    write_video(tmp_path / "long.mkv", moving_window(60, (48, 64), (0, 2)))
    content = (tmp_path / "long.mkv").read_bytes()
    check("cut.mkv", content[: len(content) // 2], r"cut off, its frames end at .* of 2\.4 s")


@pytest.mark.parametrize(("suffix", "codec"), [(".mkv", "libx264"), (".webm", "libvpx-vp9")])
def test_videos_that_lack_less_than_a_second_are_cut_off_too(tmp_path, suffix, codec):
    whole, cut = tmp_path / f"rain{suffix}", tmp_path / f"cut{suffix}"
    write_video(whole, moving_window(12, (48, 64), (0, 2)), codec=codec)
    content = whole.read_bytes()
    with av.open(str(whole)) as file:
        last = [packet.pos for packet in file.demux(video=0) if packet.size][-1]
    for end in (last, last + 8):
        cut.write_bytes(content[:end])
        with pytest.raises(UsageError, match="cut off, its frames end at .*; pass a duration"):
            restore_video(same, cut, tmp_path / f"clean{suffix}")
    cut.write_bytes(content[:-8])  # in the index, of which nothing is needed
    assert restore_video(same, cut, tmp_path / f"clean{suffix}").frames == 12


@pytest.mark.parametrize("suffix", [".mkv", ".webm"])
def test_sound_may_go_on_after_the_last_frame(tmp_path, suffix):
    path = tmp_path / f"rain{suffix}"
    with av.open(str(path), "w") as file:
        video = file.add_stream("libvpx-vp9", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = file.add_stream("libopus", rate=48000)
        for picture in moving_window(3, (48, 64)):
            file.mux(video.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        file.mux(video.encode(None))
        for block in range(200):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1920), np.int16), "s16", "stereo")
            frame.sample_rate, frame.pts, frame.time_base = 48000, 960 * block, Fraction(1, 48000)
            file.mux(sound.encode(frame))
        file.mux(sound.encode(None))
    assert restore_video(same, path, tmp_path / f"clean{suffix}").frames == 3


def test_wrong_arguments(tmp_path):
    source = write_video(tmp_path / "rain.mp4", moving_window(3, (48, 64)))
    with pytest.raises(UsageError, match="start must be seconds"):
        restore_video(same, source, tmp_path / "x.mp4", start=-1)
    with pytest.raises(UsageError, match="no frame can be decoded after 60 s"):
        restore_video(same, source, tmp_path / "x.mp4", start=60)
    with pytest.raises(UsageError, match="no frame can be decoded within the 2 s from 60 s"):
        restore_video(same, source, tmp_path / "x.mp4", start=60, duration=2)
    (tmp_path / "there.mp4").write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        restore_video(same, source, tmp_path / "there.mp4")
    assert (tmp_path / "there.mp4").read_text() == "mine"


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, MemoryError])
def test_nothing_is_left_of_what_was_interrupted(tmp_path, error):
    source = write_video(tmp_path / "rain.mp4", moving_window(12, (48, 64)))
    count = 0

    def restorer(picture):
        nonlocal count
        count += 1
        if count == 5:
            raise error("stop")
        return picture

    before = threading.active_count()
    with pytest.raises(error, match="stop"):
        restore_video(restorer, source, tmp_path / "clean.mp4")
    assert [p.name for p in tmp_path.iterdir()] == ["rain.mp4"]
    assert threading.active_count() == before


def test_interrupted_by_the_caller(tmp_path):
    source = write_video(tmp_path / "rain.mp4", moving_window(12, (48, 64)))

    def progress(done, total):
        assert total == 12
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore_video(same, source, tmp_path / "clean.mp4", progress=progress)
    assert [p.name for p in tmp_path.iterdir()] == ["rain.mp4"]


def test_few_frames_are_held(tmp_path):
    source = write_video(tmp_path / "rain.mp4", moving_window(80, (48, 64)), sound=True)
    decoded, done, most = 0, 0, 0
    convert = VideoReader._converted

    def counted(self, frame):
        nonlocal decoded, most
        decoded += 1
        most = max(most, decoded - done)
        return convert(self, frame)

    def progress(count, total):
        nonlocal done
        done = count
        time.sleep(0.01)  # what writes is the slowest

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VideoReader, "_converted", counted)
        restore_video(same, source, tmp_path / "clean.mp4", progress=progress)
    assert decoded == done == 80
    assert most <= 18


def test_reading_restoring_and_writing_overlap(tmp_path):
    source = write_video(tmp_path / "rain.mp4", moving_window(6, (48, 64)))
    names = {}
    convert = VideoReader._converted

    def converted(self, frame):
        names.setdefault("decode", set()).add(threading.current_thread())
        return convert(self, frame)

    def restorer(picture):
        names.setdefault("restore", set()).add(threading.current_thread())
        return picture

    def progress(count, total):
        names.setdefault("write", set()).add(threading.current_thread())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VideoReader, "_converted", converted)
        restore_video(restorer, source, tmp_path / "clean.mp4", progress=progress)
    # The first frame is decoded before the threads start.
    threads = names["decode"] - {threading.main_thread()}, names["restore"], names["write"]
    assert [len(found) for found in threads] == [1, 1, 1] and len(set.union(*threads)) == 3


def test_mutated_files_end_in_an_answer(tmp_path):
    originals = [
        write_titled(tmp_path / "a.mp4").read_bytes(),
        write_titled(tmp_path / "b.mkv").read_bytes(),
    ]
    rng = np.random.default_rng(4)
    answers = {"restored": 0, "refused": 0}
    for n in range(60):
        data = bytearray(originals[n % 2])
        if n % 3 == 0:
            del data[rng.integers(len(data)) :]
        for _ in range(rng.integers(1, 40)):
            if data:
                data[rng.integers(len(data))] = rng.integers(256)
        (tmp_path / "mutated").write_bytes(data)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                restore_video(same, tmp_path / "mutated", tmp_path / "out.mp4", overwrite=True)
            answers["restored"] += 1
        except UsageError as error:
            assert str(tmp_path) in str(error)
            answers["refused"] += 1
    assert answers["restored"] > 0 and answers["refused"] > 0
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_other_containers_are_read(tmp_path):
    for name, codec in (("a.avi", "mpeg4"), ("a.ts", "libx264"), ("a.mpg", "mpeg2video")):
        source = write_video(tmp_path / name, moving_window(8, (48, 64)), codec)
        target = video_target(tmp_path / f"{name[2:]}.{name[2:]}")
        assert target.suffix == ".mkv"
        assert restore_video(same, source, target).frames == 8
        after = read_video(target)
        assert after["size"] == (48, 64) and after["rate"] == 25
        steps = np.diff([float(t) for t in after["times"]])
        assert np.abs(steps - 0.04).max() <= 0.001


@pytest.mark.parametrize("suffix", [".mov", ".mp4", ".mkv"])
def test_what_phones_tell_of_a_recording_is_kept(tmp_path, suffix):
    plain = write_video(tmp_path / "plain.mp4", moving_window(3, (48, 64)), sound=True)
    named = {"container_options": {"movflags": "use_metadata_tags"}}
    with av.open(str(plain)) as file, av.open(str(tmp_path / "rain.mov"), "w", **named) as phone:
        copies = [phone.add_stream_from_template(stream) for stream in file.streams]
        copies[1].metadata["title"] = "microphone"  # which is read as its "name"
        for key, value in (
            ("title", "Rain"),
            ("make", "Apple"),
            ("creationdate", "2024-05-01T12:00:00+0200"),
            ("location.ISO6709", "+48.1000+011.5000/"),
        ):
            phone.metadata[f"com.apple.quicktime.{key}"] = value
        for packet in file.demux():
            if packet.dts is not None:
                packet.stream = copies[packet.stream.index]
                phone.mux(packet)
    restore_video(same, tmp_path / "rain.mov", tmp_path / f"clean{suffix}", temporal=False)
    with av.open(str(tmp_path / f"clean{suffix}")) as file:
        told = {key.lower(): value for key, value in file.metadata.items()}
        assert told["title"] == "Rain" and told["date"] == "2024-05-01T12:00:00+0200"
        assert told["location"] == "+48.1000+011.5000/"
        assert told.get("make") == (None if suffix == ".mp4" else "Apple")
        sound = file.streams.audio[0].metadata
        assert sound["title" if suffix == ".mkv" else "name"] == "microphone"


@pytest.mark.parametrize("suffix, codec", [("h264", "libx264"), ("hevc", "libx265")])
def test_bare_streams_go_on_at_their_frame_rate(tmp_path, suffix, codec):
    source = tmp_path / f"a.{suffix}"
    write_video(source, moving_window(10, (48, 64)), codec, rate=Fraction(50))
    restore_video(same, source, tmp_path / "a.mkv")
    assert read_video(tmp_path / "a.mkv")["times"] == [Fraction(n, 50) for n in range(10)]
    restore_video(same, source, tmp_path / "b.mkv", start=0.08, duration=0.06)
    assert read_video(tmp_path / "b.mkv")["times"] == [Fraction(n, 50) for n in range(3)]


def test_without_pyav():
    script = (
        "import sys; sys.modules['av'] = None\n"
        "from mspfn_tf.video import is_video, restore_video\n"
        "assert not is_video('setup.cfg')\n"
        "restore_video(None, 'setup.cfg', 'x.mp4')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=os.getcwd()
    )
    assert re.search(r'UsageError: videos need PyAV: pip install "mspfn_tf\[video\]"', done.stderr)
    assert not os.path.exists("x.mp4")


def test_without_opencv(tmp_path):
    source = str(tmp_path / "clip.mp4")
    write_video(source, moving_window(4))
    script = (
        "import sys; sys.modules['cv2'] = None\n"
        "from mspfn_tf.video import restore_video\n"
        "print(restore_video(lambda frame: frame, *sys.argv[1:3], temporal=False).frames)\n"
        "restore_video(lambda frame: frame, *sys.argv[1:3], overwrite=True)"
    )
    target = str(tmp_path / "x.mp4")
    command = [sys.executable, "-c", script, source, target]
    done = subprocess.run(command, capture_output=True, text=True, cwd=os.getcwd())
    assert int(done.stdout) > 0
    message = r'UsageError: cv2 is not installed \(.+\): pip install "mspfn_tf\[video\]"'
    assert re.search(message, done.stderr)
