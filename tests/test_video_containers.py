"""Videos of all kinds of pixels, times and companions: what players show is what was there."""

from fractions import Fraction

import numpy as np
import pytest

from mspfn_tf.errors import UsageError
from mspfn_tf.restoring.file_restorer import FileRestorer
from mspfn_tf.restoring.plan import Job
from mspfn_tf.video import restore_video
from mspfn_tf.video.reader import VideoReader

av = pytest.importorskip("av")

from tests.full_disk import files_end_at  # noqa: E402
from tests.video_clips import moving_window, read_video, write_video  # noqa: E402

pytestmark = pytest.mark.slow

TICK = Fraction(1, 90_000)


def same(picture):
    return picture


def pages(count=3):
    """Still frames of flat colours, which no codec blurs."""
    colours = np.array([[[250, 20, 30], [30, 230, 40]], [[20, 30, 240], [180, 120, 60]]], np.uint8)
    return np.repeat(colours.repeat(32, 0).repeat(32, 1)[None], count, axis=0)


def middles(frames):
    return frames[0, 16::32, 16::32].astype(int)


def closeness(source, target):
    """The largest difference in levels between what both show in the middle of each colour."""
    before, after = (middles(read_video(path)["frames"]) for path in (source, target))
    return np.abs(after - before).max()


SOURCES = {
    "RGB, tagged as such": ("rain.mov", "png", "rgb24", {"colorspace": 0, "color_range": 2}),
    "RGB of x264": ("rain.mkv", "libx264rgb", "rgb24", {}),
    "RGB without tags": ("rain.avi", "rawvideo", "bgr24", {}),
    "planes of RGB": ("rain.mkv", "ffv1", "bgr0", {}),
    "gray": ("rain.mkv", "ffv1", "gray", {}),
    "full range": ("rain.mp4", "libx264", "yuv444p", {"colorspace": 1, "color_range": 2}),
    "limited range": ("rain.mp4", "libx264", "yuv444p", {"colorspace": 1, "color_range": 1}),
    "motion JPEG": ("rain.avi", "mjpeg", "yuvj444p", {"color_range": 2}),
}
TARGETS = {
    ".mp4": None,
    ".webm": None,
    ".mkv": "ffv1",
    "x.mkv": "libx264rgb",
    ".mov": "prores_ks",
    "y.mkv": "mjpeg",
    "z.mkv": "mpeg2video",
    "x.mp4": "mpeg4",
    "x.webm": "libvpx",
}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", SOURCES)
def test_colours_are_those_of_the_source_in_every_codec(tmp_path, kind, target):
    name, codec, pixels, tags = SOURCES[kind]
    source = write_video(tmp_path / name, pages(), codec, pixels, tags=tags)
    written = tmp_path / f"clean{target}"
    restore_video(same, source, written, codec=TARGETS[target], temporal=False)
    # Codecs that halve the resolution of colours keep the middles; 4 levels are their rounding.
    assert closeness(source, written) <= (4 if codec == "libx264" or TARGETS[target] is None else 8)


def broadcast(path, first=0, count=50, group=12):
    """A transport stream, whose times begin at `first` seconds and whose key frames are rare."""
    frames = moving_window(count, (64, 80), (0, 1))
    times = [int(first / TICK) + 3600 * number for number in range(count)]
    options = {"g": str(group), "crf": "4"}
    return write_video(path, frames, times=times, time_base=TICK, options=options)


@pytest.mark.parametrize("start", [0.2, 0.96, 1.0, 1.88])
@pytest.mark.parametrize("group", [12, 1000])
def test_a_part_of_a_broadcast_begins_where_it_is_asked_to(tmp_path, start, group):
    source = broadcast(tmp_path / "rain.ts", group=group)
    restore_video(same, source, tmp_path / "part.mkv", start=start, duration=0.5, temporal=False)
    before, after = read_video(source), read_video(tmp_path / "part.mkv")
    wanted = [n for n in range(50) if round(25 * start) <= n < 25 * (start + 0.5) - 1e-6]
    assert len(after["frames"]) == len(wanted)
    number = wanted[0]
    difference = after["frames"][0].astype(int) - before["frames"][number]
    assert np.abs(difference).mean() < 3
    others = [np.abs(after["frames"][0].astype(int) - f).mean() for f in before["frames"]]
    assert np.argmin(others) == number


@pytest.mark.parametrize("first", [20_000, 2**33 / 90_000 - 1])  # the latter wraps after a second
def test_the_times_of_a_broadcast_begin_at_zero(tmp_path, first):
    source = broadcast(tmp_path / "rain.ts", first)
    restore_video(same, source, tmp_path / "clean.mp4", temporal=False)
    times = read_video(tmp_path / "clean.mp4")["times"]
    assert times[0] < 0.2
    np.testing.assert_allclose(np.diff([float(time) for time in times]), 0.04, atol=1e-4)
    with av.open(str(tmp_path / "clean.mp4")) as file:
        assert 1.9e6 < file.duration < 2.3e6


