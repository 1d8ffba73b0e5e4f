"""Video files: read frame by frame, written with everything besides the frames kept.

PyAV does the work (the extra `video`); it brings FFmpeg's libraries with it. Here a frame is a
picture as any other: ``[H, W, 3]``, RGB, upright; ``uint8``, or ``float32`` in [0, 1] where the
file has more than 8 bits.
"""

import contextlib
import errno
import io
import os
import struct
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from mspfn_tf.errors import UsageError

if TYPE_CHECKING:
    import av

_CONTAINERS = {  # FFmpeg's names
    ".m4v": "mp4",
    ".mkv": "matroska",
    ".mov": "mov",
    ".mp4": "mp4",
    ".webm": "webm",
}
VIDEO_SUFFIXES = tuple(_CONTAINERS)
"""What can be written."""
_SOUND_SUFFIXES = (".aac", ".flac", ".m4a", ".m4b", ".mka", ".mp3", ".oga", ".ogg", ".opus", ".wma")
# Of pictures in the container of MP4: AVIF, HEIF, Canon's raw files.
_PICTURE_BRANDS = (
    *(b"avif", b"avis", b"crx ", b"mif1", b"mif2", b"msf1"),
    *(b"heic", b"heim", b"heis", b"heix", b"hevc", b"hevx"),
)
_SOUND_BRANDS = (b"M4A ", b"M4B ")
_CODECS = {".webm": "libvpx-vp9"}  # by suffix
_CODEC = "libx264"
# Hardly to be told from the source. Encoders that are not named here keep their own default.
_QUALITIES = {"libx264": 18, "libx265": 20, "libvpx-vp9": 24, "libsvtav1": 24}
_COARSEST = {"libx264": 51, "libx265": 51}  # beyond it, x264 silently takes it
_TRIAL = 256  # pixels a side of the frames with which encoders are tried out
_TAIL = 1.0  # seconds by which a whole file may end before the time it announces
_LATE = 2.0  # seconds by which packets of other streams may come after those of the video
# Numbers of ITU-T H.273, which FFmpeg uses too.
_UNSPECIFIED, _BT709, _BT601 = 2, 1, 6
_FULL_RANGE = 2
_MICROSECOND = Fraction(1, 1_000_000)  # FFmpeg's unit where a stream has none of its own
_HIGH_DEFINITION = 720  # rows from which players take BT.709 where nothing is said


def is_video(path: str | os.PathLike) -> bool:
    """Tells by its content whether a file is a video. Needs no PyAV.

    Sound is held in the same containers: it is told by its suffix. Animated pictures (GIF, WebP,
    APNG, AVIF) are none. False for what cannot be read.
    """
    if Path(path).suffix.lower() in _SOUND_SUFFIXES:
        return False
    try:
        with open(path, "rb") as file:
            head = file.read(1024)
    except OSError:
        return False
    if head[4:8] == b"ftyp":
        return head[8:12] not in _PICTURE_BRANDS + _SOUND_BRANDS
    if head[4:8] in (b"moov", b"mdat", b"wide"):  # QuickTime files without a type
        return True
    if head[:4] == b"RIFF":
        return head[8:12] == b"AVI "
    starts = (
        b"\x1a\x45\xdf\xa3",  # Matroska, WebM
        b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF, WMV
        b"\x00\x00\x01\xba",  # MPEG program stream
        b"\x00\x00\x01\xb3",  # MPEG-1 and 2
        b"\x06\x0e\x2b\x34",  # MXF
        b"FLV\x01",
        b"OggS",
        b"YUV4MPEG2",
        b"DKIF",  # IVF
    )
    if head.startswith(starts):
        return True
    # MPEG transport streams: a mark every 188 bytes, after a time stamp every 192.
    return len(head) == 1024 and any(
        all(head[start + step * n] == 0x47 for n in range(5)) and len(set(head)) > 1
        for start, step in ((0, 188), (4, 192))
    )


def video_target(target: str | os.PathLike) -> Path:
    """The name that a restored video gets where an output folder decides it: with .mkv where its
    own suffix cannot be written."""
    target = Path(target)
    return target if target.suffix.lower() in VIDEO_SUFFIXES else target.with_suffix(".mkv")


@dataclass(frozen=True, eq=False)
class VideoFrame:
    """A frame.

    Attributes:
        picture: ``uint8 [H, W, 3]`` or ``float32`` in [0, 1]; RGB, upright.
        time: when it is shown, in units of the file's time base.
        duration: for how long, in the same units; 0 if unknown.
    """

    picture: np.ndarray
    time: int
    duration: int = 0


