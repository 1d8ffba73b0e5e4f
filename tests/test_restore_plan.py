import os

import numpy as np
import pytest

from mspfn_tf.errors import UsageError
from mspfn_tf.pictures import write_picture
from mspfn_tf.restoring.plan import plan

PICTURE = np.zeros((3, 4, 3), np.uint8)


@pytest.fixture
def tree(tmp_path):
    """Makes pictures below tmp_path; returns a function that does."""

    def make(*names):
        for name in names:
            write_picture(tmp_path / name, PICTURE)
        return tmp_path

    return make


def targets(planned, output):
    return [job.target.relative_to(output).as_posix() for job in planned.jobs]


def test_the_tree_is_kept(tmp_path, tree):
    tree("in/b.png", "in/a.jpg", "in/deep/c.png")
    planned = plan([tmp_path / "in"], tmp_path / "out")
    assert targets(planned, tmp_path / "out") == ["a.jpg", "b.png", "deep/c.png"]
    assert planned.left_out == planned.unreadable == planned.complete == []
    assert not (tmp_path / "out").exists()


def test_inputs_of_one_name_are_kept_apart_by_their_folders(tmp_path, tree):
    tree("one/x/1.png", "two/x/1.png", "two/2.png")
    planned = plan([tmp_path / "one", tmp_path / "two"], tmp_path / "out")
    assert targets(planned, tmp_path / "out") == ["one/x/1.png", "two/2.png", "two/x/1.png"]
    planned = plan([tmp_path / "one/x/1.png", tmp_path / "two/x/1.png"], tmp_path / "out")
    assert targets(planned, tmp_path / "out") == ["one/x/1.png", "two/x/1.png"]
    planned = plan([tmp_path / "one/x/1.png", tmp_path / "two/2.png"], tmp_path / "out")
    assert targets(planned, tmp_path / "out") == ["1.png", "2.png"]


def test_folders_keep_names_apart_also_where_the_format_changes(tmp_path, tree):
    tree("one/1.jpg", "two/1.bmp", "two/1.jpg")
    planned = plan([tmp_path / "one", tmp_path / "two"], tmp_path / "out", suffix=".png")
    expected = ["one/1.png", "two/1.bmp.png", "two/1.jpg.png"]
    assert targets(planned, tmp_path / "out") == expected


def test_names_that_the_content_makes_are_kept_apart(tmp_path, tree):
    tree("in/a.jpg", "in/a.jpg.jpg")
    (tmp_path / "in/a").write_bytes((tmp_path / "in/a.jpg").read_bytes())
    for name in ("b.avi", "b.mkv", "b.ts"):
        (tmp_path / "in" / name).write_bytes(b"\x1a\x45\xdf\xa3" + bytes(1020))
    planned = plan([tmp_path / "in"], tmp_path / "out")
    pictures = ["a.jpg.jpg.jpg", "a.jpg", "a.jpg.jpg"]
    assert targets(planned, tmp_path / "out") == [*pictures, "b.avi.mkv", "b.mkv", "b.ts.mkv"]


def test_a_file_that_is_named_twice_is_restored_once(tmp_path, tree):
    tree("in/a.png", "in/deep/b.png")
    inputs = [tmp_path / "in", tmp_path / "in/a.png", tmp_path / "in/deep"]
    assert targets(plan(inputs, tmp_path / "out"), tmp_path / "out") == ["a.png", "deep/b.png"]


def test_one_format_for_all(tmp_path, tree):
    tree("in/a.jpg", "in/b.bmp", "in/b.jpg", "in/b.png", "in/deep/b.jpg")
    planned = plan([tmp_path / "in"], tmp_path / "out", suffix=".png")
    expected = ["a.png", "b.bmp.png", "b.jpg.png", "b.png", "deep/b.png"]
    assert targets(planned, tmp_path / "out") == expected
    with pytest.raises(UsageError, match="ends in '.jpg', the format is '.png'"):
        plan([tmp_path / "in/a.jpg"], tmp_path / "b.jpg", suffix=".png")
    with pytest.raises(UsageError, match="cannot write '.psd'"):
        plan([tmp_path / "in"], tmp_path / "out", suffix=".psd")


def test_nothing_is_left_out_silently(tmp_path, tree):
    tree("in/a.png", "elsewhere/b.png", "in/.hidden/c.png", "in/@eaDir/a.png/THUMB.jpg")
    folder = tmp_path / "in"
    tree("in/scan.png")
    (folder / "scan.png").rename(folder / "scan")
    tree("in/page.png")
    (folder / "page.png").rename(folder / "page.dat")
    (folder / "notes.txt").write_text("no picture")
    (folder / "empty").touch()
    os.mkfifo(folder / "pipe.jpg")
    (folder / "broken.png").symlink_to(tmp_path / "nowhere.png")
    (folder / "itself.png").symlink_to(folder / "itself.png")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "again").symlink_to(tmp_path / "elsewhere")
    (folder / "up").symlink_to(tmp_path / "in")
    planned = plan([folder], tmp_path / "out")
    assert targets(planned, tmp_path / "out") == [
        "a.png",
        "again/b.png",
        "page.dat.png",
        "scan.png",
    ]
    left_out = {path.relative_to(folder).as_posix(): reason for path, reason in planned.left_out}
    assert left_out == {
        ".hidden": "(hidden)",
        "@eaDir": "(hidden)",
        "broken.png": "(a link to nothing)",
        "empty": "(no readable picture or video)",
        "itself.png": "(a link to nothing)",
        "linked": "(a link to a folder that was visited already)",
        "notes.txt": "(no readable picture or video)",
        "pipe.jpg": "(a pipe or device)",
        "up": "(a link to a folder that was visited already)",
    }


