"""`mspfn bulk --local`: what it shares with Ray, which is all but handing out the work."""

import io
import json
import os
import shutil
import sys
import tarfile
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from PIL import Image
from pyarrow import fs

from mspfn_tf.bulk import engines, inputs, places, records, restore_archive, runs, workers
from mspfn_tf.bulk.places import Place
from mspfn_tf.cli import main
from mspfn_tf.errors import UsageError
from mspfn_tf.files import sha256
from mspfn_tf.restoring import file_restorer
from mspfn_tf.source import resolve
from tests.export_models import write_pairs

pytestmark = pytest.mark.slow

PRESET = "mspfn_nano"
MODEL = workers.Model(PRESET, threads=1)


def noise(seed, size=(24, 32)):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def encoded(seed, kind="PNG"):
    content = io.BytesIO()
    Image.fromarray(noise(seed)).save(content, kind)
    return content.getvalue()


@pytest.fixture
def archive(tmp_path):
    """Six pictures in two folders, one with EXIF, one gray, one animated, one without a suffix."""
    folder = tmp_path / "in"
    (folder / "2020").mkdir(parents=True)
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    Image.fromarray(noise(0)).save(folder / "a.jpg", exif=exif)
    Image.fromarray(noise(1)[..., 0]).save(folder / "gray.png")
    frames = [Image.fromarray(noise(seed)) for seed in (2, 3)]
    frames[0].save(folder / "moving.webp", save_all=True, append_images=frames[1:])
    for seed in (4, 5):
        (folder / "2020" / f"{seed} ü.png").write_bytes(encoded(seed))
    (folder / "2020" / "scan").write_bytes(encoded(6, "JPEG"))
    return folder


