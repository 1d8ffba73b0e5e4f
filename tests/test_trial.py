import errno
import os
import signal
import struct
import threading

import numpy as np
import pytest

from mspfn_tf.errors import UsageError
from mspfn_tf.export.litert import convert
from mspfn_tf.inspection import litert as inspection
from mspfn_tf.inspection.litert import check_litert
from mspfn_tf.presets import PRESETS, tflite_path
from mspfn_tf.restorer import Restorer
from mspfn_tf.runtimes import trial
from mspfn_tf.runtimes.litert import attempt
from tests.export_models import PHONE, small_model
from tests.mutated_models import COUNT, bounded, mutated, random_of
from tests.trial_server import TrialServer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def content():
    return bytes(convert(small_model(**PHONE), (32, 48)))


def tensor_of(content, rank):
    """Where the shape of the first tensor of that rank stands."""
    from ai_edge_litert import schema_py_generated as schema

    graph = schema.Model.GetRootAs(content, 0).Subgraphs(0)
    for index in range(graph.TensorsLength()):
        tensor = graph.Tensors(index)
        if tensor.ShapeLength() == rank:
            return tensor._tab.Vector(tensor._tab.Offset(4))
    raise AssertionError("no such tensor")


def with_number(content, at, number):
    changed = bytearray(content)
    struct.pack_into("<i", changed, at, number)
    return bytes(changed)


def test_whole_files_pass(content):
    check_litert(content, "small.tflite")
    for name in PRESETS:
        if (path := tflite_path(name)) is not None:
            check_litert(path.read_bytes(), path)


@pytest.mark.parametrize(("number", "message"), [(2**30, "GB is most"), (-1, "has the shape")])
def test_shapes_that_cannot_be(content, number, message):
    at = tensor_of(content, 4)
    damaged = with_number(content, at + 8, number)
    with pytest.raises(UsageError, match=f"cannot load x.tflite.*{message}"):
        check_litert(damaged, "x.tflite", most=1e9)


