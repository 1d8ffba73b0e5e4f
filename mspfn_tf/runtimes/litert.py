"""LiteRT: `.tflite` files."""

import contextlib
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np

from mspfn_tf.errors import UsageError
from mspfn_tf.inspection.litert import check_litert, live_bytes
from mspfn_tf.presets import check_shipped_bytes
from mspfn_tf.quiet import native_quiet
from mspfn_tf.runtimes.runtime import (
    Box,
    Runtime,
    cpu_count,
    is_out_of_memory,
    make_small_pictures,
    part_of,
    rows_and_columns,
    sizes_of,
    the_one,
)
from mspfn_tf.runtimes.trial import check_stranger
from mspfn_tf.sizes import MULTIPLE_OF, Sizes
from mspfn_tf.source import Source

SMALL_BYTES = 2e8
"""The memory that a small picture takes at most, by the estimate of the runtime: 0.28 megapixels
with `mspfn_mobile`, 0.5 with `mspfn_nano`."""
SMALL_SIZES = 3
"""Sizes of small pictures that are kept ready: changing to another takes up to a third of the time
of a picture."""
_NO_ROOM = "XNNPack delegate failed to reshape runtime"  # said where memory lacks for a size
_ABANDONED: list[Any] = []  # interpreters of a parent process, in a forked one


class _Interpreter:
    """LiteRT's interpreter of one file. It is not thread-safe, and begins when it is first used.

    `resizable` tells whether it may be given another size than before; else it begins anew for one.

    Attributes:
        size: height and width of the last picture.
    """

    def __init__(self, path, content, threads, resizable=True):
        self._path, self._content, self._threads = path, content, threads
        self._resizable = resizable
        self.size = None
        self._inside = None
        self._runners = {}

    @property
    def inside(self):
        # No `functools.cached_property`: in Python 3.11 it has a lock, which a fork may leave held.
        if self._inside is None:
            from ai_edge_litert.interpreter import Interpreter

            try:
                with native_quiet():
                    self._inside = Interpreter(
                        model_content=self._content, num_threads=self._threads
                    )
            except (ValueError, RuntimeError) as error:
                raise UsageError(f"cannot load {self._path}: {error}") from error
        return self._inside

    def run(self, source, target, picture):
        """What the tensor `target` holds after `picture` was given to the tensor `source`."""
        # A runner holds on to the interpreter's inside, which then refuses to work directly.
        self._runners.clear()
        if not self._resizable and self.size not in (None, picture.shape[1:3]):
            self._inside = None  # begins anew
        inside = self.inside
        if self.size != picture.shape[1:3]:
            self.size = None
            if list(picture.shape) != list(inside.get_input_details()[0]["shape"]):
                inside.resize_tensor_input(source, picture.shape)
            with native_quiet():
                inside.allocate_tensors()
            self.size = picture.shape[1:3]
        inside.set_tensor(source, picture)
        inside.invoke()
        return inside.get_tensor(target)

    def signature(self, name, **arrays):
        return self._runner(name)(**arrays)

    def shapes(self, name):
        """Those of the inputs of a signature, in the file or of the last picture."""
        details = self._runner(name).get_input_details()
        return {entry: detail["shape"] for entry, detail in details.items()}

    def _runner(self, name):
        if name not in self._runners:
            inside = self.inside
            with native_quiet():
                self._runners[name] = inside.get_signature_runner(name)
        return self._runners[name]


