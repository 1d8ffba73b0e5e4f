"""Runs the signatures of a SavedModel on pictures, in a process that has TensorFlow and nothing
else: `python run_saved_model.py SAVED_MODEL PICTURES.npz RESULTS.npz`."""

import sys
from typing import Any

import numpy as np
import tensorflow as tf


def main(path: str, pictures: str, results: str) -> None:
    loaded = tf.saved_model.load(path)
    found = {}
    with np.load(pictures) as arrays:
        for n, name in enumerate(arrays):
            picture = arrays[name]
            floats = tf.constant(picture[None].astype(np.float32) / 255)
            found[f"serving_default_{n}"] = run(loaded, "serving_default", floats)
            found[f"uint8_{n}"] = run(loaded, "uint8", tf.constant(picture[None]))
            png = run(loaded, "encoded", tf.io.encode_png(picture)[None], "_bytes")
            found[f"encoded_{n}"] = tf.io.decode_png(png).numpy()
    try:
        run(loaded, "encoded", tf.constant([b"no picture"]), "_bytes")
    except tf.errors.InvalidArgumentError:
        pass  # as it must
    else:
        raise AssertionError("bytes that are no picture were taken for one")
    np.savez(results, **found)


def run(loaded: Any, signature: str, rainy: tf.Tensor, suffix: str = "") -> Any:
    found = loaded.signatures[signature](**{f"rainy{suffix}": rainy})
    return found[f"derained{suffix}"].numpy()[0]


if __name__ == "__main__":
    main(*sys.argv[1:])
