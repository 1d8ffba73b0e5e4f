"""`mspfn prepare`: builds a rain dataset from downloaded pictures."""

import contextlib
import importlib.util
import io
import os
import shutil
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from mspfn_tf.errors import UsageError

HELP = "build a rain dataset from downloaded pictures"


def add_arguments(parser):
    parser.add_argument("name", metavar="NAME", help="dataset or dataset/configuration")
    parser.add_argument(
        "--manual_dir",
        required=True,
        metavar="DIR",
        help="folder (or zip archive) with the pictures as they were downloaded",
    )
    parser.add_argument(
        "--data_dir", required=True, metavar="DIR", help="folder that receives the dataset"
    )
    parser.add_argument("--config", help="configuration of the dataset (default: its first)")
    parser.add_argument(
        "--file_format",
        choices=("array_record", "tfrecord"),
        default="array_record",
        help="array_record (default) gives random access, also without TensorFlow",
    )
    parser.add_argument(
        "--allow_incomplete",
        action="store_true",
        help="warn about missing pairs and splits instead of refusing them",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the prepared dataset")


def run(args):
    import tensorflow_datasets as tfds

    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    builder_class, config = _builder_class(args.name, args.config)
    if args.file_format == "array_record" and not importlib.util.find_spec("array_record"):
        raise UsageError(
            "array_record is not installed (Linux has it): pass --file_format tfrecord"
        )
    data_dir = Path(args.data_dir).expanduser()
    target = data_dir / Path(builder_class.name, config or "", str(builder_class.VERSION))
    if target.exists() and not args.overwrite:
        raise UsageError(f"{target} exists already: choose another folder or pass --overwrite")
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        build_dir = Path(tempfile.mkdtemp(prefix=".prepare-", dir=data_dir))
    except OSError as error:
        raise UsageError(f"cannot write to {data_dir}: {error.strerror}") from error
    try:
        builder = builder_class(
            source=args.manual_dir,
            allow_incomplete=args.allow_incomplete,
            data_dir=build_dir,
            config=config,
            file_format=args.file_format,
        )
        # TFDS announces the temporary folder on standard output.
        with contextlib.redirect_stdout(io.StringIO()):
            builder.download_and_prepare(download_dir=build_dir / "downloads")
        _move(builder, build_dir, target)
    finally:
        shutil.rmtree(build_dir)
    for line in _report(builder, target, args.file_format):
        print(line)
    return 0


def _builder_class(name, config):
    """The builder and the name of the configuration (None where it has none)."""
    import tensorflow_datasets as tfds

    from mspfn_tf.datasets import NAMES

    name, _, suffix = name.partition("/")
    if name not in NAMES:
        raise UsageError(f"no dataset is called {name!r}; there are: {', '.join(NAMES)}")
    if suffix and config and suffix != config:
        raise UsageError(f"two configurations given: {name}/{suffix} and --config {config}")
    builder_class = tfds.builder_cls(name)
    known = [known.name for known in builder_class.BUILDER_CONFIGS]
    config = suffix or config or (known[0] if known else None)
    if config is not None and config not in known:
        choice = f"choose among: {', '.join(known)}" if known else "it has none"
        raise UsageError(f"{name} has no configuration {config!r}; {choice}")
    return builder_class, config


def _move(builder, build_dir, target):
    """Moves what was built below `build_dir` into place."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        shutil.rmtree(target)
    os.replace(builder.data_dir, target)
    # The name of the default configuration, which `tfds.load(name)` asks for.
    default_config = build_dir / builder.name / ".config"
    if default_config.exists():
        shutil.copytree(default_config, target.parent.parent / ".config", dirs_exist_ok=True)


def _report(builder, target, file_format):
    """Lines about what was built: counts, sizes, duplicates, pictures that splits share."""
    yield f"{builder.info.full_name} ({file_format}) in {target}"
    yield f"{'split':<12}{'pairs':>8}{'scenes':>8}{'MB':>10}"
    for name, split in builder.info.splits.items():
        scenes = len(set(builder.scenes.get(name, {}).values()))
        yield f"{name:<12}{split.num_examples:>8}{scenes:>8}{split.num_bytes / 1e6:>10.1f}"
    yield from _duplicates(builder.hashes)
    yield from _shared("clean pictures", _by_value(_clean_hashes(builder.hashes)))
    yield from _shared("scenes", _by_value(builder.scenes))


def _duplicates(hashes):
    names = defaultdict(list)
    for split, pairs in hashes.items():
        for name, pair_hashes in pairs.items():
            names[pair_hashes].append(f"{split}/{name}")
    same = [" = ".join(group) for group in names.values() if len(group) > 1]
    yield f"exact duplicates: {len(same) or 'none'}"
    yield from (f"  {line}" for line in same)


def _clean_hashes(hashes):
    return {
        split: {name: clean for name, (_, clean) in pairs.items() if clean}
        for split, pairs in hashes.items()
    }


def _by_value(splits):
    """`{split: {value: [names]}}` from `{split: {name: value}}`."""
    result = {}
    for split, values in splits.items():
        result[split] = defaultdict(list)
        for name, value in values.items():
            result[split][value].append(name)
    return result


def _shared(what, splits):
    """Lines about the values that two splits have in common."""
    names = list(splits)
    for index, first in enumerate(names):
        for second in names[index + 1 :]:
            common = splits[first].keys() & splits[second].keys()
            if common:
                pairs = [sum(len(splits[s][value]) for value in common) for s in (first, second)]
                yield (
                    f"{what} shared by {first} and {second}: {len(common)}"
                    f" ({pairs[0]} and {pairs[1]} pairs)"
                )
                yield from (
                    f"  {first}/{splits[first][value][0]} = {second}/{splits[second][value][0]}"
                    for value in list(common)[:10]
                )