def later(source, path, seconds):
    """A copy of a transport stream whose times are `seconds` later."""
    with av.open(str(source)) as file, av.open(str(path), "w") as copy:
        streams = {stream.index: copy.add_stream_from_template(stream) for stream in file.streams}
        for packet in file.demux():
            if packet.dts is not None:
                packet.pts += round(seconds / packet.time_base)
                packet.dts += round(seconds / packet.time_base)
                packet.stream = streams[packet.stream.index]
                copy.mux(packet)
    return path


@pytest.mark.parametrize("firsts", [(0, 0, 0), (1000, 0, 9000)])
def test_recordings_that_were_joined_go_on_after_each_other(tmp_path, firsts):
    """The times of each begin anew, and the sound stays with the frames."""
    recording = write_video(tmp_path / "one.ts", moving_window(50, (48, 64), (0, 1)), sound=True)
    parts = [later(recording, tmp_path / f"{first}.ts", first) for first in firsts]
    source = tmp_path / "joined.ts"
    source.write_bytes(b"".join(part.read_bytes() for part in parts))
    restore_video(same, source, tmp_path / "clean.mkv", temporal=False)
    one, all_ = read_video(recording), read_video(tmp_path / "clean.mkv")
    count = len(firsts)
    assert len(all_["frames"]) == 50 * count
    assert len(one["sound"]) * count - 4 <= len(all_["sound"]) <= len(one["sound"]) * count
    heard = {}
    for time, data in all_["sound"]:  # a header stands before each in transport streams
        heard.setdefault(data[-32:], []).append(time)
    known = [(time, data[-32:]) for time, data in one["sound"]]
    time, data = next(sound for sound in known if len(heard.get(sound[1], ())) == count)
    for part in range(count):
        apart = heard[data][part] - all_["times"][50 * part + 25]
        assert abs(apart - (time - one["times"][25])) < 0.01
    steps = np.diff([float(time) for time in all_["times"]])
    assert steps.min() > 0.03 and steps.max() < 0.3


def packets_of(path):
    """The packets of a transport stream, and which of them are of its video."""
    content = path.read_bytes()
    packets = [content[place : place + 188] for place in range(0, len(content), 188)]
    return packets, [n for n, p in enumerate(packets) if (p[1] & 0x1F, p[2]) == (1, 0)]


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_a_broadcast_that_lost_a_packet_on_the_way_is_restored(tmp_path, part):
    source = broadcast(tmp_path / "rain.ts")
    packets, of_video = packets_of(source)
    del packets[of_video[int(part * len(of_video))]]
    source.write_bytes(b"".join(packets))
    with pytest.warns(UserWarning, match="rain.ts: damaged at about"):
        restore_video(same, source, tmp_path / "clean.mkv", temporal=False)
    assert len(read_video(tmp_path / "clean.mkv")["frames"]) >= 49


@pytest.mark.parametrize("codec, suffix", [("mpeg4", ".mp4"), ("mpeg2video", ".mkv")])
def test_encoders_that_refuse_fine_units_of_time(tmp_path, codec, suffix):
    source = broadcast(tmp_path / "rain.ts", count=10)
    restore_video(same, source, tmp_path / f"clean{suffix}", codec=codec, temporal=False)
    before, after = read_video(source), read_video(tmp_path / f"clean{suffix}")
    expected = [float(time - before["times"][0]) for time in before["times"]]
    found = [float(time - after["times"][0]) for time in after["times"]]
    np.testing.assert_allclose(found, expected, atol=0.002)


def with_sound(path, codec, layout="stereo"):
    with av.open(str(path), "w") as file:
        video = file.add_stream("mjpeg", rate=25)
        video.width, video.height, video.pix_fmt = 64, 64, "yuvj444p"
        sound = file.add_stream(codec, rate=48_000, layout=layout)
        kind = sound.codec_context.format.name
        for picture in pages(5):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format="yuvj444p")
            file.mux(video.encode(frame))
        for number in range(10):
            wave = np.zeros((1, 2 * 960) if not kind.endswith("p") else (2, 960))
            wave = wave.astype(np.int16 if kind.startswith("s16") else np.float32)
            block = av.AudioFrame.from_ndarray(wave, kind, layout)
            block.sample_rate, block.pts = 48_000, 960 * number
            file.mux(sound.encode(block))
        file.mux(video.encode(None))
        file.mux(sound.encode(None))
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_the_plain_sound_of_cameras_is_kept(tmp_path, suffix):
    source = with_sound(tmp_path / "rain.avi", "pcm_s16le")
    report = restore_video(same, source, tmp_path / f"clean{suffix}", temporal=False)
    assert report.dropped == ()
    after = read_video(tmp_path / f"clean{suffix}")
    assert b"".join(data for _, data in after["sound"]) == b"".join(
        data for _, data in read_video(source)["sound"]
    )


@pytest.mark.parametrize("codec", ["flac", "libopus"])
def test_sound_that_a_container_refuses_is_named(tmp_path, codec):
    source = with_sound(tmp_path / "rain.mkv", codec)
    report = restore_video(same, source, tmp_path / "clean.mov", temporal=False)
    assert len(report.dropped) == 1 and "which .mov files cannot hold" in report.dropped[0]
    assert read_video(tmp_path / "clean.mov")["streams"] == [("video", None)]


