"""What an actor does with a batch of pictures, and what a loop does: the same."""

import contextlib
import errno
import json
import os
import tempfile
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa

from mspfn_tf.bulk import inputs, records
from mspfn_tf.bulk.places import Place
from mspfn_tf.errors import UsageError
from mspfn_tf.files import clear_leftovers, partial_path, sha256
from mspfn_tf.pictures import PICTURE_SUFFIXES, kind_of, limit_pixels, read_header, suffix_of
from mspfn_tf.restorer import Restorer
from mspfn_tf.restoring.file_restorer import FileRestorer
from mspfn_tf.restoring.plan import Job
from mspfn_tf.runtimes import open_runtime

DEATHS = 3
"""So often a process may end while it restores a picture alone; then the picture has failed."""
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_NO_ROOM_WORDS = tuple(os.strerror(number) for number in _NO_ROOM)


@dataclass(frozen=True)
class Model:
    """A model, and how it is run.

    Attributes:
        source: what `mspfn_tf.source.resolve` takes: a preset name or a path.
        options: of the `Restorer`: tile, overlap, ensemble, strength.
        runtime: one of `mspfn_tf.runtimes.CHOICES`, or None.
        threads: of LiteRT; None for all cores.
    """

    source: str
    options: dict[str, Any] = field(default_factory=dict)
    runtime: str | None = None
    threads: int | None = None

    def restorer(self, tile: int | None = None) -> Restorer:
        """Opens the model; `tile` takes the place of that of the options."""
        options = self.options if tile is None else {**self.options, "tile": tile}
        return Restorer(open_runtime(self.source, self.runtime, self.threads), **options)


@dataclass(frozen=True)
class Task:
    """What a worker needs to know.

    Attributes:
        output: address of the output folder.
        run: name of this run, which begins with its time.
        model: the model.
        digest: SHA-256 of the model's weights, as the driver found it.
        image_key: the feature of a ``tf.train.Example`` that holds the picture.
        pixels: limit of the pixels of a picture, 0 for none, None for Pillow's.
    """

    output: str
    run: str
    model: Model
    digest: str | None = None
    image_key: str | None = None
    pixels: int | None = None


