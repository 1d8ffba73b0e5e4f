"""`mspfn bulk`: restores archives of pictures on Ray Data."""

import argparse
import sys

from mspfn_tf.commands.arguments import (
    add_allow_unmatched,
    add_model,
    add_protocol,
    add_runtime,
    command_line,
    counts_line,
    model_source,
    report_scores,
)
from mspfn_tf.errors import UsageError
from mspfn_tf.terminal import say, say_above

HELP = "restore archives of pictures on many cores or machines (Ray Data)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "input",
        nargs="?",
        metavar="INPUT",
        help="a folder with all below it, a manifest (.parquet or .csv with a column path), "
        "a .tar, .tfrecord or .array_record file; a path, or a URI such as s3://bucket/folder",
    )
    what.add_argument(
        "--pairs",
        metavar="DIR",
        help="instead: score the pairs of DIR/input and DIR/target, as `mspfn evaluate` does",
    )
    parser.add_argument(
        "--output",
        required=True,
        metavar="URI",
        help="folder for the pictures and manifest.parquet, a path or a URI; the names and the "
        "tree of the input are kept",
    )
    add_model(parser, ", at the same path on every machine")
    parser.add_argument(
        "--resume",
        action="store_true",
        default=None,
        help="leave alone what an earlier run there has restored",
    )
    where = parser.add_argument_group("where the work is done")
    where.add_argument(
        "--local", action="store_true", help="in this process, one after the other, without Ray"
    )
    where.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="a running Ray cluster, such as auto or ray://host:10001 (default: one is started on "
        "this machine and ended afterwards)",
    )
    where.add_argument(
        "--actors",
        type=int,
        metavar="N",
        help="processes that hold the model (default: as many as this machine has cores for)",
    )
    where.add_argument(
        "--threads_per_actor",
        type=int,
        metavar="M",
        help="processor cores for each (default: 1; with --local: all)",
    )
    where.add_argument(
        "--gpus_per_actor",
        type=float,
        default=0.0,
        metavar="G",
        help="graphics cards for each, also a part of one; needs --runtime keras or a SavedModel",
    )
    where.add_argument(
        "--batch_rows",
        type=int,
        default=16,
        metavar="B",
        help="pictures that a process takes and records at a time; so many are done again when it "
        "is killed (default: 16)",
    )
    how = parser.add_argument_group("how pictures are restored, as by `mspfn restore`")
    how.add_argument("--tile", type=int, metavar="N", help="tiles of at most NxN pixels")
    how.add_argument(
        "--overlap",
        type=int,
        metavar="N",
        help="pixels that tiles share (default: 88; mspfn_nano: 64; other models: 3/8 of one)",
    )
    how.add_argument(
        "--ensemble", type=int, default=1, choices=(1, 8), help="8: average over 8 views"
    )
    how.add_argument(
        "--strength", type=float, metavar="S", help="share of the rain to take away, 0 to 1"
    )
    add_runtime(how)
    how.add_argument(
        "--limit_pixels",
        type=int,
        metavar="N",
        help="refuse pictures of more pixels (default: 89 million); 0 for no limit",
    )
    how.add_argument(
        "--image_key",
        metavar="NAME",
        help="feature of the records that holds the picture (default: the first that is one)",
    )
    pairs = parser.add_argument_group("scores, with --pairs")
    add_protocol(pairs)
    pairs.add_argument(
        "--crop_multiple",
        type=int,
        default=1,
        metavar="N",
        help="first crop both pictures at the right and the bottom to multiples of N pixels",
    )
    add_allow_unmatched(pairs)


def run(args: argparse.Namespace) -> int:
    from mspfn_tf.bulk.engines import Cluster
    from mspfn_tf.bulk.workers import Model

    for option, least in (("actors", 1), ("threads_per_actor", 1), ("gpus_per_actor", 0)):
        value = getattr(args, option)
        if value is not None and value < least:
            raise UsageError(f"--{option} must be at least {least}; received {value}")
    if args.batch_rows < 1:
        raise UsageError(f"--batch_rows must be at least 1; received {args.batch_rows}")
    if args.limit_pixels is not None and args.limit_pixels < 0:
        raise UsageError(f"--limit_pixels must be at least 0; received {args.limit_pixels}")
    if args.local:
        for option in ("ray", "actors", "gpus_per_actor"):
            if getattr(args, option):
                raise UsageError(f"--local works in this process: leave --{option} out")
    _check_kind(args)
    given = {"tile": args.tile, "overlap": args.overlap, "strength": args.strength}
    options = {name: value for name, value in given.items() if value is not None}
    options["ensemble"] = args.ensemble
    source = model_source(args)
    if args.gpus_per_actor:
        _check_gpu(source, args.runtime)
    threads = args.threads_per_actor
    cluster = None
    if not args.local:
        threads = threads or 1
        cluster = Cluster(args.actors, threads, args.gpus_per_actor, args.ray)
    model = Model(source, options, args.runtime, threads)
    if args.pairs is not None:
        return _evaluate(args, model, cluster)
    return _restore(args, model, cluster)


