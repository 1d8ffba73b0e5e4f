"""Surgery on ONNX graphs: one plain file that can be taken apart again.

An exported file has one input and one output, as other programs expect. The tensors in its middle
that hold the statistics of the picture (see `mspfn_tf.whole_picture`) have the names
`statistics_0`, `statistics_1` and so on. Where these are cut, the graph falls into one that
measures and one that derains by given statistics; no weight is stored twice.
"""

import json
from typing import Any

import numpy as np
import onnx

METADATA = "mspfn"
"""Key of the entry, JSON text, by which a file says what it is: "layout", "statistics" ("given",
"iterated" or null), "widths" (channels of each statistics tensor), "model", "weights_sha256"."""

_BEFORE_ALL = -(2**31) + 1  # where a slice that goes backwards ends to have all
_FEW = 16  # values: smaller tensors stay as they are


def metadata_of(model: onnx.ModelProto) -> dict[str, Any]:
    """The entry `METADATA` of a file; empty for files of others."""
    for entry in model.metadata_props:
        if entry.key == METADATA:
            return json.loads(entry.value)
    return {}


def joined(model: onnx.ModelProto, count: int) -> onnx.ModelProto:
    """Feeds each `statistics_<n>` that a graph measures into its own input `given_<n>`.

    Args:
        model: from `rainy` and `given_<n>` to `derained` and `statistics_<n>`.
        count: how many n there are.

    Returns:
        A model from `rainy` to `derained`.
    """
    result = _copy(model)
    graph = result.graph
    given = {f"given_{n}": f"statistics_{n}" for n in range(count)}
    for node in graph.node:
        node.input[:] = [given.get(name, name) for name in node.input]
    _keep(graph.input, lambda value: value.name not in given)
    _keep(graph.output, lambda value: value.name not in given.values())
    return _tidied(result)


def apart(model: onnx.ModelProto) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """Takes a plain file apart at its statistics.

    Returns:
        (from `rainy` to `statistics_<n>`; from `rainy` and `given_<n>` to `derained` and, where
        `METADATA` says "iterated", `statistics_<n>`).
    """
    facts = metadata_of(model)
    names = [f"statistics_{n}" for n in range(len(facts["widths"]))]
    values = [
        [
            onnx.helper.make_tensor_value_info(
                name, onnx.TensorProto.FLOAT, ["batch", 1, 1, channels]
            )
            for name, channels in zip(found, facts["widths"], strict=True)
        ]
        for found in (names, [name.replace("statistics", "given") for name in names])
    ]
    measure = _copy(model)
    _keep(measure.graph.output, lambda value: False)
    measure.graph.output.extend(values[0])

    guided = _copy(model)
    for node in guided.graph.node:
        node.input[:] = [
            name.replace("statistics", "given") if name in names else name for name in node.input
        ]
    guided.graph.input.extend(values[1])
    if facts["statistics"] == "iterated":
        guided.graph.output.extend(values[0])
    return _tidied(measure), _tidied(guided)


def renamed(model: onnx.ModelProto, names: dict[str, str]) -> onnx.ModelProto:
    """A copy of `model` whose tensors have other names."""
    result = _copy(model)
    graph = result.graph
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for value in (*graph.input, *graph.output, *graph.initializer):
        value.name = names.get(value.name, value.name)
    return result


