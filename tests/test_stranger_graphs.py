"""ONNX and OpenVINO files of strangers: a picture or a message, whatever they hold."""

import numpy as np
import onnx
import pytest
from onnx import helper

from mspfn_tf.errors import UsageError
from mspfn_tf.export import onnx as onnx_export
from mspfn_tf.export import openvino as openvino_export
from mspfn_tf.files import sha256
from mspfn_tf.restorer import Restorer
from mspfn_tf.runtimes import trial
from mspfn_tf.source import onnx_digest, resolve
from mspfn_tf.tasks.networks import network_digest
from tests.export_models import PHONE, small_model
from tests.hostile_graphs import endless, huge, outside, write
from tests.mutated_models import COUNT, bounded, mutated, random_of
from tests.trial_server import TrialServer

pytestmark = pytest.mark.slow

PICTURE = np.zeros((40, 40, 3), np.uint8)


@pytest.fixture(autouse=True)
def little_memory(monkeypatch):
    monkeypatch.setattr(trial, "most_bytes", lambda: 500_000_000)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """{name: bytes} of an ONNX file and of the two files of an OpenVINO graph."""
    return _written(tmp_path_factory.mktemp("whole"), rcabs=(1, 0, 0))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The same of a network without attention, which is one graph instead of three to compile."""
    return _written(tmp_path_factory.mktemp("plain"), rcabs=(0, 0, 0))


def _written(folder, rcabs):
    model = small_model(**PHONE, width=4, rcabs=rcabs)
    (folder / "a.onnx").write_bytes(onnx_export.convert(model))
    openvino_export.write(model, folder / "b.xml")
    return {name: (folder / name).read_bytes() for name in ("a.onnx", "b.xml", "b.bin")}


def test_weights_beside_the_file_are_taken_and_others_refused(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(np.float32(0.5).tobytes())
    (folder / "weights").write_bytes(np.float32(0.5).tobytes())
    (folder / "link").symlink_to(tmp_path / "secret")
    nodes = [helper.make_node("Mul", ["x", "half"], ["y"])]
    path = write(folder / "a.onnx", nodes, [outside("half", "weights")])
    rainy = np.random.default_rng(0).random((16, 16, 3), np.float32)
    np.testing.assert_allclose(Restorer(path)(rainy), rainy / 2, atol=1e-6)
    for location in ("../secret", str(tmp_path / "secret"), "link", "none", ""):
        write(path, nodes, [outside("half", location)])
        with pytest.raises(UsageError, match="cannot load .*a.onnx"):
            Restorer(path)


def test_weights_beside_the_file_count_for_its_digest(tmp_path):
    (tmp_path / "weights").write_bytes(np.float32(0.5).tobytes())
    nodes = [helper.make_node("Mul", ["x", "half"], ["y"])]
    path = write(tmp_path / "a.onnx", nodes, [outside("half", "weights")])
    before, network = resolve(path).digest, network_digest(path)
    assert network == before == resolve(path).digest
    (tmp_path / "weights").write_bytes(np.float32(0.25).tobytes())
    assert resolve(path).digest != before and network_digest(path) != network
    (tmp_path / "other").write_text("no part of it")
    assert resolve(path).digest == network_digest(path)


def test_digests_read_nothing_out_of_the_folder(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "folder/link").symlink_to(tmp_path / "secret")
    for name in ("../secret", str(tmp_path / "secret"), "link", "/proc/self/pagemap", "a\0b"):
        content = b"\x0a\x08location\x12" + bytes([len(name)]) + name.encode()
        for cut in (content, content[:-3], content[:12], content[:11]):
            (tmp_path / "folder/a.onnx").write_bytes(cut)
            assert onnx_digest(tmp_path / "folder/a.onnx") == sha256(tmp_path / "folder/a.onnx")


def test_digests_of_files_that_hold_all_are_their_own(whole, tmp_path):
    (tmp_path / "a.onnx").write_bytes(whole["a.onnx"])
    assert resolve(tmp_path / "a.onnx").digest == sha256(tmp_path / "a.onnx")


def test_graphs_that_take_all_memory_or_never_end(tmp_path, monkeypatch):
    with bounded(), pytest.raises(UsageError, match="huge.onnx"):
        Restorer(write(tmp_path / "huge.onnx", huge()))
    monkeypatch.setattr(trial, "SECONDS", 5.0)
    with pytest.raises(UsageError, match="endless.onnx: its first pictures took longer than 5 s"):
        Restorer(write(tmp_path / "endless.onnx", endless()))


def test_code_and_operators_of_others_are_refused(tmp_path):
    node = helper.make_node("Shell", ["x"], ["y"], domain="evil")
    with pytest.raises(UsageError, match="other.onnx"):
        Restorer(write(tmp_path / "other.onnx", [node]))


@pytest.mark.parametrize("facts", ["{", "[]", '{"statistics": "given"}', '{"widths": 3}'])
def test_what_a_file_says_of_itself_may_be_anything(whole, tmp_path, facts):
    model = onnx.ModelProto.FromString(whole["a.onnx"])
    for entry in model.metadata_props:
        if entry.key == "mspfn":
            entry.value = facts
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    try:
        assert Restorer(tmp_path / "a.onnx")(PICTURE).shape == PICTURE.shape
    except UsageError as error:
        assert "a.onnx" in str(error)


def test_only_xml_is_taken_for_openvino(whole, tmp_path):
    (tmp_path / "b.bin").write_bytes(b"")
    (tmp_path / "b.xml").write_bytes(whole["a.onnx"])
    with pytest.raises(UsageError, match="no XML file"):
        Restorer(tmp_path / "b.xml")


MODULES = {
    "onnx": ("onnxruntime", "mspfn_tf.runtimes.onnx", "mspfn_tf.runtimes.onnx_graph"),
    "openvino": ("openvino", "mspfn_tf.runtimes.openvino"),
}


@pytest.fixture
def server(kind, monkeypatch):
    with TrialServer(*MODULES[kind]) as server:
        monkeypatch.setattr(trial, "subprocess", server)
        yield


@pytest.mark.parametrize("kind", MODULES)
def test_damaged_files_give_a_picture_or_a_message(whole, plain, tmp_path, server, kind):
    """Every fifth one attends; the others are compiled at once."""
    random = random_of(27)
    names = ["a.onnx"] if kind == "onnx" else ["b.xml", "b.bin"]
    seen = {"picture": 0, "message": 0}
    for index in range(COUNT):
        files = plain if index % 5 else whole
        for name in names:
            (tmp_path / name).write_bytes(files[name])
        name = names[index % 4 == 3 and -1]  # the graph more often than its weights
        (tmp_path / name).write_bytes(mutated(files[name], random))
        with bounded():
            try:
                assert Restorer(tmp_path / names[0])(PICTURE).shape == PICTURE.shape
                seen["picture"] += 1
            except UsageError as error:
                assert names[0] in str(error) or "not finite" in str(error)
                seen["message"] += 1
    print(kind, seen)
    assert seen["message"] and sum(seen.values()) == COUNT
