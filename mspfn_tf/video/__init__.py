"""Takes the rain out of videos, frame by frame with help of the frames around.

Frames are streamed: memory does not grow with the length. Decoding, the network, and blending with
encoding run in three threads. `reader` and `writer` do the files, `temporal` blends along the
`motion` of the scene.
"""

import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np

from mspfn_tf.files import atomic_write
from mspfn_tf.video.formats import check_video_target, is_video, video_target
from mspfn_tf.video.frames import VideoFrame
from mspfn_tf.video.reader import VideoReader
from mspfn_tf.video.writer import VideoWriter

__all__ = ["VideoReport", "is_video", "restore_video", "video_target"]

_AHEAD = 4  # items that wait between two threads


@dataclass(frozen=True)
class VideoReport:
    """What was done.

    Attributes:
        frames: how many were restored.
        seconds: how long it took.
        dropped: what the file held that the written one does not, in words.
    """

    frames: int
    seconds: float
    dropped: tuple[str, ...] = ()


def restore_video(
    restorer: Callable[[np.ndarray], np.ndarray],
    source: str | os.PathLike,
    target: str | os.PathLike,
    *,
    comparison: str | os.PathLike | None = None,
    codec: str | None = None,
    crf: float | None = None,
    options: Mapping[str, str] | None = None,
    start: float | None = None,
    duration: float | None = None,
    temporal: bool = True,
    overwrite: bool = False,
    progress: Callable[[int, int | None], None] | None = None,
) -> VideoReport:
    """Takes the rain out of a video.

    Times, frame rate, resolution, aspect ratio, rotation, colour tags, sound, subtitles, chapters
    and titles are kept. The file appears under its name when it is complete.

    Args:
        restorer: a `Restorer`, or what takes and returns pictures as it does.
        source: the video, in any container and codec that FFmpeg reads.
        target: the file to write: .mkv, .mp4, .m4v, .mov or .webm.
        comparison: a second file, before and after side by side.
        codec: FFmpeg's name of an encoder. Default libx264, in .webm files libvpx-vp9.
        crf: constant quality of the encoder, smaller is better. Default 18 for libx264.
        options: more options of the encoder, for instance ``{"preset": "slow"}``
            (libx264's is "veryfast" by default).
        start: seconds into the video.
        duration: seconds to restore; default to the end.
        temporal: whether frames are averaged along the motion of the scene (`TemporalBlend`).
        overwrite: whether existing files may be replaced.
        progress: called with (frames done, frames in all or None) after each.

    Returns:
        A `VideoReport`.

    Raises:
        UsageError: PyAV or OpenCV is not installed, an argument breaks its rule, `source` is no
            video, is damaged or cut off, or a file cannot be written.

    Example:

        restore_video(mspfn_tf.Restorer("mspfn_nano"), "rain.mp4", "clean.mp4")
    """
    began, done = time.perf_counter(), 0
    strength = getattr(restorer, "strength", 1.0)
    blend = _temporal_blend(strength) if temporal and strength else None
    files = [(target, 1)] + ([(comparison, 2)] if comparison is not None else [])
    for path, _ in files:
        check_video_target(path)
    reader = VideoReader(source, start, duration)
    with ExitStack() as stack:
        stack.callback(reader.close)
        writers = []
        for path, columns in reversed(files):  # the last one gets its name first
            partial = stack.enter_context(atomic_write(path, overwrite))
            writer = VideoWriter(partial, reader, codec, crf, options, columns, name=path)
            stack.callback(writer.abandon)
            writers.insert(0, writer)

        decoded = stack.enter_context(_Ahead(iter(reader)))
        restored = stack.enter_context(_Ahead(_restored(restorer, decoded)))
        blended = restored if blend is None else _blended(restored, blend)
        for item in blended:
            if not isinstance(item, tuple):
                for writer in writers:
                    writer.write(item)
                continue
            frame, clean = item
            writers[0].write(replace(frame, picture=clean))
            if comparison is not None:
                both = np.concatenate([frame.picture, clean], axis=1)
                writers[1].write(replace(frame, picture=both))
            done += 1
            if progress is not None:
                progress(done, reader.frames)
        for writer in writers:
            writer.close()
    return VideoReport(done, time.perf_counter() - began, tuple(dict.fromkeys(reader.dropped)))


def _restored(restorer, items):
    for item in items:
        if isinstance(item, VideoFrame):
            yield item, restorer(item.picture)
        else:
            yield item


def _temporal_blend(strength):
    from mspfn_tf.video.temporal import TemporalBlend  # OpenCV, which nothing else here needs

    return TemporalBlend(strength=strength)


def _blended(items, blend):
    """Blends the frames; packets go on at once, and are sorted in where the file is written."""
    waiting = deque()
    for item in items:
        if not isinstance(item, tuple):
            yield item
            continue
        frame, clean = item
        waiting.append(frame)
        for picture in blend.push(np.ascontiguousarray(frame.picture), clean):
            yield waiting.popleft(), picture
    for picture in blend.flush():
        yield waiting.popleft(), picture


class _Ahead:
    """Runs an iterator in a thread of its own, a few items ahead. Its errors come out here."""

    def __init__(self, items: Iterable):
        self._items = items
        self._queue: queue.Queue = queue.Queue(_AHEAD)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Iterator:
        self._thread.start()
        return iter(self._take, _END)

    def __exit__(self, *exception):
        self._stopped.set()
        while self._thread.is_alive():  # until what it is doing is done
            try:
                self._queue.get(timeout=0.05)
            except queue.Empty:
                continue

    def _work(self):
        try:
            for item in self._items:
                if not self._put(item):
                    return
        except BaseException as error:  # raised again in the thread that takes
            self._put(_Failure(error))
        else:
            self._put(_END)

    def _put(self, item):
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def _take(self):
        item = self._queue.get()
        if isinstance(item, _Failure):
            raise item.error
        return item


@dataclass(frozen=True)
class _Failure:
    error: BaseException


_END = object()
