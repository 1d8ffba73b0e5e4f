"""What there is to restore: pictures of folders, manifests, tar files and record files.

Pictures are listed, not read: a row says where one stands, and the bytes are read where it is
restored. So a million rows take some 100 MB.
"""

import io
import os
import struct
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from mspfn_tf.bulk.places import Place
from mspfn_tf.errors import UsageError
from mspfn_tf.files import is_hidden
from mspfn_tf.pictures import PICTURE_SUFFIXES, kind_of, kind_of_bytes, suffix_of

ROW = pa.schema(
    [
        ("name", pa.string()),  # unique; the path of the output, but for a missing suffix
        ("source", pa.string()),  # the file, a path or URI
        ("kind", pa.string()),  # "file", "part", "example" or "array_record"
        ("offset", pa.int64()),  # of the picture in the file, or its number there
        ("size", pa.int64()),  # bytes
    ]
)
MANIFEST_SUFFIXES = (".parquet", ".csv")
_CHUNK = 10_000
_READ = 2**20  # bytes
_LEFT_OUT = 20  # that are named
_TAR_SUFFIX = ".tar"
_PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst", ".zip")
_RECORD_SUFFIXES = {
    ".tfrecord": "example",
    ".tfrecords": "example",
    ".array_record": "array_record",
}


@dataclass
class Listing:
    """What an input holds.

    Attributes:
        rows: a table of the schema `ROW`.
        left_out: how many files were left out.
        named: (address, reason) of the first of them.
        unreadable: (address, reason) of folders and files that could not be looked at.
    """

    rows: pa.Table = field(default_factory=ROW.empty_table)
    left_out: int = 0
    named: list[tuple[str, str]] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)

    def leave_out(self, address: object, reason: str) -> None:
        self.left_out += 1
        if self.left_out <= _LEFT_OUT:
            self.named.append((str(address), reason))


def find(address: str | os.PathLike) -> Listing:
    """Lists the pictures of an input.

    Args:
        address: a path or URI of one of these:

            - a folder: picture files with all that is below it, and the tar and record files there;
            - a manifest (``.parquet`` or ``.csv``) with a column `path` (absolute, a URI, or
              relative to the manifest), and, if you like, a column `name` for the output;
            - a ``.tar`` file, such as those of WebDataset;
            - a ``.tfrecord`` or ``.array_record`` file, whose records are pictures or
              ``tf.train.Example``.

    Returns:
        A `Listing` of at least one row.

    Raises:
        UsageError: there is nothing at `address`, no picture in it, a name leads out of the
            output, or two pictures have one name.
    """
    place = Place(os.fspath(address))
    kind = place.kind()
    listing = Listing()
    if kind == "nothing":
        raise UsageError(f"no such file or folder: {place}")
    if kind == "folder":
        rows = _folder(place, listing)
    elif _suffix(place) in MANIFEST_SUFFIXES:
        rows = _manifest(place)
    else:
        name = PurePosixPath(_plain(place.address)).name
        rows = _file(place, name, listing)
    listing.rows = _table(rows)
    if not listing.rows.num_rows:
        first = [*listing.unreadable, *listing.named][:1]
        reason = f"; the first: {first[0][0]} {first[0][1]}" if first else ""
        raise UsageError(f"no pictures in {place} ({listing.left_out} left out){reason}")
    _check_names(listing.rows["name"])
    return listing


def _table(rows: Iterator[tuple]) -> pa.Table:
    batches, chunk = [], []

    def close():
        if chunk:
            columns = [
                pa.array(column, kind)
                for column, kind in zip(zip(*chunk, strict=True), ROW.types, strict=True)
            ]
            batches.append(pa.record_batch(columns, schema=ROW))
            chunk.clear()

    for row in rows:
        chunk.append(row)
        if len(chunk) == _CHUNK:
            close()
    close()
    return pa.Table.from_batches(batches, ROW)


def _check_names(names):
    bad = pc.match_substring_regex(names, r"^/|^$|(^|/)\.\.(/|$)|\x00|^\.mspfn")
    if pc.any(bad).as_py():
        name = names.filter(bad)[0].as_py()
        raise UsageError(f"the name {name!r} leads out of the output: give another one")
    # What is written gets a suffix where its name has none of a picture, and has no "." in its way.
    texts = names.to_pylist()
    for name in texts:
        if "//" in name or name.startswith("./") or "/./" in name:
            normal = PurePosixPath(name).as_posix()
            raise UsageError(f"the name {name!r} has another spelling: give it as {normal!r}")
    known = set(texts)
    for name in texts:
        if _suffix_of_name(name) not in PICTURE_SUFFIXES:
            other = next((name + s for s in PICTURE_SUFFIXES if name + s in known), None)
            if other is not None:
                raise UsageError(
                    f"the names {name!r} and {other!r} may become one file: give them others"
                )
    counts = names.value_counts()
    twice = counts.filter(pc.greater(pc.struct_field(counts, "counts"), 1))
    if len(twice):
        raise UsageError(
            f"{len(twice)} names stand for several pictures, such as "
            f"{twice[0].as_py()['values']!r}: give each a name of its own"
        )


