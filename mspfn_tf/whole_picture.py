"""The statistics of a whole picture, for networks that see it in tiles.

The channel attention of MSPFN draws on global means. A tile has other means than the picture that
it was cut from, so tiles attended by their own come out brighter or darker than the whole picture
would. The first two models made here take that apart: one measures the means of what it is given,
the other derains with means that are given.

How the means of a picture are found depends on the network:

- `attention="picture"`: they are means of shallow features, which do not depend on the attention.
  Those of overlapping parts, less those of the overlaps, make up those of the whole picture (see
  `mspfn_tf.tiling.seamless_parts`). A model of fixed size has parts of that size only, whose edges
  count as well.
- `attention="block"` (the paper): every block's means depend on the attention of all before it.
  They are averaged over tiles, then measured again while the averages are in use.

The scales are fused from coarse to fine, so the coarser ones, which look around far and cost
little, can be run first over more of the picture than the full one needs to see: `coarse_model`
and `fine_model` do, for networks of the first kind.
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
    rainy, statistics = _given(image, *cuts)
    ends = [0]
    for cut in cuts:
        ends.append(ends[-1] + cut.shape[-1])
    parts = [statistics]
    if len(cuts) > 1:
        pairs = zip(ends[:-1], ends[1:], strict=True)
        parts = [statistics[..., start:stop] for start, stop in pairs]
    return keras.Model([rainy, statistics], inner([rainy, *parts]), name="guided")


def coarse_model(model: keras.Model) -> keras.Model:
    """From pictures and the statistics to use to the features that the full scale takes over from
    the coarser ones.

    Args:
        model: an `MSPFN` with `attention="picture"`.

    Returns:
        A model from `[rainy, statistics]` to a list of features, float32 `[batch, H / f, W / f, C]`
        with f = 2 * `model.stem`, that shares its weights with `model`.
    """
    image, (cut,) = model.inputs[0], _cuts(model)
    rainy, statistics = _given(image, cut)
    features = keras.Model([image, cut], _coarse_features(model))([rainy, statistics])
    features = [ops.cast(one, "float32") for one in features]
    return keras.Model([rainy, statistics], features, name="coarse")


def fine_model(model: keras.Model) -> keras.Model:
    """From pictures, the statistics to use, and the features of `coarse_model` to derained
    pictures.

    Args:
        model: an `MSPFN` with `attention="picture"`.

    Returns:
        A model from `[rainy, statistics, *features]` to `derained`, that shares its weights with
        `model`.
    """
    image, (cut,), features = model.inputs[0], _cuts(model), _coarse_features(model)
    rainy, statistics = _given(image, cut)
    given = [
        keras.Input(one.shape[1:], name=f"coarse_{n:02}", dtype="float32")
        for n, one in enumerate(features)
    ]
    inner = keras.Model([image, cut, *features], model.outputs[0])
    outputs = inner([rainy, statistics, *given])
    return keras.Model([rainy, statistics, *given], outputs, name="fine")


def cut_model(model: keras.Model, coarse: bool = False) -> keras.Model:
    """All of the above in one, with the statistics in as many parts as the network has them.

    Args:
        model: an `MSPFN` with attention.
        coarse: whether the features that `fine_model` takes are outputs, too.

    Returns:
        A model from `[rainy, *given]` to `[derained, *measured, *features]`: each given and
        measured one is `[batch, 1, 1, channels]`. Where every measured one is fed back as the given
        one, it is the network itself, since none depends on itself.
    """
    image, cuts = model.inputs[0], _cuts(model)
    if model.attention == "picture":
        features = _coarse_features(model) if coarse else []
        inner = keras.Model([image, *cuts], [model.outputs[0], *features])
        rainy = keras.Input(image.shape[1:], dtype="float32")
        given = [keras.Input(cut.shape[1:], dtype="float32") for cut in cuts]
        measured = keras.Model(image, cuts)(rainy)
        derained, *features = inner([rainy, *given])
        return keras.Model([rainy, *given], [derained, *measured, *features], name="cut")
    return keras.Model([image, *cuts], [model.outputs[0], *_means_in_use(model)], name="cut")


def has_statistics(model: keras.Model) -> bool:
    """Whether `model` is an `MSPFN` whose attention draws on global means."""
    return getattr(model, "reduction", None) is not None and bool(_mean_layers(model))


def goes_coarse_first(model: keras.Model) -> bool:
    """Whether `coarse_model` and `fine_model` can be made of `model`."""
    return has_statistics(model) and model.attention == "picture"


def _given(image, *cuts):
    """The inputs of a model that is given statistics."""
    width = sum(cut.shape[-1] for cut in cuts)
    return (
        keras.Input(image.shape[1:], name="rainy", dtype="float32"),
        keras.Input((1, 1, width), name="statistics", dtype="float32"),
    )


def _coarse_features(model):
    """The tensors between the coarser scales and the full one."""
    units = ["recurrent", *(f"fusion{n}" for n in range(1, model.blocks + 1))]
    names = [f"{unit}_{scale}_to_full" for unit in units for scale in ("half", "quarter")]
    return [model.get_layer(name).input for name in (*names, "merge_half_to_full")]


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
