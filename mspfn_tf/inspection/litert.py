"""What a `.tflite` file must fulfil before the interpreter, which is not written for files of
strangers, gets to see it.

A `.tflite` file is a flatbuffer: tables that point to each other by offsets. Here they are walked
with every offset checked, and the sizes that tensors declare are compared with their data and
with a bound on memory. What that cannot foresee, a first run in a process of its own shows
(`mspfn_tf.runtimes.trial`).
"""

import functools
import math
import os
import struct
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from mspfn_tf.errors import UsageError

_MOST_TABLES = 2_000_000  # our largest network has some 10,000
_MOST_DIMENSIONS = 8
# Bits of a number, by `TensorType`. Strings, resources and variants have no fixed size.
_BITS = {
    0: 32, 1: 16, 2: 32, 3: 8, 4: 64, 6: 8, 7: 16, 8: 64, 9: 8, 10: 64, 11: 128, 12: 64, 15: 32,
    16: 16, 17: 4, 18: 16, 19: 2, 20: 4, 21: 8, 22: 8,
}  # fmt: skip
_UNSIZED = {5, 13, 14}
_CUSTOM = 32  # the operator that stands for those which a name tells


class _DamagedError(Exception):
    """Why the interpreter must not see a file."""


def most_bytes() -> int:
    """The tensors of a file, in its own size, may take so much memory at one time: half of what
    the machine has, or 4 GiB where that cannot be known."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):  # Windows
        return 4 * 2**30


def check_litert(
    content: bytes, path: Any, most: float | None = None, custom: Collection[str] = ()
) -> None:
    """Refuses a `.tflite` file whose structure the interpreter could stumble over.

    Checked: every offset lies within the file; indices of tensors, buffers, operators and graphs
    exist; only operators of LiteRT itself; tensors fit their data; no more memory than
    `most` at one time.

    Args:
        content: of the file.
        path: its name, for the message.
        most: bound on the memory of its tensors, in bytes. Default: `most_bytes()`.
        custom: names of operators that are allowed beside those of LiteRT's schema.

    Raises:
        UsageError: the file breaks one of these rules.
    """
    try:
        _check_model(_Reader(content), most_bytes() if most is None else most, custom)
    except _DamagedError as error:
        raise UsageError(
            f"cannot load {path}: it is damaged, or no .tflite file: {error}"
        ) from error


def live_bytes(operators: Sequence[tuple[Sequence[Any], Sequence[Any]]], size: dict) -> float:
    """The largest sum of tensors that are needed at one time.

    Args:
        operators: (inputs, outputs) in the order of execution, tensors by any hashable name.
        size: bytes by name; what is not in it (weights) counts nothing.
    """
    last = {}
    for index, (inputs, outputs) in enumerate(operators):
        for name in (*inputs, *outputs):
            last[name] = index
    live, most = 0.0, 0.0
    produced: set[Any] = set()
    for index, (inputs, outputs) in enumerate(operators):
        live += sum(size.get(name, 0) for name in outputs)
        produced.update(outputs)
        most = max(most, live)
        for name in {*inputs, *outputs} & produced:
            if last[name] == index:
                live -= size.get(name, 0)
    return most


class _Reader:
    """Numbers of a flatbuffer, none from outside of it."""

    def __init__(self, content: bytes):
        self.content = content
        self.tables = 0

    def number(self, format_: str, at: int) -> int:
        if at < 0 or at + struct.calcsize(format_) > len(self.content):
            raise _DamagedError("an offset points outside of the file")
        return struct.unpack_from(format_, self.content, at)[0]

    def offset(self, at: int) -> int:
        """Where the unsigned offset that stands at `at` points to."""
        distance = self.number("<I", at)
        if distance == 0:
            raise _DamagedError("an offset is zero")
        return at + distance

    def table(self, at: int) -> "_Table":
        self.tables += 1
        if self.tables > _MOST_TABLES:
            raise _DamagedError(f"it has more than {_MOST_TABLES:,} parts")
        return _Table(self, at)


class _Table:
    """One table; fields go by their number in the schema."""

    def __init__(self, reader: _Reader, at: int):
        if at % 4:
            raise _DamagedError("a table is not aligned")
        self.reader, self.at = reader, at
        layout = at - reader.number("<i", at)
        size, extent = reader.number("<H", layout), reader.number("<H", layout + 2)
        if size < 4 or size % 2 or layout % 2 or layout + size > len(reader.content):
            raise _DamagedError("a table has a damaged layout")
        if extent < 4 or at + extent > len(reader.content):
            raise _DamagedError("a table reaches beyond the file")
        self.layout, self.size, self.extent = layout, size, extent
        for field in range((size - 4) // 2):
            place = reader.number("<H", layout + 4 + 2 * field)
            if place and not 4 <= place < extent:
                raise _DamagedError("a field lies outside of its table")

    def _place(self, field: int, width: int) -> int | None:
        entry = 4 + 2 * field
        if entry + 2 > self.size:
            return None
        place = self.reader.number("<H", self.layout + entry)
        if not place:
            return None
        if place + width > self.extent or (self.at + place) % width:
            raise _DamagedError("a field lies outside of its table")
        return self.at + place

    def scalar(self, field: int, format_: str) -> int:
        place = self._place(field, struct.calcsize(format_))
        return 0 if place is None else self.reader.number(format_, place)

    def child(self, field: int) -> "_Table | None":
        place = self._place(field, 4)
        return None if place is None else self.reader.table(self.reader.offset(place))

    def vector(self, field: int, width: int) -> tuple[int, int]:
        """(where its items begin, how many)"""
        place = self._place(field, 4)
        if place is None:
            return 0, 0
        at = self.reader.offset(place)
        count = self.reader.number("<I", at)
        if at % 4 or at + 4 + count * width > len(self.reader.content):
            raise _DamagedError("a list reaches beyond the file")
        if (at + 4) % width and count:
            raise _DamagedError("a list is not aligned")
        return at + 4, count

    def numbers(self, field: int, format_: str) -> tuple[int, ...]:
        at, count = self.vector(field, struct.calcsize(format_))
        return struct.unpack_from(f"<{count}{format_[-1]}", self.reader.content, at)

    def children(self, field: int) -> "Iterator[_Table]":
        at, count = self.vector(field, 4)
        for index in range(count):
            yield self.reader.table(self.reader.offset(at + 4 * index))

    def text(self, field: int) -> str:
        at, count = self.vector(field, 1)
        if at and self.reader.number("<B", at + count) != 0:
            raise _DamagedError("a name has no end")
        return self.reader.content[at : at + count].decode(errors="replace")


@functools.cache
def _operators() -> frozenset[int]:
    """The numbers of LiteRT's own operators."""
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    foreign = {"CUSTOM", "DELEGATE", "PLACEHOLDER_FOR_GREATER_OP_CODES"}
    return frozenset(
        number
        for name, number in vars(BuiltinOperator).items()
        if isinstance(number, int) and name not in foreign
    )


