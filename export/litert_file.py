"""What a .tflite file holds, and small changes to it: pure flatbuffer work, no TensorFlow."""

import collections
from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

_OPERATOR_NAMES = {
    code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")
}


def read(content: bytes) -> schema.ModelT:
    """The object form of the bytes of a .tflite file, which the functions here take."""
    return flatbuffer_utils.read_model_from_bytearray(bytearray(content))


def write(model: schema.ModelT) -> bytes:
    """The bytes of a .tflite file from its object form."""
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def describe(model: schema.ModelT) -> dict[str, Any]:
    """What decides whether an accelerator runs the file.

    Returns:
        dict: "operators" of the first graph, which `serving_default` runs, name -> count;
        "subgraphs"; "signatures"; "largest_rank" of any tensor.
    """
    count = collections.Counter(_name(model, operator) for operator in model.subgraphs[0].operators)
    largest_rank = 0
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            largest_rank = max(largest_rank, len(tensor.shape) if tensor.shape is not None else 0)
    return {
        "operators": dict(sorted(count.items())),
        "subgraphs": len(model.subgraphs),
        "signatures": [entry.signatureKey.decode() for entry in model.signatureDefs or ()],
        "largest_rank": largest_rank,
    }


def with_integer_depth_to_space(content: bytes) -> bytes:
    """The same file with DEPTH_TO_SPACE on 8-bit tensors wherever it stood between DEQUANTIZE and
    QUANTIZE.

    The quantiser has no rule for this operator. As it only moves values, its output has the range
    of its input, and both conversions can go.
    """
    model = read(content)
    (graph,) = model.subgraphs
    producer = {output: op for op in graph.operators for output in op.outputs}
    consumers = collections.defaultdict(list)
    for op in graph.operators:
        for index in op.inputs:
            consumers[index].append(op)

    superfluous = set()
    for op in graph.operators:
        if _name(model, op) != "DEPTH_TO_SPACE":
            continue
        before, after = producer.get(op.inputs[0]), consumers[op.outputs[0]]
        if before is None or _name(model, before) != "DEQUANTIZE":
            continue
        if not after or any(_name(model, other) != "QUANTIZE" for other in after):
            continue
        scales = [_scale(graph.tensors[index]) for index in (before.inputs[0], after[0].outputs[0])]
        if len(after) > 1 or scales[0] != scales[1]:
            continue
        op.inputs, op.outputs = before.inputs, after[0].outputs
        superfluous.add(id(after[0]))
        if len(consumers[before.outputs[0]]) == 1:
            superfluous.add(id(before))
    graph.operators = [op for op in graph.operators if id(op) not in superfluous]
    return write(model)


def _name(model, operator):
    return _OPERATOR_NAMES[_builtin(model.operatorCodes[operator.opcodeIndex])]


def _scale(tensor):
    quantization = tensor.quantization
    return list(quantization.scale), list(quantization.zeroPoint), tensor.type


def add_signature(
    model: schema.ModelT, key: str, inputs: Sequence[str], outputs: Sequence[str]
) -> None:
    """Gives a model of one graph a signature `key`, whose inputs and outputs are named in order."""
    (graph,) = model.subgraphs
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = key.encode(), 0
    signature.inputs = _named(graph, graph.inputs, inputs, "")
    signature.outputs = _named(graph, graph.outputs, outputs, "_out")
    graph.name = key.encode()
    model.signatureDefs = [signature]
    model.description = (
        b"MSPFN: takes rain out of a picture. Input and output RGB in [0, 1], "
        b"or bytes 0..255; see the .json file beside."
    )


def _named(graph, indices, names, suffix):
    entries = []
    for index, name in zip(indices, names, strict=True):
        # Two tensors of one graph may share a name in a signature, but not as tensors.
        taken = {tensor.name for tensor in graph.tensors}
        tensor_name = name.encode()
        graph.tensors[index].name = tensor_name + suffix.encode() * (tensor_name in taken)
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name.encode(), int(index)
        entries.append(entry)
    return entries