def load_av() -> ModuleType:
    """Returns the module `av`. Raises `UsageError` where the extra is not installed."""
    os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 tells errors only
    try:
        import av
    except ImportError as error:
        raise UsageError('videos need PyAV: pip install "mspfn_tf[video]"') from error
    return av


class VideoReader:
    """Reads a video. Iterating yields `VideoFrame`, and between them packets of all other streams.

    Args:
        path: any file that FFmpeg can read.
        start: seconds after the beginning.
        duration: seconds; default to the end.

    Attributes:
        size: (H, W) of the upright frames.
        frames: about how many there will be, or None where nobody knows.
        dropped: what cannot be taken over into a file, in words; `VideoWriter` adds to it.

    Raises:
        UsageError: no such file, no video, damaged or cut off (while iterating); the message names
            the file.
    """

    def __init__(
        self, path: str | os.PathLike, start: float | None = None, duration: float | None = None
    ):
        self._av = load_av()
        self.path = Path(path)
        check_part(start, duration)
        self.dropped = []
        if not self.path.is_file():
            raise UsageError(f"{path}: no such file")
        try:
            self.container = self._av.open(str(self.path), metadata_errors="replace")
        except self._av.FFmpegError as error:
            raise UsageError(f"{path}: cannot be read as a video ({error.strerror})") from error
        try:
            self._begin(start, duration)
        except BaseException:
            self.container.close()
            raise

    def _begin(self, start, duration):
        self.stream = stream = self._video_stream()
        self.time_base = stream.time_base or _MICROSECOND
        self.rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        self.origin = (self.container.start_time or 0) * _MICROSECOND
        self.start = self.origin + _seconds(start) if start else None
        begin = self.origin if self.start is None else self.start
        self.end = None if duration is None else begin + _seconds(duration)
        self._announced = None
        if stream.duration:
            self._announced = (stream.duration + (stream.start_time or 0)) * self.time_base
        elif "matroska" in self.container.format.name and self.container.duration:
            self._announced = Fraction(self.container.duration, 1_000_000)  # of all streams
        self.frames = self._count(begin)
        if self.start is not None:
            self.container.seek(int(self.start * 1_000_000))
        self._rgb = self._av.video.reformatter.VideoReformatter()
        self._sample = None  # a decoded frame, for what it says about all
        self._corrupt = False
        self._last = None  # presentation time of the last decoded frame
        self._read = Fraction(0)  # up to which time there are packets of any stream
        self._items = self._decoded()
        self._waiting = []
        for item in self._items:  # up to the first frame, which tells what the header may not
            self._waiting.append(item)
            if isinstance(item, VideoFrame):
                self.size = item.picture.shape[:2]
                return
        where = "" if self.start is None else f" after {start} s"
        raise UsageError(f"{self.path}: no frame can be decoded{where}")

    def _video_stream(self):
        videos = [s for s in self.container.streams.video if not _is_cover(self._av, s)]
        if not videos:
            raise UsageError(f"{self.path}: holds no video, only sound or pictures")
        default = self._av.stream.Disposition.default
        stream = next((s for s in videos if s.disposition & default), videos[0])
        if stream.codec_context is None:
            raise UsageError(f"{self.path}: its video codec is unknown to FFmpeg")
        stream.thread_type = "AUTO"
        return stream

    def _count(self, begin):
        count = self.stream.frames
        if not count:
            if not self.container.duration:
                return None
            count = round(self.container.duration * _MICROSECOND * self.rate)
        count -= int((begin - self.origin) * self.rate)
        if self.end is not None:
            count = min(count, round((self.end - begin) * self.rate))
        return max(1, count)

    def __iter__(self) -> Iterator:
        while self._waiting:
            yield self._waiting.pop(0)
        yield from self._items
        if self.end is not None:
            return
        ends = (self._last or 0) * self.time_base
        reached = ends if self.stream.duration else max(ends, self._read)
        missing = 0 if self._announced is None else self._announced - reached
        if self._corrupt or missing > Fraction(_TAIL) + 2 / self.rate:
            if self._announced is None:
                raise UsageError(f"{self.path}: damaged, it ends at {float(ends):.1f} s")
            raise UsageError(
                f"{self.path}: cut off, its frames end at {float(ends):.1f} s of "
                f"{float(self._announced):.1f} s; pass a duration to restore what is there"
            )

    def shift(self, time_base: Fraction) -> int:
        """What the times of a stream of that time base are lowered by, so that `start` is 0."""
        return 0 if self.start is None else round(self.start / time_base)

    def _wanted(self, time, time_base):
        seconds = time * time_base
        after = self.start is None or seconds >= self.start
        return after and (self.end is None or seconds < self.end)

    def _decoded(self):
        over = False
        for packet in self._packets():
            if packet.stream.index != self.stream.index:
                time = packet.dts if packet.pts is None else packet.pts
                if time is not None and self._wanted(time, packet.time_base or _MICROSECOND):
                    yield packet
                continue
            if over:
                late = Fraction(_LATE) + (self.end or 0)
                if packet.dts and packet.dts * self.time_base > late:
                    return
                continue
            for frame in self._frames(packet):
                item = self._converted(frame)
                if self._wanted(item.time, self.time_base):
                    yield VideoFrame(
                        item.picture, item.time - self.shift(self.time_base), item.duration
                    )
                elif self.end is not None and item.time * self.time_base >= self.end:
                    over = True

    def _packets(self):
        packets = self.container.demux()
        while True:
            try:
                packet = next(packets, None)
            except self._av.FFmpegError as error:
                raise self._damaged(error) from error
            if packet is None:
                return
            if packet.pts is not None:
                end = (packet.pts + (packet.duration or 0)) * packet.time_base
                self._read = max(self._read, end)
            yield packet

    def _frames(self, packet):
        if packet.is_corrupt:  # the last one of a file that was cut off
            self._corrupt = True
            return []
        try:
            return packet.decode()
        except self._av.FFmpegError as error:
            if self._sample is None:  # recordings may begin anywhere: before their first key frame
                return []
            raise self._damaged(error) from error

    def _damaged(self, error):
        seconds = float((self._last or 0) * self.time_base)
        return UsageError(f"{self.path}: damaged after {seconds:.1f} s ({error.strerror})")

    def _converted(self, frame):
        if self._sample is None:
            self._sample = frame
            self._describe(frame)
        elif (frame.width, frame.height) != (self._sample.width, self._sample.height):
            raise UsageError(
                f"{self.path}: its frames change from {self._sample.width}x{self._sample.height} "
                f"to {frame.width}x{frame.height}; split it there first"
            )
        step = max(1, round(1 / self.rate / self.time_base))
        time = frame.pts
        if time is None or (self._last is not None and time <= self._last):
            time = 0 if self._last is None else self._last + step
        self._last = time
        rgb = self._rgb.reformat(
            frame,
            format="rgb48le" if self.deep else "rgb24",
            src_colorspace=self._matrix,
            src_color_range=2 if self.full_range else 1,
            dst_color_range=_FULL_RANGE,
            interpolation=_interpolation(self._av),
            threads=1,
        ).to_ndarray()
        if self.deep:
            rgb = rgb.astype(np.float32) / 65535
        return VideoFrame(np.rot90(rgb, self.quarters), time, frame.duration or 0)

    def _describe(self, frame):
        """Notes what must come back in the file that is written."""
        self.format = frame.format.name
        parts = frame.format.components
        self.deep = max(part.bits for part in parts) > 8
        self.full_range = (
            frame.color_range == _FULL_RANGE
            or self.format.startswith("yuvj")
            or frame.format.is_rgb
        )
        self.colours = {
            "colorspace": frame.colorspace,
            "color_range": _FULL_RANGE if self.format.startswith("yuvj") else frame.color_range,
            "color_trc": frame.color_trc,
            "color_primaries": frame.color_primaries,
        }
        self._matrix = matrix_of(frame.colorspace, frame.height)
        self.display = None
        for data in frame.side_data:
            if data.type == self._av.sidedata.sidedata.Type.DISPLAYMATRIX:
                self.display = struct.unpack("=9i", bytes(data)[:36])
        self.quarters = round(frame.rotation / 90) % 4 if self.display else 0
        if any(part.is_alpha for part in parts):
            self.dropped.append("the transparency")
        if frame.interlaced_frame:
            warnings.warn(
                f"{self.path}: interlaced, which leaves combs; deinterlace it first", stacklevel=2
            )

    def close(self) -> None:
        self.container.close()


