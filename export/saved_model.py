"""SavedModels for servers: pictures of any size, three signatures, no code needed to load them."""

import math
import os
from pathlib import Path
from typing import Any

from mspfn_tf.checks import check_int
from mspfn_tf.errors import UsageError
from mspfn_tf.export.calibration import SAMPLE, read_patches
from mspfn_tf.export.description import describe_source, open_source
from mspfn_tf.export.outputs import card_path, outputs, write_card
from mspfn_tf.export.verification import check_saved_model, verdict
from mspfn_tf.model import MSPFN
from mspfn_tf.sizes import LEAST_SIDE, MULTIPLE_OF
from mspfn_tf.source import ModelSource
from mspfn_tf.whole_picture import guided_model, has_statistics, statistics_model

CHECK_SIZE = (64, 96)
"""Size of the pictures that a SavedModel is checked on."""

MAX_PIXELS = 2**24
"""Pixels of the largest picture that `encoded` takes, 4096x4096: what phones take (12 megapixels),
and with the smaller presets within the memory of an ordinary server, some 5 to 9 GB."""


def export_saved_model(
    source: ModelSource,
    output: str | os.PathLike,
    calibration: str | os.PathLike | None = None,
    overwrite: bool = False,
    force: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> dict[str, Any]:
    """Writes a model as a SavedModel, compared with the model it came from.

    Three signatures for servers; batch, height and width are free:

    - `serving_default`: from `rainy` to `derained`, float32 ``[batch, height, width, 3]``, RGB in
      [0, 1]; the output is clipped to it.
    - `uint8`: the same with bytes 0..255.
    - `encoded`: from `rainy_bytes`, string ``[batch]``, JPEG or PNG files (EXIF orientation is not
      applied), to `derained_bytes`, PNG files. One after the other goes through, so that memory is
      bounded by `max_pixels`. Larger ones, animated ones and bytes that are no picture give
      `InvalidArgumentError`, which says which element of the batch it is; nothing of the batch is
      returned then. Its name in the loaded object is `max_pixels`, an int64 variable.

    A network with attention has two more, `statistics` and `guided`, by which `mspfn_tf.Restorer`
    restores large pictures in tiles (see `mspfn_tf.whole_picture`).

    Beside the directory stands its description, `<name>.json`.

    Args:
        source: preset name, directory of a model, `.keras` or `.weights.h5` file, or an `MSPFN`.
        output: path of the directory.
        calibration: folder of pictures to compare on. Default: those that come with the package.
        overwrite: whether an existing directory may be replaced.
        force: write even what falls short of the bounds of `mspfn_tf.export.verification`; the
            description then says so.
        max_pixels: of a picture that `encoded` takes. It is read from the head of a file, before
            memory is taken for it. At least as many as the pictures of the check have, 6,144.

    Returns:
        The description, a dict.

    Raises:
        UsageError: an argument breaks its rule, or the output exists and `overwrite` is false.
        VerificationError: the SavedModel falls short, and `force` is false. Nothing is written.
    """
    import tensorflow as tf

    output = Path(output)
    if not output.name:
        output = output.resolve()
    max_pixels = check_int("max_pixels", max_pixels, minimum=math.prod(CHECK_SIZE))
    patches = read_patches(SAMPLE if calibration is None else calibration, CHECK_SIZE, count=4)
    card = card_path(output, "saved_model")
    with outputs(card, overwrite=overwrite, folder=output, mark="saved_model.pb") as (
        directory,
        card,
    ):
        model = open_source(source)
        try:
            write_saved_model(model, directory, max_pixels)
        except tf.errors.OpError as error:
            raise UsageError(f"cannot write {output}: {error}") from error
        parity = check_saved_model(model, directory, patches)
        verified = verdict(parity, output, force)
        description = {
            "format": "saved_model",
            **describe_source(source, model),
            "signatures": {
                "serving_default": _signature("float32", [0.0, 1.0]),
                "uint8": _signature("uint8", [0, 255]),
                "encoded": {
                    "input": {"name": "rainy_bytes", "shape": [None], "dtype": "JPEG or PNG"},
                    "output": {"name": "derained_bytes", "shape": [None], "dtype": "PNG"},
                    "max_pixels": max_pixels,
                },
            },
            "bytes": directory_size(directory),
            **verified,
        }
        description = write_card(card, description)
    return description


def write_saved_model(
    model: MSPFN, directory: str | os.PathLike, max_pixels: int = MAX_PIXELS
) -> None:
    """Writes the SavedModel of an `MSPFN`, unchecked."""
    import tensorflow as tf

    module = tf.Module()
    # The variables alone: tracking a Keras model, as ExportArchive does, stores weights twice.
    module.weights = [variable.value for variable in model.variables]
    # For who asks; the graph has the number itself, so that nobody changes it by accident.
    module.max_pixels = tf.Variable(tf.constant(max_pixels, tf.int64), trainable=False)

    # A function of its own, so that the graph is stored once for all signatures.
    @tf.function(
        input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32)], autograph=False
    )
    def restore(rainy):
        height, width = tf.shape(rainy)[1], tf.shape(rainy)[2]
        padded = _reflect(_reflect(rainy, axis=1), axis=2)
        padded = tf.ensure_shape(padded, [None, None, None, 3])
        derained = tf.clip_by_value(model(padded, training=False), 0.0, 1.0)
        return derained[:, :height, :width]

    def to_bytes(picture):
        return tf.cast(tf.round(picture * 255), tf.uint8)

    def restore_file(indexed):
        index, content = indexed
        picture = _decoded(index, content, max_pixels)
        rainy = tf.cast(picture, tf.float32)[None] / 255
        return tf.io.encode_png(to_bytes(restore(rainy))[0])

    @tf.function(
        input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32, "rainy")], autograph=False
    )
    def serving_default(rainy):
        return {"derained": restore(rainy)}

    @tf.function(
        input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, "rainy")], autograph=False
    )
    def uint8(rainy):
        return {"derained": to_bytes(restore(tf.cast(rainy, tf.float32) / 255))}

    # TensorFlow Serving's REST interface needs the suffix to send bytes as base64.
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "rainy_bytes")], autograph=False)
    def encoded(rainy_bytes):
        indices = tf.range(tf.size(rainy_bytes))
        # One at a time: several at once would take as many times the memory.
        files = tf.map_fn(
            restore_file,
            (indices, rainy_bytes),
            parallel_iterations=1,
            fn_output_signature=tf.string,
        )
        return {"derained_bytes": files}

    signatures = {"serving_default": serving_default, "uint8": uint8, "encoded": encoded}
    if has_statistics(model):
        signatures |= _statistics_signatures(model)
    tf.saved_model.save(module, str(directory), signatures=signatures)


