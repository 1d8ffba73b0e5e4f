"""What a SavedModel may contain: a graph that computes, and does nothing else.

TensorFlow runs whatever a SavedModel's graph says, and graphs can read and write files, call
Python and talk to other machines. Such operators are refused before anything is loaded. A graph
can still compute for ever or take all memory: SavedModels of strangers need a sandbox (see
SECURITY.md).
"""

import functools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mspfn_tf.errors import UsageError

# Operators that keep state, and that is all they do. Others that keep state are refused.
_HARMLESS = frozenset(
    [
        "Assert",
        "AssignAddVariableOp",
        "AssignSubVariableOp",
        "AssignVariableOp",
        "Case",
        "CheckNumerics",
        "CheckNumericsV2",
        "DatasetToSingleElement",
        "DisableCopyOnRead",
        "Empty",
        "GuaranteeConst",
        "If",
        "RandomStandardNormal",
        "RandomUniform",
        "RandomUniformInt",
        "RangeDataset",
        "ReadVariableOp",
        "ReduceDataset",
        "ResourceGather",
        "ResourceGatherNd",
        "StatefulPartitionedCall",
        "StatelessRandomGetAlg",
        "TensorArrayCloseV3",
        "TensorArrayConcatV3",
        "TensorArrayGatherV3",
        "TensorArrayReadV3",
        "TensorArrayScatterV3",
        "TensorArraySizeV3",
        "TensorArraySplitV3",
        "TensorArrayV3",
        "TensorArrayWriteV3",
        "TensorDataset",
        "TensorSliceDataset",
        "TruncatedNormal",
        "VarHandleOp",
        "VarIsInitializedOp",
        "VariableShape",
        "While",
    ]
)
# Operators that say they keep no state, and yet reach beyond the graph.
_REACHING = re.compile(
    r"PyFunc|ReadFile|MatchingFiles|TextFile|Debug|SnapshotDataset|SnapshotChunk|SnapshotNested|"
    r"CacheDataset|DatasetFromGraph|RegisterDataset|SleepDataset|ImmutableConst|TPU|Remote|"
    r"LookupTable"
)
_MOST_BYTES = 2**30  # of the graph; weights stand beside it


def check_saved_model(path: Path) -> None:
    """Refuses a SavedModel whose graph does more than compute.

    The functions that save and restore its variables, which TensorFlow puts into every SavedModel,
    do not count, as long as nothing else calls them.

    Args:
        path: the folder.

    Raises:
        UsageError: no SavedModel can be read there, or it has operators that read or write files,
            call Python, communicate, or that TensorFlow does not know.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    file = path / "saved_model.pb"
    message = saved_model_pb2.SavedModel()
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise UsageError(f"{file} is larger than {_MOST_BYTES:,} bytes: no graph is")
        message.ParseFromString(file.read_bytes())
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from error
    except DecodeError as error:
        raise UsageError(f"{file} is damaged, or no SavedModel: {error}") from error
    for graph in message.meta_graphs:
        foreign = sorted(set(_operators(graph)) - _allowed())
        if foreign:
            raise UsageError(
                f"{path} is refused: its graph has operators that do more than compute, or that "
                f"are unknown: {', '.join(map(repr, foreign[:8]))}"
            )


@functools.cache
def _allowed() -> frozenset[str]:
    """The operators of TensorFlow that compute."""
    import tensorflow as tf
    from tensorflow.python.framework import op_def_registry

    names = [name for name in dir(tf.raw_ops) if not name.startswith("_")]
    stateful = {name for name in names if op_def_registry.get(name).is_stateful}
    return frozenset(
        name
        for name in names
        if (name in _HARMLESS or name not in stateful) and not _REACHING.search(name)
    ) | {"Placeholder", "NoOp", "Const"}


def _operators(graph: Any) -> Iterator[str]:
    """The operators that running the graph can reach."""
    functions = {function.signature.name: function for function in graph.graph_def.library.function}
    for gradient in graph.graph_def.library.gradient:
        yield from () if gradient.gradient_func in functions else (gradient.gradient_func,)
    savers = {
        name.partition(":")[0]
        for name in (graph.saver_def.save_tensor_name, graph.saver_def.restore_op_name)
    }
    nodes = [node for node in graph.graph_def.node if node.name not in savers]
    saving = {
        name for node in graph.graph_def.node if node.name in savers for name in _called((node,))
    }
    reached = {*graph.object_graph_def.concrete_functions, *_called(nodes)}
    reached |= {node.op for node in nodes}
    # Whatever is no part of saving counts, even if nothing seems to call it.
    apart = _closure(saving, functions)
    reached |= functions.keys() - apart
    for name in _closure(reached, functions):
        yield from (node.op for node in functions[name].node_def if node.op not in functions)
    yield from (node.op for node in nodes if node.op not in functions)


def _closure(names: Iterable[str], functions: dict) -> set[str]:
    found, waiting = set(), list(names)
    while waiting:
        name = waiting.pop()
        if name in found or name not in functions:
            continue
        found.add(name)
        nodes = functions[name].node_def
        waiting += [*_called(nodes), *(node.op for node in nodes)]
    return found


def _called(nodes: Iterable[Any]) -> Iterator[str]:
    """Names of the functions that nodes refer to."""
    for node in nodes:
        for value in node.attr.values():
            if value.HasField("func"):
                yield value.func.name
            for function in value.list.func:
                yield function.name
