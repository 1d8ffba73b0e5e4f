"""Archives: what they hold is found, and nothing hostile comes out of them."""

import io
import os
import tarfile
import time
import zipfile

import numpy as np
import pytest

from mspfn_tf.datasets import archives
from mspfn_tf.datasets.picture_tree import PictureTree
from mspfn_tf.errors import UsageError
from tests.rain_pictures import clean, write

TARS = {"tar": "w", "tar.gz": "w:gz", "tgz": "w:gz", "tar.bz2": "w:bz2", "tar.xz": "w:xz"}


def _png(scene):
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(clean(scene)).save(buffer, "PNG")
    return buffer.getvalue()


def _tar(path, members, mode="w"):
    """A tar of `(name, bytes)` or `TarInfo`."""
    with tarfile.open(path, mode) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
                continue
            name, data = member
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def _special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("suffix", TARS)
def test_tars(tmp_path, suffix):
    members = [("./top/input/2.png", _png(2)), ("top/input/10.png", _png(10)), ("top/a.txt", b"-")]
    members.append(("top/._2.png", b"hidden"))
    path = _tar(tmp_path / f"set.{suffix}", members, TARS[suffix])
    scratch = tmp_path / "scratch"
    for root, prefix in ((path, ""), (tmp_path, "set/")):
        tree = PictureTree(root, scratch)
        assert tree.paths == [f"{prefix}top/input/2.png", f"{prefix}top/input/10.png"]
        assert tree.in_archive(tree.paths[0])
        assert tree.where(tree.paths[1]) == f"{path}:top/input/10.png"
        np.testing.assert_array_equal(tree.open(tree.paths[0])[0], clean(2))
        np.testing.assert_array_equal(tree.open(tree.paths[1])[0], clean(10))
        # Only compressed ones are unpacked, and only for as long as they are in use.
        unpacked = list(scratch.rglob("*")) if scratch.exists() else []
        assert bool(unpacked) == (suffix != "tar")
        tree.close()
        assert not list(scratch.rglob("*"))


def test_folders_in_zips_of_old_windows_tools(tmp_path):
    def member(name, system):
        info = zipfile.ZipInfo(name)
        info.filename, info.create_system = name, system
        return info

    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr(member("top\\input\\2.png", 0), _png(2))
        archive.writestr(member("one\\name.png", 3), _png(3))
    tree = PictureTree(tmp_path / "set.zip")
    assert tree.paths == ["one\\name.png", "top/input/2.png"]
    np.testing.assert_array_equal(tree.open("top/input/2.png")[0], clean(2))
    with zipfile.ZipFile(tmp_path / "climbs.zip", "w") as archive:
        archive.writestr(member("..\\2.png", 0), _png(2))
    with pytest.raises(UsageError, match="climbs"):
        PictureTree(tmp_path / "climbs.zip")


@pytest.mark.parametrize("suffix", TARS)
def test_of_members_of_one_name_the_last_counts(tmp_path, suffix):
    names = ("a.png", "b.png", "a.png", "c.png", "d.png")
    path = _tar(
        tmp_path / f"set.{suffix}",
        [(name, _png(scene)) for scene, name in enumerate(names)],
        TARS[suffix],
    )
    tree = PictureTree(path, tmp_path / "scratch")
    assert tree.paths == ["a.png", "b.png", "c.png", "d.png"]
    for name, scene in zip(tree.paths, (2, 1, 3, 4), strict=True):
        np.testing.assert_array_equal(tree.open(name)[0], clean(scene))


def test_what_is_unpacked_goes_with_the_tree(tmp_path):
    path = _tar(tmp_path / "set.tar.gz", [("1.png", _png(1))], "w:gz")
    tree = PictureTree(path, tmp_path / "scratch")
    assert len(list((tmp_path / "scratch").rglob("0"))) == 1
    del tree
    assert not list((tmp_path / "scratch").iterdir())


