import io
import os
import shutil
import struct
import tarfile
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from mspfn_tf.datasets.picture_tree import PictureTree, natural_order
from mspfn_tf.errors import UsageError
from tests.rain_pictures import clean, write


def test_natural_order():
    names = ["10.png", "a/2.png", "2.png", "a/10.png", "1_b.png"]
    assert sorted(names, key=natural_order) == [
        "1_b.png",
        "2.png",
        "10.png",
        "a/2.png",
        "a/10.png",
    ]


def test_digits_that_are_no_numbers_have_an_order():
    assert sorted(["1①2.png", "1①1.png", "x1²0.png"], key=natural_order)[:2] == [
        "1①1.png",
        "1①2.png",
    ]


def test_folder(tmp_path):
    write(tmp_path, {"a/10.png": clean(1), "a/2.JPG": clean(2), "b.png": clean(3)})
    write(tmp_path, {".hidden/1.png": clean(1), "__MACOSX/1.png": clean(1), "._b.png": clean(1)})
    write(tmp_path, {"a/@eaDir/10.png/SYNOPHOTO_THUMB_M.jpg": clean(1)})
    (tmp_path / "notes.txt").write_text("no picture")
    tree = PictureTree(tmp_path)
    assert tree.paths == ["a/2.JPG", "a/10.png", "b.png"]
    assert tree.top == ""
    assert tree.where("a/10.png") == str(tmp_path / "a/10.png")
    np.testing.assert_array_equal(tree.open("b.png")[0], clean(3))


@pytest.mark.parametrize("archived", [False, True])
def test_names_that_are_not_utf8_stand_as_escapes(tmp_path, archived):
    write(tmp_path, {"set/input/1.png": clean(1)})
    latin = os.fsdecode(b"caf\xe9.png")
    (tmp_path / "set/input/1.png").rename(tmp_path / "set/input" / latin)
    if archived:
        with tarfile.open(tmp_path / "set.tar", "w") as archive:
            archive.add(tmp_path / "set/input" / latin, f"input/{latin}")
    tree = PictureTree(tmp_path / ("set.tar" if archived else "set"))
    assert tree.paths == [r"input/caf\udce9.png"]
    np.testing.assert_array_equal(tree.open(tree.paths[0])[0], clean(1))


def test_links_to_folders_are_followed_once(tmp_path):
    write(tmp_path, {"pictures/a.png": clean(1)})
    (tmp_path / "set").mkdir()
    (tmp_path / "set/input").symlink_to(tmp_path / "pictures")
    (tmp_path / "set/round").symlink_to(tmp_path / "set")
    assert PictureTree(tmp_path / "set").paths == ["input/a.png"]


def test_links_to_nothing_are_told(tmp_path):
    write(tmp_path, {"input/a.png": clean(1)})
    (tmp_path / "input/b.png").symlink_to(tmp_path / "not there.png")
    tree = PictureTree(tmp_path)
    assert tree.paths == ["input/a.png", "input/b.png"]
    with pytest.raises(UsageError, match=r"input/b\.png: cannot be read .*No such file"):
        tree.open("input/b.png")


@pytest.mark.parametrize("inner", ["", "top/"])
def test_archive(tmp_path, inner):
    write(tmp_path, {"a.png": clean(1)})
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.write(tmp_path / "a.png", f"{inner}input/a.png")
    (tmp_path / "a.png").unlink()

    beside = PictureTree(tmp_path)
    assert beside.paths == [f"set/{inner}input/a.png"]
    assert beside.in_archive(beside.paths[0])
    assert beside.where(beside.paths[0]) == f"{tmp_path}/set.zip:{inner}input/a.png"

    alone = PictureTree(tmp_path / "set.zip")
    assert alone.paths == [f"{inner}input/a.png"]
    assert alone.top == f"{inner}input/"
    np.testing.assert_array_equal(alone.open(alone.paths[0])[0], clean(1))


def test_a_folder_of_the_name_of_its_archive_counts_once(tmp_path):
    write(tmp_path, {"Input/a.png": clean(1), "target/a.png": clean(2)})
    for name, top in (("input", "Input"), ("target", "target")):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            archive.write(tmp_path / f"{top}/a.png", f"{top}/a.png")
    assert PictureTree(tmp_path).paths == ["Input/a.png", "target/a.png"]
    (tmp_path / "Input/a.png").unlink()
    (tmp_path / "target/a.png").unlink()
    tree = PictureTree(tmp_path)
    assert tree.paths == ["Input/a.png", "target/a.png"]
    np.testing.assert_array_equal(tree.open("target/a.png")[0], clean(2))


