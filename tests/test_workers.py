"""How workers find each other: in threads and processes, without TensorFlow."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mspfn_tf.errors import UsageError
from mspfn_tf.training.stopping import Stopped, Stopper
from mspfn_tf.training.workers import Cluster, gather

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]


def free_port():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


def addresses(count):
    return tuple(f"localhost:{free_port()}" for _ in range(count))


def together(clusters, agreements, minutes=0.5, delays=None, stop=lambda: None):
    """What each worker ends with: None or its exception."""
    ends = [None] * len(clusters)

    def body(number):
        time.sleep((delays or [0] * len(clusters))[number])
        try:
            gather(clusters[number], agreements[number], minutes, stop)
        except (UsageError, Stopped) as error:
            ends[number] = error

    threads = [threading.Thread(target=body, args=(n,)) for n in range(len(clusters))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return ends


@pytest.mark.parametrize("delays", [[0, 0, 0], [0.8, 0, 0], [0, 0.8, 0]])
def test_all_go_on_when_all_are_there(delays, capsys):
    names = addresses(3)
    clusters = [Cluster(names, index) for index in range(3)]
    assert together(clusters, [{"seed": 0}] * 3, delays=delays) == [None] * 3
    with socket.create_server(("", int(names[0].rpartition(":")[2]))):
        pass  # the port is TensorFlow's now


def test_missing_workers_are_named_while_waiting_and_at_the_end(capsys):
    names = addresses(3)
    delays = [0, 0.4]
    ends = together([Cluster(names, 0), Cluster(names, 2)], [{}] * 2, 0.03, delays)
    out = capsys.readouterr().out
    assert f"worker 0 ({names[0]}): waiting for worker 1 ({names[1]}), worker 2" in out
    assert f"waiting for worker 1 ({names[1]}) since " in out
    for end in ends:
        assert isinstance(end, UsageError)
        assert f"of waiting for worker 1 ({names[1]})" in str(end)


def test_without_worker_0_the_others_give_up():
    names = addresses(2)
    (end,) = together([Cluster(names, 1)], [{}], minutes=0.02)
    assert f"worker 0 ({names[0]})" in str(end)


def test_another_recipe_ends_all_with_the_difference():
    names = addresses(3)
    clusters = [Cluster(names, index) for index in range(3)]
    agreements = [{"seed": 0, "loss": "psnr"}, {"seed": 0, "loss": "psnr"}, {"seed": 3}]
    for end in together(clusters, agreements, delays=[0, 0, 0.5]):
        assert "worker 2 was started with another recipe" in str(end)
        assert "seed: 0 on worker 0, 3 on worker 2" in str(end)


def test_the_same_index_twice():
    names = addresses(3)
    clusters = [Cluster(names, 0), Cluster(names, 1), Cluster(names, 1)]
    ends = together(clusters, [{}] * 3, minutes=0.05, delays=[0, 0, 0.5])
    assert "worker 1 is there already" in str(ends[2])


def test_strangers_on_the_port_do_no_harm():
    names = addresses(2)
    clusters = [Cluster(names, index) for index in range(2)]
    port = int(names[0].rpartition(":")[2])

    def knock():
        for words in (b"GET / HTTP/1.1\r\n\r\n", b"[1]\n", b'{"worker": [0]}\n', b"\xff\n", b""):
            for _ in range(50):
                try:
                    with socket.create_connection(("localhost", port), 1) as stranger:
                        stranger.sendall(words)
                    break
                except OSError:
                    time.sleep(0.05)

    thread = threading.Thread(target=knock)
    thread.start()
    assert together(clusters, [{}] * 2, delays=[0, 2]) == [None] * 2
    thread.join()


@pytest.mark.parametrize("number, name", [(signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "SIGINT")])
def test_a_signal_ends_the_waiting(number, name):
    code = (
        "import sys\n"
        "from mspfn_tf.training.workers import Cluster, gather\n"
        "from mspfn_tf.training.stopping import Stopped, Stopper\n"
        "with Stopper() as stopper:\n"
        "    try:\n"
        f"        gather(Cluster({addresses(2)!r}, 0), {{}}, 5, lambda: stopper.reason)\n"
        "    except Stopped as error:\n"
        "        sys.exit(str(error))\n"
    )
    waiting = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    assert "waiting for worker 1" in waiting.stdout.readline()
    asked = time.monotonic()
    waiting.send_signal(number)
    _, error = waiting.communicate(timeout=30)
    assert waiting.returncode == 1 and error.startswith(f"{name}: stopped while waiting")
    assert time.monotonic() - asked < 10


def test_tf_config(monkeypatch):
    def cluster(task, index, **cluster):
        config = {"cluster": cluster, "task": {"type": task, "index": index}}
        monkeypatch.setenv("TF_CONFIG", json.dumps(config))
        return Cluster.from_environment()

    assert cluster("worker", 1, worker=["a:1", "b:2"]) == Cluster(("a:1", "b:2"), 1)
    assert cluster("worker", 0, chief=["c:3"], worker=["a:1"]) == Cluster(("c:3", "a:1"), 1)
    assert cluster("chief", 0, chief=["c:3"], worker=["a:1"]).index == 0
    monkeypatch.setenv("TF_CONFIG", "{}")
    assert Cluster.from_environment() is None
    for task, index, workers in (
        ("ps", 0, ["a:1"]), ("worker", 2, ["a:1"]), ("worker", 0, ["a"]), ("worker", 0, [3]),
    ):  # fmt: skip
        with pytest.raises(UsageError, match="expected something like"):
            cluster(task, index, worker=workers)
    for text in ("{", "[1]", '{"cluster": {"worker": ["a:1"]}}'):
        monkeypatch.setenv("TF_CONFIG", text)
        with pytest.raises(UsageError, match="TF_CONFIG"):
            Cluster.from_environment()


def test_stopper_notes_a_signal_and_gives_the_handlers_back():
    before = signal.getsignal(signal.SIGTERM)
    with Stopper() as stopper:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stopper.reason == "SIGTERM"
        assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL  # a second one ends it at once
    assert signal.getsignal(signal.SIGTERM) is before
    assert Stopper(minutes=1e-9).reason == "time limit of 1e-09 minutes"
    assert Stopper().reason is None