class Worker:
    """Restores batches of pictures. Loads the model once.

    Called with a table of the schema `inputs.ROW`, it returns a table of one row, however many
    pictures there are: the number of each status, and what failed. The records go to a part in the
    output, see `mspfn_tf.bulk.records`. It may be killed at any time, and called again with the
    same batch: what is recorded is not done again, and a picture that ends the process `DEATHS`
    times is recorded as failed.
    """

    def __init__(self, task: Task):
        self._task = task
        self._book = records.Book(Place(task.output))
        self._output = Place(task.output)
        if task.pixels is not None:
            limit_pixels(task.pixels or None)
        self._restorer = _Timed(task.model.restorer())
        if self._restorer.restorer.digest != task.digest:
            raise UsageError(
                f"the weights of {task.model.source} here are not those of the machine that "
                "started the run: copy them to every machine"
            )
        self._files = FileRestorer(self._restorer, self._smaller)
        temporary = Path(tempfile.gettempdir())
        clear_leftovers(temporary)
        self._scratch = partial_path(temporary / "mspfn.bulk")

    def __call__(self, batch: pa.Table) -> pa.Table:
        try:
            found = self._batch(batch.to_pylist())
        except _Full as error:
            return _summary([], str(error))
        return _summary(found)

    def _batch(self, rows):
        name = records.batch_name([row["name"] for row in rows])
        part = self._book.part(self._task.run, name)
        if part.kind() == "file":  # the process died after it had written this
            return records.read(part).to_pylist()
        diary = _Diary(self._book.trying(self._task.run, name))
        diary.begin()
        found = []
        for row in rows:
            record = diary.recorded(row["name"]) or self._record(row, diary.begin_one(row["name"]))
            found.append(record)
            diary.end_one(record)
        try:
            part.write(records.encoded(found))
        except OSError as error:
            raise _Full(f"cannot write {part}: {part.reason(error)}") from error
        diary.remove()
        return found

    def _record(self, row, deaths):
        record = {
            "name": row["name"],
            "source": inputs.location(row),
            "model": self._restorer.restorer.name,
            "weights_sha256": self._task.digest,
            "run": self._task.run,
        }
        if deaths >= DEATHS:
            message = f"{record['source']}: the process that restored it ended {deaths} times"
            return {**record, "status": "failed", "error": message}
        began = time.perf_counter()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            try:
                record |= self._restored(row)
            except (UsageError, OSError) as error:
                record |= {"status": "failed", "error": _naming(str(error), record["source"])}
            except Exception as error:  # whatever goes wrong with one picture, the others go on
                message = f"{type(error).__name__}: {error}"
                record |= {"status": "failed", "error": _naming(message, record["source"])}
        notes = [
            str(warning.message) for warning in caught if issubclass(warning.category, UserWarning)
        ]
        record["notes"] = "; ".join([*notes, *record.pop("dropped", ())]) or None
        record["seconds"] = time.perf_counter() - began
        error = record.get("error") or ""
        if any(words in error for words in _NO_ROOM_WORDS):
            raise _Full(f"{error} (make room, then resume)")
        return record

    def _restored(self, row):
        """The part of the record that tells how restoring went."""
        source, read = inputs.local_path(row), 0.0
        with contextlib.ExitStack() as stack:
            if source is None:
                began = time.perf_counter()
                source = self._staged(row, stack)
                read = time.perf_counter() - began
            output = row["name"]
            if PurePosixPath(output).suffix.lower() not in PICTURE_SUFFIXES:
                output += suffix_of(kind_of(source)) or ""
            place = self._output.at(output)
            target = place.local
            if target is None:
                target = self._scratch_file(PurePosixPath(output).suffix, stack)
            found = {"output": output, "bytes_read": _size(source), "read_seconds": read}
            began = time.perf_counter()
            self._restorer.start()
            outcome = self._files.restore(Job(source, target, name=output, overwrite=True))
            found |= self._restorer.shares(began, time.perf_counter())
            if outcome.status == "failed":
                message = str(outcome.message).replace(str(source), inputs.location(row))
                return {**found, "status": "failed", "error": message, "output": None}
            began = time.perf_counter()
            width, height = read_header(target).size
            found |= {
                "width": width,
                "height": height,
                "frames": outcome.frames,
                "bytes_written": _size(target),
                "sha256": sha256(target),
                "dropped": outcome.dropped,
            }
            if place.local is None:
                place.write(target.read_bytes())
            found["write_seconds"] = time.perf_counter() - began
            return {**found, "status": "restored"}

    def _staged(self, row, stack):
        """A copy on this machine of a picture that stands elsewhere, or within a file."""
        suffix = PurePosixPath(row["name"]).suffix
        path = self._scratch_file(suffix, stack)
        path.write_bytes(inputs.content_of(row, self._task.image_key))
        return path

    def _scratch_file(self, suffix, stack):
        self._scratch.mkdir(exist_ok=True)
        stack.callback(_remove_if_empty, self._scratch)
        descriptor, path = tempfile.mkstemp(suffix, dir=self._scratch)
        os.close(descriptor)
        stack.callback(Path(path).unlink, missing_ok=True)
        return Path(path)

    def _smaller(self, tile):
        given = self._task.model.options.get("tile")
        if given is not None and given <= tile:
            raise UsageError(f"tiles of {given} are smaller already")
        restorer = self._restorer.restorer
        return _Timed(Restorer(restorer.runtime, **{**self._task.model.options, "tile": tile}))


class _Full(Exception):
    """Nothing more can be written: going on makes no sense."""


