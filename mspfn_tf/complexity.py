"""Multiply-adds of the network: how much arithmetic one picture takes."""

import math

from keras import layers

from mspfn_tf.layers import ConvLSTM, Smooth
from mspfn_tf.model import MSPFN


def multiply_adds(model: MSPFN, image_size: tuple[int, int]) -> int:
    """Multiply-adds of all convs of an `MSPFN` for one picture.

    Counted as is usual for conv networks: kernel elements times the positions where the kernel is
    applied, zero padding included; biases, activations, sums and resizing are left out. With one
    recurrent step this is 131.3e9 for `mspfn_m17n1` and 182.6e9 for `mspfn` at 256x256.

    Args:
        model: the `MSPFN`.
        image_size: (height, width), multiples of 8.

    Returns:
        int.

    Raises:
        UsageError (a ValueError): a height or width that the network does not take.
    """
    fixed = type(model).from_config({**model.get_config(), "image_size": tuple(image_size)})
    return sum(_layer_multiply_adds(layer) for layer in fixed.layers)


def _layer_multiply_adds(layer):
    if isinstance(layer, layers.Conv2DTranspose):
        # Each input position is spread over one kernel of output positions.
        return math.prod(layer.kernel.shape) * _positions(layer.input)
    if isinstance(layer, layers.Conv2D | layers.Dense):
        return math.prod(layer.kernel.shape) * _positions(layer.output)
    if isinstance(layer, ConvLSTM):
        kernels = sum(math.prod(conv.kernel.shape) for conv in layer.input_convs.values())
        kernels += (layer.steps - 1) * sum(
            math.prod(conv.kernel.shape) for conv in layer.hidden_convs.values()
        )
        return kernels * _positions(layer.output)
    if isinstance(layer, Smooth):
        return 9 * layer.output.shape[-1] * _positions(layer.output)
    if any(len(weight.shape) > 1 and max(weight.shape[:-1]) > 1 for weight in layer.weights):
        raise TypeError(f"{layer.name}: no rule for the multiply-adds of {type(layer).__name__}")
    return 0


def _positions(tensor):
    return math.prod(tensor.shape[1:-1])
