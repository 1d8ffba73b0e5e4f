"""What became of each picture: parts that the workers write, one manifest at the end.

A part holds the records of one batch and appears whole. So whatever is killed, what is recorded is
done, and what is not recorded is done again. All of it stands in the output:

- ``manifest.parquet``: a record for each picture, written at the end of a run;
- ``.mspfn_bulk/run.json``: what is restored how, so that results of two models are never mixed;
- ``.mspfn_bulk/parts/RUN-BATCH.parquet``: the records of a batch;
- ``.mspfn_bulk/trying/RUN-BATCH.json``: a batch that was begun.
"""

import hashlib
import io
import json
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet

from mspfn_tf.bulk.places import Place
from mspfn_tf.errors import UsageError
from mspfn_tf.partial_results import check_same

MANIFEST = "manifest.parquet"
STATE = ".mspfn_bulk"
RECORD = pa.schema(
    [
        ("name", pa.string()),
        ("source", pa.string()),
        ("output", pa.string()),  # below the output folder
        ("status", pa.string()),  # "restored" or "failed"
        ("error", pa.string()),
        ("notes", pa.string()),  # warnings, and what was left behind
        ("width", pa.int32()),  # of the output, in pixels
        ("height", pa.int32()),
        ("frames", pa.int32()),
        ("bytes_read", pa.int64()),
        ("bytes_written", pa.int64()),
        ("seconds", pa.float64()),
        ("read_seconds", pa.float64()),  # fetching the file; 0 where the decoder reads it itself
        ("decode_seconds", pa.float64()),
        ("infer_seconds", pa.float64()),
        ("encode_seconds", pa.float64()),  # with writing to a folder of this machine
        ("write_seconds", pa.float64()),  # checking what was written; sending it elsewhere
        ("sha256", pa.string()),  # of the output
        ("model", pa.string()),
        ("weights_sha256", pa.string()),
        ("run", pa.string()),
    ]
)


class Book:
    """The records of one output folder.

    Args:
        output: the folder.
    """

    def __init__(self, output: Place):
        self.output = output
        self.manifest = output.at(MANIFEST)
        self.state = output.at(STATE)
        self._parts = self.state.at("parts")
        self._trying = self.state.at("trying")
        self._about = self.state.at("run.json")

    def exists(self) -> bool:
        """Whether an earlier run has begun a batch: before that there is nothing to lose."""
        return self._about.kind() == "file" and (
            self.manifest.kind() == "file"
            or any(folder.entries() for folder in (self._parts, self._trying))
        )

    def begin(self, about: dict) -> None:
        """Says what the results are of.

        Raises:
            UsageError: the folder holds results of something else, or cannot be written.
        """
        if self.exists():
            try:
                found = json.loads(self._about.read())
            except ValueError as error:
                raise UsageError(f"{self._about} is damaged ({error})") from error
            check_same(found, about, self.output)
            return
        try:
            self._about.write(json.dumps(about, indent=1).encode())
        except OSError as error:
            raise UsageError(f"cannot write {self._about}: {error}") from error

    def withdraw(self) -> None:
        """Takes back what `begin` wrote, if no batch was begun: the run could not be."""
        if not self.exists():
            self.state.delete()

    def part(self, run: str, batch: str) -> Place:
        return self._parts.at(f"{run}-{batch}.parquet")

    def trying(self, run: str, batch: str) -> Place:
        return self._trying.at(f"{run}-{batch}.json")

    def newest_part(self) -> str:
        """The name of a part of the last run; empty if that came to its end."""
        return next(self._part_names(), "")

    def restored(self) -> dict[str, tuple[str, str]]:
        """What earlier runs restored, and did not fail at later: (output, source) of each name."""
        columns = ["name", "output", "source", "status"]
        return {
            name: (name if output == name else output, source)
            for table in self._tables(columns)
            for name, output, source, status in zip(
                *(table[column].to_pylist() for column in columns), strict=True
            )
            if status == "restored"
        }

    def finish(self) -> dict[str, int]:
        """Writes the manifest from all parts and the manifest before; removes the parts.

        Returns:
            How many records there are by status.

        Raises:
            UsageError: it cannot be written; the parts are still there.
        """
        counts = {"restored": 0, "failed": 0}
        content = io.BytesIO()
        with pyarrow.parquet.ParquetWriter(content, RECORD, compression="zstd") as writer:
            for table in self._tables():
                for status in table["status"].to_pylist():
                    counts[status] += 1
                writer.write_table(table)
        try:
            self.manifest.write(content.getvalue())
        except OSError as error:
            raise UsageError(f"cannot write {self.manifest}: {error}") from error
        self._parts.delete()
        self._trying.delete()
        return counts

    def _tables(self, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """The newest record of each name, in tables of any size."""
        seen = set()
        for place in self._newest_first():
            table = read(place, columns)
            fresh = []
            for name in table["name"].to_pylist():
                fresh.append(name not in seen)
                seen.add(name)
            yield table.filter(pa.array(fresh, pa.bool_())) if not all(fresh) else table

    def _newest_first(self):
        for name in self._part_names():
            yield self._parts.at(name)
        if self.manifest.kind() == "file":
            yield self.manifest

    def _part_names(self):
        """Those of the newest run first: the name begins with its time."""
        for name, is_folder in reversed(self._parts.entries()):
            if not is_folder and name.endswith(".parquet") and not name.startswith("."):
                yield name


def encoded(records: list[dict]) -> bytes:
    """Records as a parquet file."""
    content = io.BytesIO()
    pyarrow.parquet.write_table(pa.Table.from_pylist(records, RECORD), content)
    return content.getvalue()


def batch_name(names: list[str]) -> str:
    """What a batch is called, the same whenever it is tried."""
    return hashlib.sha256("\0".join(names).encode("utf-8", "surrogateescape")).hexdigest()[:24]


def read(place: Place, columns: list[str] | None = None) -> pa.Table:
    """The records of a part or a manifest; raises `UsageError` where it is damaged."""
    try:
        return pyarrow.parquet.read_table(io.BytesIO(place.read()), columns=columns)
    except (pa.ArrowException, ValueError) as error:
        raise UsageError(
            f"{place} is damaged ({error}): remove it to have its pictures restored again"
        ) from error
