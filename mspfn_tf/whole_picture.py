"""The statistics of a whole picture, for networks that see it in tiles.

The channel attention of MSPFN draws on global means. A tile has other means than the picture that
it was cut from, so tiles attended by their own come out brighter or darker than the whole picture
would. The two models made here take that apart: one measures the means of what it is given, the
other derains with means that are given.

How the means of a picture are found depends on the network:

- `attention="picture"`: they are means of shallow features, which do not depend on the attention.
  Those of overlapping parts, less those of the overlaps, make up those of the whole picture (see
  `mspfn_tf.tiling.seamless_parts`). A model of fixed size has parts of that size only, whose edges
  count as well.
- `attention="block"` (the paper): every block's means depend on the attention of all before it.
  They are averaged over tiles, then measured again while the averages are in use.
"""

import keras
from keras import ops

from mspfn_tf.layers import GlobalMean


def statistics_model(model: keras.Model) -> keras.Model:
    """From pictures to their statistics.

    Args:
        model: an `MSPFN` with attention.

    Returns:
        A model from `rainy`, float32 `[batch, H, W, 3]`, to `statistics`, float32
        `[batch, 1, 1, S]`, that shares its weights with `model`.
    """
    cuts = _cuts(model)
    statistics = cuts[0] if len(cuts) == 1 else ops.concatenate(cuts, axis=-1)
    return keras.Model(model.inputs[0], ops.cast(statistics, "float32"), name="statistics")


def guided_model(model: keras.Model) -> keras.Model:
    """From pictures and the statistics to use to derained pictures.

    Args:
        model: an `MSPFN` with attention.

    Returns:
        A model from `[rainy, statistics]` to `[derained]`, or to `[derained, statistics]` where
        the statistics depend on those in use (`attention="block"`); it shares its weights with
        `model`.
    """
    image, cuts = model.inputs[0], _cuts(model)
    outputs = [model.outputs[0]]
    if means := _means_in_use(model):
        outputs.append(ops.concatenate(means, axis=-1) if len(means) > 1 else means[0])
    inner = keras.Model([image, *cuts], outputs)
    width = sum(cut.shape[-1] for cut in cuts)
    rainy = keras.Input(image.shape[1:], name="rainy", dtype="float32")
    statistics = keras.Input((1, 1, width), name="statistics", dtype="float32")
    ends = [0]
    for cut in cuts:
        ends.append(ends[-1] + cut.shape[-1])
    parts = [statistics]
    if len(cuts) > 1:
        pairs = zip(ends[:-1], ends[1:], strict=True)
        parts = [statistics[..., start:stop] for start, stop in pairs]
    return keras.Model([rainy, statistics], inner([rainy, *parts]), name="guided")


def cut_model(model: keras.Model) -> keras.Model:
    """Both of the above in one, with the statistics in as many parts as the network has them.

    Args:
        model: an `MSPFN` with attention.

    Returns:
        A model from `[rainy, *given]` to `[derained, *measured]`: each given and measured one is
        `[batch, 1, 1, channels]`. Where every measured one is fed back as the given one, it is the
        network itself, since none depends on itself.
    """
    image, cuts = model.inputs[0], _cuts(model)
    if model.attention == "picture":
        inner = keras.Model([image, *cuts], model.outputs[0])
        rainy = keras.Input(image.shape[1:], dtype="float32")
        given = [keras.Input(cut.shape[1:], dtype="float32") for cut in cuts]
        measured = keras.Model(image, cuts)(rainy)
        return keras.Model([rainy, *given], [inner([rainy, *given]), *measured], name="cut")
    return keras.Model([image, *cuts], [model.outputs[0], *_means_in_use(model)], name="cut")


def has_statistics(model: keras.Model) -> bool:
    """Whether `model` is an `MSPFN` whose attention draws on global means."""
    return getattr(model, "reduction", None) is not None and bool(_mean_layers(model))


def _means_in_use(model):
    """What the blocks measure while they attend by given means; none where all is measured
    before."""
    if model.attention == "picture":
        return []
    return [GlobalMean(dtype=layer.dtype_policy)(layer.input) for layer in _mean_layers(model)]


def _mean_layers(model):
    return [layer for layer in model.layers if isinstance(layer, GlobalMean)]


def _cuts(model):
    """The tensors between measuring and attending."""
    if model.attention == "picture":
        return [model.get_layer("context_concat").output]
    return [layer.output for layer in _mean_layers(model)]