def _check_model(reader: _Reader, most: float, custom: Collection[str]) -> None:
    if reader.content[4:8] != b"TFL3":
        raise _DamagedError("it does not begin as one does")
    model = reader.table(reader.offset(0))
    if model.scalar(0, "<I") != 3:
        raise _DamagedError(f"it is of version {model.scalar(0, '<I')}, not 3")
    model.text(3)
    for code in model.children(1):
        name = code.text(1)
        kind = max(code.scalar(0, "<b"), code.scalar(3, "<i"))
        if kind not in _operators() and not (kind == _CUSTOM and name in custom):
            raise _DamagedError(f"operator {kind} is none of LiteRT's own")
    kinds = model.vector(1, 4)[1]
    buffers = [_buffer_bytes(buffer) for buffer in model.children(4)]
    for number in model.numbers(5, "<I"):
        _check_index(number, len(buffers), "buffer")
    for note in model.children(6):
        note.text(0)
        _check_index(note.scalar(1, "<I"), len(buffers), "buffer")
    if model.vector(8, 4)[1] or model.vector(9, 4)[1]:
        raise _DamagedError("it draws on other files")
    graphs = list(model.children(2))
    if not graphs:
        raise _DamagedError("it has no graph")
    tensors = [_check_graph(graph, buffers, kinds, most) for graph in graphs]
    for signature in model.children(7):
        signature.text(2)
        graph = signature.scalar(4, "<I")
        _check_index(graph, len(graphs), "graph")
        for field in (0, 1):
            for entry in signature.children(field):
                entry.text(0)
                _check_index(entry.scalar(1, "<I"), tensors[graph], "tensor")


def _buffer_bytes(buffer: _Table) -> int:
    count = buffer.vector(0, 1)[1]
    start, size = buffer.scalar(1, "<Q"), buffer.scalar(2, "<Q")
    if start > 1 or size > 1:  # data behind the flatbuffer, of files beyond 2 GB
        if start + size > len(buffer.reader.content):
            raise _DamagedError("the data of a tensor lie outside of the file")
        return size
    return count


