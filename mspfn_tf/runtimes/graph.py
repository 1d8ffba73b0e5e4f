"""What the runtimes of ONNX and OpenVINO files have in common."""

import abc
import os

import numpy as np

from mspfn_tf.errors import UsageError
from mspfn_tf.runtimes.runtime import Box, Runtime, part_of, rows_and_columns, sizes_of


class GraphRuntime(Runtime):
    """What ONNX and OpenVINO files have in common: pictures may be planar, statistics come in
    parts. Calls from several threads run at the same time.

    A subclass sets `_facts` (what the file says of itself) before it calls `_prepare`, and has
    `_call`.
    """

    def _prepare(self, path, shape, output_shape, number):
        """Finds out how pictures go in and come out.

        Args:
            path: of the file, for messages.
            shape: of the input, with None for what is free.
            output_shape: of the output.
            number: dtype of the input.
        """
        layout = self._facts.get("layout")
        for found in (shape, output_shape):
            if len(found) != 4 or 3 not in (found[1], found[3]):
                raise UsageError(
                    f"{path} takes {list(shape)} and gives {list(output_shape)}; expected pictures "
                    "[batch, 3, H, W] or [batch, H, W, 3] on both sides"
                )
        self._planar = [
            found[1] == 3 and (found[3] != 3 or layout != "nhwc") for found in (shape, output_shape)
        ]
        self._number = number
        height, width = shape[2:] if self._planar[0] else shape[1:3]
        self.sizes = sizes_of((shape[0], height, width, 3), path)
        self.batches = shape[0] is None
        self._process = os.getpid()

    def _encode(self, pictures):
        if self._planar[0]:
            pictures = pictures.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(pictures, self._number)

    def _decode(self, pictures):
        if self._planar[1]:
            pictures = pictures.transpose(0, 2, 3, 1)
        return np.ascontiguousarray(pictures, np.float32)

    @abc.abstractmethod
    def _call(self, graph: str, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """Runs "plain", "measure", "guided" or, where `coarse_first`, "tile" on its inputs, in
        order."""

    def run(self, pictures: np.ndarray) -> np.ndarray:
        self._check_process()
        batches = [pictures] if self.batches else np.split(pictures, len(pictures))
        found = [self._decode(self._call("plain", [self._encode(part)])[0]) for part in batches]
        return np.concatenate(found)

    def measure(self, pictures: np.ndarray) -> np.ndarray:
        self._check_process()
        return np.concatenate(self._call("measure", [self._encode(pictures)]), axis=-1)

    def run_guided(
        self, pictures: np.ndarray, statistics: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray | None]:
        self._check_process()
        given = self._given(np.repeat(statistics, len(pictures), axis=0))
        derained, *measured = self._call("guided", [self._encode(pictures), *given])
        return self._decode(derained), np.concatenate(measured, axis=-1) if measured else None

    def run_tile(self, surroundings: np.ndarray, statistics: np.ndarray, box: Box) -> np.ndarray:
        if not self.coarse_first:
            return super().run_tile(surroundings, statistics, box)
        self._check_process()
        rainy = part_of(surroundings, box)
        arrays = [
            *map(self._encode, (rainy, surroundings)),
            *self._given(statistics),
            *rows_and_columns(box, self._facts["coarse_factor"]),
        ]
        return self._decode(self._call("tile", arrays)[0])

    def _given(self, statistics):
        parts = np.split(statistics, np.cumsum(self._facts["widths"])[:-1], axis=-1)
        return [np.ascontiguousarray(part, np.float32) for part in parts]
