import shutil

import numpy as np
import pytest
import tensorflow as tf

from mspfn_tf.errors import UsageError
from mspfn_tf.export.saved_model import write_saved_model
from mspfn_tf.inspection.saved_model import check_saved_model
from mspfn_tf.restorer import Restorer
from tests.export_models import small_model
from tests.mutated_models import COUNT, bounded, mutated, random_of

pytestmark = pytest.mark.slow


SPEC = [tf.TensorSpec([None, None, None, 3], tf.float32, "rainy")]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "model"
    write_saved_model(small_model(), path)
    return path


def test_what_is_exported_here_passes(saved):
    check_saved_model(saved)


def save(function, path, **attributes):
    module = tf.Module()
    for name, value in attributes.items():
        setattr(module, name, value)
    module.serve = tf.function(function, input_signature=SPEC, autograph=False)
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.serve})


def writes(rainy):
    written = tf.io.write_file("written.txt", "written")
    with tf.control_dependencies([written]):
        return {"derained": tf.identity(rainy)}


def reads(rainy):
    secret = tf.io.read_file("/etc/hostname")
    return {"derained": rainy + tf.cast(tf.strings.length(secret), tf.float32) * 0}


def calls_python(rainy):
    return {
        "derained": tf.ensure_shape(tf.py_function(lambda x: x, [rainy], tf.float32), [None] * 4)
    }


def calls_numpy(rainy):
    return {
        "derained": tf.ensure_shape(tf.numpy_function(lambda x: x, [rainy], tf.float32), [None] * 4)
    }


def hidden_in_a_loop(rainy):
    def body(n):
        with tf.control_dependencies([tf.io.write_file("written.txt", "written")]):
            return (n + 1,)

    (count,) = tf.while_loop(lambda n: n < 1, body, (tf.constant(0),))
    return {"derained": rainy + tf.cast(count, tf.float32) * 0}


def hidden_in_a_dataset(rainy):
    lines = tf.data.TextLineDataset("/etc/hostname").reduce(np.int64(0), lambda n, _: n + 1)
    return {"derained": rainy + tf.cast(lines, tf.float32) * 0}


@pytest.mark.parametrize(
    ("function", "operator"),
    [
        (writes, "WriteFile"),
        (reads, "ReadFile"),
        (calls_python, "EagerPyFunc"),
        (calls_numpy, "PyFunc"),
        (hidden_in_a_loop, "WriteFile"),
        (hidden_in_a_dataset, "TextLineDataset"),
    ],
)
def test_graphs_that_do_more_than_compute_are_refused(tmp_path, monkeypatch, function, operator):
    save(function, tmp_path / "evil")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=f"evil is refused: .*'{operator}'"):
        Restorer(tmp_path / "evil")
    assert not (tmp_path / "written.txt").exists()


def test_the_function_that_saves_may_not_be_called(saved, tmp_path):
    """A signature that calls the function by which TensorFlow saves would write a file."""
    from tensorflow.core.protobuf import saved_model_pb2

    shutil.copytree(saved, tmp_path / "evil")
    file = tmp_path / "evil" / "saved_model.pb"
    message = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    graph = message.meta_graphs[0].graph_def
    (saving,) = [
        f.signature.name for f in graph.library.function if "traced_save" in f.signature.name
    ]
    (serving,) = [f for f in graph.library.function if "wrapper_uint8" in f.signature.name]
    node = serving.node_def.add(name="save", op="StatefulPartitionedCall")
    node.attr["f"].func.name = saving
    file.write_bytes(message.SerializeToString())
    with pytest.raises(UsageError, match="'SaveV2'"):
        check_saved_model(tmp_path / "evil")


def test_unknown_operators_are_refused(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "evil")
    file = tmp_path / "evil" / "saved_model.pb"
    file.write_bytes(file.read_bytes().replace(b"Sigmoid", b"Sogmoid"))
    with pytest.raises(UsageError, match="'Sogmoid'"):
        check_saved_model(tmp_path / "evil")


def test_damaged_saved_models_give_a_picture_or_a_message(saved, tmp_path):
    """Every fifth one is of an export; the others are of one conv, which loads at once."""
    random = random_of(22)
    kernel = tf.Variable(tf.random.stateless_normal((3, 3, 3, 3), (1, 2)))
    save(lambda rainy: {"derained": tf.nn.conv2d(rainy, kernel, 1, "SAME")},
         tmp_path / "plain", kernel=kernel)  # fmt: skip
    names = ("saved_model.pb", "variables/variables.index",
             "variables/variables.data-00000-of-00001", "fingerprint.pb")  # fmt: skip
    seen = {"picture": 0, "message": 0}
    picture = np.zeros((40, 40, 3), np.uint8)
    for index in range(COUNT):
        name = names[(0, 0, 1, 2, 0, 3)[index % 6]]
        path = tmp_path / "damaged"
        shutil.copytree(tmp_path / "plain" if index % 5 else saved, path)
        (path / name).write_bytes(mutated((path / name).read_bytes(), random))
        with bounded():
            try:
                assert Restorer(path)(picture).shape == picture.shape
                seen["picture"] += 1
            except UsageError as error:
                assert "damaged" in str(error) or "not finite" in str(error)
                seen["message"] += 1
        shutil.rmtree(path)
    print(seen)
    assert seen["message"] and sum(seen.values()) == COUNT
