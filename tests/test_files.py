"""Atomic writing, leftovers, locks."""

import errno
import hashlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mspfn_tf import files
from mspfn_tf.errors import UsageError
from mspfn_tf.files import atomic_write, sha256

ROOT = Path(__file__).resolve().parent.parent


def test_appears_whole_with_parents(tmp_path):
    path = tmp_path / "a" / "b.weights.h5"
    with atomic_write(path) as temporary:
        assert temporary.name.endswith(".weights.h5")
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]
    assert sha256(path) == hashlib.sha256(b"new").hexdigest()


def test_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_write(path, overwrite=True) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_refusals(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(UsageError, match="overwrite=True"), atomic_write(path):
        pass
    with pytest.raises(UsageError, match="cannot write"), atomic_write(path / "below.txt"):
        pass


def test_leftovers_of_killed_processes_are_cleared(tmp_path):
    script = (
        "import os, sys; from pathlib import Path; from mspfn_tf.files import partial_path\n"
        "for name in ('a.png', 'b.weights.h5'): partial_path(Path(sys.argv[1], name)).touch()\n"
        "partial_path(Path(sys.argv[1], 'model')).mkdir()\n"
        "os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", script, tmp_path], cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    mine = files.partial_path(tmp_path / "mine.png")
    mine.touch()
    (tmp_path / "kept.partial.png").touch()
    assert len(files.clear_leftovers(tmp_path)) == 3
    assert {path.name for path in tmp_path.iterdir()} == {mine.name, "kept.partial.png"}
    assert files.clear_leftovers(tmp_path / "missing") == []


def test_what_only_another_user_may_remove_stays(tmp_path, monkeypatch):
    """As in a folder with the sticky bit, /tmp among them."""
    theirs = tmp_path / f".partial-{files._host()}-99999999-5-0123abcd.png"
    theirs.touch()
    (tmp_path / files.LOCK).touch()

    def refuse(*arguments, **options):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        assert files.clear_leftovers(tmp_path) == []
    monkeypatch.setattr("builtins.open", refuse)
    lock = re.escape(str(tmp_path / files.LOCK))
    with pytest.raises(UsageError, match=f"not permitted: {lock} is another user's"):
        files.locked(tmp_path, "train").__enter__()


def test_names_of_any_length(tmp_path):
    path = tmp_path / f"{'n' * 240}.png"
    with files.atomic_write(path) as temporary:
        temporary.write_text("x")
    assert path.read_text() == "x"


def test_a_folder_is_held_by_one_process(tmp_path):
    script = (
        "import sys; from mspfn_tf.files import locked\n"
        "with locked(sys.argv[1], 'evaluate'): print('held')"
    )

    def other():
        command = [sys.executable, "-c", script, tmp_path]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    with files.locked(tmp_path, "train"):
        refused = other()
    assert f"in use by mspfn train, process {os.getpid()}" in refused.stderr
    assert other().stdout == "held\n"


def test_folders_made_for_nothing_are_removed(tmp_path):
    (tmp_path / "there").mkdir()
    with files.locked(tmp_path / "there/a/b", "train"):
        assert (tmp_path / "there/a/b").is_dir()
    assert os.listdir(tmp_path / "there") == []  # which was there before
    with files.locked(tmp_path / "there/a/b", "train"):
        (tmp_path / "there/a/config.json").touch()
    assert os.listdir(tmp_path / "there/a") == ["config.json"]


def test_a_file_system_without_locks_is_told_from_a_folder_in_use(tmp_path, monkeypatch):
    def refusing(*arguments):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", refusing)
    with pytest.warns(UserWarning, match="cannot be locked"), files.locked(tmp_path, "train"):
        (tmp_path / "result").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["result"]


def test_a_folder_takes_its_place_whole(tmp_path):
    target = tmp_path / "model"
    with files.atomic_folder(target) as folder:
        (folder / "a").write_text("1")
    with pytest.raises(UsageError, match="exists already"), files.atomic_folder(target):
        pass
    with pytest.raises(ZeroDivisionError), files.atomic_folder(target, overwrite=True) as folder:
        (folder / "a").write_text("2")
        raise ZeroDivisionError
    assert (target / "a").read_text() == "1"
    with files.atomic_folder(target, overwrite=True) as folder:
        (folder / "b").write_text("3")
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "b"]


def test_what_a_link_names_is_replaced_and_the_link_stays(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "old").touch()
    (tmp_path / "link").symlink_to("real")
    with files.atomic_folder(tmp_path / "link", overwrite=True) as folder:
        (folder / "new").touch()
    assert (tmp_path / "link").is_symlink()
    assert [path.name for path in (tmp_path / "real").iterdir()] == ["new"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "real"]


def test_the_working_directory_has_a_name(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with files.atomic_folder(".", overwrite=True) as folder:
        (folder / "new").touch()
    assert (tmp_path / "here" / "new").exists()
