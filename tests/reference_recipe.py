"""Weights and pictures that are drawn from names and seeds alone, bit for bit on any platform.

The reference values in `reference_values.npz` were computed by the authors' published graph in
TensorFlow 1.12 with exactly these weights and pictures.
"""

import re
import zlib

import numpy as np

SEED = 20200613
_STRIDE_2 = re.compile(r"/(up_\d+|up(BCM|URAB)\w*|upRMM\w*|up4_2|up2_1)/weight$")
_DOWN = re.compile(r"/down\d?_\d+/weight$")
_UP_IN_BLOCK = re.compile(r"/up_\d+/weight$")
_UP_ACROSS = re.compile(r"/(up(BCM|URAB)\w*|upRMM\w*)/weight$")


def _uniform(name, shape, low, high):
    random = np.random.RandomState(zlib.crc32(name.encode("ascii")) ^ SEED)
    return (low + (high - low) * random.random_sample(shape)).astype(np.float32)


def value(name, shape):
    """The weight of the checkpoint variable `name`."""
    if name.endswith("/alpha"):
        return _uniform(name, shape, -0.25, 0.5)
    if name.endswith("/biases"):
        return _uniform(name, shape, -0.5, 0.5)
    if name.endswith("/bias"):
        return _uniform(name, shape, -0.2, 0.2)
    if name.endswith("/LSTM_conv/weights"):
        deviation = 1.5 / np.sqrt(9 * 32.0)
    elif name.endswith("/kernel"):
        deviation = 1.2 / np.sqrt(float(shape[0] * shape[1] * shape[2]))
    elif _DOWN.search(name):
        deviation = 1.0 / np.sqrt(9.0 * shape[2])
    else:
        deviation = 1.2 / np.sqrt(9.0 * shape[3])
        for pattern, factor in ((_STRIDE_2, 2.0), (_UP_IN_BLOCK, 0.25), (_UP_ACROSS, 0.5)):
            if pattern.search(name):
                deviation *= factor
        if name.endswith("/rnn7/weight"):
            deviation *= 0.6
        if re.search(r"/rain[24]?_res2/weight$", name):
            deviation *= 3.0
    limit = np.sqrt(3.0) * deviation
    return _uniform(name, shape, -limit, limit)


def variables(layout, blocks, width=64, hidden=(64, 128, 256), reduction=4):
    """{name: shape} of the published graph.

    Args:
        layout: "M17N1" (scope generator/, blocks BCM, one RCAB) or "MSPFN" (model/, URAB, 1/3/3).
        blocks: fusion blocks.
    """
    scope, word, rcabs = {
        "M17N1": ("generator", "BCM", (1, 1, 1)),
        "MSPFN": ("model", "URAB", (1, 3, 3)),
    }[layout]
    shapes = {}
    half = width // 2

    def conv(name, channels, filters, slopes=True):
        shapes[f"{scope}/{name}/weight"] = (3, 3, filters, channels)
        if slopes:
            shapes[f"{scope}/{name}/alpha"] = (filters,)

    for digit, cells, units in zip(("4", "2", ""), hidden, rcabs, strict=True):
        conv(f"rnn{digit or 1}", 3, width)
        conv(f"residual_memory/rain{digit}_res1", width, half)
        lstm = f"{scope}/residual_memory/lstm_group{digit}/convLSTM/LSTM_conv"
        shapes[f"{lstm}/weights"] = (3, 3, half + cells, 4 * cells)
        shapes[f"{lstm}/biases"] = (4 * cells,)
        conv(f"residual_memory/rain{digit}_res2", cells, width)
        conv(f"rnn_recon{digit}", 2 * width, width)
        for n in range(blocks):
            block = f"{word}{digit}_{n}"
            conv(f"{block}/down{digit}_{n + 1}", width, width)
            for m in range(1, units + 1):
                unit = f"{scope}/{block}/group_{n + 1}_RCAB{m}"
                for part, size, channels, filters in (
                    ("conv2d", 3, width, width),
                    ("conv2d_1", 3, width, width),
                    ("conv2d_2", 1, width, width // reduction),
                    ("conv2d_3", 1, width // reduction, width),
                ):
                    shapes[f"{unit}/{part}/kernel"] = (size, size, channels, filters)
                    shapes[f"{unit}/{part}/bias"] = (filters,)
                shapes[f"{unit}/conv2d/alpha"] = (width,)
                shapes[f"{unit}/conv2d_2/alpha"] = (width // reduction,)
            conv(f"{block}/up_{n + 1}", 2 * width, width)
    for name in ("upRMM4_2", "upRMM4_1", "upRMM2_1"):
        conv(f"residual_memory/{name}", width, width)
    for n in range(blocks):
        conv(f"{word}2_{n}/up{word}4_2_{n}", width, width)
        conv(f"{word}_{n}/up{word}4to1_{n}", width, width)
        conv(f"{word}_{n}/up{word}2to1_{n}", width, width)
    conv("up4_2", width, width)
    conv("up2_1", 2 * width, width)
    conv("rnn5", 2 * width, half)
    conv("rnn7", half, 3, slopes=False)
    return shapes


def write_checkpoint(folder, shapes, rename=lambda name: name, slots=False, counters=False):
    """Writes a TensorFlow 1 checkpoint of `shapes` with the recipe's values; returns its prefix."""
    import tensorflow as tf

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        made = []
        for name, shape in shapes.items():
            initial = value(name, shape)
            made.append(tf.compat.v1.Variable(initial, name=rename(name), use_resource=False))
            for slot in ("Adam", "Adam_1") if slots else ():
                made.append(
                    tf.compat.v1.Variable(
                        0 * initial, name=f"{rename(name)}/{slot}", use_resource=False
                    )
                )
        if counters:
            for name in ("beta1_power", "beta2_power", "MSPFN/global_step"):
                made.append(tf.compat.v1.Variable(1.0, name=name, use_resource=False))
        session.run(tf.compat.v1.global_variables_initializer())
        saver = tf.compat.v1.train.Saver(made)
        return saver.save(session, str(folder / "epoch50"), write_meta_graph=False)
