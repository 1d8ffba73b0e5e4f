"""`mspfn restore`: takes the rain out of picture files and folders of them."""

import argparse
import collections
import contextlib
import logging
import os
import shutil
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from pathlib import Path

from mspfn_tf.commands import video_arguments
from mspfn_tf.commands.arguments import add_model, add_runtime, counts_line, model_source
from mspfn_tf.errors import UsageError
from mspfn_tf.files import writing
from mspfn_tf.terminal import bar_size, say, say_above

HELP = "take the rain out of photographs and videos"

_STANDARD = "-"  # standard input or output
_NAMED = 20  # left-out files that are named without --verbose
_BAR = "{percentage:3.0f}% |{bar}| {n:.1f}/{total} [{elapsed}, {remaining} left{postfix}]"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "inputs",
        nargs="*",
        metavar="INPUT",
        help="picture and video files, folders (with all below), or - for standard input",
    )
    parser.add_argument(
        "--output",
        required=True,
        metavar="PATH",
        help="for one file: the file to write, whose suffix decides the format; else a folder, "
        "in which the names and the tree of the inputs are kept; or - for standard output",
    )
    parser.add_argument(
        "--dataset",
        metavar="NAME",
        help="instead of INPUT: the rainy pictures of a set that `mspfn prepare` built",
    )
    parser.add_argument("--split", help="of the dataset: train, validation or test")
    parser.add_argument("--data_dir", metavar="DIR", help="where the dataset was built")
    add_model(parser)
    parser.add_argument(
        "--tile",
        type=int,
        metavar="N",
        help="cut pictures into tiles of at most NxN pixels, a multiple of 8, which takes less "
        "memory (default: whole pictures as long as memory allows, then tiles)",
    )
    parser.add_argument(
        "--overlap",
        type=int,
        metavar="N",
        help="pixels that neighbouring tiles share at least (default: 88, 64 with mspfn_nano, "
        "up to three eighths of the tile with other models)",
    )
    parser.add_argument(
        "--ensemble",
        type=int,
        default=1,
        choices=(1, 8),
        help="8: average over the rotations and mirror images, 8 times as slow (default: 1)",
    )
    parser.add_argument(
        "--strength",
        type=float,
        metavar="S",
        help="how much of the rain to take away, 0 to 1 (default: 1)",
    )
    add_runtime(parser)
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--overwrite", action="store_true", help="replace files that exist")
    existing.add_argument(
        "--resume",
        action="store_true",
        help="leave alone what is complete (its output exists and is not empty), do the rest",
    )
    parser.add_argument(
        "--compare",
        action="store_true",
        help="also write NAME_compare beside each result: before and after in one picture",
    )
    parser.add_argument(
        "--format",
        metavar="SUFFIX",
        type=_suffix,
        help="format of all results, such as jpg or png (default: that of each input)",
    )
    parser.add_argument(
        "--shard",
        metavar="I/N",
        type=_shard,
        help="do the I-th of N shares of the files, for job arrays",
    )
    parser.add_argument(
        "--limit_pixels",
        type=int,
        metavar="N",
        help="refuse pictures of more pixels (default: 89 million); 0 for no limit",
    )
    parser.add_argument(
        "--verbose", action="store_true", help="one line per file, and all that was left out"
    )
    video_arguments.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        hidden = []
        _show_warnings_plainly(hidden)
        if args.limit_pixels is not None:
            stack.enter_context(_pixel_limit(args.limit_pixels))
        if args.dataset is None and _STANDARD in (*args.inputs, args.output):
            return _run_standard(args, stack, hidden)
        inputs = _inputs(args, stack, hidden)
        return _run(args, inputs, args.output, sys.stdout, hidden)


def _inputs(args, stack, hidden):
    """What to restore; adds to `hidden` what to call temporary files among it."""
    if args.dataset is None:
        for option in ("split", "data_dir"):
            if getattr(args, option) is not None:
                raise UsageError(f"--{option} goes with --dataset")
        if not args.inputs:
            raise UsageError("name pictures or folders to restore, or a --dataset")
        return args.inputs
    if args.output == _STANDARD:
        raise UsageError("a dataset has many pictures, standard output is one: name a folder")
    if args.inputs:
        raise UsageError("--dataset takes the place of INPUT: give one of them")
    for option in ("split", "data_dir"):
        if getattr(args, option) is None:
            raise UsageError(f"--dataset needs --{option}")
    from mspfn_tf.sets.prepared import Examples, picture_files

    examples = Examples(args.dataset, args.split, args.data_dir, paired=False)
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="mspfn-"))
    picture_files(examples, folder)
    hidden.append((folder, f"{args.dataset}/{args.split}"))
    return [folder]