def _folder(place, listing, prefix="", visited=()):
    """Rows of a folder and all that is below it, sorted by name."""
    local = place.local
    if local is not None:
        real = os.path.realpath(local)
        if real in visited:
            listing.leave_out(place, "(a link to a folder that was visited already)")
            return
        visited = (*visited, real)
    try:
        entries = place.entries()
    except UsageError as error:
        listing.unreadable.append((str(place), f"cannot be read ({error})"))
        return
    for name in place.others():
        listing.leave_out(place.at(name), "(a link to nothing, a pipe or a device)")
    for name, is_folder in entries:
        if not _is_text(name):
            listing.unreadable.append((str(place.at(name)), "has a name that is no UTF-8"))
        elif is_hidden(name):
            listing.leave_out(place.at(name), "(hidden)")
        elif is_folder:
            yield from _folder(place.at(name), listing, f"{prefix}{name}/", visited)
        else:
            yield from _file(place.at(name), prefix + name, listing)


def _file(place, name, listing):
    suffix = _suffix_of_name(name)
    if suffix in PICTURE_SUFFIXES:
        yield name, place.address, "file", 0, -1
    elif suffix == _TAR_SUFFIX:
        yield from _guarded(_tar(place, name.removesuffix(_TAR_SUFFIX), listing), place, listing)
    elif suffix in _RECORD_SUFFIXES:
        kind = _RECORD_SUFFIXES[suffix]
        records = _examples if kind == "example" else _array_records
        yield from _guarded(records(place, name.removesuffix(suffix)), place, listing)
    elif name.lower().endswith(_PACKED):
        listing.leave_out(place, "(compressed: unpack it, or make it a plain .tar)")
    elif place.local is not None:
        try:
            kind = kind_of(place.local)
        except OSError as error:
            listing.unreadable.append((str(place), f"cannot be read ({error.strerror})"))
            return
        if kind is None:
            listing.leave_out(place, "(no picture)")
        else:
            yield name + suffix_of(kind), place.address, "file", 0, -1
    else:
        listing.leave_out(place, "(no picture by its name)")


def _guarded(rows, place, listing):
    """The rows, up to where the file is damaged."""
    try:
        yield from rows
    except (UsageError, OSError, tarfile.TarError, struct.error) as error:
        listing.unreadable.append((str(place), f"cannot be read to its end ({error})"))


def _tar(place, prefix, listing):
    # Pictures stand in a tar file as they are, so that one can be read without the others.
    with place.open() as file, tarfile.open(fileobj=file, mode="r:", tarinfo=_Member) as archive:
        for member in archive:
            name = PurePosixPath(member.name).as_posix().removeprefix("/")
            archive.members = []  # or it remembers all of them
            if member.isdir():
                continue
            if not _is_text(name):
                listing.unreadable.append((f"{place}!{name}", "has a name that is no UTF-8"))
                continue
            if not member.isreg() or member.issparse():
                what = "(a sparse file)" if member.issparse() else "(a link or device)"
                listing.leave_out(f"{place}!{name}", what)
                continue
            if any(map(is_hidden, PurePosixPath(name).parts)):
                listing.leave_out(f"{place}!{name}", "(hidden)")
                continue
            if _suffix_of_name(name) not in PICTURE_SUFFIXES:
                listing.leave_out(f"{place}!{name}", "(no picture by its name)")
                continue
            yield f"{prefix}/{name}", place.address, "part", member.offset_data, member.size
        file.seek(archive.offset)  # of the mark of its end
        while content := file.read(_READ):
            if content.strip(b"\0"):
                raise UsageError(
                    "more follows its end, as where tar files were joined: give each as a file"
                )


class _Member(tarfile.TarInfo):
    """A header of a tar file; `tarfile` would take a damaged one, or none, for the end."""

    @classmethod
    def frombuf(cls, buf, encoding, errors):
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.EOFHeaderError:
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"damaged, or cut short: {error}") from error


def _examples(place, prefix):
    """Records of a TFRecord file: the length (8 bytes), its checksum (4), the record, another 4."""
    with place.open() as file:
        end, offset, number = file.size(), 0, 0
        while offset < end:
            file.seek(offset)
            head = file.read(12)
            size = struct.unpack("<Q", head[:8])[0] if len(head) == 12 else end
            if offset + 12 + size + 4 > end:
                raise UsageError(f"record {number} is cut off, or this is no TFRecord file")
            yield f"{prefix}/{number:08}", place.address, "example", offset + 12, size
            offset, number = offset + 12 + size + 4, number + 1


