import errno
import subprocess
import sys
from pathlib import Path

import pytest

from mspfn_tf.restoring.claims import Claims, in_use

ROOT = Path(__file__).resolve().parent.parent
HOLDER = """\
import sys
from mspfn_tf.restoring.claims import Claims
with Claims(sys.argv[1]) as claims, claims.claim("a.png") as is_ours:
    print(is_ours, flush=True)
    sys.stdin.read()
"""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="nothing is claimed on Windows")


@pytest.fixture
def holder(tmp_path):
    """Another process that holds a.png of tmp_path/out until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "out")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdout.readline() == b"True\n"
    yield process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def test_alone_everything_may_be_claimed_and_nothing_stays(tmp_path):
    assert not in_use(tmp_path / "out")
    with Claims(tmp_path / "out") as claims:
        for name in ("a.png", "b.png", "\udcff.png"):
            with claims.claim(name) as is_ours:
                assert is_ours
    assert list((tmp_path / "out").iterdir()) == []


def test_what_another_process_has_claimed_is_its_own(tmp_path, holder):
    assert in_use(tmp_path / "out")
    with Claims(tmp_path / "out") as claims:
        with claims.claim("a.png") as is_ours:
            assert not is_ours
        with claims.claim("b.png") as is_ours:
            assert is_ours
    assert (tmp_path / "out" / ".mspfn.claims").exists()  # the other one is still at work
    holder.stdin.close()
    assert holder.wait() == 0
    assert list((tmp_path / "out").iterdir()) == []


def test_claims_end_with_the_process_that_is_killed(tmp_path, holder):
    with Claims(tmp_path / "out") as claims:
        holder.kill()
        holder.wait()
        with claims.claim("a.png") as is_ours:
            assert is_ours
    assert not in_use(tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_threads_of_one_process_share_one_handle(tmp_path, holder):
    with Claims(tmp_path / "out") as one, Claims(tmp_path / "out") as two:
        assert in_use(tmp_path / "out")
        with one.claim("b.png") as first, two.claim("b.png") as second:
            assert (first, second) == (True, False)
        with two.claim("b.png") as again, two.claim("a.png") as held:
            assert (again, held) == (True, False)
    assert in_use(tmp_path / "out")  # by the other process


def test_without_locks_there_is_a_warning(tmp_path, monkeypatch):
    def refusing(*arguments):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.lockf", refusing)
    with pytest.warns(UserWarning, match="without locks"):
        claims = Claims(tmp_path / "out")
    with claims, claims.claim("a.png") as is_ours:
        assert is_ours
    assert list((tmp_path / "out").iterdir()) == []


def test_the_hidden_file_may_go_away_while_it_is_opened(tmp_path, monkeypatch):
    """The last process before this one removes it after it was seen."""
    monkeypatch.setattr(Path, "exists", lambda path: True)
    with Claims(tmp_path / "out") as claims, claims.claim("a.png") as is_ours:
        assert is_ours
    assert list((tmp_path / "out").iterdir()) == []
