"""Checkpoints of a training run: one .npz each, the same on every backend.

An .npz is a zip archive: its directory stands at the end and every array carries a CRC-32, so that
a file that was cut short or changed is noticed when it is read. Files are written under a temporary
name, flushed to the disk and renamed, and older ones are removed only after that.
"""

import json
import re
import warnings
import zipfile
from pathlib import Path

import numpy as np

from mspfn_tf.files import atomic_write

_NAME = re.compile(r"step-(\d{8})\.npz")


class Checkpoints:
    """The newest checkpoints of a run.

    Args:
        folder: where they stand, as `step-00001000.npz`.
        keep: how many to keep.
    """

    def __init__(self, folder, keep=3):
        self.folder = Path(folder)
        self.keep = keep

    def paths(self):
        """The checkpoint files, oldest first."""
        return sorted(path for path in self.folder.glob("step-*.npz") if _NAME.match(path.name))

    def save(self, step, arrays, state):
        """Writes a checkpoint and removes those beyond the newest `keep`.

        Args:
            step: steps done.
            arrays: dict of NumPy arrays.
            state: what else to keep, as JSON can hold it.
        """
        path = self.folder / f"step-{step:08d}.npz"
        with (
            atomic_write(path, overwrite=True) as temporary,
            open(temporary, "wb") as file,
        ):
            state = np.array(json.dumps({**state, "step": step}))
            np.savez(file, **arrays, state=state)
        for old in self.paths()[: -self.keep]:
            old.unlink()
        return path

    def load_newest(self):
        """The newest checkpoint that is whole, as (arrays, state); None where there is none.

        A damaged one is left where it is, with a warning, and the one before is taken.
        """
        for path in reversed(self.paths()):
            try:
                return read(path)
            except (
                OSError,
                ValueError,
                KeyError,
                EOFError,
                zipfile.BadZipFile,
            ) as error:
                warnings.warn(
                    f"checkpoint {path} is damaged ({error}): using the one before it",
                    stacklevel=2,
                )
        return None


def read(path):
    """Reads one checkpoint: (dict of arrays, state)."""
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return arrays, json.loads(str(arrays.pop("state")))