def restored(folder):
    """`{name: content}` of the pictures below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith((".mspfn", "manifest", "run.json"))
    }


def manifest(folder):
    rows = pyarrow.parquet.read_table(folder / "manifest.parquet").to_pylist()
    found = {row["name"]: row for row in rows}
    assert len(found) == len(rows)
    return found


def bulk(*arguments):
    return main(["bulk", *map(str, arguments), "--local", "--preset", PRESET])


def test_outputs_equal_those_of_restore(archive, tmp_path, capsys):
    (archive / "notes.txt").write_text("no picture")
    (archive / "bad.png").write_bytes(b"no picture either")
    assert bulk(archive, "--output", tmp_path / "out", "--batch_rows", 4) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(f"mspfn bulk: {archive / 'bad.png'}: not a picture")
    assert lines[1] == f"mspfn bulk: 1 left out: {archive / 'notes.txt'} (no picture)"
    assert lines[2].startswith("6 restored, 1 left out, 1 failed, ")
    arguments = [str(archive), "--output", str(tmp_path / "reference"), "--preset", PRESET]
    assert main(["restore", *arguments]) == 1
    assert restored(tmp_path / "out") == restored(tmp_path / "reference")
    assert "2020/scan.jpg" in restored(tmp_path / "out")


def test_manifest(archive, tmp_path):
    (archive / "bad.png").write_bytes(b"no picture")
    summary = restore_archive(archive, tmp_path / "out", MODEL)
    assert (summary.restored, summary.failed, summary.skipped, summary.lost) == (6, 1, 0, 0)
    rows = manifest(tmp_path / "out")
    assert rows["bad.png"]["status"] == "failed"
    assert "not a picture" in rows["bad.png"]["error"] and rows["bad.png"]["output"] is None
    row = rows["moving.webp"]
    path = tmp_path / "out" / "moving.webp"
    assert (row["status"], row["error"], row["frames"]) == ("restored", None, 2)
    assert (row["width"], row["height"]) == (32, 24)
    assert row["sha256"] == sha256(path)
    assert row["bytes_written"] == path.stat().st_size
    assert row["bytes_read"] == (archive / "moving.webp").stat().st_size
    assert row["weights_sha256"] == resolve(PRESET).digest
    parts = [row[f"{share}_seconds"] for share in ("decode", "infer", "encode")]
    assert min(parts) > 0 and sum(parts) <= row["seconds"]
    assert not (tmp_path / "out" / ".mspfn_bulk" / "parts").exists()


def test_resume_does_what_is_missing(archive, tmp_path):
    (archive / "bad.png").write_bytes(b"no picture")
    out = tmp_path / "out"
    restore_archive(archive, out, MODEL)
    before = manifest(out)
    with pytest.raises(UsageError, match="not empty.*resume=True"):
        restore_archive(archive, out, MODEL)
    (out / "a.jpg").unlink()
    (archive / "new.png").write_bytes(encoded(7))
    (archive / "bad.png").write_bytes(encoded(8))
    summary = restore_archive(archive, out, MODEL, resume=True)
    assert (summary.restored, summary.failed, summary.skipped) == (3, 0, 5)
    after = manifest(out)
    assert after.keys() == before.keys() | {"new.png"}
    for name, row in after.items():
        assert (row == before.get(name)) == (name not in ("a.jpg", "bad.png", "new.png"))
    assert after["a.jpg"]["sha256"] == before["a.jpg"]["sha256"]
    assert {row["status"] for row in after.values()} == {"restored"}


def test_other_files_of_the_same_names_are_restored(archive, tmp_path):
    restore_archive(archive, tmp_path / "out", MODEL)
    shutil.copytree(archive, tmp_path / "other")
    (tmp_path / "other/gray.png").write_bytes(encoded(9))
    again = restore_archive(tmp_path / "other", tmp_path / "out", MODEL, resume=True)
    assert (again.skipped, again.restored) == (0, 6)
    assert manifest(tmp_path / "out")["gray.png"]["source"] == str(tmp_path / "other/gray.png")


def test_a_folder_that_is_spelled_otherwise_is_the_same(archive, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    restore_archive("./in", "out", MODEL)
    os.symlink("in", "link")
    for spelling in ("in", archive, "in/../in/", "link"):
        summary = restore_archive(spelling, "out", MODEL, resume=True)
        assert (summary.restored, summary.skipped) == (0, 6)


@pytest.mark.parametrize("options", [{"image_key": "rainy"}, {"pixels": 5}])
def test_results_of_other_options_are_not_mixed(archive, tmp_path, options):
    restore_archive(archive, tmp_path / "out", MODEL)
    with pytest.raises(UsageError, match="another configuration"):
        restore_archive(archive, tmp_path / "out", MODEL, resume=True, **options)


def test_results_of_two_models_are_not_mixed(archive, tmp_path):
    restore_archive(archive, tmp_path / "out", MODEL)
    other = workers.Model(PRESET, {"strength": 0.5})
    with pytest.raises(UsageError, match="of another configuration: strength"):
        restore_archive(archive, tmp_path / "out", other, resume=True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.png").write_bytes(b"mine")
    with pytest.raises(UsageError, match="no earlier run"):
        restore_archive(archive, tmp_path / "full", MODEL, resume=True)


@pytest.mark.parametrize("kind", ["model", "Ray", "killed"])
def test_a_run_that_could_not_begin_leaves_the_output_free(archive, tmp_path, monkeypatch, kind):
    out = tmp_path / "out"
    bad = workers.Model(PRESET, {"strength": 3.0}) if kind == "model" else MODEL
    with monkeypatch.context() as patch:
        if kind == "Ray":
            patch.setitem(sys.modules, "ray", None)
        elif kind == "killed":
            patch.setattr(workers.Worker, "__init__", kill)
        expected = _Killed if kind == "killed" else UsageError
        with pytest.raises(
            expected, match={"model": "strength", "Ray": "bulk needs Ray"}.get(kind)
        ):
            restore_archive(archive, out, bad, engines.Cluster() if kind == "Ray" else None)
    if kind != "killed":
        assert not out.exists()
    other = workers.Model(PRESET, {"strength": 0.5}, threads=1)
    assert restore_archive(archive, out, other).restored == 6


class _Killed(BaseException):
    """Stands for the end of the process: nothing of ours catches it."""


def kill(*_):
    raise _Killed


def kill_after(monkeypatch, pictures):
    """The process ends after so many pictures, before they are recorded."""
    left = [pictures]
    whole = workers.Worker._restored

    def restored(self, row):
        if not left[0]:
            raise _Killed
        left[0] -= 1
        return whole(self, row)

    monkeypatch.setattr(workers.Worker, "_restored", restored)


@pytest.mark.parametrize(
    "flags", [("--protocol", "rgb"), ("--crop_multiple", 8), ("--allow_unmatched",)]
)
def test_flags_of_pairs_are_refused_for_pictures(archive, tmp_path, capsys, flags):
    assert bulk(archive, "--output", tmp_path / "out", *flags) == 2
    assert f"{flags[0]} goes with --pairs" in capsys.readouterr().err


def test_flags_of_pictures_are_refused_for_pairs(tmp_path, capsys):
    assert bulk("--pairs", tmp_path, "--output", tmp_path / "out", "--resume") == 2
    assert "--resume goes with INPUT" in capsys.readouterr().err


@pytest.mark.parametrize(
    "pictures", [3, *(pytest.param(count, marks=pytest.mark.slow) for count in (0, 1, 5))]
)
def test_a_killed_run_is_resumed(archive, tmp_path, monkeypatch, pictures):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        kill_after(patch, pictures)
        with pytest.raises(_Killed):
            restore_archive(archive, out, MODEL, batch_rows=2)
    assert not (out / "manifest.parquet").exists()
    summary = restore_archive(archive, out, MODEL, batch_rows=2, resume=True)
    assert summary.skipped == pictures // 2 * 2  # whole batches were recorded
    assert summary.restored == 6 - summary.skipped
    restore_archive(archive, tmp_path / "reference", MODEL)
    found, expected = manifest(out), manifest(tmp_path / "reference")
    assert {name: row["sha256"] for name, row in found.items()} == {
        name: row["sha256"] for name, row in expected.items()
    }
    assert restored(out) == restored(tmp_path / "reference")


def test_what_a_clock_that_was_ahead_recorded_is_older_all_the_same(archive, tmp_path, monkeypatch):
    """It was set back since, or is another machine's."""
    out, bad = tmp_path / "out", archive / "a.jpg"
    whole = bad.read_bytes()
    bad.write_bytes(b"no picture")
    with monkeypatch.context() as patch:
        kill_after(patch, 5)
        with pytest.raises(_Killed):
            restore_archive(archive, out, MODEL, batch_rows=1)
    for part in (out / ".mspfn_bulk" / "parts").iterdir():
        part.rename(part.with_name(f"2999{part.name[4:]}"))
    bad.write_bytes(whole)
    assert restore_archive(archive, out, MODEL, batch_rows=1, resume=True).failed == 0
    assert {row["status"] for row in manifest(out).values()} == {"restored"}


