"""Weights of the authors' TensorFlow 1 graph, mapped into `MSPFN`.

What the published graph does differently, and this mapping undoes:

- Its stride-1 convs are transposed convs with kernels [height, width, OUT, IN]: equal to plain
  convs with the kernel flipped in both spatial axes and in/out swapped.
- Its images are BGR: the channels of the three first kernels and of the last one are permuted.
- One ConvLSTM kernel computes the gates i, j, f, o from concat(input, hidden state). With one
  step from a zero state, the forget gate and the rows of the hidden state never reach the output.
"""

import math
import os
import re

import numpy as np

from mspfn_tf.errors import UsageError
from mspfn_tf.model import MSPFN

SCALES = {"quarter": "4", "half": "2", "full": ""}
GATES = ("input", "candidate", "forget", "output")
SCOPES = ("generator", "model")
_IGNORED = re.compile(r"(^|/)(beta[12]_power|global_step)$|/(Adam|Adam_1)$")
_BLOCK = re.compile(r"^(BCM|URAB)[42]?_\d+/")


def load_reference_checkpoint(model: MSPFN, prefix: str | os.PathLike) -> None:
    """Fills `model` from a TensorFlow 1 checkpoint of the authors' graph, all or nothing.

    Args:
        model: an `MSPFN` with `stem=1`, `activation="prelu"`, `upsampling="transposed"` and the
            checkpoint's number of blocks and RCABs.
        prefix: path of the checkpoint without `.index`. Scope `generator/` or `model/`, blocks
            named `BCM` or `URAB`. Optimizer slots and step counters are ignored.

    Raises:
        UsageError (a ValueError): no such checkpoint, or variables are missing, left over or of
            another shape; the message names them and `model` stays as it was.
    """
    variables = _read(prefix)
    names = _names(model, _block_word(variables))
    problems = _differences(model, names, variables)
    values = {}
    if not problems:
        values = {path: convert(variables) for path, (_, convert) in names.items()}
        problems = [
            f"  the published graph has another shape of {variable.path}: "
            f"{list(values[variable.path].shape)}, not {list(variable.shape)}"
            for variable in model.weights
            if values[variable.path].shape != tuple(variable.shape)
        ]
    if problems:
        raise UsageError(
            f"{prefix} does not fit {model.name} (blocks={model.blocks}, rcabs={model.rcabs}, "
            f"width={model.width}, hidden={model.hidden}); nothing was loaded.\n"
            + "\n".join(problems)
        )
    unfit = [path for path, value in values.items() if not np.isfinite(value).all()]
    if unfit:
        raise UsageError(f"{prefix}: {', '.join(unfit[:8])} are not finite; nothing was loaded")
    for variable in model.weights:
        variable.assign(values[variable.path])


def _read(prefix):
    import tensorflow as tf

    try:
        reader = tf.train.load_checkpoint(str(prefix))
        shapes = reader.get_variable_to_shape_map()
        _check_extent(prefix, shapes, reader.get_variable_to_dtype_map())
        found = {name: reader.get_tensor(name) for name in shapes if not _IGNORED.search(name)}
    except UsageError:
        raise
    except (
        tf.errors.OpError,
        ValueError,
        TypeError,
        LookupError,
        RuntimeError,
        OSError,
        MemoryError,
    ) as error:
        raise UsageError(
            f"{prefix} is not a readable TensorFlow 1 checkpoint: {error}. Pass its prefix, the "
            "path without .index or .data-00000-of-00001"
        ) from error
    scopes = {name.split("/")[0] for name in found}
    if len(scopes) != 1 or not scopes <= set(SCOPES):
        raise UsageError(
            f"{prefix}: expected all variables in one scope, generator/ or model/; found "
            f"{', '.join(sorted(scopes)) or 'no variables'}"
        )
    return {name.split("/", 1)[1]: value for name, value in found.items()}


def _check_extent(prefix, shapes, dtypes):
    """Refuses variables that are declared larger than the files, before memory is taken for
    them, and what are no numbers."""
    folder, name = os.path.split(os.fspath(prefix))
    size = sum(
        entry.stat().st_size
        for entry in os.scandir(folder or ".")
        if entry.name == name or entry.name.startswith(f"{name}.")
    )
    declared = 0
    for variable, shape in shapes.items():
        if not (dtypes[variable].is_floating or dtypes[variable].is_integer):
            raise UsageError(f"{prefix}: {variable} is of type {dtypes[variable].name}, no number")
        declared += math.prod(shape) * dtypes[variable].size
        if declared > size or any(length < 0 for length in shape):
            raise UsageError(
                f"{prefix} is refused: {variable} of shape {list(shape)} is declared larger than "
                f"the files, which have {size:,} bytes"
            )


def _block_word(variables):
    words = {match[1] for name in variables if (match := _BLOCK.match(name))}
    return words.pop() if len(words) == 1 else "BCM"


def _differences(model, names, variables):
    """Lines that tell what keeps `variables` from filling `model`; none if they fit."""
    wanted = {}
    for source, _ in names.values():
        wanted.update(source)
    problems = [f"  missing: {name} {wanted[name]}" for name in wanted if name not in variables]
    problems += [
        f"  left over: {name} {list(value.shape)}"
        for name, value in sorted(variables.items())
        if name not in wanted
    ]
    problems += [
        f"  shape of {name}: expected {shape}, found {list(variables[name].shape)}"
        for name, shape in wanted.items()
        if name in variables and list(variables[name].shape) != shape
    ]
    unmapped = {variable.path for variable in model.weights} - set(names)
    problems += [f"  the published graph has no {path}" for path in sorted(unmapped)]
    return problems