def _check_kind(args):
    """Refuses what goes with pictures only, or with pairs only."""
    if args.pairs is not None:
        for option in ("resume", "image_key", "limit_pixels"):
            if getattr(args, option) is not None:
                raise UsageError(f"--{option} goes with INPUT, not with --pairs")
    else:
        for option, default in (("protocol", "matlab_y"), ("crop_multiple", 1)):
            if getattr(args, option) != default:
                raise UsageError(f"--{option} goes with --pairs")
        if args.allow_unmatched:
            raise UsageError("--allow_unmatched goes with --pairs")


def _restore(args, model, cluster):
    from mspfn_tf.bulk import restore_archive

    bar = None
    if sys.stderr.isatty():
        from tqdm import tqdm

        bar = tqdm(unit="picture", file=sys.stderr, dynamic_ncols=True)

    def on_batch(batch, total):
        for message in batch["notes"]:
            say_above(bar, f"mspfn bulk: warning: {message}", sys.stderr)
        for message in batch["errors"]:
            say_above(bar, f"mspfn bulk: {message}", sys.stderr)
        if bar is not None:
            bar.total = total
            bar.update(batch["restored"] + batch["failed"])

    try:
        summary = restore_archive(
            args.input,
            args.output,
            model,
            cluster,
            args.resume,
            args.batch_rows,
            args.image_key,
            args.limit_pixels,
            on_batch,
        )
    finally:
        if bar is not None:
            bar.close()
    listing = summary.listing
    for address, reason in listing.unreadable:
        say(f"mspfn bulk: {address} {reason}", sys.stderr)
    if listing.left_out:
        names = ", ".join(f"{address} {reason}" for address, reason in listing.named)
        more = listing.left_out - len(listing.named)
        rest = f" and {more} more" if more else ""
        say(f"mspfn bulk: {listing.left_out} left out: {names}{rest}", sys.stderr)
    if summary.stopped:
        say(f"mspfn bulk: stopped: {summary.stopped}", sys.stderr)
    if summary.lost:
        say(f"mspfn bulk: {summary.lost} without a record: pass --resume", sys.stderr)
    failed = summary.failed + len(listing.unreadable)
    line = counts_line(summary.restored, summary.skipped, listing.left_out, failed, summary.seconds)
    incomplete = failed or summary.lost or summary.stopped
    report = sys.stderr if incomplete else sys.stdout
    say(line, report)
    if not summary.stopped:
        say(f"manifest: {summary.manifest}", report)
    return 1 if incomplete else 0


def _evaluate(args, model, cluster):
    from mspfn_tf.bulk import evaluate_archive
    from mspfn_tf.files import check_outside
    from mspfn_tf.sets.pairs import FolderPairs

    if "://" in args.pairs or "://" in args.output:
        raise UsageError("--pairs reads and writes folders that every machine sees, no URIs")
    for part in ("input", "target"):
        check_outside(args.output, f"{args.pairs}/{part}")
    pairs = FolderPairs(args.pairs, args.allow_unmatched)
    scores = evaluate_archive(
        pairs,
        args.output,
        model,
        {"files": pairs.fingerprint()},
        cluster,
        args.protocol,
        args.crop_multiple,
        args.batch_rows,
        command_line(),
    )
    return report_scores(scores, "bulk")


def _check_gpu(source, runtime):
    from mspfn_tf.source import resolve

    found = resolve(source)
    on_processors = found.litert_file or found.openvino_file
    if found.kind in ("litert", "openvino") or (on_processors and runtime != "keras"):
        raise UsageError(
            "LiteRT and OpenVINO run on processors: --gpus_per_actor needs --runtime keras or a "
            "SavedModel"
        )
