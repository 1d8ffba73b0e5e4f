"""Atomic writing."""

import hashlib

import pytest

from mspfn_tf.errors import UsageError
from mspfn_tf.files import atomic_write, sha256


def test_appears_whole_with_parents(tmp_path):
    path = tmp_path / "a" / "b.weights.h5"
    with atomic_write(path) as temporary:
        assert temporary.name.endswith(".b.weights.h5")
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
    with pytest.raises(UsageError, match="--overwrite"), atomic_write(path):
        pass
    with pytest.raises(UsageError, match="cannot write"), atomic_write(path / "below.txt"):
        pass
