"""Videos are written like the ones that were read: everything besides the frames is kept."""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mspfn_tf.errors import UsageError
from mspfn_tf.symmetries import turned_back
from mspfn_tf.video.encoding import (
    accepted,
    add_stream,
    copied,
    encoding,
    frames_of,
    holds,
    open_encoder,
    opened,
)
from mspfn_tf.video.formats import check_video_target
from mspfn_tf.video.frames import (
    FULL_RANGE,
    LIMITED_RANGE,
    MICROSECOND,
    VideoFrame,
    interpolation,
    is_cover,
    load_av,
    white,
)
from mspfn_tf.video.reader import VideoReader

if TYPE_CHECKING:
    import av


_MP4 = (".m4v", ".mov", ".mp4")
# FFmpeg reads what QuickTime calls so, and writes it under the other name only.
_QUICKTIME = "com.apple.quicktime."
_WRITTEN_AS = {
    "author": "artist",
    "creationdate": "date",
    "location.ISO6709": "location",
    "name": "title",
}


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
        codec, given = encoding(suffix, codec, crf, options)
        height, width = reader.size
        width *= columns
        if reader.symmetry % 2:
            height, width = width, height
        self._frames = accepted(suffix, codec, given, frames_of(reader, codec, height, width))
        self.container = opened(Path(path).absolute(), suffix)
        try:
            self._add_video(suffix, codec, given)
            self._add_others(suffix)
            self._add_texts()
            self._start(codec, given)
        except BaseException:
            self.abandon()
            raise
        self._yuv = self._av.video.reformatter.VideoReformatter()
        pixels = self._av.VideoFormat(self._frames.pixels)
        self._white = np.float32(white(pixels, self._frames.full_range, reads=False))
        self._held = None  # the last frame so far
        self._durations = {}  # of the frames within the encoder, by their time
        self._delay = None  # from when the first frame is decoded to when it is shown

    def _add_video(self, suffix, codec, options):
        source = self._reader.stream
        self.stream = stream = add_stream(self.container, suffix, codec, options, self._frames)
        if source.sample_aspect_ratio:
            stream.codec_context.sample_aspect_ratio = source.sample_aspect_ratio
        stream.codec_context.thread_type = "AUTO"
        if self._reader.display is not None:
            stream.set_display_matrix(self._reader.display)
        stream.metadata.update(_described(source.metadata))
        stream.disposition = source.disposition

    def _add_others(self, suffix):
        reader = self._reader
        self._copied = {}
        chapters = bool(reader.container.chapters())
        for source in reader.container.streams:
            if source.index == reader.stream.index:
                continue
            if is_cover(self._av, source):
                reader.dropped.append(f"stream {source.index}, the cover, which may show the rain")
                continue
            if source.type == "video":
                reader.dropped.append(f"stream {source.index}, another video, which shows the rain")
                continue
            if source.type == "data" and chapters:  # the track that names them in .mp4 files
                continue
            if not holds(suffix, source):
                what = getattr(source.codec_context, "name", None) or source.type
                reader.dropped.append(
                    f"stream {source.index} ({source.type}, {what}), which {self.path.suffix} "
                    "files cannot hold"
                )
                continue
            copy = copied(self.container, source)
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
        open_encoder(self.stream.codec_context, codec, options)
        try:
            self.container.start_encoding()
        except (self._av.FFmpegError, ValueError) as error:
            raise UsageError(f"{self.path}: cannot be written ({_reason(error)})") from error

    def write(self, item: "VideoFrame | av.Packet") -> None:
        """Takes what the reader yields: packets as they are, and frames with other pictures."""
        if not isinstance(item, VideoFrame):
            self._copy(item)
            return
        if self._held is not None:
            self._mux(self._packets(self._held, item.time))
        self._held = item  # until it is known for how long it is shown

    def _converted(self, item):
        reader = self._reader
        picture = np.ascontiguousarray(turned_back(item.picture, reader.symmetry))
        if picture.dtype != np.uint8:
            picture = np.rint(picture * self._white).astype(np.uint16)
        frame = self._av.VideoFrame.from_ndarray(
            picture, "rgb24" if picture.dtype == np.uint8 else "rgb48le"
        )
        form = self._frames
        frame = self._yuv.reformat(
            frame,
            format=form.pixels,
            dst_colorspace=form.matrix,
            src_color_range=FULL_RANGE,
            dst_color_range=FULL_RANGE if form.full_range else LIMITED_RANGE,
            interpolation=interpolation(self._av),
            threads=1,
        )
        for name, value in form.colours.items():
            setattr(frame, name, value)
        frame.pts, frame.time_base = self._ticks(item.time), form.time_base
        return frame

    def _ticks(self, time):
        return round(time * self._reader.time_base / self._frames.time_base)

    def _packets(self, item, end):
        """What the encoder gives for a frame that is shown up to a time; for None what it holds."""
        frame = None if item is None else self._converted(item)
        if frame is not None:
            self._durations[frame.pts] = self._ticks(end) - frame.pts
        try:
            packets = self.stream.encode(frame)
        except self._av.FFmpegError as error:
            codec = self.stream.codec_context.name
            raise UsageError(f"{self.path}: {codec} cannot encode it ({error.strerror})") from error
        for packet in packets:  # encoders take frames to be shown as long as they are on average
            packet.duration = self._durations.pop(packet.pts, 0) or packet.duration
            if self._delay is None:
                self._delay = packet.pts - (packet.pts if packet.dts is None else packet.dts)
        return packets

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
            raise UsageError(f"cannot write {self.path}: {_reason(error)}") from error

    def close(self) -> None:
        """Writes what the encoder still holds, and the end of the file."""
        if self._held is not None:
            end = max(self._reader.shown, self._held.time)
            packets = self._packets(self._held, end) + self._packets(None, end)
            if packets and packets[-1].dts is not None and self.path.suffix.lower() in _MP4:
                # These end when the packet that is decoded last does: another than is shown last.
                left = self._ticks(end) - (self._delay or 0) - packets[-1].dts
                packets[-1].duration = max(left, packets[-1].duration)
            self._mux(packets)
        try:
            self.container.close()
        except (self._av.FFmpegError, OSError) as error:
            raise UsageError(f"cannot write {self.path}: {_reason(error)}") from error

    def abandon(self) -> None:
        """Closes the file where it is not wanted any more; nothing where it is closed."""
        with contextlib.suppress(self._av.FFmpegError, OSError, ValueError):
            self.container.close()


def _reason(error):
    """Without the temporary name of the file."""
    return getattr(error, "strerror", None) or error


def _described(metadata):
    """Without what the muxer writes itself, and what is no longer true; by the names it writes."""
    own = [
        "encoder",
        "major_brand",
        "minor_version",
        "compatible_brands",
        "duration",
        "bps",
        "alpha_mode",
    ]
    kept = {
        key.removeprefix(_QUICKTIME): value
        for key, value in metadata.items()
        if key.lower() not in own and not key.startswith("_STATISTICS")
    }
    return {_WRITTEN_AS.get(key, key): value for key, value in kept.items()}
