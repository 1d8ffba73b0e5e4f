"""What a training run tells: a progress line, `log.jsonl`, TensorBoard. All are Keras callbacks.

The trainer reports every `log_every` steps through `on_train_batch_end` and after every validation
through `on_epoch_end`; the logs always hold `step`, the number of steps done.
"""

import datetime
import importlib.util
import json
import math
import os
import sys
from collections.abc import Callable, Iterable

import keras
import numpy as np

from mspfn_tf.errors import UsageError
from mspfn_tf.files import atomic_write
from mspfn_tf.pictures.sheets import side_by_side
from mspfn_tf.training.run_folder import RunFolder

_VALIDATION = {"step", "best", "val_psnr", "val_ssim", "val_input_psnr", "val_input_ssim"}


class ProgressLine(keras.callbacks.Callback):
    """Prints loss, PSNR, speed and time left; on a terminal the line is written over."""

    def __init__(self, steps: int):
        super().__init__()
        self.steps = steps
        self.live = sys.stdout.isatty()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        logs = logs or {}
        seconds = logs["seconds_left"]
        left = "?" if math.isnan(seconds) else datetime.timedelta(seconds=round(seconds))
        self._print(
            f"step {logs['step']:.0f}/{self.steps}  loss {logs['loss']:.5f}  "
            f"psnr {logs['psnr']:.2f} dB  {logs['patches_per_second']:.1f} patches/s  "
            f"input {logs['waiting']:.1%}  ETA {left}",
            end="" if self.live else "\n",
        )

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        logs = logs or {}
        best = "  (best)" if logs["best"] else ""
        others = [
            f", {name} {value:.4g}" for name, value in logs.items() if name not in _VALIDATION
        ]
        self._print(
            f"step {logs['step']:.0f}/{self.steps}  validation: psnr {logs['val_psnr']:.3f} dB, "
            f"ssim {logs['val_ssim']:.4f} (rainy {logs['val_input_psnr']:.3f}, "
            f"{logs['val_input_ssim']:.4f}){''.join(others)}{best}",
        )

    def _print(self, line, end="\n"):
        print(f"\r{line}\033[K" if self.live else line, end=end, flush=True)


class JsonLog(keras.callbacks.Callback):
    """Appends every report to `log.jsonl`, one JSON object a line.

    Args:
        folder: the run's. Lines of steps after `step`, from before an interruption, are dropped.
        step: the steps done at the start.

    Raises:
        UsageError: the file cannot be written, here or later.
    """

    def __init__(self, folder: RunFolder, step: int):
        super().__init__()
        self.folder = folder
        self.rewind(step)

    def rewind(self, step: int) -> None:
        """Drops the lines of steps after `step`, which are made again or were given up."""
        path = self.folder.log
        lines = []
        with self.folder.writing(path), atomic_write(path, overwrite=True) as temporary:
            if path.exists():
                lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            kept = [line for line in lines if _step_of(line) <= step]
            temporary.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._append(logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._append(logs)

    def _append(self, logs: dict[str, float] | None) -> None:
        # Keras makes every value a float; whole numbers read better without a fraction.
        logs = {
            name: int(value) if float(value).is_integer() else float(f"{value:.8g}")
            for name, value in (logs or {}).items()
            if math.isfinite(value)
        }
        path = self.folder.log
        with self.folder.writing(path), open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(logs) + "\n")


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf  # a line that was cut short


class TensorBoardLog(keras.callbacks.Callback):
    """Scalars, and panels of the pictures that evaluators show. Needs TensorFlow.

    Args:
        folder: where the event files go.
        panels: function yielding (name, pictures beside each other), uint8 [H, W, 3] each.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        panels: Callable[[], Iterable[tuple[str, list[np.ndarray]]]],
    ):
        super().__init__()
        if importlib.util.find_spec("tensorboard") is None:
            raise UsageError('tensorboard needs TensorBoard: pip install "mspfn_tf[tensorboard]"')
        import tensorflow as tf

        self._tf = tf
        self._writer = tf.summary.create_file_writer(str(folder))
        self._panels = panels

    def _scalars(self, logs: dict[str, float]) -> None:
        with self._writer.as_default(step=int(logs["step"])):
            for name, value in logs.items():
                if isinstance(value, float):
                    self._tf.summary.scalar(name, value)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._scalars(logs or {})

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        logs = logs or {}
        self._scalars(logs)
        with self._writer.as_default(step=int(logs["step"])):
            for name, images in self._panels():
                self._tf.summary.image(name, side_by_side(images)[None])
        self._writer.flush()
