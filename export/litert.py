"""LiteRT (.tflite) files for phones: fixed size, builtin operators only."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mspfn_tf.errors import UsageError
from mspfn_tf.export import litert_file, quantization
from mspfn_tf.export.accelerators import accelerators
from mspfn_tf.export.calibration import SAMPLE, Patch, read_patches
from mspfn_tf.export.description import describe_source, open_source
from mspfn_tf.export.outputs import card_path, outputs, write_card
from mspfn_tf.export.verification import check_litert, verdict
from mspfn_tf.files import sha256
from mspfn_tf.model import MSPFN
from mspfn_tf.quiet import absl_quiet
from mspfn_tf.sizes import check_image_size
from mspfn_tf.source import ModelSource
from mspfn_tf.whole_picture import (
    coarse_model,
    fine_model,
    goes_coarse_first,
    guided_model,
    has_statistics,
    statistics_model,
)

QUANTIZATIONS = ("none", "float16", "dynamic", "int8")
_CALIBRATION_PIECES = {"count": 96, "most": 200}  # of at most so many pictures

PHONE_OPERATORS = frozenset(
    (
        "ADD",
        "AVERAGE_POOL_2D",
        "CONCATENATION",
        "CONV_2D",
        "DEPTHWISE_CONV_2D",
        "DEPTH_TO_SPACE",
        "DEQUANTIZE",
        "LOGISTIC",
        "MEAN",
        "MUL",
        "PAD",
        "QUANTIZE",
        "RELU",
        "RESIZE_BILINEAR",
        "RESIZE_NEAREST_NEIGHBOR",
        "SPACE_TO_DEPTH",
        "SUB",
    )
)
"""What the files of the phone presets consist of: what phone accelerators run."""


def export_litert(
    source: ModelSource,
    output: str | os.PathLike,
    image_size: tuple[int, int] = (256, 256),
    quantize: str = "none",
    calibration: str | os.PathLike | None = None,
    overwrite: bool = False,
    force: bool = False,
    ask_accelerators: bool = False,
) -> dict[str, Any]:
    """Writes a model as LiteRT files, each compared with the model it came from.

    Three files: `output`, whose input and output are float32 in [0, 1]; the same with bytes 0..255
    (`<name>_uint8.tflite`), for camera frames; and their description (`<name>.json`). Input `rainy`
    and output `derained` are ``[1, height, width, 3]``, RGB; the output is clipped to the range.

    Args:
        source: preset name, directory of a model, `.keras` or `.weights.h5` file, or an `MSPFN`.
        output: path of the file, ending in .tflite.
        image_size: (height, width), positive multiples of 8. Default (256, 256).
        quantize: "none" (float32), "float16" (weights stored as float16), "dynamic" (8-bit weights)
            or "int8" (8-bit arithmetic but for the last subtraction). The latter two need the
            package ai-edge-quantizer.
        calibration: folder of rainy pictures, or of pairs in `input` and `target`, to compare on
            and, for int8, to calibrate on. Default: the pairs that come with the package.
        overwrite: whether existing files may be replaced.
        force: write even what falls short of the bounds of `mspfn_tf.export.verification`; the
            description then says so.
        ask_accelerators: whether the description says what LiteRT's accelerators on this machine
            run of the file, see `mspfn_tf.export.accelerators`. Takes seconds.

    Returns:
        The description, a dict.

    Raises:
        UsageError: an argument breaks its rule, or an output exists and `overwrite` is false.
        VerificationError: the file falls short, and `force` is false. Nothing is written.
    """
    output = Path(output)
    if output.suffix != ".tflite":
        raise UsageError(f"output must end in .tflite; received {output}")
    if quantize not in QUANTIZATIONS:
        raise UsageError(
            f"quantize must be one of {', '.join(QUANTIZATIONS)}; received {quantize!r}"
        )
    image_size = check_image_size(image_size)
    folder = SAMPLE if calibration is None else calibration
    if quantize == "int8":
        calibrate_on, check_on = calibration_patches(folder, image_size)
    else:
        calibrate_on, check_on = [], read_patches(folder, image_size, count=12)

    uint8_output = output.with_name(f"{output.stem}_uint8.tflite")
    finals = (output, uint8_output, card_path(output, "litert"))
    with outputs(*finals, overwrite=overwrite) as paths:
        model = open_source(source)
        content = convert(model, image_size, quantize, calibrate_on)
        contents = {"float32": content, "uint8": litert_file.with_uint8_interface(content)}
        for path, data in zip(paths, contents.values(), strict=False):
            path.write_bytes(data)
        structure = litert_file.describe(litert_file.read(content))
        parity = check_litert(model, dict(zip(contents, paths, strict=False)), quantize, check_on)
        verified = verdict(parity, output, force, _structure_problems(model, structure))
        description = {
            "format": "litert",
            **describe_source(source, model, image_size),
            "quantization": quantize,
            "signature": "serving_default",
            "input": _tensor("rainy", image_size),
            "output": _tensor("derained", image_size),
            "files": {
                dtype: {
                    "file": final.name,
                    "dtype": dtype,
                    "range": [0, 255] if dtype == "uint8" else [0.0, 1.0],
                    "bytes": path.stat().st_size,
                    "sha256": sha256(path),
                }
                for dtype, path, final in zip(contents, paths, (output, uint8_output), strict=False)
            },
            **structure,
            **({"accelerators": accelerators(paths[0])} if ask_accelerators else {}),
            **verified,
        }
        description = write_card(paths[2], description)
    return description


def calibration_patches(
    folder: str | os.PathLike, image_size: tuple[int, int]
) -> tuple[list[Patch], list[Patch]]:
    """Those to calibrate 8-bit arithmetic on, and two dozen to check it on: others, unless there
    are too few. Takes and raises what `read_patches` does."""
    patches = read_patches(folder, image_size, **_CALIBRATION_PIECES)
    if len(patches) < 8:
        return patches, patches
    step = max(2, len(patches) // 24)
    return [patch for n, patch in enumerate(patches) if n % step != 1], patches[1::step]


def convert(
    model: MSPFN, image_size: tuple[int, int], quantize: str = "none", patches: Sequence[Patch] = ()
) -> bytes:
    """The bytes of a .tflite file of `model` at one size, with float32 inputs and outputs.

    Signature `serving_default`, from `rainy` to `derained`. In the formats "none" and "float16", a
    network with attention has two more, which share its weights (see `mspfn_tf.whole_picture`):
    `statistics`, from `rainy` to `statistics`, and `guided`, from `rainy` and `statistics` to
    `derained` (and `statistics`, where those depend on the ones in use). In the format "int8" they
    are there if the network has `attention="picture"`; the statistics are measured in float32.

    Args:
        model: an `MSPFN`.
        image_size: (height, width).
        quantize: one of `QUANTIZATIONS`.
        patches: `Patch`es of that size to calibrate on; needed for "int8" only.
    """
    import tensorflow as tf

    # The fixed batch matters as much as the fixed size: otherwise shape arithmetic remains.
    rainy = tf.TensorSpec([1, *image_size, 3], tf.float32, "rainy")

    def restore(rainy):
        return _clipped(model(rainy, training=False))

    half = quantize == "float16"
    file = _converted("serving_default", restore, {"rainy": rainy}, ["derained"], half)
    if quantize == "dynamic":
        return quantization.dynamic_range(litert_file.write(file))
    int8 = quantize == "int8"
    if int8:
        file = _integer(file, "serving_default", [{"rainy": patch.batch} for patch in patches])
    # Where every block has statistics of its own, measuring takes the whole network in float32.
    if not (goes_coarse_first(model) if int8 else has_statistics(model)):
        return litert_file.write(file)

    measure, guided = statistics_model(model), guided_model(model)
    statistics = tf.TensorSpec([1, *measure.output_shape[1:]], tf.float32, "statistics")

    def restore_guided(rainy, statistics):
        derained, *measured = keras.tree.flatten(guided([rainy, statistics], training=False))
        return [_clipped(derained), *measured]

    outputs = ["derained", "statistics"][: len(guided.outputs)]
    inputs = {"rainy": rainy, "statistics": statistics}
    guide = _converted("guided", restore_guided, inputs, outputs, half)
    if int8:
        guide = _integer(guide, "guided", _with_statistics(model, patches))
    litert_file.merge(
        file, _converted("statistics", measure, {"rainy": rainy}, ["statistics"], half), guide
    )
    return litert_file.write(file)


def convert_tiles(
    model: MSPFN,
    image_size: tuple[int, int],
    quantize: str = "none",
    patches: Sequence[Patch] = (),
) -> bytes:
    """The bytes of a .tflite file that derains tiles of pictures, for processors.

    Its one signature `tile` leads from `rainy`, the tile, and `surroundings`, more of the picture,
    to `derained`. `rows` and `columns` (int32) say where the tile lies: for each row and column of
    its features in the half scale, that of the surroundings. `statistics` are those of the picture.
    Of the surroundings only the coarser scales see more than the tile (`mspfn_tf.whole_picture`).

    Args:
        model: an `MSPFN` with `attention="picture"`.
        image_size: (height, width) of tile and surroundings in the file; others work, too.
        quantize: "none", "float16" or "int8".
        patches: `Patch`es of that size to calibrate on; needed for "int8" only.
    """
    import tensorflow as tf

    coarse, fine = coarse_model(model), fine_model(model)
    height, width = (side // (2 * model.stem) for side in image_size)
    inputs = {
        "rainy": tf.TensorSpec([1, *image_size, 3], tf.float32, "rainy"),
        "surroundings": tf.TensorSpec([1, *image_size, 3], tf.float32, "surroundings"),
        "statistics": tf.TensorSpec([1, *fine.inputs[1].shape[1:]], tf.float32, "statistics"),
        "rows": tf.TensorSpec([height], tf.int32, "rows"),
        "columns": tf.TensorSpec([width], tf.int32, "columns"),
    }

    def restore(rainy, surroundings, statistics, rows, columns):
        features = [
            # In two steps, of which the first copies whole rows.
            tf.gather(tf.gather(one, rows, axis=1), columns, axis=2)
            for one in coarse([surroundings, statistics], training=False)
        ]
        return _clipped(fine([rainy, statistics, *features], training=False))

    file = _converted("tile", restore, inputs, ["derained"], quantize == "float16")
    if quantize == "int8":
        rows, columns = np.arange(height, dtype=np.int32), np.arange(width, dtype=np.int32)
        samples = [
            {**one, "surroundings": one["rainy"], "rows": rows, "columns": columns}
            for one in _with_statistics(model, patches)
        ]
        file = _integer(file, "tile", samples)
    return litert_file.write(file)


def _with_statistics(model, patches):
    measure = statistics_model(model)
    return [
        {"rainy": patch.batch, "statistics": keras.ops.convert_to_numpy(measure(patch.batch))}
        for patch in patches
    ]


def _integer(file, signature, samples):
    content = quantization.full_integer(litert_file.write(file), signature, samples)
    return litert_file.read(content)


def _clipped(derained):
    """Clipped to [0, 1], in operators that every accelerator runs; the inner ReLU fuses into the
    network's last subtraction. Where no end is touched, a value changes by 6e-8 at most."""
    import tensorflow as tf

    return 1.0 - tf.nn.relu(1.0 - tf.nn.relu(derained))


