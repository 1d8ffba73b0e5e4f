"""What all runtimes have in common."""

import abc
import os
import platform
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from mspfn_tf.errors import UsageError
from mspfn_tf.sizes import MULTIPLE_OF, Sizes
from mspfn_tf.source import Source

RUNTIMES = (
    "litert",
    "litert-int8",
    "keras",
    "openvino",
    "openvino-bfloat16",
    "saved_model",
    "onnx",
)
CHOICES = RUNTIMES[:5]
"""Those that run a preset."""

MOST_FIXED_PIXELS = 2**26
"""A model of one fixed size may take pictures of so many pixels, 8192x8192."""
Box: TypeAlias = tuple[int, int, int, int]
"""A part of a picture: top, left, height, width; pixels, all multiples of 8."""
_opened_in: int | None = None  # the process that opened a model on Keras or TensorFlow
_SMALL = ((40, 64), (72, 48))  # pictures that a model of free size is tried with


class Runtime(abc.ABC):
    """A model that is ready to run. Calls from several threads are right; see `run`.

    Attributes:
        kind: one of `RUNTIMES`.
        source: the `mspfn_tf.source.Source` it was opened from.
        sizes: the `Sizes` that it takes.
        batches: whether it takes several pictures at once.
        statistics: how the attention can be given the statistics of a whole picture: "given" (they
            do not depend on those in use), "iterated" (they do), or None where it cannot.
        coarse_first: whether the full scale may see less of a picture than the coarser ones.
        needs_statistics: whether tiles differ from the whole picture without them, as far as can be
            known.
        bytes_per_pixel: estimate of the memory that one pixel takes while it goes through.
    """

    kind: str
    source: Source
    sizes: Sizes
    batches: bool = True
    statistics: str | None = None
    coarse_first: bool = False
    needs_statistics: bool = True
    bytes_per_pixel: float = 4096.0
    _process: int  # that it was opened in

    @abc.abstractmethod
    def run(self, pictures: np.ndarray) -> np.ndarray:
        """Derains pictures.

        Args:
            pictures: float32 `[batch, H, W, 3]`, RGB in [0, 1], of a size among `sizes`.

        Returns:
            float32 `[batch, H, W, 3]`; not necessarily clipped.
        """

    @abc.abstractmethod
    def measure(self, pictures: np.ndarray) -> np.ndarray:
        """The statistics of pictures; only where `statistics` is not None.

        Args:
            pictures: as `run` takes them.

        Returns:
            float32 `[batch, 1, 1, S]`; see `mspfn_tf.whole_picture`.
        """

    @abc.abstractmethod
    def run_guided(
        self, pictures: np.ndarray, statistics: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Derains pictures that attend by given statistics; only where `statistics` is not None.

        Args:
            pictures: as `run` takes them.
            statistics: float32 `[1, 1, 1, S]`, for all pictures alike.

        Returns:
            (what `run` returns; the statistics measured meanwhile, if `statistics` is "iterated").
        """

    def run_tile(self, surroundings: np.ndarray, statistics: np.ndarray, box: Box) -> np.ndarray:
        """Derains a part of a picture by given statistics, as its surroundings want it.

        Where `coarse_first`, only the coarser scales work on all of those; see
        `mspfn_tf.whole_picture`.

        Args:
            surroundings: float32 `[1, H, W, 3]`, RGB in [0, 1], sides multiples of 8.
            statistics: as `run_guided` takes them.
            box: of the part in them.

        Returns:
            float32 `[1, height, width, 3]`; not necessarily clipped.
        """
        derained, _ = self.run_guided(surroundings, statistics)
        return part_of(derained, box)

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise UsageError(
                f"{self.source.name} was opened before this process was forked, and its threads "
                "did not come along: open it in the child processes alone, or start them by spawn"
            )


def check_backend(name: str) -> None:
    """Refuses to open a model on Keras or TensorFlow in a process whose parent did before the fork:
    it would wait for threads that did not come along, without end.

    Args:
        name: of the model.

    Raises:
        UsageError: the parent did.
    """
    if _opened_in not in (None, os.getpid()):
        raise UsageError(
            f"{name} cannot be opened in this process, which was forked after its parent opened "
            "models on the same backend, whose threads did not come along: open them in the child "
            "processes alone, or start them by spawn"
        )


def note_backend() -> None:
    """Notes for `check_backend` that this process has opened a model on Keras or TensorFlow."""
    global _opened_in
    _opened_in = os.getpid()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` is how a runtime tells that there is not enough memory; each has its own."""
    if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("alloc" in text or "memory" in text)


def make_small_pictures(runtime: Runtime) -> None:
    """Derains a picture or two, also by given statistics where the model can."""
    random = np.random.default_rng(0)
    for height, width in (runtime.sizes.fixed,) if runtime.sizes.fixed else _SMALL:
        picture = random.random((1, height, width, 3), np.float32)
        runtime.run(picture)
        if runtime.statistics is not None:
            statistics = runtime.measure(picture)
            runtime.run_guided(picture, statistics)
            if runtime.coarse_first:
                runtime.run_tile(picture, statistics, (0, 0, height, width))


def part_of(pictures: np.ndarray, box: Box, factor: int = 1) -> np.ndarray:
    """A part of pictures, or of their features at 1/`factor`."""
    top, left, height, width = (pixels // factor for pixels in box)
    return np.ascontiguousarray(pictures[:, top : top + height, left : left + width])


def rows_and_columns(box: Box, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """Those of a part in features at 1/`factor`, int32, for graphs that take it themselves."""
    top, left, height, width = (pixels // factor for pixels in box)
    return (
        np.arange(top, top + height, dtype=np.int32),
        np.arange(left, left + width, dtype=np.int32),
    )


def the_one(inputs: Sequence, outputs: Sequence, name: Any) -> tuple[Any, Any]:
    """The input and the output of a file; raises `UsageError` if it has others besides."""
    if len(inputs) != 1 or len(outputs) != 1:
        raise UsageError(
            f"{name} has {len(inputs)} inputs and {len(outputs)} outputs; expected one picture in, "
            "one out"
        )
    return inputs[0], outputs[0]


def sizes_of(shape: Any, name: Any) -> Sizes:
    """The `Sizes` of a model whose input has `shape`, with None or -1 for what is free."""
    shape = [None if side is None or side < 0 else int(side) for side in shape]
    if len(shape) != 4 or shape[3] != 3 or shape[0] not in (None, 1):
        raise UsageError(f"{name} takes {shape}; expected pictures [batch, H, W, 3]")
    height, width = shape[1:3]
    if height is None and width is None:
        return Sizes()
    if height is None or width is None:
        raise UsageError(f"{name} takes {shape}; expected H and W both fixed or both free")
    if not 0 < height * width <= MOST_FIXED_PIXELS:
        raise UsageError(
            f"{name} takes pictures of {width}x{height} only; expected at most "
            f"{MOST_FIXED_PIXELS:,} pixels"
        )
    aligned = height % MULTIPLE_OF == 0 and width % MULTIPLE_OF == 0
    return Sizes(MULTIPLE_OF if aligned else 1, minimum=1, fixed=(height, width))


def processor() -> str:
    """The name of this machine's processor, as far as the system tells it."""
    try:
        with open("/proc/cpuinfo") as info:
            return next(line.split(":")[1].strip() for line in info if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def cpu_count() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
