"""SavedModels, by their signatures."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from mspfn_tf.errors import UsageError
from mspfn_tf.inspection.saved_model import check_saved_model
from mspfn_tf.runtimes.runtime import Runtime, check_backend, note_backend, sizes_of
from mspfn_tf.source import Source

# What TensorFlow answers to damaged SavedModels with, beside errors of its own.
_LOADING_ERRORS = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    RuntimeError,
    AttributeError,
    AssertionError,
)


def load_saved_model(path: Path) -> Any:
    """The SavedModel in the folder `path`, which has a signature `serving_default`.

    Raises:
        UsageError: its graph does more than compute (`mspfn_tf.inspection.saved_model`), it cannot
            be loaded, or has no such signature.
    """
    import tensorflow as tf

    check_saved_model(path)
    try:
        loaded = tf.saved_model.load(str(path))
    except (tf.errors.OpError, *_LOADING_ERRORS) as error:
        raise UsageError(f"cannot load the SavedModel {path}: {error}") from error
    if "serving_default" not in loaded.signatures:
        found = ", ".join(loaded.signatures) or "none"
        raise UsageError(f"{path} has no signature serving_default (it has: {found})")
    return loaded


class SavedModelRuntime(Runtime):
    """The signatures of a SavedModel; `serving_default` must take and give one picture tensor."""

    kind = "saved_model"

    def __init__(self, source: Source):
        import tensorflow as tf

        path = source.file
        check_backend(source.name)
        loaded = load_saved_model(path)
        note_backend()
        signature = loaded.signatures["serving_default"]
        inputs, outputs = signature.structured_input_signature[1], signature.structured_outputs
        if len(inputs) != 1 or len(outputs) != 1:
            raise UsageError(
                f"{path}: serving_default has {len(inputs)} inputs and {len(outputs)} outputs; "
                "expected one picture in, one out"
            )
        ((self._input, spec),) = inputs.items()
        (self._output,) = outputs
        if spec.dtype != tf.float32 or spec.shape.rank is None:
            raise UsageError(
                f"{path}: serving_default takes {spec}; expected float32 [batch, H, W, 3]"
            )
        self.source = source
        self.sizes = sizes_of(spec.shape.as_list(), path)
        # Naming `loaded` keeps it alive: without it the variables of its signatures are gone.
        self._loaded = loaded
        self._process = os.getpid()
        if {"statistics", "guided"} <= set(loaded.signatures):
            iterated = len(loaded.signatures["guided"].structured_outputs) > 1
            self.statistics = "iterated" if iterated else "given"

    def _call(self, signature, **arrays):
        import tensorflow as tf

        self._check_process()
        tensors = {name: tf.constant(array) for name, array in arrays.items()}
        try:
            outputs = self._loaded.signatures[signature](**tensors)
        except tf.errors.ResourceExhaustedError as error:
            raise MemoryError(f"not enough memory for {list(arrays.values())[0].shape}") from error
        except (tf.errors.OpError, ValueError, TypeError) as error:
            raise UsageError(f"{self.source.path} fails in {signature}: {error}") from error
        return {name: output.numpy() for name, output in outputs.items()}

    def run(self, pictures: np.ndarray) -> np.ndarray:
        return self._call("serving_default", **{self._input: pictures})[self._output]

    def measure(self, pictures: np.ndarray) -> np.ndarray:
        return self._call("statistics", rainy=pictures)["statistics"]

    def run_guided(
        self, pictures: np.ndarray, statistics: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray | None]:
        statistics = np.repeat(statistics, len(pictures), axis=0)
        outputs = self._call("guided", rainy=pictures, statistics=statistics)
        return outputs["derained"], outputs.get("statistics")
