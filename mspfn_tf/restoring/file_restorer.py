"""Restoring files: one, or many with decoding, inference and encoding overlapped."""

import contextlib
import functools
import inspect
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mspfn_tf.errors import UsageError
from mspfn_tf.files import clear_leftovers
from mspfn_tf.pictures import (
    Header,
    Picture,
    check_writable,
    read_header,
    read_pictures,
    write_picture,
    write_pictures,
)
from mspfn_tf.pictures.metadata import Metadata
from mspfn_tf.pictures.sheets import GAP, on_white, side_by_side
from mspfn_tf.restoring.claims import Claims
from mspfn_tf.restoring.plan import Job, Plan
from mspfn_tf.runtimes import is_out_of_memory

WORKERS = 3
"""Files that are at work at a time: while one goes through the network, the next is decoded and
the last is encoded."""
PIXELS_AT_WORK = 24_000_000
"""Pixels of all files at work together; a larger picture is worked on alone."""
SMALLER_TILES = (256, 128)
"""Tiles that are tried when the memory does not suffice."""
_POLL = 0.2  # seconds between two looks at whether another process has ended

Progress = Callable[[float], None]  # takes the part of the file that is done, 0 to 1
Restoring = Callable[..., np.ndarray]  # a `Restorer`

_current = threading.local()


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes:
        job: the job.
        status: "restored", "skipped" (another process has done it) or "failed".
        message: why it failed, one line that names the file; None otherwise.
        seconds: how long it took.
        frames: how many frames or pages it has.
        dropped: what the file held that its output does not, in words.
    """

    job: Job
    status: str
    message: str | None = None
    seconds: float = 0.0
    frames: int = 1
    dropped: tuple[str, ...] = ()


class Interrupted(Exception):
    """The work on a file was given up because the whole run is ending."""


def current_source() -> str | None:
    """The file that the calling thread is at work on, for warnings that do not name it."""
    return getattr(_current, "source", None)


class _Pixels:
    """Lets files in one after the other, as long as they hold few pixels together."""

    def __init__(self, limit: int):
        self._limit, self._used, self._waiting = limit, 0, []
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def taken(self, pixels: int) -> Iterator[None]:
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            self._changed.wait_for(
                lambda: (
                    self._waiting[0] is ticket
                    and (not self._used or self._used + pixels <= self._limit)
                )
            )
            self._waiting.pop(0)
            self._used += pixels
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._used -= pixels
                self._changed.notify_all()


class FileRestorer:
    """Restores files with one `Restorer`; its methods may be called from several threads.

    Args:
        restorer: the `Restorer`, or any function from a picture to a picture of the same shape; if
            it has an argument `progress`, that is used as the `Restorer`'s.
        smaller: makes a `Restorer` of the same model for smaller tiles, for pictures that the
            memory does not suffice for; None where there is none. It raises `UsageError` where the
            model takes no such tile.
        inferences: how many pictures go through the network at a time.
        pixels: how many pixels all files at work may hold together.
        video: further arguments of `restore_video`.

    Attributes:
        on_frames: None, or what is called with (job, frames of a video that are done, frames per
            second) from any thread.
    """

    def __init__(
        self,
        restorer: Restoring,
        smaller: Callable[[int], Restoring] | None = None,
        inferences: int = 1,
        pixels: int = PIXELS_AT_WORK,
        video: Mapping[str, Any] | None = None,
    ):
        self._restorers: list[Restoring | None] = [restorer]
        self._smaller = smaller
        self._inferences = threading.BoundedSemaphore(inferences)
        self._growing = threading.Lock()
        self._pixels, self._all_pixels = _Pixels(pixels), pixels
        self._video_arguments = dict(video or {})
        self.on_frames: Callable[[Job, int, float], None] | None = None
        self._ways = {"picture": self._picture, "video": self._video}  # by `Job.kind`

    def restore(self, job: Job, progress: Progress | None = None) -> Outcome:
        """Restores one file. Whatever the file is, this returns an `Outcome`.

        Raises:
            Interrupted: `progress` did so.
        """
        began = time.perf_counter()
        _current.source = str(job.source)
        try:
            frames, dropped = self._ways[job.kind](job, progress)
        except Interrupted:
            raise
        except MemoryError:
            return _failed(job, "not enough memory for this picture", began)
        except (UsageError, OSError) as error:
            return _failed(job, str(error), began)
        except BaseException as error:  # whatever a file may do to a decoder, the others go on
            # The panic of a decoder in Rust is no Exception.
            if isinstance(error, Exception) or type(error).__module__ == "pyo3_runtime":
                return _failed(job, f"{type(error).__name__}: {error}", began)
            raise
        finally:
            _current.source = None
        seconds = time.perf_counter() - began
        return Outcome(job, "restored", None, seconds, frames, dropped)

    def _picture(self, job, progress):
        """Returns (how many frames or pages were restored, what was dropped)."""
        header = read_header(job.source)
        _check_output(job, header)
        with self._pixels.taken(header.size[0] * header.size[1]):
            if header.frames == 1:
                return 1, self._still(job, progress)
            return header.frames, self._frames(job, header, progress)

    def _video(self, job, progress):
        from mspfn_tf.video import restore_video

        began = time.perf_counter()

        def told(done, total):
            if progress is not None:
                progress(min(1.0, done / total) if total else 0.0)
            if self.on_frames is not None:
                self.on_frames(job, done, done / (time.perf_counter() - began))

        restored = functools.partial(self._restored, progress=None)
        restored.strength = getattr(self._restorers[0], "strength", 1.0)  # by which frames blend
        with self._pixels.taken(self._all_pixels):
            report = restore_video(
                restored,
                job.source,
                job.target,
                comparison=job.comparison,
                overwrite=job.overwrite,
                progress=told,
                **self._video_arguments,
            )
        return report.frames, report.dropped

    def _still(self, job, progress):
        (before,) = read_pictures(job.source)
        check_writable(job.target, before.alpha is not None, before.rgb.shape[:2])
        dropped = before.metadata.dropped
        height, width = before.rgb.shape[:2]
        if job.comparison is not None:
            check_writable(job.comparison, size=(2 * width + GAP, height))
        restored = self._restored(before.rgb, progress)
        after = replace(before, rgb=restored)
        if job.comparison is None:
            del before  # large pictures: the memory is needed for writing
            write_picture(job.target, restored, after, job.overwrite)
            return dropped
        write_picture(job.target, restored, after, job.overwrite)
        sheet = side_by_side([on_white(before), on_white(after)], ["before", "after"])
        metadata = Metadata(icc_profile=before.metadata.icc_profile)
        like = Picture(sheet, gray=before.gray, metadata=metadata)
        del before, after, restored
        write_picture(job.comparison, sheet, like, job.overwrite)
        return dropped

    def _frames(self, job, header, progress):
        dropped, kept = [], []
        # Equal frames of animations are written as one, so that only pages can be read back.
        keeps = job.comparison is not None and job.target.suffix.lower() not in (".tif", ".tiff")

        def restored():
            for number, frame in enumerate(read_pictures(job.source)):
                part = _part_of(progress, number, header.frames)
                dropped.extend(frame.metadata.dropped)
                frame = replace(frame, rgb=self._restored(frame.rgb, part))
                if keeps:
                    kept.append(frame)
                yield frame

        def compared():
            after_all = kept if keeps else read_pictures(job.target)
            for before, after in zip(read_pictures(job.source), after_all, strict=True):
                sheet = side_by_side([on_white(before), on_white(after)])
                metadata = Metadata(icc_profile=before.metadata.icc_profile)
                yield Picture(sheet, None, before.gray, metadata, before.duration)

        for target, pictures in ((job.target, restored), (job.comparison, compared)):
            if target is not None:
                write_pictures(
                    target,
                    pictures(),
                    header.frames,
                    header.loop,
                    header.default_image,
                    job.overwrite,
                )
        return tuple(dict.fromkeys(dropped))

    def _restored(self, rgb, progress):
        """A picture ``uint8`` or ``uint16``, restored, with a smaller tile if it must be."""
        if rgb.dtype == np.uint16:
            image = rgb.astype(np.float32)
            image /= 65_535
        else:
            image = rgb
        with self._inferences:
            if progress is not None:
                progress(0.0)  # a run that is ending begins nothing more
            result = self._in_memory(image, progress)
        if rgb.dtype == np.uint16:
            result = np.multiply(result, 65_535, dtype=np.float32)
            return np.rint(result, out=result).astype(np.uint16)
        return result

    def _in_memory(self, image, progress):
        for index in range(1 + len(SMALLER_TILES)):
            restorer = self._restorer(index)
            if restorer is None:
                continue
            try:
                if progress is None or not _takes_progress(restorer):
                    return restorer(image)
                return restorer(image, progress=lambda done, total: progress(done / total))
            except (UsageError, Interrupted):
                raise
            except Exception as error:  # every runtime has its own for a lack of memory
                if not is_out_of_memory(error):
                    raise
        height, width = image.shape[:2]
        raise UsageError(
            f"not enough memory to restore {width}x{height} pixels, not even in tiles of "
            f"{SMALLER_TILES[-1]}: free some, or choose a smaller preset"
        )

    def _restorer(self, index):
        with self._growing:
            while len(self._restorers) <= index:
                tile = SMALLER_TILES[len(self._restorers) - 1]
                try:
                    smaller = self._smaller(tile) if self._smaller else None
                except UsageError:  # a model of fixed size
                    smaller = None
                self._restorers.append(smaller)
            return self._restorers[index]


def restore_all(
    plan: Plan,
    files: FileRestorer,
    workers: int = WORKERS,
    on_progress: Callable[[Job, float], None] | None = None,
) -> Iterator[Outcome]:
    """Restores all that a plan holds; yields each `Outcome` when it is there, in no fixed order.

    Several processes with one output folder share the work: each file is claimed by one of them.
    What the others hold is looked at again at the end, in case they were stopped. Leftovers of
    killed processes are removed from the folders that are written to first.

    Args:
        plan: what to do.
        files: what does it.
        workers: files at work at a time.
        on_progress: called with a job and the part of it that is done, 0 to 1, from any thread.

    Raises:
        UsageError: the output folder cannot be written.
    """
    if not plan.jobs:
        return
    folder = plan.folder or plan.jobs[0].target.parent
    for parent in {job.target.parent for job in plan.jobs}:
        clear_leftovers(parent)
    try:
        claims = Claims(folder) if plan.folder else None
    except OSError as error:
        raise UsageError(f"cannot write to {folder}: {error.strerror}") from error
    ending = threading.Event()

    def work(job, patient):
        def progress(part):
            if ending.is_set():
                raise Interrupted
            if on_progress is not None:
                on_progress(job, part)

        began = time.perf_counter()
        while not ending.is_set():
            try:
                with claims.claim(job.name) if claims else contextlib.nullcontext(True) as is_ours:
                    if is_ours:
                        if claims and job.has_changed() and job.is_complete():
                            return Outcome(job, "skipped")
                        return files.restore(job, progress)
            except OSError as error:  # of the claim, or of a file that has just gone
                return _failed(job, str(error), began)
            if not patient:
                return None
            time.sleep(_POLL)
        raise Interrupted

    pool = ThreadPoolExecutor(workers, thread_name_prefix="restore")
    try:
        others = []
        for patient in (False, True):
            jobs = iter(others if patient else plan.jobs)
            running = {}
            while True:
                for job in jobs:
                    running[pool.submit(work, job, patient)] = job
                    if len(running) >= 2 * workers:
                        break
                if not running:
                    break
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                future = done.pop()  # one at a time: the pool is filled up before the next
                job = running.pop(future)
                outcome = future.result()
                if outcome is None:
                    others.append(job)
                else:
                    yield outcome
    finally:
        ending.set()
        pool.shutdown(wait=True, cancel_futures=True)
        if claims:
            claims.close()


def _check_output(job, header: Header):
    """Finds out before the work what writing would fail at."""
    check_writable(job.target, size=header.size, frames=header.frames, same_size=header.same_size)
    if job.comparison is not None:
        # Which side will be the width is not known before the picture is turned upright.
        check_writable(job.comparison, size=(2 * min(header.size) + GAP, max(header.size)))
    if not job.overwrite:
        for target in job.targets:
            if os.path.lexists(target):
                raise UsageError(f"{target} exists already: choose another output")


def _takes_progress(restorer):
    return "progress" in inspect.signature(restorer).parameters


def _part_of(progress, number, frames):
    if progress is None:
        return None
    return lambda part: progress((number + part) / frames)


def _failed(job, message, began):
    source = str(job.source)
    message = message if source in message else f"{source}: {message}"
    return Outcome(job, "failed", message, time.perf_counter() - began)
