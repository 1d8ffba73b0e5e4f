"""What is restored to where, decided before any work is done."""

import os
import stat
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from mspfn_tf.errors import UsageError, argument
from mspfn_tf.files import check_outside, is_hidden
from mspfn_tf.pictures import PICTURE_SUFFIXES, check_writable, kind_of, suffix_of
from mspfn_tf.restoring import claims
from mspfn_tf.video.formats import (
    VIDEO_SUFFIXES,
    check_video_target,
    is_video,
    video_target,
)

_LONGEST_NAME = 255  # bytes, of most file systems


@dataclass(frozen=True)
class Job:
    """One file to restore.

    Attributes:
        source: the file it is in.
        target: the file to write.
        comparison: the file that gets before and after side by side, or None.
        kind: in which way the file is restored, as `kind_of_work` tells it.
        name: what the piece of work is called between processes that share an output folder.
        overwrite: whether files that exist may be replaced.
        found: what stood at the targets when the work was planned.
    """

    source: Path
    target: Path
    comparison: Path | None = None
    kind: str = "picture"
    name: str = ""
    overwrite: bool = False
    found: tuple = ()

    @property
    def targets(self) -> list[Path]:
        return [path for path in (self.target, self.comparison) if path is not None]

    def is_complete(self) -> bool:
        """Whether its files are there: they appear under their names only when they are complete,
        so that what exists and is not empty is."""
        return all(_signature(path) and os.path.getsize(path) for path in self.targets)

    def has_changed(self) -> bool:
        """Whether another process has written its files since the work was planned."""
        return self.found != tuple(_signature(path) for path in self.targets)


@dataclass(frozen=True)
class Plan:
    """What `plan` decided.

    Attributes:
        jobs: what is to be done, sorted within each input folder.
        complete: what was done before and is left alone.
        left_out: (path, reason) of what lies in the input folders and is not restored.
        unreadable: (path, reason) of folders and files that could not be looked at.
        folder: the folder that several processes may share, or None for a single file.
    """

    jobs: list[Job]
    complete: list[Job] = field(default_factory=list)
    left_out: list[tuple[Path, str]] = field(default_factory=list)
    unreadable: list[tuple[Path, str]] = field(default_factory=list)
    folder: Path | None = None


def kind_of_work(path: Path) -> str | None:
    """In which way a file is restored: "picture" or "video"; None for one that is not.

    Raises:
        OSError: the file cannot be read.
    """
    if is_video(path):
        return "video"
    if path.suffix.lower() in PICTURE_SUFFIXES or kind_of(path) is not None:
        return "picture"
    return "video" if path.suffix.lower() in VIDEO_SUFFIXES else None


def plan(
    inputs: Iterable[str | os.PathLike],
    output: str | os.PathLike,
    compare: bool = False,
    overwrite: bool = False,
    resume: bool = False,
    suffix: str | None = None,
    shard: tuple[int, int] | None = None,
) -> Plan:
    """Decides which file goes where, before any work is done.

    Args:
        inputs: files, and folders with all that is below them; links are followed. Where two would
            be written to one file, all are kept apart by the folders they come from.
        output: the file to write, if there is one input file and the name has a suffix; else a
            folder, in which the names and the tree of the inputs are kept.
        compare: whether each result gets a ``NAME_compare`` beside it.
        overwrite: whether files that exist may be replaced.
        resume: whether what is complete is left alone, and only the rest is done. So it is, too,
            while another process is at work on the same output folder.
        suffix: such as ".png", for all pictures; None to keep each one's own.
        shard: (i, n) takes the i-th of n shares, i from 1. A file belongs to the same share
            whatever other files there are.

    Raises:
        UsageError: an input is missing, a folder holds no picture, `output` is within an input
            folder or is a file where a folder is needed, a suffix cannot be written, two inputs
            would be written to one file, an input would be overwritten, or a file exists and
            neither `overwrite` nor `resume` is true, or, with `resume`, a comparison stands alone.
    """
    inputs = [Path(path) for path in inputs]
    for path in inputs:
        _check_input(path)
    if suffix is not None:
        check_writable(Path(f"*{suffix}"))
    folder = Path(output)
    single = len(inputs) == 1 and not os.path.isdir(inputs[0]) and not os.path.isdir(folder)
    if single and folder.suffix and not str(output).endswith(("/", os.sep)):
        found = [_Found(inputs[0], inputs[0].parent, folder, _named_kind(inputs[0]))]
        if found[0].kind == "picture":
            if suffix is not None and folder.suffix.lower() != suffix.lower():
                raise UsageError(
                    f"output {folder} ends in '{folder.suffix}', the format is '{suffix}'"
                )
            if folder.suffix.lower() in VIDEO_SUFFIXES:
                raise UsageError(f"{inputs[0]} is no video, {folder} would be one")
            check_writable(folder)
        else:
            check_video_target(folder)
        _check_folder(folder.parent)
        left_out, unreadable, shared = [], [], None
    else:
        _check_folder(folder)
        found, left_out, unreadable = _find(inputs, folder)
        found = _placed(found, folder, suffix)
        shared = folder
    jobs = [_job(one, shared, compare, overwrite) for one in found]
    _check_targets(jobs)
    if shard is not None:
        jobs = [job for job in jobs if _share(job, shard[1]) == shard[0]]
    existing = [job for job in jobs if any(job.found)]
    complete = []
    if existing and not overwrite:
        if not resume and not (shared and claims.in_use(folder)):
            taken = [path for job in existing for path in job.targets if os.path.lexists(path)]
            more = f" (and {len(taken) - 1} more)" if len(taken) > 1 else ""
            raise UsageError(
                f"{taken[0]}{more} exists already: choose another output, or pass "
                f"{argument('resume')} to do the rest or {argument('overwrite')} to do all again"
            )
        _check_comparisons(existing)
        complete = [job for job in existing if job.is_complete()]
        done = {job.target for job in complete}
        jobs = [replace(job, overwrite=True) for job in jobs if job.target not in done]
    return Plan(jobs, complete, left_out, unreadable, shared)