def test_other_videos_of_a_file_would_show_the_rain(tmp_path):
    path = tmp_path / "rain.mkv"
    with av.open(str(path), "w") as file:
        videos = [file.add_stream("mjpeg", rate=25) for _ in range(2)]
        for video in videos:
            video.width, video.height, video.pix_fmt = 64, 64, "yuvj444p"
        for picture in pages():
            for video in videos:
                frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format="yuvj444p")
                file.mux(video.encode(frame))
        for video in videos:
            file.mux(video.encode(None))
    report = restore_video(same, path, tmp_path / "clean.mkv", temporal=False)
    assert report.dropped == ("stream 1, another video, which shows the rain",)
    with av.open(str(tmp_path / "clean.mkv")) as file:
        assert len(file.streams) == 1


def test_transparency_that_a_decoder_does_not_see_is_named(tmp_path):
    source = write_video(tmp_path / "rain.webm", pages(), "libvpx-vp9", "yuva420p")
    report = restore_video(same, source, tmp_path / "clean.webm", temporal=False)
    assert report.dropped == ("the transparency",)
    with av.open(str(tmp_path / "clean.webm")) as file:
        assert "alpha_mode" not in {key.lower() for key in file.streams.video[0].metadata}


def test_damage_that_the_decoder_tells_of_is_a_warning(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (8, 96, 128, 3), np.uint8)
    source = write_video(tmp_path / "rain.mp4", frames, options={"crf": "20", "g": "8"})
    data = bytearray(source.read_bytes())
    place = data.index(b"mdat") + len(data) // 40
    data[place : place + 200] = bytes(200)
    source.write_bytes(data)
    with pytest.warns(UserWarning, match=r"rain.mp4: damaged at about 0\.\d s"):
        restore_video(same, source, tmp_path / "clean.mp4", temporal=False)


@pytest.mark.parametrize("text", ["ffconcat version 1.0\nfile other.mp4\n", "#EXTM3U\nother.ts\n"])
def test_a_list_of_other_files_is_no_video(tmp_path, text):
    write_video(tmp_path / "other.mp4", pages())
    (tmp_path / "list.mp4").write_text(text)
    with pytest.raises(UsageError, match="list.mp4: a list of other files, expected a video"):
        VideoReader(tmp_path / "list.mp4")


def test_a_colon_in_a_name_is_no_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "rain.mp4", pages()).rename(tmp_path / "12:30.mp4")
    assert restore_video(same, "12:30.mp4", "13:30.mp4", temporal=False).frames == 3
    assert closeness(tmp_path / "12:30.mp4", tmp_path / "13:30.mp4") <= 4


@pytest.mark.parametrize("as_file", [False, True])
@pytest.mark.parametrize("strength", [0.25, 1.0])
def test_blended_frames_keep_the_share_of_rain_that_was_asked_for(tmp_path, strength, as_file):
    """Rain that is white noise here, and that the restorer takes away but for the noise it adds."""
    clean = np.full((10, 64, 64, 3), 90, np.uint8)
    random = np.random.default_rng(0)
    rainy = clean + random.integers(0, 100, (10, 64, 64, 1)).astype(np.uint8)
    source = write_video(tmp_path / "rain.mkv", rainy, "ffv1", "bgr0")

    def restorer(picture):
        noisy = 90 + random.normal(0, 6, (64, 64, 1))
        return np.rint(picture + strength * (noisy - picture)).astype(np.uint8)

    restorer.strength = strength
    target = tmp_path / "clean.mkv"
    if as_file:
        job = Job(source, target, kind="video")
        outcome = FileRestorer(restorer, video={"codec": "ffv1"}).restore(job)
        assert outcome.status == "restored", outcome.message
    else:
        restore_video(restorer, source, target, codec="ffv1")
    rain = rainy.astype(float) - 90
    found = read_video(target)["frames"].astype(float) - 90
    left = (found * rain).sum() / (rain**2).sum()
    assert abs(left - (1 - strength)) < 0.03
    # What the restorer adds to single frames is evened out.
    assert (found - left * rain).std() < 0.6 * strength * 6


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_a_disk_that_is_just_full_leaves_no_video(tmp_path, suffix):
    source = write_video(tmp_path / "rain.mkv", pages(5))
    target = tmp_path / f"clean{suffix}"
    restore_video(same, source, target, temporal=False)
    size = target.stat().st_size
    target.unlink()
    for room in (10, size // 2, size - 1):
        with files_end_at(room), pytest.raises(UsageError, match=f"clean{suffix}.*too large"):
            restore_video(same, source, target, temporal=False)
        assert list(tmp_path.iterdir()) == [source]
    with files_end_at(size - 1), pytest.raises(UsageError) as caught:
        restore_video(same, source, target, temporal=False)
    assert str(caught.value) == f"cannot write {target}: File too large"  # and no temporary name
