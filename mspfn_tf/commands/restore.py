"""`mspfn restore`: takes the rain out of picture files and folders of them."""

import os
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

from mspfn_tf.errors import UsageError
from mspfn_tf.presets import DEFAULT_PRESET, known_preset

HELP = "take the rain out of photographs"


def add_arguments(parser):
    parser.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="picture files, and folders (with all below)"
    )
    parser.add_argument(
        "--output",
        required=True,
        metavar="PATH",
        help="for one picture: the file to write, whose suffix decides the format; else a folder, "
        "in which the names and the tree of the inputs are kept",
    )
    model = parser.add_mutually_exclusive_group()
    model.add_argument("--preset", help=f"built-in model (default: {DEFAULT_PRESET})")
    model.add_argument(
        "--model",
        metavar="PATH",
        help="your own: .keras, .weights.h5, .tflite, or the directory of a SavedModel",
    )
    parser.add_argument(
        "--tile",
        type=int,
        metavar="N",
        help="cut pictures into tiles of at most NxN pixels, a multiple of 8: takes less memory, "
        "gives a slightly different result (default: only what memory does not hold whole)",
    )
    parser.add_argument(
        "--overlap",
        type=int,
        default=64,
        metavar="N",
        help="pixels over which neighbouring tiles are blended (default: 64)",
    )
    parser.add_argument(
        "--ensemble",
        type=int,
        default=1,
        choices=(1, 8),
        help="8: average over the rotations and mirror images, 8 times as slow (default: 1)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    parser.add_argument(
        "--compare",
        action="store_true",
        help="also write NAME_compare beside each result: before and after in one picture",
    )


def run(args):
    from mspfn_tf.restorer import Restorer

    jobs = plan(args.inputs, args.output, args.compare, args.overwrite)
    started = time.perf_counter()
    restorer = Restorer(
        args.model if args.model is not None else known_preset(args.preset or DEFAULT_PRESET),
        args.tile,
        args.overlap,
        args.ensemble,
    )
    failed = 0
    with warnings.catch_warnings():
        _show_warnings_plainly()
        for number, job in enumerate(jobs, 1):
            began = time.perf_counter()
            try:
                _restore(restorer, job, args.overwrite)
            except (UsageError, OSError) as error:
                failed += 1
                print(f"mspfn restore: {_naming(job.source, error)}", file=sys.stderr, flush=True)
            else:
                counter = f"[{number}/{len(jobs)}] " if len(jobs) > 1 else ""
                seconds = time.perf_counter() - began
                written = " and ".join(str(path) for path in job.targets)
                print(f"{counter}{job.source} -> {written} ({seconds:.1f} s)", flush=True)
    seconds = time.perf_counter() - started
    counts = f"{len(jobs) - failed} restored, {failed} failed, {seconds:.1f} s"
    print(counts, file=sys.stderr if failed else sys.stdout)
    return 1 if failed else 0


@dataclass(frozen=True)
class Job:
    """One picture to restore: the file it is in, and the files to write."""

    source: Path
    target: Path
    comparison: Path | None

    @property
    def targets(self):
        return [path for path in (self.target, self.comparison) if path is not None]


def plan(inputs, output, compare=False, overwrite=False):
    """Decides which picture goes where, before any work is done.

    Returns:
        A list of `Job`.

    Raises:
        UsageError: an input is missing, a folder holds no picture, `output` is within an input
            folder or is a file where a folder is needed, a suffix cannot be written, two inputs
            would be written to one file, an input would be overwritten, or a file exists and
            `overwrite` is false.
    """
    from mspfn_tf.images import check_writable, find_images

    inputs = [Path(path) for path in inputs]
    for path in inputs:
        if not path.exists():
            raise UsageError(f"no such file or folder: {path}")
    folder = Path(output)
    single = len(inputs) == 1 and not inputs[0].is_dir() and not folder.is_dir()
    if single and folder.suffix and not str(output).endswith(("/", os.sep)):
        pairs = [(inputs[0], folder)]
    else:
        pairs = []
        for path in inputs:
            if not path.is_dir():
                pairs.append((path, folder / path.name))
                continue
            if folder.resolve().is_relative_to(path.resolve()):
                raise UsageError(
                    f"output {folder} is within the input folder {path}: choose a folder outside"
                )
            found = find_images(path)
            if not found:
                raise UsageError(f"no pictures in {path}")
            pairs += [(source, folder / source.relative_to(path)) for source in found]
        _check_folder(folder)
    jobs = []
    for source, target in pairs:
        check_writable(target)
        comparison = target.with_name(f"{target.stem}_compare{target.suffix}") if compare else None
        jobs.append(Job(source, target, comparison))
    _check_targets(jobs, overwrite)
    return jobs


def _check_folder(folder):
    """Raises if `folder` cannot become a folder to write to."""
    existing = next(
        path for path in (folder.absolute(), *folder.absolute().parents) if path.exists()
    )
    if not existing.is_dir():
        raise UsageError(f"{existing} is a file, expected a folder for the output")
    if folder.suffix and not folder.exists():
        from mspfn_tf.images import IMAGE_SUFFIXES

        if folder.suffix.lower() in IMAGE_SUFFIXES:
            raise UsageError(f"output {folder} is a picture's name; expected a folder's")
    if not os.access(existing, os.W_OK):
        raise UsageError(f"no permission to write to {existing}")


def _check_targets(jobs, overwrite):
    sources = {job.source.resolve() for job in jobs}
    origins = {}
    for job in jobs:
        for target in job.targets:
            if target.resolve() in sources:
                raise UsageError(f"{target} is an input: choose another output")
            other = origins.setdefault(target.resolve(), job.source)
            if other is not job.source:
                raise UsageError(
                    f"{other} and {job.source} would both be written to {target}: "
                    "restore them into different folders"
                )
    existing = [target for job in jobs for target in job.targets if target.exists()]
    if existing and not overwrite:
        more = f" (and {len(existing) - 1} more)" if len(existing) > 1 else ""
        raise UsageError(
            f"{existing[0]}{more} exists already: choose another output or pass --overwrite"
        )


def _restore(restorer, job, overwrite):
    from mspfn_tf.images import Picture, read_picture, write_picture
    from mspfn_tf.sheets import side_by_side

    picture = read_picture(job.source)
    restored = restorer(picture.rgb)
    write_picture(job.target, restored, picture, overwrite)
    if job.comparison is not None:
        sheet = side_by_side([picture.rgb, restored], ["before", "after"])
        like = Picture(sheet, gray=picture.gray, icc_profile=picture.icc_profile)
        write_picture(job.comparison, sheet, like, overwrite)


def _naming(source, error):
    """The message of `error`, with the input it is about in front where it does not name it."""
    return str(error) if str(source) in str(error) else f"{source}: {error}"


def _show_warnings_plainly():
    from PIL import Image

    warnings.simplefilter("always", UserWarning)
    # Pillow warns of bombs up to twice its limit; reading turns this into an error of that file.
    warnings.simplefilter("error", Image.DecompressionBombWarning)

    def show(message, category, filename, lineno, file=None, line=None):
        print(f"mspfn restore: warning: {message}", file=sys.stderr)

    warnings.showwarning = show
