"""Builds a set from downloaded pictures, and tells what it holds."""

import contextlib
import dataclasses
import importlib.util
import io
import os
import shutil
from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path

from mspfn_tf.datasets.archives import Progress
from mspfn_tf.datasets.layouts import listing
from mspfn_tf.errors import UsageError, argument
from mspfn_tf.files import (
    atomic_folder,
    atomic_write,
    clear_leftovers,
    missing_folders,
    remove_empty,
    writing,
)

FILE_FORMATS = ("array_record", "tfrecord")


@dataclasses.dataclass(frozen=True)
class PreparedSplit:
    """What a split holds: pairs, different scenes, and bytes on disk."""

    pairs: int
    scenes: int
    size: int


@dataclasses.dataclass(frozen=True)
class PreparedSet:
    """What `prepare` has built.

    Attributes:
        name: name, configuration and version.
        folder: where it lies.
        file_format: how.
        splits: what each holds.
        hashes: `{split: {name: (hash of the rainy pixels, hash of the clean pixels or None)}}`.
        scenes: `{split: {name: scene}}`.
    """

    name: str
    folder: Path
    file_format: str
    splits: dict[str, PreparedSplit]
    hashes: dict[str, dict[str, tuple[Hashable, Hashable]]]
    scenes: dict[str, dict[str, str]]


def prepare(
    name: str,
    source: str | os.PathLike,
    data_dir: str | os.PathLike,
    config: str | None = None,
    file_format: str = "array_record",
    allow_incomplete: bool = False,
    overwrite: bool = False,
    sample: int | None = None,
    progress: Progress | None = None,
) -> PreparedSet:
    """Builds a rain set for TFDS in `data_dir/name[/config]/version`.

    It takes the place of an older one when it is complete. What a killed run left half built is
    removed.

    Args:
        name: name of the set, or `name/config`.
        source: folder or archive with the pictures as they were downloaded.
        data_dir: folder that receives the set.
        config: configuration of the set; default: its first.
        file_format: one of `FILE_FORMATS`.
        allow_incomplete: warn about missing pairs and splits instead of refusing them.
        overwrite: whether a set that is there may be replaced.
        sample: so many training pairs only, from every scene as many; the configuration is called
            `sample_N` then, or `CONFIG_sample_N`.
        progress: is told what is being done, how much of it is done, and how much there is.

    Raises:
        UsageError: no such set or configuration; it exists already; pictures are missing, damaged
            or do not fit (the message ends with what has been found so far); no place to write to.
    """
    import tensorflow_datasets as tfds

    builder_class, config = find_builder(name, config)
    if file_format not in FILE_FORMATS:
        raise UsageError(f"file format {file_format!r}: choose {' or '.join(FILE_FORMATS)}")
    if file_format == "array_record" and not importlib.util.find_spec("array_record"):
        raise UsageError(
            "array_record is not installed (Linux has it): pass "
            f"{argument('file_format', 'tfrecord')}"
        )
    options = {"source": source, "allow_incomplete": allow_incomplete, "sample": sample}
    data_dir = Path(data_dir).expanduser()
    parts = builder_class.folder_parts(config, sample)
    target = data_dir.joinpath(*parts, str(builder_class.VERSION))
    clear_leftovers(data_dir / builder_class.name, recursive=True)
    made = missing_folders(target.parent)
    if progress is not None:
        tfds.disable_progress_bar()
    try:
        with atomic_folder(target, overwrite) as folder, writing(target):
            build = folder / ".build"
            builder = builder_class(
                data_dir=build,
                config=config,
                file_format=file_format,
                scratch=build / "unpacked",
                progress=progress,
                **options,
            )
            _build(builder, build / "downloads")
            for path in Path(builder.data_dir).iterdir():
                path.rename(folder / path.name)
            # The name of the default configuration, which `tfds.load(name)` asks for.
            default = _read_files(build / builder.name / ".config") if sample is None else {}
            for file, data in default.items():
                path = data_dir / builder.name / ".config" / file
                with atomic_write(path, overwrite=True) as temporary:
                    temporary.write_bytes(data)
            shutil.rmtree(build)
    except BaseException:
        remove_empty(made)
        raise
    splits = {
        split: PreparedSplit(
            info.num_examples, len(set(builder.scenes.get(split, {}).values())), info.num_bytes
        )
        for split, info in builder.info.splits.items()
    }
    return PreparedSet(
        builder.info.full_name, target, file_format, splits, builder.hashes, builder.scenes
    )


def find_builder(name: str, config: str | None = None) -> tuple[type, str | None]:
    """The builder of a set, and the name of the configuration (None where it has none).

    Args:
        name: `name` or `name/config`.
        config: the configuration, if `name` does not tell it; default: the first.

    Raises:
        UsageError: there is no such set or configuration, or two were given.
    """
    import tensorflow_datasets as tfds

    from mspfn_tf.datasets import NAMES

    name, _, suffix = name.partition("/")
    if name not in NAMES:
        raise UsageError(f"no dataset is called {name!r}; there are: {', '.join(NAMES)}")
    if suffix and config and suffix != config:
        raise UsageError(f"two configurations given: {name}/{suffix} and {config!r}")
    builder_class = tfds.builder_cls(name)
    known = [known.name for known in builder_class.BUILDER_CONFIGS]
    config = suffix or config or (known[0] if known else None)
    if config is not None and config not in known:
        choice = f"choose among: {', '.join(known)}" if known else "it has none"
        raise UsageError(f"{name} has no configuration {config!r}; {choice}")
    return builder_class, config


def report(prepared: PreparedSet) -> Iterator[str]:
    """Lines about what was built: counts, sizes, duplicates, pictures that splits share."""
    yield f"{prepared.name} ({prepared.file_format}) in {prepared.folder}"
    yield f"{'split':<12}{'pairs':>8}{'scenes':>8}{'MB':>10}"
    for name, split in prepared.splits.items():
        yield f"{name:<12}{split.pairs:>8}{split.scenes:>8}{split.size / 1e6:>10.1f}"
    yield from _duplicates(prepared.hashes)
    yield from _shared("clean pictures", _by_value(_clean_hashes(prepared.hashes)))
    yield from _shared("scenes", _by_value(prepared.scenes))


def _build(builder, downloads: Path) -> None:
    try:
        # TFDS announces the temporary folder on standard output.
        with contextlib.redirect_stdout(io.StringIO()):
            builder.download_and_prepare(download_dir=downloads)
    except UsageError as error:
        if not builder.found:
            raise
        raise UsageError(f"{error}\n{listing('found so far:', builder.found)}") from error
    except OSError as error:
        where = error.filename or builder.data_dir
        raise UsageError(f"{where}: {error.strerror or error}") from error
    except RuntimeError as error:  # what the writers of records raise where the disk is full
        free = shutil.disk_usage(Path(builder.data_dir).anchor or ".").free
        with contextlib.suppress(OSError):
            free = shutil.disk_usage(downloads.parent).free
        reason = str(error).partition("\n")[0]
        raise UsageError(
            f"{builder.data_dir}: the records cannot be written ({reason}); {free / 1e6:.0f} MB "
            "are free there"
        ) from error


def _read_files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.is_dir() else {}


def _duplicates(hashes: Mapping[str, Mapping[str, Hashable]]) -> Iterator[str]:
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


def _shared(what: str, splits) -> Iterator[str]:
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