def test_progress_while_unpacking(tmp_path):
    pictures = [(f"{n}.png", _png(n)) for n in range(20)]
    path, told = _tar(tmp_path / "set.tar.xz", pictures, "w:xz"), []
    PictureTree(path, tmp_path / "scratch", lambda *step: told.append(step)).close()
    size = path.stat().st_size
    assert len(told) == 20
    assert {what for what, _, _ in told} == {"unpacking set.tar.xz"}
    assert all(0 < done <= total == size for _, done, total in told)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (("/etc/1.png", b"x"), "points outside"),
        (("a/../../1.png", b"x"), "points outside"),
        (("..\\1.png", b"x"), "points outside"),
        (("C:/1.png", b"x"), "points outside"),
        (_special("1.png", tarfile.SYMTYPE, "/etc/passwd"), "neither a file nor a folder"),
        (_special("1.png", tarfile.LNKTYPE, "2.png"), "neither a file nor a folder"),
        (_special("1.png", tarfile.CHRTYPE), "neither a file nor a folder"),
        (_special("1.png", tarfile.BLKTYPE), "neither a file nor a folder"),
        (_special("1.png", tarfile.FIFOTYPE), "neither a file nor a folder"),
        (_special("1.png", tarfile.GNUTYPE_SPARSE), "sparse"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_hostile_tars_are_refused(tmp_path, mode, member, reason):
    suffix = {"w": "tar", "w:gz": "tar.gz", "w:xz": "tar.xz"}[mode]
    path = _tar(tmp_path / f"a.{suffix}", [("0.png", _png(0)), member], mode)
    scratch = tmp_path / "scratch"
    with pytest.raises(UsageError, match=rf"a\.{suffix}: refused: .*{reason}"):
        PictureTree(path, scratch)
    assert not scratch.exists() or not list(scratch.iterdir())
    assert not (tmp_path / "1.png").exists()


@pytest.mark.parametrize("name", ["/etc/1.png", "../1.png", "a/../../1.png", "C:\\1.png"])
def test_hostile_zips_are_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(name, _png(1))
    with pytest.raises(UsageError, match=r"a\.zip: refused: its member .* points outside"):
        PictureTree(tmp_path)


def test_links_in_zips_are_refused(tmp_path):
    link = zipfile.ZipInfo("1.png")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(UsageError, match="neither a file nor a folder"):
        PictureTree(tmp_path)


def test_bombs_are_refused_quickly(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_MEMBER_BYTES", 2**22)
    monkeypatch.setattr(archives, "FREE_BYTES", 2**23)
    one, part = bytes(2**22 + 1), bytes(2**21)
    cases = {
        "one.zip": [("1.png", one)],
        "one.tar.gz": [("1.png", one)],
        "one.tar.xz": [("1.png", one)],
        "many.zip": [(f"{n}.png", part) for n in range(8)],
        "many.tar.gz": [(f"{n}.txt", part) for n in range(8)],
        "many.tar.xz": [(f"{n}.png", part) for n in range(8)],
    }
    for name, members in cases.items():
        path = tmp_path / name
        if name.endswith("zip"):
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                for member in members:
                    archive.writestr(*member)
        else:
            _tar(path, members, f"w:{name[-2:]}")
        started = time.process_time()
        scratch = tmp_path / "scratch"
        why = "more than 4194304" if name.startswith("one") else "unpacks to more than"
        with pytest.raises(UsageError, match=rf"{name}: refused: .*{why}"):
            PictureTree(path, scratch)
        assert time.process_time() - started < 2
        assert not scratch.exists() or not list(scratch.iterdir())


def test_too_many_members(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_MEMBERS", 3)
    path = _tar(tmp_path / "a.tar", [(f"{n}.png", b"-") for n in range(4)])
    with pytest.raises(UsageError, match="more than 3 members"):
        PictureTree(path)


def test_headers_that_would_fill_the_memory_are_refused(tmp_path):
    info = _special("././@LongLink", tarfile.GNUTYPE_LONGNAME)
    info.size = 2**33
    (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(UsageError, match=r"a\.tar: refused: a header has 8589934592 bytes"):
        PictureTree(tmp_path)


def test_a_zip_that_lies_about_sizes_gives_no_more_than_it_says(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("1.png", bytes(10**6))
    data = path.read_bytes()
    size = (10**6).to_bytes(4, "little")
    path.write_bytes(data.replace(size, (100).to_bytes(4, "little")))
    tree = PictureTree(path)
    with pytest.raises(UsageError, match=r"a\.zip:1\.png: cannot be read"):
        tree.read("1.png")


@pytest.mark.parametrize("suffix", ["zip", *TARS])
def test_damage_is_told(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    if suffix == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for n in range(30):
                archive.writestr(f"{n}.png", _png(n))
    else:
        _tar(path, [(f"{n}.png", _png(n)) for n in range(30)], TARS[suffix])
    whole = path.read_bytes()
    for damaged in (b"", b"no archive", whole[: len(whole) // 2], whole[:200]):
        path.write_bytes(damaged)
        with pytest.raises(UsageError, match=rf"a\.{suffix}: not a .* archive that can be read"):
            PictureTree(path, tmp_path / "scratch")
    middle = len(whole) // 2
    for place in range(middle, middle + 512, 37):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            tree = PictureTree(path, tmp_path / "scratch")
            for picture in tree.paths:
                tree.open(picture)
            tree.close()
        except UsageError:
            pass  # any other exception would end in a traceback


def test_several_xz_streams_in_one_file(tmp_path):
    path = _tar(tmp_path / "a.tar.xz", [("1.png", _png(1))], "w:xz")
    import lzma

    plain = lzma.decompress(path.read_bytes())
    path.write_bytes(
        lzma.compress(plain[:700]) + b"\0" * 8 + lzma.compress(plain[700:]) + b"\0" * 4
    )
    tree = PictureTree(path, tmp_path / "scratch")
    np.testing.assert_array_equal(tree.open("1.png")[0], clean(1))


@pytest.mark.parametrize(("suffix", "command"), [("rar", "unar"), ("7z", "7z x")])
def test_other_archives_are_told_what_to_do(tmp_path, suffix, command):
    (tmp_path / f"set.{suffix}").write_bytes(b"-")
    with pytest.raises(UsageError, match=f"unpack it beside this file first, .*{command} set"):
        PictureTree(tmp_path / f"set.{suffix}")
    write(tmp_path, {"1.png": clean(1)})
    tree = PictureTree(tmp_path)
    assert tree.paths == ["1.png"]
    assert len(tree.notes) == 1 and command in tree.notes[0]


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("rain_data_train_Light.gz", "tar -xf rain_data_train_Light.gz"),
        ("set.tar.zst", "tar -xf set.tar.zst"),
        ("set.zip.001", r"cat set.zip.\* > set.zip"),
        ("set.tar.gz-aa", r"cat set.tar.gz-\* > set.tar.gz"),
        ("set.tar.partaa", r"cat set.tar.\* > set.tar"),
        ("set.zip.crdownload", "not finished this download"),
        ("set.rar.part", "not finished this download"),
    ],
)
def test_parts_of_archives_and_other_compressions_are_told_what_to_do(tmp_path, name, advice):
    (tmp_path / name).write_bytes(b"-")
    with pytest.raises(UsageError, match=advice):
        PictureTree(tmp_path / name)
    for other in ("set.zip.002", "set.tar.gz-ab", "notes.part"):
        (tmp_path / other).write_bytes(b"-")
    (note,) = PictureTree(tmp_path).notes
    assert str(tmp_path / name) in note


def test_a_zip_in_several_files_is_refused(tmp_path):
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("input/1.png", _png(1))
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\1\2") + 34] = 1  # the file that the member begins in
    path.write_bytes(data)
    with pytest.raises(UsageError, match=r"set\.zip: the last part .* 7z x set\.zip"):
        PictureTree(path)


@pytest.mark.parametrize("suffix", ["zip", "tar", "tar.gz"])
def test_archives_within_archives_are_named(tmp_path, suffix):
    members = [("1.png", _png(1)), ("inner/train.zip", b"-"), ("__MACOSX/._train.zip", b"-")]
    if suffix == "zip":
        with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
            for name, data in members:
                archive.writestr(name, data)
    else:
        _tar(tmp_path / f"set.{suffix}", members, "w:gz" if suffix == "tar.gz" else "w")
    path = tmp_path / f"set.{suffix}"
    for source in (path, tmp_path):
        (note,) = PictureTree(source, tmp_path / "scratch").notes
        assert note == f"{path} holds the archive inner/train.zip: unpack {path.name} first"


def test_neither_folder_nor_archive(tmp_path):
    (tmp_path / "a.txt").write_text("-")
    with pytest.raises(UsageError, match=r"a\.txt: neither a folder nor an archive"):
        PictureTree(tmp_path / "a.txt")


def test_links_that_double_are_refused(tmp_path):
    for n in range(40):
        (tmp_path / str(n)).mkdir()
        for name in "ab":
            os.symlink(f"../{n + 1}", tmp_path / str(n) / name)
    (tmp_path / "40").mkdir()
    started = time.process_time()
    with pytest.raises(UsageError, match="links lead to .* in more than 16 ways"):
        PictureTree(tmp_path / "0")
    assert time.process_time() - started < 2