def test_the_parts_of_a_download_from_google_drive_are_one(tmp_path):
    write(tmp_path, {"a.png": clean(1)})
    for part, name in enumerate(("input/1.png", "target/2.png", "input/2.png", "target/1.png"), 1):
        file = f"pairs-20240131T235959Z-1-00{part}.zip"
        with zipfile.ZipFile(tmp_path / file, "w") as archive:
            archive.write(tmp_path / "a.png", f"pairs/{name}")
    (tmp_path / "a.png").unlink()
    tree = PictureTree(tmp_path)
    names = ("input/1", "input/2", "target/1", "target/2")
    assert tree.paths == [f"pairs/{name}.png" for name in names]

    shutil.copy(tmp_path / file, tmp_path / "pairs.zip")
    with pytest.raises(UsageError, match="-004.zip:pairs/target/1.png and .*share a name"):
        PictureTree(tmp_path)


def test_extracted_files_hide_those_of_the_archive(tmp_path):
    write(tmp_path, {"set/a.png": clean(1)})
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.write(tmp_path / "set/a.png", "a.png")
    tree = PictureTree(tmp_path)
    assert tree.paths == ["set/a.png"]
    assert not tree.in_archive("set/a.png")


def test_bytes_are_kept_only_where_they_hold_the_pixels(tmp_path):
    picture = clean(4)
    write(tmp_path, {"a.png": picture, "a.jpg": picture, "a.bmp": picture})
    Image.fromarray(picture).convert("L").save(tmp_path / "gray.png")
    rgba = np.concatenate([picture, np.full_like(picture[..., :1], 9)], axis=-1)
    Image.fromarray(rgba).save(tmp_path / "alpha.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture).save(tmp_path / "turned.png", exif=exif)
    tree = PictureTree(tmp_path)

    for name in ("a.png", "a.jpg"):
        image, data = tree.open(name)
        assert data == (tmp_path / name).read_bytes()
        np.testing.assert_array_equal(image, Image.open(io.BytesIO(data)))
    for name in ("a.bmp", "gray.png", "alpha.png", "turned.png"):
        assert tree.open(name)[1] is None
    np.testing.assert_array_equal(tree.open("alpha.png")[0], picture)
    np.testing.assert_array_equal(tree.open("turned.png")[0], np.rot90(picture, -1))


def test_errors_name_the_file(tmp_path):
    with pytest.raises(UsageError, match=r"nowhere: no such folder or archive"):
        PictureTree(tmp_path / "nowhere")
    (tmp_path / "a.zip").write_bytes(b"PK no archive")
    with pytest.raises(UsageError, match=r"a\.zip: not a zip archive"):
        PictureTree(tmp_path)
    (tmp_path / "a.zip").unlink()
    write(tmp_path, {"a.png": clean(1)})
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "short.png").write_bytes(data[: len(data) // 2])
    (tmp_path / "text.jpg").write_text("no picture")
    tree = PictureTree(tmp_path)
    for name in ("short.png", "text.jpg"):
        with pytest.raises(UsageError, match=f"{name}: unreadable picture"):
            tree.open(name)


def test_large_files_are_not_read(tmp_path, monkeypatch):
    write(tmp_path, {"a.png": clean(1)})
    monkeypatch.setattr("mspfn_tf.datasets.picture_tree.MAX_MEMBER_BYTES", 100)
    with pytest.raises(UsageError, match=r"a\.png: \d+ bytes, the limit is 100"):
        PictureTree(tmp_path).open("a.png")


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 3)])
def test_more_than_8_bits_are_refused(tmp_path, shape):
    deep = np.full(shape, 300, np.uint16)
    if len(shape) == 2:
        Image.fromarray(deep).save(tmp_path / "deep.png")
    else:  # Pillow writes none: 16-bit RGB by hand
        rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in deep)
        header = struct.pack(">IIBBBBB", 5, 4, 16, 2, 0, 0, 0)
        data = b"\x89PNG\r\n\x1a\n"
        for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
            checksum = zlib.crc32(kind + body)
            data += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)
        (tmp_path / "deep.png").write_bytes(data)
    with pytest.raises(UsageError, match="more than 8 bits per channel"):
        PictureTree(tmp_path).open("deep.png")


def test_only_decoders_of_pictures_are_used(tmp_path):
    # Pillow hands PostScript to another program, whatever the file is called.
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 5 5\n%%EOF\n")
    with pytest.raises(UsageError, match=r"a\.png: unreadable picture \(cannot identify"):
        PictureTree(tmp_path).open("a.png")


def test_pictures_above_pillows_limit_are_refused(tmp_path, monkeypatch):
    write(tmp_path, {"a.png": clean(1)})
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 319)  # it has 320
    with pytest.raises(UsageError, match=r"a\.png: unreadable picture .*320 pixels"):
        PictureTree(tmp_path).open("a.png")