class LiteRTRuntime(Runtime):
    """A `.tflite` file. One picture at a time; other threads wait for their turn, since an
    interpreter is not thread-safe and uses all cores anyway. After a fork the child opens the file
    anew.

    Args:
        source: what it was opened from.
        path: the file.
        threads: of an interpreter.
        resize: whether to run other sizes than the file's own.
        tiles: a file of `mspfn_tf.export.litert.convert_tiles`, with which large pictures take less
            time; opened when one comes.
        content: of the file, if it was read and checked already. By default a file that is shipped
            is compared with its SHA-256, and any other one is checked and run once in a process
            of its own (`mspfn_tf.runtimes.trial`).
        int8: whether it is the preset's file with 8-bit arithmetic, and to be called so.
    """

    batches = False

    def __init__(
        self,
        source: Source,
        path: Path,
        threads: int | None = None,
        resize: bool = True,
        tiles: Path | None = None,
        content: bytes | None = None,
        int8: bool = False,
    ):
        self.kind = "litert-int8" if int8 else "litert"
        self.source = source
        self.path = path
        self._tiles_path = tiles
        if content is None:
            content, shipped = _read(path)
            if not shipped:
                check_stranger(attempt, path, content)
        self._content = content
        self._threads = threads or cpu_count()
        self._resizable = True
        self._open()
        inside = self._main.inside
        self._source, self._target = the_one(
            inside.get_input_details(), inside.get_output_details(), path
        )
        self.sizes = sizes_of(self._source["shape_signature"], path)
        self._encode, _ = _number_format(self._source, path)
        _, self._decode = _number_format(self._target, path)
        signatures = inside.get_signature_list()
        if {"statistics", "guided"} <= set(signatures):
            iterated = "statistics" in signatures["guided"]["outputs"]
            self.statistics = "iterated" if iterated else "given"
        if resize and self.sizes.fixed is not None and self._takes_other_sizes():
            self.sizes = Sizes()
        self.coarse_first = None not in (tiles, self.statistics) and self.sizes.fixed is None
        self.bytes_per_pixel = self._examine()
        if not self._resizable:
            self._start_anew()

    def _start_anew(self):
        """With new interpreters: one that lacked memory holds what it got, and may crash later."""
        self._main = self._interpreter_of_file()
        self._tiles = None
        self._small = []  # further ones for small pictures, the last used at the end

    def _interpreter_of_file(self):
        return _Interpreter(self.path, self._content, self._threads, self._resizable)

    def _open(self):
        self._start_anew()
        self._lock = threading.Lock()
        self._process = os.getpid()

    def _takes_other_sizes(self) -> bool:
        """Whether the graph of a file of fixed size works in another one, by trying a small one."""
        size = self.sizes.fixed
        if size is None or self.sizes.multiple_of != MULTIPLE_OF:
            return False
        probe = np.zeros((1, 2 * MULTIPLE_OF, 3 * MULTIPLE_OF, 3), np.float32)
        try:
            return self._run_one(probe).shape == probe.shape
        except (ValueError, RuntimeError):
            return False
        finally:
            self._open()  # what a failed change of size leaves is not to be relied upon

    def _examine(self) -> float:
        """Bytes per pixel from the tensors of the first graph, by their lifetimes; notes whether
        it takes means, and in 8 bits: those of XNNPACK go wrong when an interpreter is resized."""
        from ai_edge_litert import schema_py_generated as schema

        model = schema.Model.GetRootAs(self._content, 0)
        graph = model.Subgraphs(0)
        if graph is None or not graph.OperatorsLength():
            return Runtime.bytes_per_pixel
        size = {}
        for index in range(graph.TensorsLength()):
            tensor = graph.Tensors(index)
            shape = tensor.ShapeAsNumpy() if tensor.ShapeLength() else ()
            if len(shape) == 4:
                size[index] = 4.0 * float(np.prod(np.maximum(shape, 1)))
        operators = []
        codes = [model.OperatorCodes(index) for index in range(model.OperatorCodesLength())]
        means = {schema.BuiltinOperator.MEAN, schema.BuiltinOperator.SUM}
        convolutions = {schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.TRANSPOSE_CONV}
        pointers = 0.0
        self.needs_statistics = False
        for index in range(graph.OperatorsLength()):
            operator = graph.Operators(index)
            inputs = list(operator.InputsAsNumpy()) if operator.InputsLength() else []
            outputs = list(operator.OutputsAsNumpy()) if operator.OutputsLength() else []
            operators.append((inputs, outputs))
            code = codes[operator.OpcodeIndex()]
            kind = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
            self.needs_statistics |= kind in means
            if kind in means and len(inputs):
                given = graph.Tensors(int(inputs[0])).Type()
                if given in (schema.TensorType.INT8, schema.TensorType.UINT8):
                    self._resizable = False
            if kind in convolutions:
                # XNNPACK keeps a table of pointers for every convolution wider than one pixel: one
                # for each place of the output and tap of the kernel.
                _, tall, wide, _ = graph.Tensors(int(inputs[1])).ShapeAsNumpy()
                _, rows, columns, _ = graph.Tensors(int(outputs[0])).ShapeAsNumpy()
                if tall * wide > 1:
                    pointers += 8.0 * rows * columns * tall * wide
        produced = {name for _, outputs in operators for name in outputs}
        size = {name: bytes_ for name, bytes_ in size.items() if name in produced}
        height, width = self._source["shape"][1:3]
        return max(64.0, (live_bytes(operators, size) + pointers) / float(height * width))

    def _run_one(self, picture):
        interpreter, encoded = self._interpreter(picture.shape[1:3]), self._encode(picture)
        return self._decode(interpreter.run(self._source["index"], self._target["index"], encoded))

    def _interpreter(self, size):
        """The one that is ready for pictures of a size, or else the one that was idle longest."""
        small = size[0] * size[1] * self.bytes_per_pixel <= SMALL_BYTES
        if not small or self._main.size in (None, size):
            return self._main
        chosen = next((one for one in self._small if one.size == size), None)
        if chosen is not None or len(self._small) == SMALL_SIZES:
            chosen = chosen or self._small[0]
            self._small.remove(chosen)
        else:
            chosen = self._interpreter_of_file()
        self._small.append(chosen)
        return chosen

    def _locked(self):
        if os.getpid() != self._process:
            # Its end would wait for threads that did not come along.
            _ABANDONED.append((self._main, self._tiles, self._small))
            self._open()
        return self._lock

    @contextlib.contextmanager
    def _failures(self, pictures):
        """LiteRT knows one kind of error only, also for a lack of memory: it says then that its
        delegate cannot take the size, or nothing at all."""
        try:
            yield
        except RuntimeError as error:
            height, width = pictures.shape[1:3]
            if not str(error) or _NO_ROOM in str(error) or is_out_of_memory(error):
                self._start_anew()
                raise MemoryError(f"not enough memory for {width}x{height} pixels") from error
            raise UsageError(f"{self.path} fails at {width}x{height} pixels: {error}") from error

    def run(self, pictures: np.ndarray) -> np.ndarray:
        with self._locked(), self._failures(pictures):
            derained = [self._run_one(picture[None]) for picture in pictures]
        return _joined(derained)

    def measure(self, pictures: np.ndarray) -> np.ndarray:
        with self._locked(), self._failures(pictures):
            found = [
                self._main.signature("statistics", rainy=picture[None])["statistics"]
                for picture in pictures
            ]
        return np.concatenate(found)

    def run_guided(
        self, pictures: np.ndarray, statistics: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray | None]:
        with self._locked(), self._failures(pictures):
            found = [
                self._main.signature("guided", rainy=picture[None], statistics=statistics)
                for picture in pictures
            ]
        derained = np.concatenate([outputs["derained"] for outputs in found])
        if self.statistics == "given":
            return derained, None
        return derained, np.concatenate([outputs["statistics"] for outputs in found])

    def run_tile(self, surroundings: np.ndarray, statistics: np.ndarray, box: Box) -> np.ndarray:
        if not self.coarse_first:
            return super().run_tile(surroundings, statistics, box)
        rainy = part_of(surroundings, box)
        with self._locked(), self._failures(surroundings):
            if self._tiles is None:
                content, _ = _read(self._tiles_path)
                self._tiles = _Interpreter(self._tiles_path, content, self._threads)
            shapes = self._tiles.shapes("tile")
            factor = shapes["rainy"][1] // shapes["rows"][0]
            rows, columns = rows_and_columns(box, factor)
            return self._tiles.signature(
                "tile",
                rainy=rainy,
                surroundings=surroundings,
                statistics=statistics,
                rows=rows,
                columns=columns,
            )["derained"]