def test_what_is_no_file_of_a_model(content):
    for damaged in (b"", b"TFL3", content[:100], content[: len(content) // 2], bytes(5000)):
        with pytest.raises(UsageError, match="damaged, or no .tflite file"):
            check_litert(damaged, "x.tflite")


def test_memory_is_bounded(content):
    with pytest.raises(UsageError, match="0.0 GB is most"):
        check_litert(content, "x.tflite", most=1000)


def test_a_file_is_tried_once_in_a_process_of_its_own(content, tmp_path, monkeypatch):
    (tmp_path / "a.tflite").write_bytes(content)
    tried = []
    original = trial._tried
    monkeypatch.setattr(trial, "_verdicts", {})
    monkeypatch.setattr(trial, "_tried", lambda *what: tried.append(what) or original(*what))
    for _ in range(2):
        assert Restorer(tmp_path / "a.tflite")(np.zeros((9, 9, 3), np.uint8)).shape == (9, 9, 3)
    assert tried == [("mspfn_tf.runtimes.litert:attempt", (content,))]


def test_shipped_files_are_not_tried(monkeypatch):
    monkeypatch.setattr(trial, "_tried", lambda *what: pytest.fail("it was tried"))
    name = next(name for name in PRESETS if tflite_path(name))
    Restorer(name)


def test_a_crash_is_a_message(content, monkeypatch):
    monkeypatch.setattr(trial, "_verdicts", {})
    # What a file does that LiteRT stumbles over: its process ends by a signal.
    crash = "import os, signal, sys; os.kill(os.getpid(), signal.SIGSEGV)"
    monkeypatch.setattr(trial, "_COMMAND", ("-c", crash))
    for _ in range(2):  # the verdict is remembered
        with pytest.raises(UsageError, match=r"a.tflite: the runtime crashed over it \(SIGSEGV\)"):
            trial.check_stranger(attempt, "a.tflite", content)


def test_a_file_that_never_ends_is_a_message(content, monkeypatch):
    monkeypatch.setattr(trial, "_verdicts", {})
    monkeypatch.setattr(trial, "SECONDS", 0.5)
    monkeypatch.setattr(trial, "_COMMAND", ("-c", "import time; time.sleep(60)"))
    with pytest.raises(UsageError, match="took longer than 0.5 s"):
        trial.check_stranger(attempt, "a.tflite", content)


@pytest.fixture
def server(monkeypatch):
    with TrialServer("ai_edge_litert.interpreter", "mspfn_tf.runtimes.litert") as server:
        monkeypatch.setattr(trial, "subprocess", server)
        yield


def test_no_declared_shape_ends_the_process(content, tmp_path, monkeypatch, server):
    """A tensor of width 65535 used to."""
    from ai_edge_litert import schema_py_generated as schema

    for module in (inspection, trial):
        monkeypatch.setattr(module, "most_bytes", lambda: 500_000_000)
    graph = schema.Model.GetRootAs(content, 0).Subgraphs(0)
    tensors = [graph.Tensors(index) for index in range(graph.TensorsLength())]
    shapes = [t._tab.Vector(t._tab.Offset(4)) for t in tensors if t.ShapeLength() == 4]
    refused = 0
    for at in shapes[::4]:
        (tmp_path / "a.tflite").write_bytes(with_number(content, at + 8, 65535))
        with bounded():
            try:
                Restorer(tmp_path / "a.tflite")(np.zeros((9, 9, 3), np.uint8))
            except UsageError as error:
                assert "a.tflite" in str(error) or "not finite" in str(error)
                refused += 1
    assert refused > 10


def test_damaged_files_give_a_picture_or_a_message(content, tmp_path, monkeypatch, server):
    """Structure is damaged where it stands, before and after the weights."""
    for module in (inspection, trial):
        monkeypatch.setattr(module, "most_bytes", lambda: 500_000_000)
    random = random_of(20)
    seen = {"picture": 0, "checked": 0, "tried": 0}
    path = tmp_path / "a.tflite"
    picture = np.zeros((40, 40, 3), np.uint8)
    at = tensor_of(content, 4)
    places = [
        (0, len(content)),
        (0, 400),
        (at - 2000, at + 2000),
        (len(content) - 6000, len(content)),
    ]
    for index in range(COUNT):
        first, last = places[index % len(places)]
        path.write_bytes(mutated(content, random, (max(0, first), last)))
        with bounded():
            try:
                assert Restorer(path, overlap=8)(picture).shape == picture.shape
                seen["picture"] += 1
            except UsageError as error:
                assert "a.tflite" in str(error) or "not finite" in str(error)
                seen["checked" if "damaged, or no" in str(error) else "tried"] += 1
    print(seen)
    assert seen["checked"] and sum(seen.values()) == COUNT


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:")
def test_a_child_that_is_forked_during_a_trial_waits_for_nobody(monkeypatch):
    inside, end = threading.Event(), threading.Event()

    def tried(name, contents):
        inside.set()
        end.wait()

    monkeypatch.setattr(trial, "_verdicts", {})
    monkeypatch.setattr(trial, "_tried", tried)
    thread = threading.Thread(target=trial.check_stranger, args=(attempt, "a.tflite", b"a"))
    thread.start()
    inside.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(3)
        monkeypatch.setattr(trial, "_tried", lambda name, contents: None)
        trial.check_stranger(attempt, "b.tflite", b"b")
        os._exit(0)
    _, status = os.waitpid(child, 0)
    end.set()
    thread.join()
    assert status == 0


def test_warnings_that_are_made_errors_are_no_fault_of_the_file(content, monkeypatch):
    monkeypatch.setattr(trial, "_verdicts", {})
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    trial.check_stranger(attempt, "small.tflite", content)


def test_a_trial_that_could_not_be_started_is_not_remembered(monkeypatch):
    monkeypatch.setattr(trial, "_verdicts", {})

    def run(*arguments, **options):
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    with monkeypatch.context() as patch:
        patch.setattr(trial.subprocess, "run", run)
        with pytest.raises(UsageError, match="cannot load small.tflite: the process .* temporar"):
            trial.check_stranger(attempt, "small.tflite", b"small")
    monkeypatch.setattr(trial, "_tried", lambda name, contents: None)
    trial.check_stranger(attempt, "small.tflite", b"small")
