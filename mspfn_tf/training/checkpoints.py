"""Checkpoints of a training run: one .npz each, the same on every backend.

An .npz is a zip archive: its directory stands at the end and every array carries a CRC-32, so that
a file that was cut short or changed is noticed when it is read. Files are written under a temporary
name, flushed to the disk and renamed. Older ones are removed only after that, and only when as many
newer ones can be read as are to be kept.
"""

import io
import json
import os
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mspfn_tf.errors import UsageError
from mspfn_tf.files import atomic_write

_NAME = re.compile(r"step-(\d{8,})\.npz")

Arrays = dict[str, np.ndarray]


class DamagedCheckpointError(Exception):
    """A file that is no whole checkpoint."""


class Checkpoints:
    """The newest checkpoints of a run.

    Args:
        folder: where they stand, as `step-00001000.npz`.
        keep: how many to keep, at least 1.
    """

    def __init__(self, folder: str | os.PathLike, keep: int = 3):
        self.folder = Path(folder)
        self.keep = keep
        self._whole: set[Path] = set()  # those that this process has written or read

    def paths(self) -> list[Path]:
        """The checkpoint files, in the order of their steps."""
        return sorted((p for p in self.folder.glob("step-*.npz") if _NAME.match(p.name)), key=_step)

    def save(self, step: int, arrays: Mapping[str, np.ndarray], state: Mapping[str, Any]) -> Path:
        """Writes a checkpoint and removes those beyond the newest `keep`.

        Args:
            step: steps done.
            arrays: arrays by name.
            state: what else to keep, as JSON can hold it.

        Raises:
            OSError, UsageError: it cannot be written; those before it are as they were.
        """
        path = self.folder / f"step-{step:08d}.npz"
        state = {**state, "step": step, "arrays": sorted(arrays)}
        with atomic_write(path, overwrite=True) as temporary, open(temporary, "wb") as file:
            np.savez(file, allow_pickle=False, **arrays, state=np.array(json.dumps(state)))
        self._whole.add(path)
        self._prune(step)
        return path

    def _prune(self, step: int) -> None:
        # Files of later steps are of a future that was given up (or damaged): training will write
        # them again, so they neither count nor go.
        kept = 0
        for path in reversed([path for path in self.paths() if _step(path) <= step]):
            if kept >= self.keep:
                path.unlink()
                self._whole.discard(path)
            elif path in self._whole or self._can_be_read(path):
                kept += 1

    def _can_be_read(self, path: Path) -> bool:
        try:
            read(path)
        except DamagedCheckpointError:
            return False
        self._whole.add(path)
        return True

    def load_newest(self) -> tuple[Arrays, dict[str, Any]] | None:
        """The newest checkpoint that is whole, as (arrays, state); None where there is no file.

        A damaged one is left where it is, with a warning, and the one before is taken.

        Raises:
            UsageError: there are checkpoints, but all are damaged.
        """
        paths, errors = self.paths(), []
        for path in reversed(paths):
            try:
                arrays, state = read(path)
            except DamagedCheckpointError as error:
                errors.append(f"  {error}")
                warnings.warn(f"{error}: using the one before it", stacklevel=2)
                continue
            self._whole.add(path)
            return arrays, state
        if errors:
            raise UsageError(
                f"no checkpoint in {self.folder} can be read:\n"
                + "\n".join(errors)
                + "\nBring one back from a copy, or move them away to begin at step 0"
            )
        return None


def read(path: str | os.PathLike) -> tuple[Arrays, dict[str, Any]]:
    """Reads one checkpoint: (arrays by name, state).

    Raises:
        DamagedCheckpointError: the file cannot be read or is not whole.
    """
    try:
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
            size = os.fstat(file.fileno()).st_size
            arrays = {
                member.filename.removesuffix(".npy"): _array(archive, member, size)
                for member in archive.infolist()
            }
        state = json.loads(str(arrays.pop("state")))
        if sorted(arrays) != state["arrays"]:
            raise ValueError("arrays are missing")
        return arrays, state
    # zipfile and NumPy answer damage with more kinds of exceptions than they tell.
    except Exception as error:
        raise DamagedCheckpointError(
            f"checkpoint {path} is damaged ({type(error).__name__}: {error})"
        ) from error


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, size: int) -> np.ndarray:
    if member.file_size > size:
        raise ValueError(f"{member.filename} is declared larger than the file")
    data = io.BytesIO(archive.read(member))  # to its end, where the CRC is checked
    array = np.lib.format.read_array(data, allow_pickle=False)
    if data.read(1):
        raise ValueError(f"{member.filename} is longer than its array")
    return array


def _step(path: Path) -> int:
    match = _NAME.match(path.name)
    return int(match.group(1)) if match else -1