class VideoWriter:
    """Writes a video like one that was read: its times, shape, colours, sound, titles and chapters.

    Args:
        path: the file to write; its suffix, one of `VIDEO_SUFFIXES`, decides the container.
        reader: the `VideoReader` whose packets and properties are taken over.
        codec: FFmpeg's name of an encoder. Default libx264, in .webm files libvpx-vp9.
        crf: the encoder's constant quality; default 18 for libx264, alike for others.
        options: more of the encoder's options.
        columns: how many frames lie side by side.
        name: what messages call the file, where `path` is only its name for now.

    Raises:
        UsageError: the codec or an option is unknown, or the container cannot hold the codec.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        reader: VideoReader,
        codec: str | None = None,
        crf: float | None = None,
        options: Mapping[str, str] | None = None,
        columns: int = 1,
        name: str | os.PathLike | None = None,
    ):
        self._av = load_av()
        self.path, self._reader = Path(name or path), reader
        suffix = self.path.suffix.lower()
        check_video_target(path)
        codec, given = _encoding(suffix, codec, crf, options)
        height, width = reader.size
        width *= columns
        if reader.quarters % 2:
            height, width = width, height
        mp4 = suffix in (".m4v", ".mov", ".mp4")
        self.container = self._av.open(
            str(path),
            "w",
            format=_CONTAINERS[suffix],
            container_options={"movflags": "+faststart+write_colr"} if mp4 else {},
        )
        try:
            self._add_video(codec, given, height, width)
            self._add_others()
            self._add_texts()
            self._start(codec, given)
        except BaseException:
            self.abandon()
            raise
        self._yuv = self._av.video.reformatter.VideoReformatter()

    def _add_video(self, codec, options, height, width):
        reader = self._reader
        suffix = self.path.suffix.lower()
        self.stream = _add_stream(self.container, suffix, codec, reader.rate, options)
        stream, context = self.stream, self.stream.codec_context
        context.width, context.height = width, height
        wanted = reader.format.replace("yuvj", "yuv")
        context.pix_fmt = _pixel_format(codec, wanted, height, width)
        context.time_base = stream.time_base = reader.time_base
        source = reader.stream
        if source.sample_aspect_ratio:
            context.sample_aspect_ratio = source.sample_aspect_ratio
        for name, value in reader.colours.items():
            setattr(context, name, value)
        context.thread_type = "AUTO"
        if reader.display is not None:
            stream.set_display_matrix(reader.display)
        stream.metadata.update(_described(source.metadata))
        stream.disposition = source.disposition

    def _add_others(self):
        reader = self._reader
        self._copied = {}
        chapters = bool(reader.container.chapters())
        for source in reader.container.streams:
            if source.index == reader.stream.index:
                continue
            if _is_cover(self._av, source):
                reader.dropped.append(f"stream {source.index}, the cover, which may show the rain")
                continue
            if source.type == "data" and chapters:  # the track that names them in .mp4 files
                continue
            try:
                if source.type == "data" or source.type == "unknown":
                    raise ValueError
                if source.type == "attachment" and self.path.suffix.lower() != ".mkv":
                    raise ValueError
                copy = self.container.add_stream_from_template(source, opaque=True)
            except (ValueError, self._av.FFmpegError):
                what = getattr(source.codec_context, "name", None) or source.type
                reader.dropped.append(
                    f"stream {source.index} ({source.type}, {what}), which {self.path.suffix} "
                    "files cannot hold"
                )
                continue
            copy.metadata.update(_described(source.metadata))
            if source.type != "attachment":
                copy.disposition = source.disposition
                self._copied[source.index] = copy

    def _add_texts(self):
        reader = self._reader
        self.container.metadata.update(_described(reader.container.metadata))
        chapters = []
        for chapter in reader.container.chapters():
            base = chapter["time_base"] or _MICROSECOND
            shift = reader.shift(base)
            start, end = chapter["start"] - shift, chapter["end"] - shift
            if reader.end is not None:
                end = min(end, round(reader.end / base) - shift)
            if end > max(start, 0):
                chapters.append({**chapter, "start": max(start, 0), "end": end})
        if chapters:
            self.container.set_chapters(chapters)

    def _start(self, codec, options):
        _open(self.stream.codec_context, codec, options)
        try:
            self.container.start_encoding()
        except (self._av.FFmpegError, ValueError) as error:
            raise UsageError(f"{self.path}: cannot be written ({error})") from error

    def write(self, item: "VideoFrame | av.Packet") -> None:
        """Takes what the reader yields: packets as they are, and frames with other pictures."""
        if not isinstance(item, VideoFrame):
            self._copy(item)
            return
        reader = self._reader
        picture = np.ascontiguousarray(np.rot90(item.picture, -reader.quarters))
        if picture.dtype != np.uint8:
            picture = np.rint(picture * 65535).astype(np.uint16)
        frame = self._av.VideoFrame.from_ndarray(
            picture, "rgb24" if picture.dtype == np.uint8 else "rgb48le"
        )
        frame = self._yuv.reformat(
            frame,
            format=self.stream.codec_context.pix_fmt,
            dst_colorspace=matrix_of(reader.colours["colorspace"], frame.height),
            src_color_range=_FULL_RANGE,
            dst_color_range=2 if reader.full_range else 1,
            interpolation=_interpolation(self._av),
            threads=1,
        )
        for name, value in reader.colours.items():
            setattr(frame, name, value)
        frame.pts, frame.time_base = item.time, reader.time_base
        if item.duration:
            frame.duration = item.duration
        self._encode(frame)

    def _encode(self, frame):
        try:
            packets = self.stream.encode(frame)
        except self._av.FFmpegError as error:
            codec = self.stream.codec_context.name
            raise UsageError(f"{self.path}: {codec} cannot encode it ({error.strerror})") from error
        self._mux(packets)

    def _copy(self, packet):
        copy = self._copied.get(packet.stream.index)
        if copy is None:
            return
        shift = self._reader.shift(packet.time_base)
        again = self._av.Packet(bytes(packet))
        again.time_base = packet.time_base
        for name in ("pts", "dts"):
            time = getattr(packet, name)
            if time is not None:
                setattr(again, name, time - shift)
        again.duration = packet.duration
        again.is_keyframe = packet.is_keyframe
        for data in packet.iter_sidedata():
            again.set_sidedata(data)
        again.stream = copy
        self._mux([again])

    def _mux(self, packets):
        try:
            self.container.mux(packets)
        except (self._av.FFmpegError, OSError) as error:
            raise UsageError(f"cannot write {self.path}: {error}") from error

    def close(self) -> None:
        """Writes what the encoder still holds, and the end of the file."""
        self._encode(None)
        try:
            self.container.close()
        except (self._av.FFmpegError, OSError) as error:
            raise UsageError(f"cannot write {self.path}: {error}") from error

    def abandon(self) -> None:
        """Closes the file where it is not wanted any more; nothing where it is closed."""
        with contextlib.suppress(self._av.FFmpegError, OSError, ValueError):
            self.container.close()


def check_encoding(
    suffix: str,
    codec: str | None = None,
    crf: float | None = None,
    options: Mapping[str, str] | None = None,
) -> None:
    """Raises `UsageError` where no video can be written so, whatever it is.

    It is tried out in memory. What an encoder takes of some sizes only, each video has to tell.

    Args:
        suffix: one of `VIDEO_SUFFIXES`.
        codec, crf, options: as `VideoWriter` takes them.
    """
    av = load_av()
    codec, given = _encoding(suffix, codec, crf, options)

    def opens(options):
        with av.open(io.BytesIO(), "w", format=_CONTAINERS[suffix]) as container:
            context = _add_stream(container, suffix, codec, Fraction(25), options).codec_context
            context.width = context.height = _TRIAL
            context.pix_fmt = _pixel_format(codec, "yuv420p", _TRIAL, _TRIAL)
            try:
                _open(context, codec, options)
            except UsageError as error:
                return error

    refusal = opens(given)
    if refusal is None:
        return
    # Without options, too, it may refuse frames of this size: "invalid argument". Other errors are
    # those of hardware that is not there.
    plain = opens({})
    if plain is None or plain.__cause__.errno != errno.EINVAL:
        raise refusal


def _encoding(suffix, codec, crf, options):
    """Returns (the name of the encoder for files of a suffix, the options that are asked for)."""
    codec = codec or _CODECS.get(suffix, _CODEC)
    given = dict(options or {})
    if crf is not None:
        if not 0 <= crf <= _COARSEST.get(codec, float("inf")):
            up_to = f" to {_COARSEST[codec]}" if codec in _COARSEST else " up"
            raise UsageError(f"crf must be from 0{up_to} for {codec}; received {crf:g}")
        given["crf"] = f"{crf:g}"
    elif codec in _QUALITIES and not given.keys() & {"crf", "qp", "b", "bitrate"}:
        given["crf"] = str(_QUALITIES[codec])
    if codec == "libvpx-vp9":  # else its quality is bounded by a bit rate
        given.setdefault("b", "0")
    return codec, given


def _encoder(codec):
    """PyAV's `Codec`."""
    try:
        encoder = load_av().Codec(codec, "w")
    except ValueError as error:
        raise UsageError(f"codec {codec}: FFmpeg has no such encoder") from error
    if encoder.type != "video":
        raise UsageError(f"codec {codec}: an encoder for {encoder.type}, expected video")
    return encoder