def _run(args, inputs, output, report, hidden):
    """Plans and restores; lines about what went well go to `report`.

    `hidden` says what temporary files are called: (path, name).
    """
    from mspfn_tf.restoring.file_restorer import FileRestorer, restore_all
    from mspfn_tf.restoring.plan import plan

    started = time.perf_counter()
    todo = plan(inputs, output, args.compare, args.overwrite, args.resume, args.format, args.shard)
    videos = [job.target.suffix for job in todo.jobs if job.kind == "video"]
    video = video_arguments.settings(args, videos, alone=len(videos) == len(todo.jobs))
    files = FileRestorer(*_restorers(args), video=video)
    counts, number = Counter(skipped=len(todo.complete)), 0
    with _Progress(len(todo.jobs), args.verbose, hidden) as progress:
        files.on_frames = progress.frames
        for outcome in restore_all(todo, files, on_progress=progress.part):
            counts[outcome.status] += 1
            number += 1
            job = outcome.job
            if outcome.status == "failed":
                progress.say(f"mspfn restore: {outcome.message}", sys.stderr)
            elif outcome.status == "restored" and progress.lines:
                counter = f"[{number}/{len(todo.jobs)}] " if len(todo.jobs) > 1 else ""
                written = " and ".join(str(path) for path in job.targets)
                frames = f"{outcome.frames} frames, " if outcome.frames > 1 else ""
                line = f"{counter}{job.source} -> {written} ({frames}{outcome.seconds:.1f} s)"
                progress.say(line, report)
            for words in outcome.dropped:
                progress.say(f"mspfn restore: {job.source}: left behind: {words}", sys.stderr)
            progress.done(job)
    for path, reason in todo.unreadable:
        say(f"mspfn restore: {path} {reason}", sys.stderr)
    counts["failed"] += len(todo.unreadable)
    _say_left_out(todo.left_out, args.verbose)
    seconds, what = time.perf_counter() - started, "files" if videos else "pictures"
    summary = counts_line(
        counts["restored"], counts["skipped"], len(todo.left_out), counts["failed"], seconds, what
    )
    say(summary, sys.stderr if counts["failed"] else report)
    return 1 if counts["failed"] else 0


def _say_left_out(left_out, verbose):
    if not left_out:
        return
    named = left_out if verbose else left_out[:_NAMED]
    names = ", ".join(f"{path} {reason}" for path, reason in named)
    more = len(left_out) - len(named)
    rest = f" and {more} more (--verbose names all)" if more else ""
    say(f"mspfn restore: {len(left_out)} left out: {names}{rest}", sys.stderr)


class _Progress:
    """A bar with the time that is left on a terminal; lines elsewhere, or with --verbose."""

    def __init__(self, total, verbose, hidden):
        on_terminal = sys.stderr.isatty() and total > 0
        self.lines = verbose or not on_terminal
        self._hidden = hidden
        self._bar = None
        self._total, self._complete, self._parts = total, 0, {}
        self._counting = threading.Lock()
        if on_terminal:
            from tqdm import tqdm

            self._bar = tqdm(
                total=total,
                file=sys.stderr,
                bar_format=_BAR,
                **bar_size(sys.stderr),
            )

    def part(self, job, part):
        """Takes the part of a file that is done; from any thread."""
        with self._counting:
            self._parts[job.target] = part
            self._draw()

    def frames(self, job, done, per_second):
        """Takes how a video goes on; from any thread."""
        if self._bar is not None:
            self._bar.set_postfix_str(f"{done} frames, {per_second:.1f} frames/s", refresh=False)

    def done(self, job):
        with self._counting:
            self._parts.pop(job.target, None)
            self._complete += 1
            self._draw()

    def _draw(self):
        if self._bar is not None:
            # Parts do not add up exactly, and more than all is nothing that tqdm can draw.
            self._bar.n = min(self._total, self._complete + sum(self._parts.values()))
            self._bar.update(0)

    def say(self, line, file):
        say_above(self._bar, _named(line, self._hidden), file)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self._bar is not None:
            self._bar.close()


def _named(line, hidden):
    for path, name in hidden:
        line = line.replace(path, name)
    return line