@dataclass(frozen=True)
class _Found:
    source: Path
    origin: Path  # the input folder, or the folder that the input file is in
    target: Path  # at first relative to the output folder
    kind: str = "picture"


def _find(inputs, output):
    found, left_out, unreadable = [], [], []
    for path in inputs:
        if not os.path.isdir(path):
            found.append(_Found(path, path.parent, Path(_named(path).name), _named_kind(path)))
            continue
        check_outside(output, path)
        files, out, bad = _walk(path, output)
        if not files:
            reason = f"; {bad[0][0]} {bad[0][1]}" if bad else ""
            raise UsageError(f"no pictures or videos in {path} ({len(out)} left out){reason}")
        found += [_Found(file, path, _named(file).relative_to(path), kind) for file, kind in files]
        left_out += out
        unreadable += bad
    once = {}
    for one in found:
        once.setdefault(os.path.abspath(one.source), one)
    return list(once.values()), left_out, unreadable


def _named_kind(path):
    """That of a file which the user named: what is not known is tried as a picture, and fails."""
    try:
        return kind_of_work(path) or "picture"
    except OSError:
        return "picture"


def _named(path: Path) -> Path:
    """The path, with the suffix that its content calls for where it has another."""
    if is_video(path):
        return video_target(path)
    if path.suffix.lower() in PICTURE_SUFFIXES:
        return path
    try:
        suffix = suffix_of(kind_of(path))
    except OSError:
        suffix = None
    return path.with_name(path.name + suffix) if suffix else path


def _walk(folder, output):
    """Returns ((file, kind of work) below `folder`; what is left out; what is unreadable)."""
    files, left_out, unreadable = [], [], []
    visited, out = set(), os.path.realpath(output)

    def unreadable_folder(error):
        unreadable.append((Path(error.filename), f"cannot be read ({error.strerror})"))

    for root, folders, names in _folders(folder, unreadable_folder):
        identity = _identity(root)
        if identity in visited or os.path.realpath(root) == out:
            folders[:] = []
            reason = "was visited already" if identity in visited else "is the output"
            left_out.append((Path(root), f"(a link to a folder that {reason})"))
            continue
        visited.add(identity)
        left_out += [(Path(root, name), "(hidden)") for name in folders if is_hidden(name)]
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        for name in sorted(names):
            path = Path(root, name)
            try:
                reason = _reason_to_leave_out(path)
                kind = None if reason else kind_of_work(path)
            except OSError as error:
                unreadable.append((path, f"cannot be read ({error.strerror})"))
            else:
                if kind is not None:
                    files.append((path, kind))
                else:
                    left_out.append((path, reason or "(no readable picture or video)"))
    return sorted(files), left_out, unreadable


def _folders(folder, onerror):
    """As `os.walk`, links after all else: a folder keeps its own name where one leads to it."""
    starts = [folder]
    for start in starts:
        for root, folders, names in os.walk(start, onerror=onerror):
            yield root, folders, names  # whoever takes it may shorten `folders`
            paths = [os.path.join(root, name) for name in folders]
            starts += filter(os.path.islink, paths)