def _add_stream(container, suffix, codec, rate, options):
    _encoder(codec)
    if codec == "libx265":  # it does not go by FFmpeg's level, and would tell of every file
        options = {**options, "x265-params": f"log-level=error:{options.get('x265-params', '')}"}
    try:
        return container.add_stream(codec, rate=rate, options=dict(options))
    except ValueError as error:
        raise UsageError(f"codec {codec}: {suffix} files cannot hold it") from error


def _pixel_format(codec, wanted, height, width):
    """The pixel format closest to `wanted` in which an encoder takes frames of that size."""
    offered = [f.name for f in _encoder(codec).video_formats or []]
    if not offered:
        return wanted
    # Full range is told by the tag; the formats that say it too are deprecated.
    offered = [name for name in offered if not name.startswith("yuvj")] or offered
    if codec in ("libx264", "libx265") and (height % 2 or width % 2):
        # These hold odd sizes only where the colours are not halved.
        offered = [name for name in offered if name.startswith("yuv444")]
    best, _ = load_av().codec.codec.find_best_pix_fmt_of_list(offered, wanted)
    return best.name


def _open(context, codec, options):
    try:
        context.open()
    except load_av().FFmpegError as error:
        frames = f"{context.width}x{context.height} {context.pix_fmt}"
        named = ", ".join(f"{key}={value}" for key, value in options.items())
        raise UsageError(
            f"codec {codec} does not take {frames}{f' with {named}' if named else ''} "
            f"({error.strerror})"
        ) from error
    unknown = sorted(options.keys() & context.options.keys())
    if unknown:
        raise UsageError(f"codec {codec} has no option {', '.join(unknown)}")