def _check_index(index: int, count: int, what: str) -> None:
    if not 0 <= index < count:
        raise _DamagedError(f"it names {what} {index}, of {count}")


def _check_graph(graph: _Table, buffers: list[int], kinds: int, most: float) -> int:
    """Returns the number of the graph's tensors."""
    graph.text(4)
    size = {}
    for index, tensor in enumerate(graph.children(0)):
        tensor.text(3)
        bytes_ = _tensor_bytes(tensor, buffers)
        if bytes_ > most:
            raise _DamagedError(f"a tensor of {_gigabytes(bytes_)}; {_gigabytes(most)} is most")
        size[index] = 0 if buffers[tensor.scalar(2, "<I")] else bytes_
    count = graph.vector(0, 4)[1]
    ends = (graph.numbers(1, "<i"), graph.numbers(2, "<i"))
    for index in (*ends[0], *ends[1]):
        _check_index(index, count, "tensor")
    operators: list[tuple[Sequence[int], Sequence[int]]] = [((), ends[0])]
    for operator in graph.children(3):
        _check_index(operator.scalar(0, "<I"), kinds, "kind of operator")
        inputs, outputs = operator.numbers(1, "<i"), operator.numbers(2, "<i")
        for index in (*inputs, *operator.numbers(8, "<i")):
            _check_index(0 if index == -1 else index, count, "tensor")
        for index in outputs:
            _check_index(index, count, "tensor")
        operators.append((inputs, outputs))
        operator.child(4)  # the options: a table inside the file
        operator.child(12)
        operator.vector(5, 1)
        operator.vector(7, 1)
        start, length = operator.scalar(9, "<Q"), operator.scalar(10, "<Q")
        if start + length > len(graph.reader.content):
            raise _DamagedError("the options of an operator lie outside of the file")
    operators.append((ends[1], ()))
    needed = live_bytes(operators, size)
    if needed > most:
        raise _DamagedError(
            f"it needs {_gigabytes(needed)} at one time; {_gigabytes(most)} is most"
        )
    return count


def _tensor_bytes(tensor: _Table, buffers: list[int]) -> int:
    """What a tensor takes; checks that it is what its data are."""
    shape, kind = tensor.numbers(0, "<i"), tensor.scalar(1, "<b")
    number = tensor.scalar(2, "<I")
    _check_index(number, len(buffers), "buffer")
    if len(shape) > _MOST_DIMENSIONS or any(length < 0 for length in shape):
        raise _DamagedError(f"a tensor has the shape {list(shape)}")
    signature = tensor.numbers(7, "<i")
    if signature and (
        len(signature) != len(shape)
        or any(free not in (-1, fixed) for free, fixed in zip(signature, shape, strict=True))
    ):
        raise _DamagedError(f"a tensor of shape {list(shape)} is said to be {list(signature)}")
    if kind not in _BITS and kind not in _UNSIZED:
        raise _DamagedError(f"a tensor is of the unknown type {kind}")
    if tensor.child(6) is not None:
        raise _DamagedError("a tensor is stored sparsely, which is not supported here")
    if tensor.vector(9, 4)[1] or tensor.scalar(10, "<I"):
        raise _DamagedError("a tensor is no plain array")
    _check_quantization(tensor.child(4), shape)
    if kind in _UNSIZED:
        return buffers[number]
    bytes_ = math.ceil(math.prod(shape) * _BITS[kind] / 8)
    if buffers[number] and buffers[number] != bytes_:
        raise _DamagedError(
            f"a tensor of shape {list(shape)} has {buffers[number]:,} bytes of data; "
            f"{bytes_:,} are needed"
        )
    return bytes_


def _check_quantization(scales: _Table | None, shape: tuple[int, ...]) -> None:
    if scales is None:
        return
    for field in (0, 1):
        scales.vector(field, 4)
    steps, zeros = scales.vector(2, 4)[1], scales.vector(3, 8)[1]
    if scales.scalar(4, "<B"):
        scales.child(5)
    if not steps and not zeros:
        return
    axis = scales.scalar(6, "<i")
    if zeros not in (0, steps, 1) or (steps > 1 and not 0 <= axis < len(shape)):
        raise _DamagedError("the number format of a tensor contradicts itself")
    if steps > 1 and steps != shape[axis]:
        raise _DamagedError(
            f"a tensor of shape {list(shape)} has {steps} scales along dimension {axis}"
        )


def _gigabytes(bytes_: float) -> str:
    return f"{bytes_ / 1e9:,.1f} GB"