def task_for(out):
    book = records.Book(Place(str(out)))
    return workers.Task(str(out), "run", MODEL, resolve(PRESET).digest), book


def test_a_batch_that_is_given_twice_is_done_once(archive, tmp_path, monkeypatch):
    task, book = task_for(tmp_path / "out")
    rows = runs._with_absolute_sources(inputs.find(archive).rows)
    first = workers.Worker(task)(rows)
    monkeypatch.setattr(workers.Worker, "_restored", None)  # would fail
    assert workers.Worker(task)(rows) == first
    assert first.to_pylist()[0]["restored"] == 6
    assert book.finish() == {"restored": 6, "failed": 0}


def test_a_picture_that_ends_the_process_fails_alone(archive, tmp_path, monkeypatch):
    task, book = task_for(tmp_path / "out")
    rows = inputs.find(archive).rows
    whole = workers.Worker._restored
    tries = []

    def restored(self, row):
        tries.append(row["name"])
        if row["name"] == "gray.png":
            raise _Killed
        return whole(self, row)

    monkeypatch.setattr(workers.Worker, "_restored", restored)
    for _ in range(1 + workers.DEATHS):
        with pytest.raises(_Killed):
            workers.Worker(task)(rows)
    (found,) = workers.Worker(task)(rows).to_pylist()
    assert (found["restored"], found["failed"]) == (5, 1)
    assert found["errors"] == [f"{archive}/gray.png: the process that restored it ended 3 times"]
    assert tries.count("gray.png") == 1 + workers.DEATHS
    # Pictures before it were done once without a diary, once with one.
    assert tries.count("a.jpg") == 2 and tries.count("moving.webp") == 1
    assert not list((tmp_path / "out" / ".mspfn_bulk" / "trying").iterdir())