def _array_records(place, prefix):
    for number in range(_array_record(place).num_records()):
        yield f"{prefix}/{number:08}", place.address, "array_record", number, -1


def _array_record(place):
    if place.local is None:
        raise UsageError("array_record files are read from this machine's file systems only")
    from array_record.python.array_record_module import ArrayRecordReader

    try:
        return ArrayRecordReader(str(place.local), options="readahead_buffer_size:0")
    except (ValueError, RuntimeError, OSError) as error:
        raise UsageError(str(error)) from error


def _manifest(place):
    content = io.BytesIO(place.read())
    try:
        if _suffix(place) == ".parquet":
            table = pyarrow.parquet.read_table(content)
        else:
            texts = {"path": pa.string(), "name": pa.string()}  # or 0001 would be a number
            options = pyarrow.csv.ConvertOptions(column_types=texts)
            table = pyarrow.csv.read_csv(content, convert_options=options)
        columns = table.column_names  # raises where the text is no UTF-8
    except (pa.ArrowException, ValueError) as error:
        raise UsageError(
            f"{place}: not a manifest that can be read ({error}); expected parquet, or CSV in UTF-8"
        ) from error
    if "path" not in columns:
        raise UsageError(
            f"{place}: a manifest has a column 'path'; this one has {', '.join(columns)}"
        )
    named = "name" in columns
    spaced = next((one for one in columns if one != "name" and one.strip() == "name"), None)
    if spaced is not None and not named:
        raise UsageError(
            f"{place}: has the column {spaced!r}; expected 'name': take the spaces after the "
            "commas away"
        )
    address, mark, options = place.address.partition("?")
    folder = Place(address.rpartition("/")[0] + mark + options if "/" in address else ".")
    rows = table.select(["path", "name"] if named else ["path"]).to_pylist()
    for number, row in enumerate(rows, 1):
        for column, value in row.items():
            if not isinstance(value, str) or not value:
                raise UsageError(
                    f"{place}: row {number} has the {column} {value!r}; expected a text"
                )
        path = row["path"]
        absolute = "://" in path or os.path.isabs(path)
        source = path if absolute else folder.at(path).address
        name = row["name"] if named else _plain(path).rpartition("://")[2].lstrip("/")
        yield name, source, "file", 0, -1


def content_of(row: dict, image_key: str | None = None) -> bytes:
    """The picture of a row, encoded.

    Args:
        row: of the schema `ROW`.
        image_key: the feature of a ``tf.train.Example`` that holds the picture; None for the first
            by name that does.

    Raises:
        UsageError: it cannot be read.
    """
    place = Place(row["source"])
    if row["kind"] == "file":
        return place.read()
    if row["kind"] == "part":
        return place.read(row["offset"], row["size"])
    if row["kind"] == "example":
        record = place.read(row["offset"], row["size"])
    else:
        reader = _array_record(place)
        try:
            record = reader.read([row["offset"]])[0]
        except (ValueError, RuntimeError, IndexError) as error:
            raise UsageError(f"{place}: record {row['offset']}: {error}") from error
        finally:
            reader.close()
    return _in_example(record, image_key, f"{place}: record {row['name'].rpartition('/')[2]}")


def _in_example(record, image_key, what):
    if image_key is None and kind_of_bytes(record[:64]):
        return record
    import tensorflow as tf

    try:
        features = tf.train.Example.FromString(record).features.feature
    except Exception as error:  # of protobuf, whose class depends on its implementation
        raise UsageError(f"{what}: neither a picture nor a tf.train.Example") from error
    keys = sorted(features) if image_key is None else [image_key]
    for key in keys:
        if key in features:
            for value in features[key].bytes_list.value:
                if image_key is not None or kind_of_bytes(value[:64]):
                    return value
    wanted = f"no feature {image_key!r}" if image_key else "no feature that is a picture"
    raise UsageError(f"{what}: {wanted} (it has {', '.join(sorted(features)) or 'none'})")


def location(row: dict) -> str:
    """Where a picture stands, for messages."""
    place = str(Place(row["source"]))
    return place if row["kind"] == "file" else f"{place}!{row['name'].rpartition('/')[2]}"


def local_path(row: dict) -> Path | None:
    """The file of a picture that stands alone on a file system of this machine."""
    return Place(row["source"]).local if row["kind"] == "file" else None


def _is_text(name):
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _suffix(place):
    return _suffix_of_name(_plain(place.address))


def _plain(address):
    """Without the options of a URI; in a path, a question mark is a letter as any other."""
    return address.partition("?")[0] if "://" in address else address


def _suffix_of_name(name):
    suffix = PurePosixPath(name).suffix.lower()
    if suffix.startswith((".tfrecord-", ".array_record-")):  # NAME.tfrecord-00000-of-00010
        return suffix.partition("-")[0]
    return suffix