def _converted(key, function, inputs, outputs, half):
    """The object form of a .tflite file of `function` with one signature, called `key`."""
    import tensorflow as tf

    graph = tf.function(function, autograph=False).get_concrete_function(*inputs.values())
    with absl_quiet():  # the converter tells of its own options
        # From the graph alone: by way of a SavedModel, TensorFlow takes five times as long.
        converter = tf.lite.TFLiteConverter.from_concrete_functions([graph])
        if half:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]
        file = litert_file.read(converter.convert())
    litert_file.add_signature(file, key, list(inputs), outputs)
    return file


def is_for_phones(model: MSPFN) -> bool:
    """Whether `model` was built of what phone accelerators run, so that its file must be, too."""
    return model.activation == "relu" and model.upsampling != "transposed"


def _structure_problems(model, structure):
    if not is_for_phones(model):
        return []
    problems = []
    foreign = sorted(set(structure["operators"]) - PHONE_OPERATORS)
    if foreign:
        problems.append(f"operators that phones may not run: {', '.join(foreign)}")
    if structure["subgraphs"] not in (1, 3):
        problems.append(f"{structure['subgraphs']} subgraphs; expected 1, or 3 with statistics")
    if structure["largest_rank"] > 4:
        problems.append(f"a tensor of rank {structure['largest_rank']}; expected at most 4")
    return problems


def _tensor(name, image_size):
    return {"name": name, "shape": [1, *image_size, 3], "colours": "RGB"}