def merge(model: schema.ModelT, *others: schema.ModelT) -> None:
    """Adds the graphs and signatures of others to a model; equal weights are stored once."""
    known = {}
    for index, buffer in enumerate(model.buffers):
        if buffer.data is not None and len(buffer.data):
            known.setdefault(bytes(buffer.data), index)
    for other in others:
        codes = [_code_of(model, entry) for entry in other.operatorCodes]
        buffers = [_buffer_of(model, buffer, known) for buffer in other.buffers]
        for graph in other.subgraphs:
            for tensor in graph.tensors:
                tensor.buffer = buffers[tensor.buffer]
            for operator in graph.operators:
                operator.opcodeIndex = codes[operator.opcodeIndex]
            model.subgraphs.append(graph)
        for signature in other.signatureDefs:
            signature.subgraphIndex += len(model.subgraphs) - len(other.subgraphs)
            model.signatureDefs.append(signature)


def _code_of(model, entry):
    key = _builtin(entry), entry.version, entry.customCode
    for index, known in enumerate(model.operatorCodes):
        if (_builtin(known), known.version, known.customCode) == key:
            return index
    model.operatorCodes.append(entry)
    return len(model.operatorCodes) - 1


def _buffer_of(model, buffer, known):
    if buffer.data is None or not len(buffer.data):
        model.buffers.append(schema.BufferT())
        return len(model.buffers) - 1
    data = bytes(buffer.data)
    if data not in known:
        known[data] = len(model.buffers)
        model.buffers.append(buffer)
    return known[data]


def with_uint8_interface(content: bytes) -> bytes:
    """The same file with bytes 0..255 in place of floats 0..1 as input and output.

    One DEQUANTIZE in front and one QUANTIZE at the end, both with scale 1/255; the latter rounds
    and clips. Only the signature `serving_default` is kept.
    """
    model = read(content)
    graph = model.subgraphs[0]
    model.subgraphs = [graph]
    model.signatureDefs = [entry for entry in model.signatureDefs if entry.subgraphIndex == 0]
    _forget_unused(model)
    (source,), (target,) = graph.inputs, graph.outputs
    byte_source, byte_target = (_byte_tensor(model, graph, index) for index in (source, target))
    graph.operators.insert(0, _operator(model, "DEQUANTIZE", byte_source, source))
    graph.operators.append(_operator(model, "QUANTIZE", target, byte_target))
    graph.inputs, graph.outputs = [byte_source], [byte_target]
    for signature in model.signatureDefs:
        signature.inputs[0].tensorIndex = byte_source
        signature.outputs[0].tensorIndex = byte_target
    return write(model)


def _forget_unused(model):
    """Empties the buffers of graphs that were taken out."""
    used = {tensor.buffer for graph in model.subgraphs for tensor in graph.tensors}
    used |= {entry.buffer for entry in model.metadata or ()}
    for index, buffer in enumerate(model.buffers):
        if index not in used:
            buffer.data = None


def _byte_tensor(model, graph, like):
    tensor = schema.TensorT()
    tensor.name = graph.tensors[like].name + b"_bytes"
    tensor.shape = graph.tensors[like].shape
    tensor.type = schema.TensorType.UINT8
    tensor.buffer = len(model.buffers)
    model.buffers.append(schema.BufferT())
    tensor.quantization = schema.QuantizationParametersT()
    tensor.quantization.scale = np.array([1 / 255], np.float32)
    tensor.quantization.zeroPoint = np.array([0], np.int64)
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _operator(model, name, source, target):
    code = getattr(schema.BuiltinOperator, name)
    index = next((i for i, entry in enumerate(model.operatorCodes) if _builtin(entry) == code), -1)
    if index < 0:
        entry = schema.OperatorCodeT()
        entry.version = 1
        _set_builtin(entry, code)
        index = len(model.operatorCodes)
        model.operatorCodes.append(entry)
    operator = schema.OperatorT()
    operator.opcodeIndex = index
    operator.inputs, operator.outputs = [source], [target]
    return operator


def _builtin(entry):
    # Codes below 127 also stand in the older, narrower field.
    return max(entry.builtinCode, entry.deprecatedBuiltinCode)


def _set_builtin(entry, code):
    entry.builtinCode, entry.deprecatedBuiltinCode = code, min(code, 127)