def test_a_full_disk_ends_the_run(archive, tmp_path, monkeypatch, capsys):
    out, written = tmp_path / "out", []
    whole = file_restorer.write_picture

    def write_picture(path, *arguments, **options):
        if len(written) == 3:
            raise OSError(28, os.strerror(28), str(path))
        written.append(path)
        whole(path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(file_restorer, "write_picture", write_picture)
        assert bulk(archive, "--output", out, "--batch_rows", 1) == 1
    errors = capsys.readouterr().err
    assert "mspfn bulk: stopped: " in errors and "No space left" in errors
    assert "make room, then resume" in errors
    assert not (out / "manifest.parquet").exists()
    assert bulk(archive, "--output", out, "--resume") == 0
    assert {row["status"] for row in manifest(out).values()} == {"restored"}
    assert len(manifest(out)) == 6


def test_tar_files(tmp_path):
    contents = {"./000/a.png": encoded(1), "b.jpg": encoded(2, "JPEG"), "b.json": b"{}"}
    (tmp_path / "in").mkdir()
    with tarfile.open(tmp_path / "in" / "shard-0.tar", "w") as archive:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    (tmp_path / "in" / "cut.tar").write_bytes((tmp_path / "in" / "shard-0.tar").read_bytes()[:900])
    summary = restore_archive(tmp_path / "in", tmp_path / "out", MODEL)
    assert sorted(manifest(tmp_path / "out")) == [
        "cut/000/a.png",
        "shard-0/000/a.png",
        "shard-0/b.jpg",
    ]
    assert (summary.restored, summary.failed, summary.listing.left_out) == (2, 1, 1)
    for name in ("000/a.png", "b.jpg"):
        alone = tmp_path / "alone" / name
        alone.parent.mkdir(parents=True, exist_ok=True)
        alone.write_bytes(contents[f"./{name}" if "/" in name else name])
    restore_archive(tmp_path / "alone", tmp_path / "reference", MODEL)
    assert restored(tmp_path / "reference") == {
        name.removeprefix("shard-0/"): content
        for name, content in restored(tmp_path / "out").items()
    }


def tar_of(names, encoding="utf-8"):
    content = io.BytesIO()
    with tarfile.open(
        fileobj=content, mode="w", format=tarfile.USTAR_FORMAT, encoding=encoding
    ) as archive:
        for seed, name in enumerate(names):
            info, picture = tarfile.TarInfo(name), encoded(seed)
            info.size = len(picture)
            archive.addfile(info, io.BytesIO(picture))
    return content.getvalue()


def test_the_end_of_a_tar_is_no_damaged_header(tmp_path):
    whole = tar_of(["a.png", "b.png"])
    second = whole.index(b"b.png\0")
    contents = {
        "cut within a header": whole[: second + 100],
        "cut before a header": whole[:second],
        "damaged header": whole[:second] + b"?" * 512 + whole[second + 512 :],
        "joined": tar_of(["a.png"]) + tar_of(["b.png"]),
    }
    for content in contents.values():
        (tmp_path / "x.tar").write_bytes(content)
        found = inputs.find(tmp_path / "x.tar")
        assert found.rows["name"].to_pylist() == ["x/a.png"]
        ((address, reason),) = found.unreadable
        assert address == str(tmp_path / "x.tar") and "cannot be read to its end" in reason
    (tmp_path / "x.tar").write_bytes(whole)
    assert inputs.find(tmp_path / "x.tar").unreadable == []


def test_what_is_hidden_in_a_tar_or_put_beside_pictures_is_left_out(tmp_path):
    (tmp_path / "x.tar").write_bytes(tar_of(["a.png", ".old/b.png", "@eaDir/a.png/THUMB.jpg"]))
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX/c.png").write_bytes(encoded(1))
    found = inputs.find(tmp_path)
    assert found.rows["name"].to_pylist() == ["x/a.png"]
    assert [reason for _, reason in found.named] == ["(hidden)"] * 3


def test_names_in_tars_that_are_no_utf_8_are_named(tmp_path):
    (tmp_path / "x.tar").write_bytes(tar_of(["a.png", "é.png"], "latin-1"))
    found = inputs.find(tmp_path / "x.tar")
    assert found.rows["name"].to_pylist() == ["x/a.png"]
    assert found.unreadable == [(f"{tmp_path}/x.tar!\udce9.png", "has a name that is no UTF-8")]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_manifests_of_paths(archive, tmp_path, suffix):
    table = pa.table(
        {
            "path": ["in/a.jpg", str(archive / "gray.png"), "in/missing.png"],
            "name": ["one.jpg", "two/gray.png", "three.png"],
        }
    )
    path = tmp_path / f"list{suffix}"
    if suffix == ".csv":
        pyarrow.csv.write_csv(table, path)
    else:
        pyarrow.parquet.write_table(table, path)
    summary = restore_archive(path, tmp_path / "out", MODEL)
    assert (summary.restored, summary.failed) == (2, 1)
    assert sorted(restored(tmp_path / "out")) == ["one.jpg", "two/gray.png"]
    assert "no such file" in manifest(tmp_path / "out")["three.png"]["error"]


def listed(tmp_path, text):
    (tmp_path / "list.csv").write_text(text)
    return inputs.find(tmp_path / "list.csv").rows


def test_names_in_manifests_are_texts(archive, tmp_path):
    rows = listed(tmp_path, "path,name\nin/a.jpg,0001\nin/gray.png,0002\nin/q?1.png,1e5\n")
    assert rows["name"].to_pylist() == ["0001", "0002", "1e5"]
    assert rows["source"].to_pylist()[2] == str(tmp_path / "in/q?1.png")
    assert listed(tmp_path, "path\nin/q?1.png\n")["name"].to_pylist() == ["in/q?1.png"]
    for text in ("path,name\nin/a.jpg,\n", "path,name\n,a\n"):
        with pytest.raises(UsageError, match="row 1 has the (name|path) '?(None)?'?; expected a"):
            listed(tmp_path, text)
    with pytest.raises(UsageError, match="has the column ' name'; expected 'name'"):
        listed(tmp_path, "path, name\nin/a.jpg, one.jpg\n")


def test_manifests_that_are_no_utf_8_are_refused(tmp_path):
    for text in ("path\nin/a.jpg\n".encode("utf-16"), "path\nin/é.jpg\n".encode("latin-1")):
        (tmp_path / "list.csv").write_bytes(text)
        with pytest.raises(UsageError, match="list.csv: not a manifest.*CSV in UTF-8"):
            inputs.find(tmp_path / "list.csv")


@pytest.mark.parametrize("names", [("o.png", "./o.png"), ("o.png", "a/./o.png"), ("o", "o.png")])
def test_two_pictures_never_become_one_file(archive, tmp_path, names):
    text = f"path,name\nin/a.jpg,{names[0]}\nin/gray.png,{names[1]}\n"
    with pytest.raises(UsageError, match="another spelling|may become one file"):
        listed(tmp_path, text)


def test_what_a_tar_or_a_folder_holds_besides_is_named(tmp_path):
    picture = tmp_path / "in" / "a.png"
    picture.parent.mkdir()
    picture.write_bytes(encoded(1))
    (tmp_path / "in" / "gone.png").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "in" / "pipe.png")
    found = inputs.find(tmp_path / "in")
    assert found.rows["name"].to_pylist() == ["a.png"] and found.left_out == 2
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(picture, "a.png")
        link = tarfile.TarInfo("b.png")
        link.type, link.linkname = tarfile.LNKTYPE, "a.png"
        archive.addfile(link)
        sparse = tarfile.TarInfo("c.png")
        sparse.type = tarfile.GNUTYPE_SPARSE
        archive.addfile(sparse)
    found = inputs.find(tmp_path / "a.tar")
    assert found.rows["name"].to_pylist() == ["a/a.png"]
    assert [reason for _, reason in found.named] == ["(a link or device)", "(a sparse file)"]


