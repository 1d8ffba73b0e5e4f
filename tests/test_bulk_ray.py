"""`mspfn bulk` on Ray Data: local clusters without a dashboard, each ended by its run.

`MSPFN_PICTURES` is how many are restored (default 60), `MSPFN_KILLS` how many processes are killed
meanwhile (default 4).
"""

import json
import os
import sys

import pytest

from benchmarks.restore import write_pictures
from mspfn_tf.bulk import engines
from mspfn_tf.errors import UsageError
from tests.bulk_faults import PRESET, compare, run, survive
from tests.export_models import write_pairs

pytest.importorskip("ray")
PICTURES = int(os.environ.get("MSPFN_PICTURES", "60"))
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds processes by /proc")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """(small pictures, the same restored by `mspfn restore`)."""
    folder = tmp_path_factory.mktemp("archive")
    write_pictures(folder / "in" / "a", PICTURES)
    done = run("restore", folder / "in", "--output", folder / "reference")
    assert done.returncode == 0, done.stderr
    return folder / "in", folder / "reference"


@pytest.mark.slow
def test_two_actors_do_what_restore_does(archive, tmp_path):
    source, reference = archive
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").symlink_to(source / "a")
    (tmp_path / "in" / "bad.png").write_bytes(b"no picture")
    done = run("bulk", tmp_path / "in", "--output", tmp_path / "out", "--actors", 2)
    assert done.returncode == 1
    assert done.stderr.splitlines()[0].startswith(f"mspfn bulk: {tmp_path / 'in' / 'bad.png'}: not")
    assert f"{PICTURES} restored, 1 failed" in done.stderr
    assert len(done.stderr.splitlines()) == 3, done.stderr  # Ray says nothing of its own
    (tmp_path / "in" / "bad.png").unlink()
    again = run("bulk", tmp_path / "in", "--output", tmp_path / "out", "--resume", "--actors", 1)
    assert f"0 restored, {PICTURES} skipped, 0 failed" in again.stdout, again.stderr


@pytest.mark.slow
def test_nothing_is_lost_when_actors_and_drivers_are_killed(archive, tmp_path):
    """`kill -9` at random moments, actor and driver in turn. `MSPFN_KILLS` is how many."""
    source, reference = archive
    kills = int(os.environ.get("MSPFN_KILLS", "4"))
    killed = survive(source, tmp_path / "out", kills, seed=1)
    compare(tmp_path / "out", reference, PICTURES)
    print(killed)
    assert killed == ["actor", "driver"] * (kills // 2)


@pytest.mark.slow
def test_scores_of_actors_are_those_of_evaluate(tmp_path):
    pairs = write_pairs(tmp_path / "pairs", 5)
    (pairs / "input" / "4.png").write_bytes(b"no picture")
    found = {}
    for verb, more in (("evaluate", ()), ("bulk", ("--actors", 2, "--batch_rows", 1))):
        done = run(verb, "--pairs", pairs, "--output", tmp_path / verb, *more)
        assert done.returncode == 1, done.stderr
        found[verb] = json.loads((tmp_path / verb / "scores.json").read_text())
        for key in ("command", "date", "versions"):
            del found[verb][key]
    assert found["bulk"] == found["evaluate"]
    assert found["bulk"]["count"] == 4 and found["bulk"]["model"] == PRESET
    sheets = [(tmp_path / verb / "sheet.png").read_bytes() for verb in found]
    assert sheets[0] == sheets[1]


class _Unwilling:
    """Stands for Ray; starts only after some tries."""

    def __init__(self, failures):
        self.failures, self.tries = failures, 0

    def init(self, **options):
        self.tries += 1
        if self.tries <= self.failures:
            raise ConnectionError("nobody there")

    def shutdown(self):
        pass


def test_a_cluster_that_does_not_answer_is_named():
    with pytest.raises(UsageError, match="no Ray cluster at 127.0.0.1:1: "):
        engines._check_answers("127.0.0.1:1")
    there = _Unwilling(1)
    with pytest.raises(UsageError, match="no Ray cluster at host:1: nobody there"):
        engines._start(there, {"address": "host:1"}, 1)
    here = _Unwilling(2)
    engines._start(here, {}, 3)  # a busy machine may take longer
    assert here.tries == 3
    with pytest.raises(UsageError, match="no Ray cluster on this machine"):
        engines._start(_Unwilling(3), {}, 3)


def test_blocks_keep_all_actors_busy():
    assert engines._batches_a_task(300, 4, 2) == 4
    assert engines._batches_a_task(3, 4, 2) == 1
    assert engines._batches_a_task(10_000_000, 16, 2) == 64
    assert engines.Cluster().size(32, 0) == 32
    assert engines.Cluster(threads=4, gpus=0.5).size(32, 2) == 4
    assert engines.Cluster(actors=3).size(2, 0) == 3
