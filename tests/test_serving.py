"""TensorFlow Serving's REST request, as documented, falls onto the signatures of a SavedModel.

No server is at hand. What it does with a request is written down in its REST API: every instance
is a dict from the names of the signature's inputs to values, `{"b64": ...}` stands for bytes, and
the instances are stacked to a batch.
"""

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from mspfn_tf.export.saved_model import write_saved_model
from tests.export_models import small_model

pytestmark = pytest.mark.slow


DOCS = Path(__file__).resolve().parent.parent / "docs" / "export.md"


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "1"
    write_saved_model(small_model(), folder)
    return tf.saved_model.load(str(folder))


def serve(loaded, body):
    """What `POST /v1/models/NAME:predict` answers, by the rules of the REST API's row format."""
    request = json.loads(body)
    signature = loaded.signatures[request.get("signature_name", "serving_default")]
    specs = signature.structured_input_signature[1]

    def decode(value):
        if isinstance(value, dict):
            assert set(value) == {"b64"}
            return base64.b64decode(value["b64"])
        return value

    instances = request["instances"]
    if not isinstance(instances[0], dict):  # the one input's name may be left out
        instances = [{next(iter(specs)): instance} for instance in instances]
    assert all(set(instance) == set(specs) for instance in instances)
    inputs = {}
    for name, spec in specs.items():
        value = tf.constant([decode(instance[name]) for instance in instances], spec.dtype)
        assert spec.shape.is_compatible_with(value.shape)
        inputs[name] = value
    ((name, found),) = signature(**inputs).items()
    if name.endswith("_bytes"):  # the suffix that makes the server answer in base64
        return {"predictions": [{"b64": base64.b64encode(v).decode()} for v in found.numpy()]}
    return {"predictions": found.numpy().tolist()}


def test_the_documented_request(loaded, tmp_path, monkeypatch):
    """The program of the documentation, word for word, with a stand-in of the server."""
    text = DOCS.read_text()
    (program,) = re.findall(r"```python\n(import base64, json, urllib.*?)```", text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    rainy = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)
    content = tf.io.encode_jpeg(rainy, quality=95).numpy()
    Path("rainy.jpg").write_bytes(content)

    import io
    import urllib.request

    def urlopen(address, body):
        assert address == "http://localhost:8501/v1/models/mspfn:predict"
        return io.StringIO(json.dumps(serve(loaded, body)))

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    exec(compile(program, "docs/export.md", "exec"), {})
    found = tf.io.decode_png(Path("clean.png").read_bytes())
    pixels = tf.io.decode_jpeg(content, dct_method="INTEGER_ACCURATE")
    expected = loaded.signatures["uint8"](rainy=pixels[None])["derained"][0]
    np.testing.assert_array_equal(found, expected)


def test_floats_in_rows(loaded):
    rainy = np.random.default_rng(0).random((2, 16, 24, 3), np.float32)
    expected = loaded.signatures["serving_default"](rainy=tf.constant(rainy))["derained"]
    for instances in ([{"rainy": picture.tolist()} for picture in rainy], rainy.tolist()):
        found = serve(loaded, json.dumps({"instances": instances}))["predictions"]
        np.testing.assert_allclose(found, expected, atol=1e-6)