def test_records(tmp_path):
    import tensorflow as tf
    from array_record.python.array_record_module import ArrayRecordWriter

    (tmp_path / "in").mkdir()

    def feature(content):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[content]))

    example = tf.train.Example(
        features=tf.train.Features(
            feature={"caption": feature(b"wet"), "rainy": feature(encoded(1))}
        )
    )
    with tf.io.TFRecordWriter(str(tmp_path / "in" / "x.tfrecord-00000-of-00001")) as writer:
        writer.write(example.SerializeToString())
        writer.write(encoded(2, "JPEG"))
        writer.write(b"neither")
    writer = ArrayRecordWriter(str(tmp_path / "in" / "y.array_record"), "group_size:1")
    writer.write(encoded(3))
    writer.close()
    summary = restore_archive(tmp_path / "in", tmp_path / "out", MODEL)
    assert (summary.restored, summary.failed) == (3, 1)
    folder = "x.tfrecord-00000-of-00001"
    assert sorted(restored(tmp_path / "out")) == [
        f"{folder}/00000000.png",
        f"{folder}/00000001.jpg",
        "y/00000000.png",
    ]
    error = manifest(tmp_path / "out")[f"{folder}/00000002"]["error"]
    assert error.endswith("record 00000002: neither a picture nor a tf.train.Example")
    restored_again = restore_archive(tmp_path / "in", tmp_path / "out", MODEL, resume=True)
    assert (restored_again.skipped, restored_again.failed) == (3, 1)


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A folder that is reached as ``store://...``, as if it were on no file system of here."""
    folder = tmp_path / "store"
    folder.mkdir()
    filesystem = fs.SubTreeFileSystem(str(folder), fs.LocalFileSystem())

    def from_uri(uri):
        return filesystem, unquote(uri.partition("://")[2])

    monkeypatch.setattr(places, "_from_uri", from_uri)
    return folder