def test_a_folder_keeps_its_name_where_a_link_leads_to_it(tmp_path, tree):
    tree("in/rain/deep/a.png", "in/album/b.png")
    (tmp_path / "in" / "album" / "latest").symlink_to(tmp_path / "in" / "rain")
    (tmp_path / "in" / "deep").symlink_to(tmp_path / "in" / "rain" / "deep")
    planned = plan([tmp_path / "in"], tmp_path / "out")
    assert targets(planned, tmp_path / "out") == ["album/b.png", "rain/deep/a.png"]
    assert [path.relative_to(tmp_path).as_posix() for path, _ in planned.left_out] == [
        "in/deep",
        "in/album/latest",
    ]


def test_a_link_to_the_output_is_not_followed(tmp_path, tree):
    tree("in/a.png", "out/old.png")
    (tmp_path / "in" / "link").symlink_to(tmp_path / "out")
    planned = plan([tmp_path / "in"], tmp_path / "out")
    assert targets(planned, tmp_path / "out") == ["a.png"]
    assert planned.left_out[0][1] == "(a link to a folder that is the output)"


def test_folders_that_cannot_be_read_are_named(tmp_path, tree, monkeypatch):
    tree("in/a.png", "in/locked/b.png")
    scandir = os.scandir

    def refusing(path):
        if os.path.basename(path) == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    planned = plan([tmp_path / "in"], tmp_path / "out")
    assert targets(planned, tmp_path / "out") == ["a.png"]
    assert planned.unreadable == [(tmp_path / "in/locked", "cannot be read (Permission denied)")]


def test_inputs_that_cannot_be_looked_at_are_named(tmp_path, monkeypatch):
    def refusing(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "lstat", refusing)
    with pytest.raises(UsageError, match=r"a\.png cannot be read \(Permission denied\)"):
        plan([tmp_path / "a.png"], tmp_path / "out")


def test_what_is_complete_is_left_alone(tmp_path, tree):
    tree("in/a.png", "in/b.png", "in/c.png", "out/a.png")
    (tmp_path / "out/b.png").touch()  # empty: not by us
    with pytest.raises(UsageError, match=r"a\.png \(and 1 more\) exists already: .*resume=True"):
        plan([tmp_path / "in"], tmp_path / "out")
    planned = plan([tmp_path / "in"], tmp_path / "out", resume=True)
    assert targets(planned, tmp_path / "out") == ["b.png", "c.png"]
    assert [job.target.name for job in planned.complete] == ["a.png"]
    planned = plan([tmp_path / "in"], tmp_path / "out", overwrite=True)
    assert len(planned.jobs) == 3 and all(job.overwrite for job in planned.jobs)
    planned = plan([tmp_path / "in"], tmp_path / "out", resume=True, compare=True)
    assert len(planned.jobs) == 3  # no comparison is there


@pytest.mark.parametrize("how", ["resume", "overwrite"])
def test_a_folder_in_the_place_of_a_file_is_found_before_the_work(tmp_path, tree, how):
    (tmp_path / "out" / "a.png").mkdir(parents=True)
    (tmp_path / "out" / "a.png" / "b").write_text("kept")
    write_picture(tmp_path / "a.png", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(UsageError, match=r"a.png is a folder, where a file is to be written"):
        plan([tmp_path / "a.png"], tmp_path / "out", **{how: True})


def test_names_that_no_file_system_takes(tmp_path, tree):
    write_picture(tmp_path / "a.png", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(UsageError, match="a name of more than 255 bytes"):
        plan([tmp_path / "a.png"], tmp_path / f"{'x' * 300}.png")
    with pytest.raises(UsageError, match="no such file or folder"):
        plan([tmp_path / f"{'x' * 300}.png"], tmp_path / "b.png")


def test_shards_are_a_partition_that_other_files_do_not_change(tmp_path, tree):
    names = [f"in/{number:02}.png" for number in range(40)]
    tree(*names[:30])
    before = [
        set(targets(plan([tmp_path / "in"], tmp_path / "out", shard=(i, 3)), tmp_path / "out"))
        for i in (1, 2, 3)
    ]
    assert sum(map(len, before)) == 30 and len(set.union(*before)) == 30
    assert all(len(share) > 3 for share in before)
    tree(*names[30:])
    after = [
        set(targets(plan([tmp_path / "in"], tmp_path / "out", shard=(i, 3)), tmp_path / "out"))
        for i in (1, 2, 3)
    ]
    assert all(old <= new for old, new in zip(before, after, strict=True))


def test_the_longest_names(tmp_path, tree):
    tree("in/" + "ä" * 125 + ".png")
    planned = plan([tmp_path / "in"], tmp_path / "out", compare=True)
    (job,) = planned.jobs
    assert len(os.fsencode(job.target.name)) == 254
    assert 250 <= len(os.fsencode(job.comparison.name)) <= 255
    assert job.comparison.name.endswith("ä_compare.png")
    with pytest.raises(UsageError, match="no such file"):
        plan([tmp_path / ("x" * 300)], tmp_path / "out")


def test_names_that_are_no_utf8(tmp_path, tree):
    tree("in/a.png")
    os.rename(tmp_path / "in/a.png", os.fsencode(tmp_path) + b"/in/\xff\xfe.png")
    (job,) = plan([tmp_path / "in"], tmp_path / "out", shard=(1, 1)).jobs
    assert os.fsencode(job.target).endswith(b"/out/\xff\xfe.png")
    (job,) = plan([tmp_path / "in"], tmp_path / "out", compare=True).jobs
    assert os.fsencode(job.comparison).endswith(b"/out/\xff\xfe_compare.png")
