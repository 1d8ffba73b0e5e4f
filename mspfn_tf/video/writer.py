"""Videos are written like the ones that were read: everything besides the frames is kept."""

import contextlib
import errno
import io
import os
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mspfn_tf.errors import UsageError
from mspfn_tf.video.formats import CONTAINERS, check_video_target
from mspfn_tf.video.frames import (
    FULL_RANGE,
    MICROSECOND,
    VideoFrame,
    interpolation,
    is_cover,
    load_av,
    matrix_of,
)
from mspfn_tf.video.reader import VideoReader

if TYPE_CHECKING:
    import av

_CODECS = {".webm": "libvpx-vp9"}  # by suffix
_CODEC = "libx264"
# Hardly to be told from the source. Encoders that are not named here keep their own default.
_QUALITIES = {"libx264": 18, "libx265": 20, "libvpx-vp9": 24, "libsvtav1": 24}
_COARSEST = {"libx264": 51, "libx265": 51}  # beyond it, x264 silently takes it
_TRIAL = 256  # pixels a side of the frames with which encoders are tried out


class VideoWriter:
    """Writes a video like one that was read: its times, shape, colours, sound, titles and chapters.

    Args:
        path: the file to write; its suffix, one of `VIDEO_SUFFIXES`, decides the container.
        reader: the `VideoReader` whose packets and properties are taken over.
        codec: FFmpeg's name of an encoder. Default libx264, in .webm files libvpx-vp9.
        crf: the encoder's constant quality; default 18 for libx264, alike for others.
        options: more of the encoder's options; libx264's `preset` is "veryfast" by default.
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
            format=CONTAINERS[suffix],
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
            if is_cover(self._av, source):
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
            base = chapter["time_base"] or MICROSECOND
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
            src_color_range=FULL_RANGE,
            dst_color_range=2 if reader.full_range else 1,
            interpolation=interpolation(self._av),
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
        with av.open(io.BytesIO(), "w", format=CONTAINERS[suffix]) as container:
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
    if plain is None or getattr(plain.__cause__, "errno", None) != errno.EINVAL:
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
    if codec == "libx264":  # with its own choice, "medium", videos take a fifth longer
        given.setdefault("preset", "veryfast")
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


def _described(metadata):
    """Without what the muxer writes itself, and what is no longer true."""
    own = ("encoder", "major_brand", "minor_version", "compatible_brands", "DURATION", "BPS")
    return {k: v for k, v in metadata.items() if k not in own and not k.startswith("_STATISTICS")}
