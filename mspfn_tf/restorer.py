"""The one inference path: pictures of any size through a model of any kind.

The `mspfn` command, evaluation, the checks of exported files and user code all restore through
`Restorer`. TensorFlow and Keras are imported only for the sources that need them.
"""

import os
from pathlib import Path

import numpy as np

from mspfn_tf.errors import UsageError
from mspfn_tf.presets import PRESETS, check_shipped
from mspfn_tf.tiling import Sizes, balanced_tile, map_tiles, round_up

WHOLE_PIXELS = 512 * 512
"""Pictures of up to so many pixels go through in one piece, unless `tile` says otherwise. The
largest preset, `mspfn`, then peaks at 5.6 GB."""
AUTOMATIC_TILE = 512
"""Height and width of the largest tile that larger pictures are cut into."""
_BATCH_PIXELS = 256 * 256  # small tiles go through several at a time

FULL_ENSEMBLE = 8  # the four rotations of the picture and of its mirror image


class Restorer:
    """Takes rain out of pictures of any size.

    The channel attention of the network averages over what it is given, so that tiles come out
    slightly different from the whole picture; the smaller the tile, the more.

    Args:
        source: the model: a preset name, a `keras.Model`, a `.keras` or `.weights.h5` file, the
            directory of a saved preset, a SavedModel directory (its `serving_default` signature is
            used), or a `.tflite` file (which needs neither TensorFlow nor Keras).
        tile: int, largest height and width of a piece that goes through the model at once, a
            multiple of 8. Default None: pictures of up to 512x512 pixels, whatever their shape, are
            left whole, larger ones are cut into tiles of up to 512. A model of fixed size always
            works in tiles of its own size.
        overlap: int, pixels that neighbouring tiles share at least, less than the tile. They are
            blended over that width. Rounded up to a multiple of 8. Default 32.
        ensemble: 1, or 8 to average over the rotations of the picture and of its mirror image,
            which takes 8 times as long.

    Attributes:
        sizes: the `mspfn_tf.tiling.Sizes` that the model takes.

    Raises:
        UsageError (a ValueError): an argument breaks its rule, `source` cannot be loaded, or is not
            a model from pictures ``[batch, H, W, 3]`` to pictures of the same shape.

    Example:

        restorer = mspfn_tf.Restorer("mspfn_mobile")
        clean = restorer(rainy)  # uint8 [H, W, 3] in, uint8 [H, W, 3] out
    """

    def __init__(self, source, tile=None, overlap=32, ensemble=1):
        _check_int("overlap", overlap, minimum=0)
        if tile is not None:
            _check_int("tile", tile, minimum=8)
            if tile % 8:
                raise UsageError(f"tile must be a multiple of 8; received {tile}")
            _check_overlap(overlap, round_up(overlap, 8), tile)
        if ensemble not in (1, FULL_ENSEMBLE):
            raise UsageError(f"ensemble must be 1 or {FULL_ENSEMBLE}; received {ensemble!r}")
        self._run, self.sizes = _open(source)
        if tile is not None and self.sizes.fixed not in (None, (tile, tile)):
            height, width = self.sizes.fixed
            raise UsageError(
                f"tile={tile}, but {source} takes pieces of {height}x{width} only: leave tile out"
            )
        self.tile = tile
        self.overlap = round_up(overlap, self.sizes.multiple_of)
        self.ensemble = ensemble
        limit = min(self.sizes.fixed) if self.sizes.fixed else (tile or AUTOMATIC_TILE)
        _check_overlap(overlap, self.overlap, limit)

    def __call__(self, image):
        """Restores one picture.

        Args:
            image: ``uint8 [H, W, 3]``, or ``float32 [H, W, 3]`` in [0, 1]; RGB, H and W from 1 up.

        Returns:
            An array of the same shape and dtype: clipped, and for uint8 rounded.

        Raises:
            UsageError: `image` is not as described, or the model returned values that are not
                finite.
        """
        image = _checked(image)
        total = np.zeros(image.shape, np.float32)
        for index in range(self.ensemble):
            total += _turn_back(self._restore(_turn(image, index)), index)
        result = np.clip(total / self.ensemble, 0, 1)
        return np.rint(result * 255).astype(np.uint8) if image.dtype == np.uint8 else result

    def _restore(self, image):
        tile = self._tile(image.shape[:2])
        batch = max(1, _BATCH_PIXELS // (tile[0] * tile[1]))
        return map_tiles(self._forward, image, tile, self.overlap, self.sizes.multiple_of, batch)

    def _tile(self, size):
        fitting = self.sizes.fit(size)
        if self.sizes.fixed is not None:
            return fitting
        if self.tile is None and fitting[0] * fitting[1] <= WHOLE_PIXELS:
            return fitting
        limit = self.tile or AUTOMATIC_TILE
        multiple_of = self.sizes.multiple_of
        return tuple(balanced_tile(side, limit, self.overlap, multiple_of) for side in fitting)

    def _forward(self, tiles):
        if tiles.dtype == np.uint8:
            tiles = tiles.astype(np.float32) / 255
        outputs = self._run(tiles)
        if outputs.shape != tiles.shape:
            raise UsageError(
                f"the model made {list(outputs.shape)} of pictures {list(tiles.shape)}; expected "
                "the same shape"
            )
        if not np.isfinite(outputs).all():
            raise UsageError(
                "the model returned values that are not finite: its weights are damaged, or its "
                "number format is too narrow"
            )
        return outputs


def _check_int(name, value, minimum):
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < minimum:
        raise UsageError(f"{name} must be an int of at least {minimum}; received {value!r}")


def _check_overlap(overlap, rounded, tile):
    if rounded >= tile:
        raise UsageError(
            f"overlap must be less than the tile of {tile} pixels, after rounding up to a multiple "
            f"of 8; received {overlap}"
        )


def _checked(image):
    image = np.asarray(image)
    if image.dtype not in (np.uint8, np.float32):
        raise UsageError(
            f"expected a picture of dtype uint8, or float32 in [0, 1]; received {image.dtype}"
        )
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise UsageError(f"expected one picture [H, W, 3]; received the shape {list(image.shape)}")
    if image.dtype == np.float32 and not (image.min() >= 0 and image.max() <= 1):  # also for NaN
        raise UsageError(
            "expected float32 values in [0, 1] without NaN; received values in "
            f"[{image.min():g}, {image.max():g}]"
        )
    return image


def _turn(image, index):
    """One of the 8 symmetries of the square: from 4 up mirrored, then turned `index` quarters."""
    return np.rot90(image[:, ::-1] if index >= 4 else image, index)


def _turn_back(image, index):
    image = np.rot90(image, -index)
    return image[:, ::-1] if index >= 4 else image


def _open(source):
    """Returns (function ``float32 [b, h, w, 3]`` -> the same, the `Sizes` it takes)."""
    if not isinstance(source, str | os.PathLike):
        return _open_keras(source)
    if source not in PRESETS:
        path = Path(source)
        if path.suffix == ".tflite":
            return _open_litert(path)
        if (path / "saved_model.pb").is_file():
            return _open_saved_model(path)
    from mspfn_tf.weights_file import load_model

    return _open_keras(load_model(source))


def _sizes(shape, name):
    """The `Sizes` of a model whose input has `shape`, with None or -1 for what is free."""
    shape = [None if side is None or side < 0 else int(side) for side in shape]
    if len(shape) != 4 or shape[3] != 3 or shape[0] not in (None, 1):
        raise UsageError(f"{name} takes {shape}; expected pictures [batch, H, W, 3]")
    height, width = shape[1:3]
    if height is None and width is None:
        return Sizes()
    if height is None or width is None:
        raise UsageError(f"{name} takes {shape}; expected H and W both fixed or both free")
    aligned = height % 8 == 0 and width % 8 == 0
    return Sizes(8 if aligned else 1, minimum=1, fixed=(height, width))


def _open_keras(model):
    import keras

    if not isinstance(model, keras.Model):
        raise UsageError(
            "source must be a preset name, a keras.Model or the path of a model; received "
            f"{type(model).__name__}"
        )
    inputs = getattr(model, "inputs", None) or []
    if len(inputs) != 1:
        raise UsageError(f"{model.name} has {len(inputs)} inputs; expected a model of one input")
    sizes = _sizes(inputs[0].shape, model.name)
    if keras.backend.backend() != "tensorflow":
        return lambda tiles: np.asarray(model.predict_on_batch(tiles), np.float32), sizes

    import tensorflow as tf

    # One trace for all sizes. No XLA, which Keras' own predict would choose: on CPUs it is slower,
    # and it compiles again for each size.
    signature = tf.TensorSpec([None, *(sizes.fixed or (None, None)), 3], tf.float32)

    @tf.function(input_signature=[signature], autograph=False)
    def forward(tiles):
        return tf.cast(model(tiles, training=False), tf.float32)

    return lambda tiles: forward(tiles).numpy(), sizes


def _open_saved_model(path):
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    if "serving_default" not in loaded.signatures:
        found = ", ".join(loaded.signatures) or "none"
        raise UsageError(f"{path} has no signature serving_default (it has: {found})")
    signature = loaded.signatures["serving_default"]
    inputs, outputs = signature.structured_input_signature[1], signature.structured_outputs
    if len(inputs) != 1 or len(outputs) != 1:
        raise UsageError(
            f"{path}: serving_default has {len(inputs)} inputs and {len(outputs)} outputs; "
            "expected one picture in, one out"
        )
    (name, spec), output_name = *inputs.items(), next(iter(outputs))
    if spec.dtype != tf.float32 or spec.shape.rank is None:
        raise UsageError(f"{path}: serving_default takes {spec}; expected float32 [batch, H, W, 3]")
    sizes = _sizes(spec.shape.as_list(), path)

    def run(tiles):
        # Naming `loaded` keeps it alive: without it the variables of its signatures are gone.
        return loaded.signatures["serving_default"](**{name: tf.constant(tiles)})[
            output_name
        ].numpy()

    return run, sizes


def _open_litert(path):
    from ai_edge_litert.interpreter import Interpreter

    if not path.is_file():
        raise UsageError(f"no model file {path}")
    check_shipped(path)
    try:
        interpreter = Interpreter(str(path), num_threads=_cpu_count())
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise UsageError(f"cannot load {path}: {error}") from error
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    if len(inputs) != 1 or len(outputs) != 1:
        raise UsageError(
            f"{path} has {len(inputs)} inputs and {len(outputs)} outputs; expected one picture in, "
            "one out"
        )
    (source,), (target,) = inputs, outputs
    sizes = _sizes(source["shape_signature"], path)
    encode, _ = _number_format(source, path)
    _, decode = _number_format(target, path)

    def run_one(tile):
        tile = tile[None]
        if sizes.fixed is None and list(tile.shape) != list(
            interpreter.get_input_details()[0]["shape"]
        ):
            interpreter.resize_tensor_input(source["index"], tile.shape)
            interpreter.allocate_tensors()
        interpreter.set_tensor(source["index"], encode(tile))
        interpreter.invoke()
        return decode(interpreter.get_tensor(target["index"]))[0]

    return lambda tiles: np.stack([run_one(tile) for tile in tiles]), sizes


def _number_format(tensor, path):
    """Returns (encode, decode) between float32 in [0, 1] and the numbers of a LiteRT tensor."""
    dtype = tensor["dtype"]
    if np.issubdtype(dtype, np.floating):
        return lambda values: values.astype(dtype), lambda values: values.astype(np.float32)
    scale, zero = tensor["quantization"]
    if scale == 0:
        if dtype != np.uint8:
            raise UsageError(f"{path}: {np.dtype(dtype)} pictures without a scale; expected uint8")
        scale, zero = 1 / 255, 0  # plain bytes, as a camera delivers them
    limits = np.iinfo(dtype)

    def encode(values):
        return np.clip(np.rint(values / scale + zero), limits.min, limits.max).astype(dtype)

    def decode(values):
        return (values.astype(np.float32) - zero) * np.float32(scale)

    return encode, decode


def _cpu_count():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