def _identity(root):
    try:
        status = os.stat(root)
    except OSError:
        return root
    return status.st_dev, status.st_ino


def _reason_to_leave_out(path):
    if is_hidden(path.name):
        return "(hidden)"
    try:
        mode = os.stat(path).st_mode
    except OSError:
        if path.is_symlink():
            return "(a link to nothing)"
        raise
    return None if stat.S_ISREG(mode) else "(a pipe or device)"


def _placed(found, folder, suffix):
    """Decides on the targets, kept apart by folders where two of different inputs would be one."""
    found = [replace(one, target=_with_suffix(one, suffix)) for one in found]
    if len({one.target for one in found}) < len({(one.origin, one.target) for one in found}):
        origins = [os.path.realpath(one.origin) for one in found]
        common = os.path.commonpath(origins)
        found = [
            replace(one, target=Path(os.path.relpath(origin, common), one.target))
            for one, origin in zip(found, origins, strict=True)
        ]
    return [replace(one, target=folder / one.target) for one in _kept_apart(found)]


def _with_suffix(one, suffix):
    return one.target if suffix is None or one.kind == "video" else one.target.with_suffix(suffix)


def _kept_apart(found):
    """Of files of one folder that would be written to one, those whose name would change get all of
    their own and the suffix: `a.jpg` and `a.bmp` become `a.jpg.png` and `a.bmp.png`."""
    counts = Counter(one.target for one in found)
    taken, apart = set(counts), []
    for one in found:
        target = one.target
        if counts[target] > 1 and target.name != one.source.name:
            target = target.with_name(one.source.name + target.suffix)
            while target in taken:
                target = target.with_name(target.name + target.suffix)
            taken.add(target)
        apart.append(replace(one, target=target))
    return apart


def _job(found, shared, compare, overwrite):
    target = found.target
    comparison = _comparison(target) if compare else None
    name = target.relative_to(shared).as_posix() if shared else ""
    job = Job(found.source, target, comparison, found.kind, name, overwrite)
    return replace(job, found=tuple(_signature(path) for path in job.targets))


def _comparison(target):
    """`NAME_compare.SUFFIX`, with as much of the name as a file system takes."""
    stem, end = target.stem, f"_compare{target.suffix}"
    while len(os.fsencode(stem + end)) > _LONGEST_NAME:
        stem = stem[:-1]
    return target.with_name(stem + end)


def _signature(path):
    """What tells whether a file was written anew; None for one that is not there."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _share(job, shares):
    return zlib.crc32(job.name.encode("utf-8", "surrogateescape")) % shares + 1


def _check_input(path):
    try:
        os.lstat(path)
    except PermissionError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror})") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"no such file or folder: {path}") from error


def _check_folder(folder):
    """Raises if `folder` cannot become a folder to write to."""
    existing = next(
        path for path in (folder.absolute(), *folder.absolute().parents) if os.path.exists(path)
    )
    if not existing.is_dir():
        raise UsageError(f"{existing} is a file, expected a folder for the output")
    if not os.path.exists(folder):
        for what, suffixes in (("picture", PICTURE_SUFFIXES), ("video", VIDEO_SUFFIXES)):
            if folder.suffix.lower() in suffixes:
                raise UsageError(f"output {folder} is a {what}'s name; expected a folder's")
    if not os.access(existing, os.W_OK):
        raise UsageError(f"no permission to write to {existing}")


def _check_targets(jobs):
    sources = {os.path.realpath(job.source) for job in jobs}
    origins = {}
    for job in jobs:
        for target in job.targets:
            if os.path.isdir(target):
                raise UsageError(f"{target} is a folder, where a file is to be written")
            if len(os.fsencode(target.name)) > _LONGEST_NAME:
                raise UsageError(f"{target}: a name of more than {_LONGEST_NAME} bytes")
            real = os.path.realpath(target)
            if real in sources:
                raise UsageError(f"{target} is an input: choose another output")
            other = origins.setdefault(real, job.source)
            if other is not job.source:
                without = ", or without comparisons" if job.comparison is not None else ""
                raise UsageError(
                    f"{other} and {job.source} would both be written to {target}: "
                    f"restore them into different folders{without}"
                )


def _check_comparisons(existing):
    """A comparison is written after its picture: one that stands alone is another picture."""
    for job in existing:
        if job.comparison is not None and not job.found[0] and job.found[1]:
            raise UsageError(
                f"{job.comparison} exists already, but not {job.target}, which a comparison of "
                "that name would belong to: choose another output, or pass "
                f"{argument('overwrite')}"
            )