def with_explicit_pads(model: onnx.ModelProto, least: tuple[int, ...]) -> onnx.ModelProto:
    """Says the padding of strided convs in numbers.

    The exporter leaves it to the runtime (`auto_pad`), and OpenCV 5 gets that wrong for free sizes.
    Where a conv of 3x3 in steps of 2 has odd sides as well as even ones, only the padding at the
    end, one pixel, is the same for all sizes: such a conv becomes one that begins there.

    Args:
        model: whose first input is a picture.
        least: a shape of that input whose sides are odd multiples of what the network takes: a
            tensor inside that has even sides there has even sides always.
    """
    probe = _copy(model)
    for dim, length in zip(probe.graph.input[0].type.tensor_type.shape.dim, least, strict=True):
        dim.dim_value = length
    for value in probe.graph.output:
        value.type.tensor_type.ClearField("shape")
    known = onnx.shape_inference.infer_shapes(probe, data_prop=True).graph
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*known.input, *known.value_info)
    }
    result, turned = _copy(model), []
    weights = {tensor.name: tensor for tensor in result.graph.initializer}
    for node in result.graph.node:
        facts = {entry.name: entry for entry in node.attribute}
        if node.op_type != "Conv" or "auto_pad" not in facts or "kernel_shape" not in facts:
            continue
        kernel = list(facts["kernel_shape"].ints)
        strides = list(facts["strides"].ints) if "strides" in facts else [1] * len(kernel)
        sides = shapes.get(node.input[0], [])[2:]
        same = facts["auto_pad"].s == b"SAME_UPPER"
        dilated = "dilations" in facts and any(d != 1 for d in facts["dilations"].ints)
        if not same or dilated or len(sides) != len(kernel) or not all(sides):
            continue
        if all(side % stride == 0 for side, stride in zip(sides, strides, strict=True)):
            # Where the stride divides the side, what is missing is the kernel less the stride.
            missing = [max(k - s, 0) for k, s in zip(kernel, strides, strict=True)]
            pads = [m // 2 for m in missing] + [m - m // 2 for m in missing]
        elif (kernel, strides) == ([3, 3], [2, 2]) and node.input[1] in weights:
            pads = [1, 1, 1, 1]
            turned.append(node)
        else:
            continue
        kept = [entry for entry in node.attribute if entry.name not in ("auto_pad", "pads")]
        kept.append(onnx.helper.make_attribute("pads", pads))
        del node.attribute[:]
        node.attribute.extend(kept)
    for node in turned:
        _turn(result.graph, node, weights[node.input[1]])
    return _tidied(result)


def _turn(graph, conv, kernel):
    """Has a conv go over its picture from the end to the beginning."""
    from onnx import numpy_helper

    (output,) = conv.output
    backwards = [f"{output}_{name}" for name in ("first", "past_last", "sides", "step")]
    for name, value in zip(backwards, ([-1, -1], [_BEFORE_ALL] * 2, [2, 3], [-1, -1]), strict=True):
        graph.initializer.append(numpy_helper.from_array(np.array(value, np.int64), name))
    values = np.ascontiguousarray(numpy_helper.to_array(kernel)[:, :, ::-1, ::-1])
    graph.initializer.append(numpy_helper.from_array(values, f"{output}_kernel"))

    def turned(name, result):
        graph.node.append(onnx.helper.make_node("Slice", [name, *backwards], [result]))

    turned(conv.input[0], f"{output}_rainy")
    turned(f"{output}_turned", output)
    conv.input[:2] = [f"{output}_rainy", f"{output}_kernel"]
    conv.output[0] = f"{output}_turned"


def with_half_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Stores the weights as float16; each is cast to float32 before use.

    Runtimes do that once, when they load the file. What has few values stays.
    """
    from onnx import numpy_helper

    result = _copy(model)
    casts = []
    for tensor in result.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        if values.size < _FEW or np.abs(values).max() > np.finfo(np.float16).max:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        casts.append(
            onnx.helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT)
        )
    nodes = [*casts, *result.graph.node]
    del result.graph.node[:]
    result.graph.node.extend(nodes)
    return result


def _copy(model):
    result = onnx.ModelProto()
    result.CopyFrom(model)
    # Shapes of inner tensors as the exporter knew them: they say nothing that is needed.
    del result.graph.value_info[:]
    return result


def _keep(values, wanted):
    kept = [value for value in values if wanted(value)]
    del values[:]
    values.extend(kept)


def _tidied(model):
    """Without nodes and weights that no output needs, each node after what it needs."""
    graph = model.graph
    maker = {name: node for node in graph.node for name in node.output}
    order, placed, open_ = [], set(), [(value.name, False) for value in graph.output]
    while open_:
        name, ready = open_.pop()
        node = maker.get(name)
        if node is None or id(node) in placed:
            continue
        if ready:
            placed.add(id(node))
            order.append(node)
        else:
            open_ += [(name, True), *((needed, False) for needed in node.input if needed)]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in order]
    del graph.node[:]
    graph.node.extend(copies)
    used = {name for node in copies for name in node.input}
    _keep(graph.initializer, lambda tensor: tensor.name in used)
    return model
