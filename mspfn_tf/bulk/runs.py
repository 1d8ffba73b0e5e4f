"""A whole run: list, leave out what is done, hand out, write the manifest."""

import contextlib
import functools
import json
import os
import secrets
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from mspfn_tf.bulk import engines, inputs, workers
from mspfn_tf.bulk.places import PROBE, Place
from mspfn_tf.bulk.records import STATE, Book
from mspfn_tf.errors import UsageError, argument
from mspfn_tf.files import LOCK, clear_leftovers, locked
from mspfn_tf.source import resolve

BATCH_ROWS = 16
_TIME = "%Y%m%dT%H%M%S%f"


@dataclass
class Summary:
    """What became of a run.

    Attributes:
        restored: pictures that this run restored.
        failed: pictures that this run could not restore.
        skipped: pictures that earlier runs had restored.
        stopped: why the run was given up, such as a full disk; what was recorded until then stays,
            and a run with `resume` goes on from there. None if it was not.
        lost: pictures without a record, which should not be; another run with `resume` does them.
        seconds: how long it took.
        listing: what was found, and what was left out.
        manifest: address of the manifest.
    """

    restored: int = 0
    failed: int = 0
    skipped: int = 0
    stopped: str | None = None
    lost: int = 0
    seconds: float = 0.0
    listing: inputs.Listing = field(default_factory=inputs.Listing)
    manifest: str = ""


def restore_archive(
    source: str | os.PathLike,
    output: str | os.PathLike,
    model: workers.Model,
    cluster: engines.Cluster | None = None,
    resume: bool = False,
    batch_rows: int = BATCH_ROWS,
    image_key: str | None = None,
    pixels: int | None = None,
    on_batch: Callable[[dict[str, Any], int], None] | None = None,
) -> Summary:
    """Restores all pictures of an input, as `mspfn restore` would, and writes a manifest of them.

    Args:
        source: see `inputs.find`.
        output: a folder: a path, or a URI. The names and the tree of the input are kept.
        model: what restores.
        cluster: where the workers run; None for a loop in this process, without Ray.
        resume: whether `output` may hold an earlier run, whose restored pictures are left alone.
        batch_rows: pictures whose records are written together: so many are done again, at most,
            for each worker that is killed.
        image_key: the feature of a ``tf.train.Example`` that holds the picture.
        pixels: limit of the pixels of a picture, 0 for none, None for Pillow's.
        on_batch: called with the counts of each batch (``restored``, ``failed``, ``errors``,
            ``notes``), and the number of pictures that this run has to do.

    Raises:
        UsageError: wrong arguments, no picture, an output that is in use, holds other results, or
            cannot be written.
    """
    began = time.perf_counter()
    if batch_rows < 1:
        raise UsageError(f"batch_rows must be at least 1; received {batch_rows}")
    digest = _digest(model)
    source_place, target = Place(os.fspath(source)), Place(os.fspath(output))
    _check_apart(source_place, target)
    listing = inputs.find(os.fspath(source))
    book = Book(target)
    begun = book.exists()
    # What a run leaves that could not begin is nothing that could be lost or resumed.
    used = begun or any(
        name not in (LOCK, STATE) and not name.startswith(PROBE) for name, _ in target.entries()
    )
    if not resume and used:
        raise UsageError(
            f"{target} exists already and is not empty: choose another output, or pass "
            f"{argument('resume')} to go on there"
        )
    if resume and used and not begun:
        raise UsageError(
            f"{target} holds files, but no earlier run of bulk that could be resumed: choose "
            "another output"
        )
    with _alone(target), _withdrawn(book):
        book.begin(_about(model, digest, image_key, pixels))
        todo = _todo(listing.rows, book, target) if resume else listing.rows
        summary = Summary(listing=listing, manifest=str(book.manifest))
        summary.skipped = listing.rows.num_rows - todo.num_rows
        task = workers.Task(_absolute(target), _new_run(book), model, digest, image_key, pixels)
        todo = _with_absolute_sources(todo)
        batches = _handed_out(todo, workers.Worker, (task,), batch_rows, cluster)
        with contextlib.closing(batches):
            for batch in batches:
                summary.restored += batch["restored"]
                summary.failed += batch["failed"]
                if on_batch is not None:
                    on_batch(batch, todo.num_rows)
                if batch["stopped"]:
                    summary.stopped = batch["stopped"]
                    break
        if summary.stopped is None:
            book.finish()
            summary.lost = todo.num_rows - summary.restored - summary.failed
        if target.local is not None:
            clear_leftovers(target.local, recursive=True)
    summary.seconds = time.perf_counter() - began
    return summary


