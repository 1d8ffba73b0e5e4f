"""Videos are read frame by frame, with all that a file holds besides.

PyAV does the work (the extra `video`); it brings FFmpeg's libraries with it.
"""

import math
import os
import struct
import warnings
from collections.abc import Iterator
from fractions import Fraction
from numbers import Real
from pathlib import Path

import numpy as np

from mspfn_tf.errors import UsageError
from mspfn_tf.symmetries import turned
from mspfn_tf.video.formats import is_cut_off, is_playlist
from mspfn_tf.video.frames import (
    FULL_RANGE,
    MICROSECOND,
    VideoFrame,
    interpolation,
    is_cover,
    load_av,
    matrix_of,
    white,
)

_DISCONTINUOUS = 0x0200  # FFmpeg's flag of containers whose times begin anywhere and wrap around
_TIMELESS = 0x0080  # the same of bare streams, which have frames and no times
_FASTEST = 1000  # frames per second beyond which a rate is a mistake
_BACK = (0, 2, 8, 32, 10**9)  # seconds before the start at which a key frame is looked for
_TAIL = 1.0  # seconds by which a whole file may end before the time it announces
_TORN = 2  # the last packets of a file, which lack something where it was cut off
_LATE = 2.0  # seconds by which packets of other streams may come after those of the video
# Seconds by which times go back, or ahead, where another recording was joined.
_BACKWARD, _AHEAD = Fraction(1, 10), 3600


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
        if not os.path.isfile(self.path):
            raise UsageError(f"{path}: no such file")
        if is_playlist(self.path):
            raise UsageError(f"{path}: a list of other files, expected a video")
        self._open()
        try:
            self._begin(start, duration)
        except BaseException:
            self.container.close()
            raise

    def _open(self):
        try:  # an absolute path: "12:30.mp4" would be the address of something on a network
            self.container = self._av.open(str(self.path.absolute()), metadata_errors="replace")
        except self._av.FFmpegError as error:
            raise UsageError(
                f"{self.path}: cannot be read as a video ({error.strerror})"
            ) from error

    def _begin(self, start, duration):
        self.stream = stream = self._video_stream()
        self.time_base = stream.time_base or MICROSECOND
        rates = [stream.average_rate, stream.guessed_rate]
        if self.container.format.flags & _TIMELESS:  # on average, FFmpeg takes 25 for what has none
            rates.reverse()
        self.rate = next((rate for rate in rates if rate and rate < _FASTEST), Fraction(25))
        self.origin = (self.container.start_time or 0) * MICROSECOND
        self.start = self.origin + _seconds(start) if start else None
        begin = self.origin if self.start is None else self.start
        self.end = None if duration is None else begin + _seconds(duration)
        self._announced = None
        if stream.duration:
            self._announced = (stream.duration + (stream.start_time or 0)) * self.time_base
        elif "matroska" in self.container.format.name and self.container.duration:
            self._announced = Fraction(self.container.duration, 1_000_000)  # of all streams
        self.frames = self._count(begin)
        self._rgb = self._av.video.reformatter.VideoReformatter()
        for back in _BACK if self.start is not None else (0,):
            if self._found_first(back):
                break
        else:
            where = "" if self.start is None else f" after {start} s"
            if duration is not None:
                where = f" within the {duration} s from {start or 0} s"
            raise UsageError(f"{self.path}: no frame can be decoded{where}")
        if self._transparent:
            self.dropped.append("the transparency")
        if self._interlaced:
            warnings.warn(
                f"{self.path}: interlaced, which leaves combs; deinterlace it first", stacklevel=3
            )

    def _found_first(self, back):
        """Reads up to the first frame, which tells what the header may not.

        Containers without an index are searched by guessing, and the search may end behind the last
        key frame before the start: then it is not found, and has to begin further back. Where there
        are no times, nothing can be searched.
        """
        target = self.origin if self.start is None else self.start - back
        if target > self.origin:
            if self.container.format.flags & _TIMELESS:
                return False
            self.container.seek(int(target * 1_000_000))
        elif back:  # a search for the beginning may miss it, too
            self.container.close()
            self._open()
            self.stream = self._video_stream()
        self._sample = None  # a decoded frame, for what it says about all
        self._corrupt = None  # a packet of the video that lacks something, not decoded yet
        self._intact = _TORN  # packets of the video since such a one
        self._told = False
        self._first = self._last = None  # presentation times of decoded frames
        self._shown = Fraction(0)  # the time up to which packets of the video are shown
        self._read = Fraction(0)  # up to which time there are packets of any stream
        # What the times of each joined recording are raised by; by stream, its last time and which
        # recording it is in.
        self._raised: list[Fraction] = [Fraction(0)]
        self._reached: dict[int, tuple[Fraction, int]] = {}
        self._items = self._decoded()
        self._waiting = []
        for item in self._items:
            self._waiting.append(item)
            if isinstance(item, VideoFrame):
                begun = (self._first or 0) * self.time_base
                if self.start is not None and begun > self.start and target > self.origin:
                    return False
                self.size = item.picture.shape[:2]
                return True
        return False

    def _video_stream(self):
        videos = [s for s in self.container.streams.video if not is_cover(self._av, s)]
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
            count = round(self.container.duration * MICROSECOND * self.rate)
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
        # The last frame may be shown for long, as in recordings of a screen.
        ends = max((self._last or 0) * self.time_base, self._shown)
        reached = ends if self.stream.duration else max(ends, self._read)
        joined = len(self._raised) > 1  # what is announced is from the times of the last one then
        missing = 0 if self._announced is None or joined else self._announced - reached
        short = missing > Fraction(_TAIL) + 2 / self.rate
        if self._intact < _TORN or short or is_cut_off(self.path):
            if self._announced is None:
                raise UsageError(f"{self.path}: damaged, it ends at {float(ends):.1f} s")
            raise UsageError(
                f"{self.path}: cut off, its frames end at {float(ends):.1f} s of "
                f"{float(self._announced):.1f} s; pass a duration to restore what is there"
            )

    def shift(self, time_base: Fraction) -> int:
        """What the times of a stream of that time base are lowered by, so that `start` is 0.

        Recordings of broadcasts have times of their own, of hours or days: their beginning is 0.
        """
        begin = self.start
        if begin is None and self.container.format.flags & _DISCONTINUOUS:
            begin = self.origin
        return 0 if begin is None else round(begin / time_base)

    @property
    def shown(self) -> int:
        """The time up to which the last frame is shown, as `VideoFrame.time`, once all are read."""
        ends = self._shown if self.end is None else min(self._shown, self.end)
        return round(ends / self.time_base) - self.shift(self.time_base)

    def _wanted(self, time, time_base):
        seconds = time * time_base
        after = self.start is None or seconds >= self.start
        return after and (self.end is None or seconds < self.end)

    def _belongs(self, packet):
        """Whether a packet of another stream is of the part that is read.

        Subtitles, which are shown for seconds, are cut to it.
        """
        time = packet.dts if packet.pts is None else packet.pts
        if time is None:
            return False
        base = packet.time_base or MICROSECOND
        if packet.stream.type != "subtitle" or not packet.duration:
            return self._wanted(time, base)
        begin = time if self.start is None else max(time, round(self.start / base))
        end = time + packet.duration
        if self.end is not None:
            end = min(end, round(self.end / base))
        packet.pts = packet.dts = begin
        packet.duration = end - begin
        return end > begin

    def _decoded(self):
        over = False
        for packet in self._packets():
            if packet.stream.index != self.stream.index:
                if self._belongs(packet):
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
                    yield VideoFrame(item.picture, item.time - self.shift(self.time_base))
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
            if self.container.format.flags & _DISCONTINUOUS and not self._continued(packet):
                continue
            if packet.pts is not None:
                end = (packet.pts + (packet.duration or 0)) * packet.time_base
                self._read = max(self._read, end)
                if packet.stream.index == self.stream.index:
                    self._shown = max(self._shown, end)
            yield packet

    def _continued(self, packet):
        """Moves a packet of a recording that was joined to the end of another, so that all streams
        go on where that ended; returns whether it is to be used."""
        time = packet.pts if packet.dts is None else packet.dts
        if time is None:
            return True
        index, time = packet.stream.index, time * packet.time_base
        last, part = self._reached.get(index, (None, len(self._raised) - 1))
        # The last packets of a stream may come when another has begun anew already.
        part = min(
            range(part, len(self._raised)),
            key=lambda one: abs(time + self._raised[one] - self._read),
        )
        regular = packet.stream.type in ("audio", "video")  # subtitles and data may be of any order
        moved = time + self._raised[part]
        if regular and last is not None and not last - _BACKWARD <= moved <= self._read + _AHEAD:
            self._raised.append(self._read - time)
            part = len(self._raised) - 1
        time += self._raised[part]
        if part and last is not None and time <= last and index != self.stream.index:
            return False  # what stands twice where the recordings meet
        self._reached[index] = time if last is None else max(last, time), part
        ticks = round(self._raised[part] / packet.time_base)
        for name in ("pts", "dts"):
            if ticks and getattr(packet, name) is not None:
                setattr(packet, name, getattr(packet, name) + ticks)
        return True

    def _frames(self, packet):
        """The frames that a packet completes. One that lacks something waits for the next: at the
        end the file was cut off there, else a part was lost on the way, as in broadcasts."""
        frames = []
        if self._corrupt is not None and packet.size:
            held, self._corrupt = self._corrupt, None
            frames += self._decoded_frames(held)
        self._intact += bool(packet.size)
        if packet.is_corrupt:
            self._corrupt, self._intact = packet, 0
            return frames
        return frames + self._decoded_frames(packet)

    def _decoded_frames(self, packet):
        try:
            frames = packet.decode()
        except self._av.FFmpegError as error:
            if self._sample is None:  # recordings may begin anywhere: before their first key frame
                return []
            if not packet.is_corrupt:
                raise self._damaged(error) from error
            frames, damaged = [], True
        else:
            damaged = any(frame.is_corrupt for frame in frames)
        if damaged and not self._told:
            self._told = True
            seconds = float((self._last or 0) * self.time_base)
            warnings.warn(
                f"{self.path}: damaged at about {seconds:.1f} s; what is shown there may be wrong",
                stacklevel=2,
            )
        return frames

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
        if self._first is None:
            self._first = time
        rgb = self._rgb.reformat(
            frame,
            format="rgb48le" if self.deep else "rgb24",
            src_colorspace=self._matrix,
            src_color_range=2 if self.full_range else 1,
            dst_color_range=FULL_RANGE,
            interpolation=interpolation(self._av),
            threads=1,
        ).to_ndarray()
        if self.deep:
            rgb = rgb.astype(np.float32)
            rgb = np.minimum(rgb / np.float32(self._white), 1, out=rgb)  # whiter than white: white
        return VideoFrame(turned(rgb, self.symmetry), time)

    def _describe(self, frame):
        """Notes what must come back in the file that is written."""
        self.format = frame.format.name
        parts = frame.format.components
        self.deep = max(part.bits for part in parts) > 8
        self.rgb = frame.format.is_rgb
        untold = frame.color_range == 0 and self.format.startswith(("gray", "ya", "mono"))
        self.full_range = (
            frame.color_range == FULL_RANGE or self.format.startswith("yuvj") or self.rgb or untold
        )
        self.colours = {
            "colorspace": frame.colorspace,
            "color_range": FULL_RANGE if self.full_range else frame.color_range,
            "color_trc": frame.color_trc,
            "color_primaries": frame.color_primaries,
        }
        self._white = white(frame.format, self.full_range, reads=True)
        self._matrix = matrix_of(frame.colorspace, frame.height)
        self.display = None
        for data in frame.side_data:
            if data.type == self._av.sidedata.sidedata.Type.DISPLAYMATRIX:
                self.display = struct.unpack("=9i", bytes(data)[:36])
        self.symmetry = 0 if self.display is None else _symmetry(self.display)
        tagged = {key.lower(): value for key, value in self.stream.metadata.items()}
        self._transparent = any(part.is_alpha for part in parts) or tagged.get("alpha_mode") == "1"
        self._interlaced = frame.interlaced_frame

    def close(self) -> None:
        self.container.close()


def _symmetry(display):
    """By which of the `symmetries` a display matrix makes frames upright."""
    across, down, _, below, beside = display[:5]  # where a step to the right and one down lead
    mirrored = across * beside < down * below
    quarters = round(math.atan2(-down, -across if mirrored else across) / (math.pi / 2))
    return quarters % 4 + 4 * mirrored


def check_part(start: float | None, duration: float | None) -> None:
    """Raises `UsageError` where these are no part of a video."""
    if start is not None and not (isinstance(start, Real) and 0 <= start < 1e9):
        raise UsageError(f"start must be seconds from 0 up; received {start!r}")
    if duration is not None and not (isinstance(duration, Real) and 0 < duration < 1e9):
        raise UsageError(f"duration must be seconds, more than 0; received {duration!r}")


def _seconds(value):
    """The number that was meant: 0.16 as a float is a little more than a frame's time."""
    return Fraction(value).limit_denominator(1_000_000)