def _run_standard(args, stack, hidden):
    """Restores standard input, or writes to standard output, by way of a temporary folder."""
    if len(args.inputs) != 1 or os.path.isdir(args.inputs[0]):
        raise UsageError("- takes the place of one file: give one input and one output")
    to_output = args.output == _STANDARD
    if to_output and args.compare:
        raise UsageError("--compare writes two files, standard output is one")
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    source = args.inputs[0]
    for used, name in ((source == _STANDARD, "stdin"), (to_output, "stdout")):
        if used and getattr(sys, f"__{name}__") is None:
            raise UsageError(f"standard {name.removeprefix('std')}put is closed")
    if source == _STANDARD:
        source = folder / "input"
        with writing(source), open(source, "wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        hidden.append((str(source), "standard input"))
    target = args.output
    if to_output:
        target = folder / f"output{_suffix_for(source, args.format)}"
        hidden.append((str(target), "standard output"))
    elif args.format and not Path(target).suffix:
        target = Path(target, f"input{_suffix_for(source, args.format)}")
    status = _run(args, [source], target, sys.stderr if to_output else sys.stdout, hidden)
    if to_output and status == 0:
        try:
            with open(target, "rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            say("mspfn restore: the reader of standard output has gone", sys.stderr)
            return 1
        except OSError as error:
            raise UsageError(f"cannot write standard output: {error.strerror}") from error
    return status


def _suffix_for(source, wanted):
    """Of the result: `wanted` is for pictures alone."""
    from mspfn_tf.pictures import PICTURE_SUFFIXES, kind_of, suffix_of
    from mspfn_tf.video.formats import is_video, video_target

    suffix = Path(source).suffix.lower()
    if is_video(source):
        return video_target(source).suffix
    if wanted or suffix in PICTURE_SUFFIXES:
        return wanted or suffix
    return suffix_of(kind_of(source)) or ".png"


def _suffix(text):
    suffix = "." + text.lower().removeprefix(".")
    from mspfn_tf.pictures import PICTURE_SUFFIXES

    if suffix not in PICTURE_SUFFIXES:
        known = ", ".join(sorted(known.removeprefix(".") for known in PICTURE_SUFFIXES))
        raise argparse.ArgumentTypeError(f"{text!r} is no format that is written; choose {known}")
    return suffix


def _shard(text):
    index, slash, shares = text.partition("/")
    if not slash or not index.isdecimal() or not shares.isdecimal():
        raise argparse.ArgumentTypeError(f"expected I/N, such as 1/4; received {text!r}")
    if not 1 <= int(index) <= int(shares):
        raise argparse.ArgumentTypeError(f"the share must be 1 to N; received {text!r}")
    return int(index), int(shares)


def _restorers(args):
    """Returns (the `Restorer`, a function that makes one of the same model for smaller tiles)."""
    from mspfn_tf.restorer import Restorer

    given = {"overlap": args.overlap, "strength": args.strength}
    options = {name: value for name, value in given.items() if value is not None}
    options["ensemble"] = args.ensemble
    restorer = Restorer(model_source(args), tile=args.tile, runtime=args.runtime, **options)

    def smaller(tile):
        if args.tile is not None and args.tile <= tile:
            raise UsageError(f"--tile {args.tile} is smaller already")
        return Restorer(restorer.runtime, tile=tile, **options)

    return restorer, smaller


@contextlib.contextmanager
def _pixel_limit(pixels):
    from PIL import Image

    from mspfn_tf.pictures import limit_pixels

    if pixels < 0:
        raise UsageError(f"--limit_pixels must be at least 0; received {pixels}")
    before = Image.MAX_IMAGE_PIXELS
    limit_pixels(pixels or None)
    try:
        yield
    finally:
        limit_pixels(before)


def _show_warnings_plainly(hidden):
    """Warnings become lines that name the file at work."""
    from PIL import Image

    from mspfn_tf.restoring.file_restorer import current_source

    logging.getLogger("PIL").addHandler(logging.NullHandler())  # what it logs, it raises, too
    warnings.simplefilter("always", UserWarning)
    # Files above the limit are refused by us, with a message.
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)

    lately = collections.deque(maxlen=100)  # decoders say the same whenever they look at a block

    def show(message, category, filename, lineno, file=None, line=None):
        text, source = str(message).strip(), current_source()
        named = text if source is None or source in text else f"{source}: {text}"
        if named in lately:
            return
        lately.append(named)
        say(f"mspfn restore: warning: {_named(named, hidden)}", sys.stderr)

    warnings.showwarning = show