def test_other_file_systems(archive, tmp_path, store):
    (archive / "2020" / "scan").unlink()  # there, suffixes alone tell what a file is
    shutil.copytree(archive, store / "here")
    (store / "here" / "unknown").write_bytes(encoded(1))
    (store / "here" / "bad.png").write_bytes(b"no picture")
    summary = restore_archive("store://here", "store://there", MODEL, batch_rows=2)
    assert (summary.restored, summary.failed, summary.listing.left_out) == (5, 1, 1)
    restore_archive(archive, tmp_path / "reference", MODEL)
    assert restored(store / "there") == restored(tmp_path / "reference")
    rows = manifest(store / "there")
    assert rows["bad.png"]["error"].startswith("store://here/bad.png: not a picture")
    assert rows["a.jpg"]["sha256"] == manifest(tmp_path / "reference")["a.jpg"]["sha256"]
    (store / "there" / "a.jpg").unlink()
    again = restore_archive("store://here", "store://there", MODEL, resume=True)
    assert (again.restored, again.failed, again.skipped) == (1, 1, 4)


def test_what_is_written_elsewhere_is_never_half_there(store, monkeypatch):
    place = Place("store://folder/file.bin")
    place.write(b"first")

    def put(self, filesystem, path, content):
        (store / path).write_bytes(content[:2])
        raise OSError("the line is down")

    monkeypatch.setattr(Place, "_put", put)
    with pytest.raises(OSError, match="the line is down"):
        place.write(b"second")
    assert [path.name for path in (store / "folder").iterdir()] == ["file.bin"]
    assert place.read() == b"first" and place.read(1, 2) == b"ir"
    with pytest.raises(UsageError, match="ends 5 bytes early"):
        place.read(3, 7)


