"""Keras models, on the active backend."""

import contextlib
import math
import os
import threading

import numpy as np

from mspfn_tf.errors import UsageError
from mspfn_tf.inspection.litert import live_bytes
from mspfn_tf.runtimes.runtime import Box, Runtime, check_backend, note_backend, part_of, sizes_of
from mspfn_tf.source import Source


class KerasRuntime(Runtime):
    """A Keras model on the active backend."""

    kind = "keras"

    def __init__(self, source: Source):
        import keras

        from mspfn_tf.layers import GlobalMean
        from mspfn_tf.model_files import load_model
        from mspfn_tf.whole_picture import goes_coarse_first, has_statistics

        check_backend(source.name)
        model = load_model(source)
        note_backend()
        inputs = getattr(model, "inputs", None) or []
        if len(inputs) != 1:
            raise UsageError(f"{model.name} has {len(inputs)} inputs; expected a model of one")
        if len(model.outputs) != 1:
            raise UsageError(
                f"{model.name} has {len(model.outputs)} outputs; expected one, the derained "
                "picture: keras.Model(model.inputs, that output)"
            )
        if not keras.backend.is_float_dtype(inputs[0].dtype):
            raise UsageError(
                f"{model.name} takes pictures of dtype {inputs[0].dtype}; expected floating point, "
                "in [0, 1]"
            )
        self.source = source
        self.model = model
        self.sizes = sizes_of(inputs[0].shape, model.name)
        self.bytes_per_pixel = _keras_bytes_per_pixel(model)
        self._functions = {}
        self._lock = threading.Lock()
        self._process = os.getpid()
        pooling = (GlobalMean, keras.layers.GlobalAveragePooling2D)
        self.needs_statistics = any(isinstance(layer, pooling) for layer in model.layers)
        if has_statistics(model):
            self.statistics = "given" if model.attention == "picture" else "iterated"
        self.coarse_first = goes_coarse_first(model) and self.sizes.fixed is None

    def _call(self, name, *arrays):
        """Runs "plain", or a model of `mspfn_tf.whole_picture`, made when it is first needed."""
        self._check_process()
        with self._lock:
            if name not in self._functions:
                model = self.model
                if name != "plain":
                    from mspfn_tf import whole_picture

                    model = getattr(whole_picture, f"{name}_model")(model)
                self._functions[name] = _function(model, self.sizes)
        return self._functions[name](*arrays)

    def run(self, pictures: np.ndarray) -> np.ndarray:
        return self._call("plain", pictures)[0]

    def measure(self, pictures: np.ndarray) -> np.ndarray:
        return self._call("statistics", pictures)[0]

    def run_guided(
        self, pictures: np.ndarray, statistics: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray | None]:
        statistics = np.repeat(statistics, len(pictures), axis=0)
        derained, *measured = self._call("guided", pictures, statistics)
        return derained, measured[0] if measured else None

    def run_tile(self, surroundings: np.ndarray, statistics: np.ndarray, box: Box) -> np.ndarray:
        if not self.coarse_first:
            return super().run_tile(surroundings, statistics, box)
        features = self._call("coarse", surroundings, statistics)
        factor = surroundings.shape[1] // features[0].shape[1]
        features = [part_of(one, box, factor) for one in features]
        return self._call("fine", part_of(surroundings, box), statistics, *features)[0]


def _function(model, sizes):
    """A function of arrays that returns a list of float32 arrays."""
    import keras

    several = len(model.inputs) > 1

    def flat(outputs):
        return [keras.ops.cast(output, "float32") for output in keras.tree.flatten(outputs)]

    if keras.backend.backend() != "tensorflow":

        def plain(*arrays):
            tensors = [keras.ops.convert_to_tensor(array) for array in arrays]
            with _no_gradient():
                outputs = flat(model(tensors if several else tensors[0], training=False))
            return [keras.ops.convert_to_numpy(output) for output in outputs]

        return plain

    import tensorflow as tf

    # One trace for all sizes. No XLA, which Keras' own predict would choose: on CPUs it is slower,
    # and it compiles again for each size.
    signature = [tf.TensorSpec([None, *(sizes.fixed or (None, None)), 3], tf.float32)]
    signature += [tf.TensorSpec([None, *given.shape[1:]], tf.float32) for given in model.inputs[1:]]

    def forward(*tensors):
        return flat(model(list(tensors) if several else tensors[0], training=False))

    # Called as it is, TensorFlow would warn of several traces of one piece of Python.
    graph = tf.function(forward, signature, autograph=False).get_concrete_function()

    def run(pictures, *given):
        try:
            return [output.numpy() for output in graph(*map(tf.constant, (pictures, *given)))]
        except tf.errors.ResourceExhaustedError as error:
            raise MemoryError(f"not enough memory for {pictures.shape}") from error

    return run


def _no_gradient():
    import keras

    if keras.backend.backend() == "torch":
        import torch

        return torch.no_grad()
    return contextlib.nullcontext()


def _keras_bytes_per_pixel(model) -> float:
    """From the shapes of a functional model's tensors, at 64x64 where they are free."""
    import keras

    side = 64
    size, operators = {}, []
    try:
        for layer in model.layers:
            inputs, outputs = (keras.tree.flatten(end) for end in (layer.input, layer.output))
            for tensor in outputs:
                size[id(tensor)] = 4.0 * math.prod(length or side for length in tensor.shape[1:])
            operators.append(
                ([id(tensor) for tensor in inputs], [id(tensor) for tensor in outputs])
            )
    except AttributeError:  # not functional: nothing is known of its inside
        return Runtime.bytes_per_pixel
    height, width = model.inputs[0].shape[1:3]
    return max(64.0, live_bytes(operators, size) / ((height or side) * (width or side)))