def evaluate_archive(
    pairs: Any,
    output: str | os.PathLike,
    model: workers.Model,
    which: dict[str, Any],
    cluster: engines.Cluster | None = None,
    protocol: str = "matlab_y",
    crop_multiple: int = 1,
    batch_rows: int = BATCH_ROWS,
    command: str | None = None,
) -> dict[str, Any]:
    """Restores and scores pairs; the result is that of `mspfn_tf.evaluation.evaluate`.

    Args:
        pairs: `FolderPairs`, or what reads like them and pickles.
        output: folder of this machine; a run that was interrupted goes on there.
        model: what restores.
        which: says for the configuration what the pairs are.
        cluster: where the workers run; None for this process.
        protocol, crop_multiple: as `evaluate`.
        batch_rows: pairs that a worker gets at a time.
        command: the command to record as the one that made the scores.

    Returns:
        The content of `scores.json`.
    """
    from mspfn_tf import evaluation

    def measured(indices: list[int]) -> Iterator[tuple[int, dict | None, str | None]]:
        rows = pa.table({"index": pa.array(indices, pa.int64())})
        if not indices:
            return
        arguments = (model, pairs, protocol, crop_multiple)
        for row in _handed_out(rows, workers.PairWorker, arguments, batch_rows, cluster):
            record = None if row["record"] is None else json.loads(row["record"])
            yield row["index"], record, row["error"]

    restorer = model.restorer()
    configuration = {**evaluation.describe_restorer(restorer), **which}
    return evaluation.evaluate(
        restorer, pairs, output, configuration, protocol, crop_multiple, command, measured
    )


def _handed_out(
    rows: pa.Table,
    worker: type,
    arguments: tuple,
    batch_rows: int,
    cluster: engines.Cluster | None,
) -> Generator[dict[str, Any], None, None]:
    if not rows.num_rows:
        return
    if cluster is None:
        yield from engines.in_loop(rows, worker, arguments, batch_rows)
    else:
        yield from engines.on_ray(rows, worker, arguments, batch_rows, cluster)


def _todo(rows, book, target):
    """The rows without a record of being restored from that file, or whose output is gone."""
    restored = book.restored()
    real_folder = functools.cache(os.path.realpath)  # there are fewer folders than pictures

    def is_same(one, other):
        """Whether two locations are one, however their folders are spelled."""
        if one == other or "://" in one or "://" in other:
            return one == other
        (folder, name), (other_folder, other_name) = os.path.split(one), os.path.split(other)
        return name == other_name and real_folder(folder) == real_folder(other_folder)

    found = zip(
        rows["name"].to_pylist(), _absolute_sources(rows), rows["kind"].to_pylist(), strict=True
    )
    known = [
        (restored.get(name), inputs.location({"name": name, "source": source, "kind": kind}))
        for name, source, kind in found
    ]
    done = [record is not None and is_same(record[1], place) for record, place in known]
    kept = [record[0] for (record, _), is_done in zip(known, done, strict=True) if is_done]
    there = target.have(kept)
    return rows.filter(pa.array([not (is_done and next(there)) for is_done in done], pa.bool_()))


def _digest(model):
    found = resolve(model.source)
    digest = found.digest
    if digest is None:
        raise UsageError(
            f"no weights come with preset {found.name!r}: choose another, or give weights of your "
            "own"
        )
    return digest


def _about(model, digest, image_key, pixels):
    chosen = {"image_key": image_key, "limit_pixels": pixels}
    return {
        "weights_sha256": digest,
        "runtime": model.runtime or "default",
        **dict(sorted(model.options.items())),
        **{name: value for name, value in chosen.items() if value is not None},
    }


def _new_run(book):
    """A name that comes after those of earlier runs, also of one by a clock that was ahead: of two
    records of a picture the newest holds."""
    now = datetime.now(UTC)
    with contextlib.suppress(ValueError):  # there is none
        before = datetime.strptime(book.newest_part().partition("-")[0], _TIME)
        now = max(now, before.replace(tzinfo=UTC) + timedelta(microseconds=1))
    return f"{now:{_TIME}}-{secrets.token_hex(3)}"


def _absolute(place):
    return str(place.local.absolute()) if place.local is not None else place.address


def _with_absolute_sources(rows):
    """Workers may have another working directory."""
    if not rows.num_rows:
        return rows
    return rows.set_column(1, "source", pa.array(_absolute_sources(rows), pa.string()))


def _absolute_sources(rows):
    here = os.getcwd()
    return [
        one if "://" in one or os.path.isabs(one) else os.path.join(here, one)
        for one in rows["source"].to_pylist()
    ]


def _check_apart(source, target):
    if target.kind() == "file":
        raise UsageError(f"{target} is a file, expected a folder for the output")
    if source.local is None or target.local is None:
        inside = f"{target.address.rstrip('/')}/".startswith(f"{source.address.rstrip('/')}/")
    else:
        real = Path(os.path.realpath(target.local))
        inside = real.is_relative_to(os.path.realpath(source.local))
    if inside:
        raise UsageError(f"output {target} is within the input {source}: choose a folder outside")


@contextlib.contextmanager
def _withdrawn(book):
    """What the workers find wrong, such as a model or no Ray, is found after the run was begun."""
    try:
        yield
    except UsageError:
        book.withdraw()
        raise


@contextlib.contextmanager
def _alone(target):
    """An output that can be written, for this run alone: two would do the same work. Only local
    ones can be told apart."""
    if target.local is None:
        target.check_writable()
        yield
        return
    with locked(target.local, "bulk"):
        target.check_writable()
        clear_leftovers(target.local, recursive=True)
        yield