def test_messages_and_records_hold_no_passwords(store):
    secret = "store://key:word@here/in?secret_key=word"
    place = Place(secret).at("a b.jpg")
    assert place.address == "store://key:word@here/in/a%20b.jpg?secret_key=word"
    assert str(place) == "store://here/in/a%20b.jpg"
    with pytest.raises(UsageError) as error:
        inputs.find("store://key:word@nowhere?secret_key=word")
    assert "word" not in str(error.value)


def test_wrong_usage(archive, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("a file")
    (tmp_path / "names.csv").write_text("path,name\nin/a.jpg,../a.jpg\n")
    (tmp_path / "twice.csv").write_text("path,name\nin/a.jpg,a.jpg\nin/gray.png,a.jpg\n")
    (tmp_path / "columns.csv").write_text("file\nin/a.jpg\n")
    (tmp_path / "shard.tar.gz").write_bytes(b"compressed")
    out = ("--output", tmp_path / "out")
    for arguments, message in (
        ((tmp_path / "nowhere", *out), "no such file or folder"),
        ((tmp_path / "shard.tar.gz", *out), "(compressed: unpack it, or make it a plain .tar)"),
        ((tmp_path / "empty", *out), "no pictures in"),
        ((tmp_path / "names.csv", *out), "'../a.jpg' leads out of the output"),
        ((tmp_path / "twice.csv", *out), "names stand for several pictures, such as 'a.jpg'"),
        ((tmp_path / "columns.csv", *out), "a manifest has a column 'path'; this one has file"),
        ((archive, "--output", tmp_path / "file"), "is a file, expected a folder"),
        ((archive, "--output", tmp_path / "file" / "out"), "cannot write to"),
        ((archive, "--output", archive / "out"), "is within the input"),
        ((archive, *out, "--batch_rows", 0), "--batch_rows must be at least 1"),
        ((archive, *out, "--actors", 2), "leave --actors out"),
        ((archive, *out, "--tile", 9), "tile must be a multiple of 8"),
        (("nothing://known", *out), "not a URI that can be opened"),
    ):
        assert bulk(*arguments) == 2, arguments
        assert message in capsys.readouterr().err, arguments
    assert not (tmp_path / "out").exists() or not restored(tmp_path / "out")


def test_graphics_cards_need_a_runtime_that_uses_them(archive, tmp_path, capsys):
    arguments = ["bulk", str(archive), "--output", str(tmp_path / "out"), "--preset", PRESET]
    assert main([*arguments, "--gpus_per_actor", "1"]) == 2
    assert "--runtime keras" in capsys.readouterr().err


def test_scores_are_those_of_evaluate(tmp_path):
    pairs = write_pairs(tmp_path / "pairs", 3)
    (pairs / "input" / "1.png").write_bytes(b"no picture")
    found = {}
    for verb, more in (("evaluate", []), ("bulk", ["--local", "--threads_per_actor", "1"])):
        arguments = ["--pairs", str(pairs), "--output", str(tmp_path / verb), "--preset", PRESET]
        assert main([verb, *arguments, *more]) == 1
        found[verb] = json.loads((tmp_path / verb / "scores.json").read_text())
        for key in ("command", "date", "versions"):
            del found[verb][key]
    assert found["bulk"] == found["evaluate"]
    assert found["bulk"]["count"] == 2 and len(found["bulk"]["failed"]) == 1