def _names(model, word):
    """{path of a weight of `model`: ({checkpoint name: shape}, function of all variables)}."""
    table = {}
    width, narrow = model.width, model.width // 2
    hidden = dict(zip(SCALES, model.hidden or (0, 0, 0), strict=True))
    rcabs = dict(zip(SCALES, model.rcabs, strict=True))

    def put(path, name, shape, change=lambda value: value):
        table[path] = ({name: list(shape)}, lambda variables: change(variables[name]))

    def slopes(layer, name, filters):
        put(f"{layer}_prelu/alpha", name, [filters], lambda value: value.reshape(1, 1, -1))

    def transposed(layer, scope, channels, filters, stride=1, bgr_in=False, bgr_out=False):
        def change(kernel):
            if stride == 1:
                kernel = np.swapaxes(kernel[::-1, ::-1], 2, 3)
            if bgr_in:
                kernel = kernel[:, :, ::-1, :]
            if bgr_out:
                kernel = kernel[:, :, :, ::-1]
            return kernel

        put(f"{layer}/kernel", f"{scope}/weight", [3, 3, filters, channels], change)
        if not bgr_out:
            slopes(layer, f"{scope}/alpha", filters)

    def up(layer, scope, channels):
        transposed(layer, scope, channels, width, stride=2)

    def down(layer, scope):
        put(f"{layer}/kernel", f"{scope}/weight", [3, 3, width, width])
        slopes(layer, f"{scope}/alpha", width)

    def conv_lstm(layer, scope, filters):
        # `LSTM_conv` computes the four gates at once, from the input and then the hidden channels.
        kernel, bias = f"{scope}/weights", f"{scope}/biases"
        shapes = {kernel: [3, 3, narrow + filters, 4 * filters], bias: [4 * filters]}

        def part(name, gate, rows=slice(None)):
            columns = slice(GATES.index(gate) * filters, (GATES.index(gate) + 1) * filters)
            if name == bias:
                return lambda variables: variables[bias][columns]
            return lambda variables: variables[kernel][:, :, rows, columns]

        recurs = model.recurrent_steps > 1
        for gate in GATES if recurs else ("input", "candidate", "output"):
            table[f"{layer}/{gate}/kernel"] = (shapes, part(kernel, gate, slice(None, narrow)))
            table[f"{layer}/{gate}/bias"] = (shapes, part(bias, gate))
            if recurs:
                rows = slice(narrow, None)
                table[f"{layer}/{gate}_hidden/kernel"] = (shapes, part(kernel, gate, rows))

    def rcab(layer, scope):
        squeezed = width // (model.reduction or 1)
        for name, part, size, channels, filters in (
            ("conv1", "conv2d", 3, width, width),
            ("conv2", "conv2d_1", 3, width, width),
            ("attention_squeeze", "conv2d_2", 1, width, squeezed),
            ("attention_excite", "conv2d_3", 1, squeezed, width),
        ):
            put(f"{layer}_{name}/kernel", f"{scope}/{part}/kernel", [size, size, channels, filters])
            put(f"{layer}_{name}/bias", f"{scope}/{part}/bias", [filters])
        slopes(f"{layer}_conv1", f"{scope}/conv2d/alpha", width)
        slopes(f"{layer}_attention_squeeze", f"{scope}/conv2d_2/alpha", squeezed)

    for scale, digit in SCALES.items():
        memory = "residual_memory"
        transposed(f"shallow_{scale}", f"rnn{digit or 1}", 3, width, bgr_in=True)
        transposed(f"recurrent_{scale}_in", f"{memory}/rain{digit}_res1", width, narrow)
        conv_lstm(
            f"recurrent_{scale}_convlstm",
            f"{memory}/lstm_group{digit}/convLSTM/LSTM_conv",
            hidden[scale],
        )
        transposed(f"recurrent_{scale}_out", f"{memory}/rain{digit}_res2", hidden[scale], width)
        transposed(f"merge_{scale}", f"rnn_recon{digit}", 2 * width, width)
    up("recurrent_quarter_to_half", "residual_memory/upRMM4_2", width)
    up("recurrent_quarter_to_full", "residual_memory/upRMM4_1", width)
    up("recurrent_half_to_full", "residual_memory/upRMM2_1", width)
    for n in range(model.blocks):
        fusion = f"fusion{n + 1}"
        for scale, digit in SCALES.items():
            scope = f"{word}{digit}_{n}"
            down(f"{fusion}_{scale}_down", f"{scope}/down{digit}_{n + 1}")
            for m in range(1, rcabs[scale] + 1):
                rcab(f"{fusion}_{scale}_rcab{m}", f"{scope}/group_{n + 1}_RCAB{m}")
            up(f"{fusion}_{scale}_up", f"{scope}/up_{n + 1}", 2 * width)
        up(f"{fusion}_quarter_to_half", f"{word}2_{n}/up{word}4_2_{n}", width)
        up(f"{fusion}_quarter_to_full", f"{word}_{n}/up{word}4to1_{n}", width)
        up(f"{fusion}_half_to_full", f"{word}_{n}/up{word}2to1_{n}", width)
    up("merge_quarter_to_half", "up4_2", width)
    up("merge_half_to_full", "up2_1", 2 * width)
    transposed("reconstruction", "rnn5", 2 * width, narrow)
    transposed("rain", "rnn7", narrow, 3, bgr_out=True)
    return table
