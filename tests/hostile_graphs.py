"""ONNX graphs that were made to do harm."""

from onnx import TensorProto, helper


def write(path, nodes, initializers=()):
    """A graph from the picture `x` to `y`; returns its path."""
    shape = ["b", 3, "h", "w"]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy")
    graph = helper.make_graph(nodes, "graph", [x], [y], initializers)
    opset = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


def outside(name, location):
    """A tensor whose four bytes stand in another file."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", "4")):
        tensor.external_data.add(key=key, value=value)
    return tensor


def huge():
    """Asks for 400 GB."""
    shape = helper.make_tensor("shape", TensorProto.INT64, [1], [100_000_000_000])
    return [
        helper.make_node("Constant", [], ["shape"], value=shape),
        helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
        helper.make_node("ReduceMax", ["zeros"], ["zero"], keepdims=0),
        helper.make_node("Add", ["x", "zero"], ["y"]),
    ]


def endless():
    """A loop of 2**62 steps."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going"], ["on"]),
            helper.make_node("Add", ["state", "state"], ["next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("step", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, None),
        ],
    )
    steps = helper.make_tensor("steps", TensorProto.INT64, [], [2**62])
    return [
        helper.make_node("Constant", [], ["steps"], value=steps),
        helper.make_node("Loop", ["steps", "", "x"], ["y"], body=body),
    ]