def _decoded(index, content, max_pixels):
    """uint8 ``[H, W, 3]`` of one JPEG or PNG file, or an error that names it by its index.

    Height and width are read from the head of the file and compared before anything is decoded.
    """
    import tensorflow as tf

    def number(start, length):
        digits = tf.cast(
            tf.io.decode_raw(tf.strings.substr(content, start, length), tf.uint8), tf.int64
        )
        return tf.reduce_sum(digits * 256 ** tf.range(length - 1, -1, -1, dtype=tf.int64))

    def refuse(condition, *why):
        what = [
            part if isinstance(part, str) else tf.strings.as_string(part)
            for part in ("rainy_bytes[", index, "] ", *why)
        ]
        return tf.debugging.Assert(condition, [tf.strings.join(what)])

    def attempt(function, nothing):
        """What `function` makes of `content`; `nothing` where it fails."""
        # A data set may leave out what fails: the one way of a graph to catch an error.
        results = tf.data.Dataset.from_tensors(content).map(function).ignore_errors()
        return results.reduce(nothing, lambda _, result: result)

    def starts(magic):
        return tf.equal(tf.strings.substr(content, 0, len(magic)), tf.constant(magic))

    is_png = starts(b"\x89PNG\r\n\x1a\n") & (tf.strings.length(content) >= 33)
    is_jpeg = starts(b"\xff\xd8\xff")
    with tf.control_dependencies([refuse(is_png | is_jpeg, "is neither a JPEG nor a PNG file")]):
        content = tf.identity(content)
    # An animated PNG announces itself before its first picture.
    head = tf.strings.split(tf.strings.substr(content, 0, 2**16), "IDAT")[0]
    animated = is_png & (tf.size(tf.strings.split(head, "acTL")) > 1)
    unknown = tf.zeros([3], tf.int32)
    size = tf.cond(
        is_png,
        lambda: tf.stack([number(20, 4), number(16, 4)]),
        lambda: tf.cast(attempt(tf.image.extract_jpeg_shape, unknown)[:2], tf.int64),
    )
    height, width = size[0], size[1]
    fits = (height > 0) & (width > 0) & (width <= max_pixels // tf.maximum(height, 1))
    with tf.control_dependencies(
        [
            refuse(~animated, "is an animation; expected one picture"),
            refuse((height > 0) & (width > 0), "is damaged"),
            refuse(fits, "has ", width, "x", height, f" pixels; at most {max_pixels} are taken"),
        ]
    ):
        content = tf.identity(content)

    def decode(content):
        # TensorFlow's own choice for JPEG files is off by up to 11 levels of 255.
        picture = tf.cond(
            is_png,
            lambda: tf.io.decode_png(content, channels=3),
            lambda: tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE"),
        )
        return tf.ensure_shape(picture, [None, None, 3])

    picture = attempt(decode, tf.zeros([0, 0, 3], tf.uint8))
    with tf.control_dependencies([refuse(tf.size(picture) > 0, "is damaged")]):
        return tf.ensure_shape(tf.identity(picture), [None, None, 3])


def _statistics_signatures(model):
    """`statistics` and `guided`, as in the LiteRT files; heights and widths are multiples of 8."""
    import tensorflow as tf

    measure, derain = statistics_model(model), guided_model(model)
    rainy_spec = tf.TensorSpec([None, None, None, 3], tf.float32, "rainy")
    given_spec = tf.TensorSpec([None, *measure.output_shape[1:]], tf.float32, "statistics")

    @tf.function(input_signature=[rainy_spec], autograph=False)
    def statistics(rainy):
        return {"statistics": measure(rainy, training=False)}

    @tf.function(input_signature=[rainy_spec, given_spec], autograph=False)
    def guided(rainy, statistics):
        derained, *measured = tf.nest.flatten(derain([rainy, statistics], training=False))
        outputs = {"derained": tf.clip_by_value(derained, 0.0, 1.0)}
        return outputs | ({"statistics": measured[0]} if measured else {})

    return {"statistics": statistics, "guided": guided}


def _reflect(pictures, axis):
    """Continues pictures to a size that the network takes, by reflection at the end.

    By indices, as TensorFlow's own reflection fails where the pad is not smaller than the picture.
    """
    import tensorflow as tf

    length = tf.shape(pictures)[axis]
    period = tf.maximum(2 * (length - 1), 1)
    fitting = length + tf.math.floormod(-length, MULTIPLE_OF)
    place = tf.math.floormod(tf.range(tf.maximum(fitting, LEAST_SIDE)), period)
    return tf.gather(pictures, tf.minimum(place, period - place), axis=axis)


def directory_size(directory: str | os.PathLike) -> int:
    """Bytes of all files in a directory."""
    return sum(path.stat().st_size for path in Path(directory).rglob("*") if path.is_file())


def _signature(dtype, limits):
    shape = [None, None, None, 3]
    return {
        "input": {"name": "rainy", "shape": shape, "dtype": dtype, "range": limits},
        "output": {"name": "derained", "shape": shape, "dtype": dtype, "range": limits},
        "colours": "RGB",
    }