class _Timed:
    """A `Restorer` that knows when it began, when it ended, and how long it was at work."""

    def __init__(self, restorer: Restorer):
        self.restorer = restorer
        self.start()

    def start(self):
        self._first, self._seconds = None, 0.0

    def __call__(self, image: np.ndarray, progress=None) -> np.ndarray:
        began = time.perf_counter()
        self._first = self._first or began
        try:
            return self.restorer(image, progress)
        finally:
            self._seconds += time.perf_counter() - began

    def shares(self, began: float, ended: float) -> dict[str, float]:
        """How the time from `began` to `ended` was spent. What passes between the frames of an
        animation counts as encoding."""
        if self._first is None:
            return {"decode_seconds": ended - began, "infer_seconds": 0.0, "encode_seconds": 0.0}
        decode = self._first - began
        return {
            "decode_seconds": decode,
            "infer_seconds": self._seconds,
            "encode_seconds": ended - began - decode - self._seconds,
        }


class _Diary:
    """What is known of a batch that was begun: how often it was, and what ended the process.

    The first try writes one line. A second one means that the process was ended, perhaps by a
    picture: then each picture is noted before it is begun, and its record after.
    """

    def __init__(self, place):
        self._place = place
        self._careful = False
        self._known = {"records": [], "deaths": {}}

    def begin(self):
        if self._place.kind() == "file":
            self._careful = True
            with contextlib.suppress(ValueError):  # damaged: as if there were none
                self._known = json.loads(self._place.read())
        else:
            self._write()

    def recorded(self, name):
        return next((one for one in self._known["records"] if one["name"] == name), None)

    def begin_one(self, name):
        """Returns how often the process was ended while it was at work on this picture."""
        deaths = self._known["deaths"].get(name, 0)
        if self._careful:
            self._known["deaths"][name] = deaths + 1
            self._write()
        return deaths

    def end_one(self, record):
        if self._careful and self.recorded(record["name"]) is None:
            self._known["deaths"].pop(record["name"], None)
            self._known["records"].append(record)
            self._write()

    def remove(self):
        self._place.delete()

    def _write(self):
        try:
            self._place.write(json.dumps(self._known).encode())
        except OSError as error:
            raise _Full(f"cannot write {self._place}: {self._place.reason(error)}") from error


SUMMARY = pa.schema(
    [
        ("restored", pa.int64()),
        ("failed", pa.int64()),
        ("errors", pa.list_(pa.string())),
        ("notes", pa.list_(pa.string())),
        ("stopped", pa.string()),
    ]
)


def _summary(found, stopped=None):
    statuses = [record["status"] for record in found]
    row = {
        "restored": statuses.count("restored"),
        "failed": statuses.count("failed"),
        "errors": [record["error"] for record in found if record["status"] == "failed"],
        "notes": [
            _naming(record["notes"], record["source"]) for record in found if record.get("notes")
        ],
        "stopped": stopped,
    }
    return pa.Table.from_pylist([row], SUMMARY)


def _size(path):
    """Bytes of a file; None where there is none, which is told by who reads it."""
    try:
        return os.stat(path).st_size
    except OSError:
        return None


def _naming(message, source):
    return message if source in message else f"{source}: {message}"


def _remove_if_empty(folder):
    with contextlib.suppress(OSError):  # another file is in it
        folder.rmdir()


class PairWorker:
    """Restores and scores pairs of pictures, for `mspfn_tf.evaluation.evaluate`.

    Called with a table of the numbers of pairs (`index`), it returns a table of `index`, `record`
    (JSON) and `error`, one of the two null.
    """

    def __init__(self, model: Model, pairs: Any, protocol: str, crop_multiple: int):
        self._restorer = model.restorer()
        self._pairs, self._protocol, self._multiple = pairs, protocol, crop_multiple

    def __call__(self, batch: pa.Table) -> pa.Table:
        from mspfn_tf.evaluation import measured_pair

        found = []
        for index in batch["index"].to_pylist():
            record, error = measured_pair(
                self._restorer, self._pairs, index, self._protocol, self._multiple
            )
            record = None if record is None else json.dumps(record)
            found.append({"index": index, "record": record, "error": error})
        return pa.Table.from_pylist(found, PAIR)


PAIR = pa.schema([("index", pa.int64()), ("record", pa.string()), ("error", pa.string())])