def check_part(start: float | None, duration: float | None, flag: str = "") -> None:
    """Raises `UsageError` where these are no part of a video; `flag` stands before their names."""
    if start is not None and not 0 <= start < 1e9:
        raise UsageError(f"{flag}start must be seconds from 0 up; received {start}")
    if duration is not None and not 0 < duration < 1e9:
        raise UsageError(f"{flag}duration must be seconds, more than 0; received {duration}")


def check_video_target(path: str | os.PathLike) -> None:
    """Raises `UsageError` where the suffix of `path` is none of `VIDEO_SUFFIXES`."""
    if Path(path).suffix.lower() not in VIDEO_SUFFIXES:
        raise UsageError(
            f"{path}: cannot write '{Path(path).suffix}' videos, only {', '.join(VIDEO_SUFFIXES)}"
        )


def matrix_of(colorspace: int, height: int) -> int:
    """swscale's number of the matrix between RGB and YUV, for H.273's number of it."""
    if colorspace in (_UNSPECIFIED, 0, 3):
        colorspace = _BT709 if height >= _HIGH_DEFINITION else _BT601
    # BT.601 has two numbers in H.273; constant luminance is treated as its plain sibling.
    return {_BT709: 1, 4: 4, 5: 5, _BT601: 5, 7: 7, 9: 9, 10: 9}.get(colorspace, 5)


def _is_cover(av, stream):
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _seconds(value):
    """The number that was meant: 0.16 as a float is a little more than a frame's time."""
    return Fraction(value).limit_denominator(1_000_000)


def _interpolation(av):
    flags = av.video.reformatter.Interpolation
    accurate = flags.ACCURATE_RND | flags.FULL_CHR_H_INT | flags.FULL_CHR_H_INP
    return flags.BICUBIC | accurate


def _described(metadata):
    """Without what the muxer writes itself, and what is no longer true."""
    own = ("encoder", "major_brand", "minor_version", "compatible_brands", "DURATION", "BPS")
    return {k: v for k, v in metadata.items() if k not in own and not k.startswith("_STATISTICS")}