def _read(path):
    """The bytes of a file, which are the ones that were checked; whether it is a shipped one."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    shipped = check_shipped_bytes(path, content)
    if not shipped:
        check_litert(content, path)
    return content, shipped


def _joined(arrays):
    """One batch of many; large pictures come alone, and nothing of theirs is copied needlessly."""
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def attempt(path: Path, content: bytes) -> None:
    """Opens a `.tflite` file and makes small pictures; for `mspfn_tf.runtimes.trial`."""
    source = Source("litert", path.name, path)
    make_small_pictures(LiteRTRuntime(source, path, content=content))


def _number_format(tensor, path):
    """Returns (encode, decode) between float32 in [0, 1] and the numbers of a LiteRT tensor."""
    dtype = tensor["dtype"]
    if np.issubdtype(dtype, np.floating):
        return (
            lambda values: values.astype(dtype, copy=False),
            lambda values: values.astype(np.float32, copy=False),
        )
    scale, zero = tensor["quantization"]
    if scale == 0:
        if dtype != np.uint8:
            raise UsageError(f"{path}: {np.dtype(dtype)} pictures without a scale; expected uint8")
        scale, zero = 1 / 255, 0  # plain bytes, as a camera delivers them
    limits = np.iinfo(dtype)

    def encode(values):
        return np.clip(np.rint(values / scale + zero), limits.min, limits.max).astype(dtype)

    def decode(values):
        return (values.astype(np.float32) - zero) * np.float32(scale)

    return encode, decode
