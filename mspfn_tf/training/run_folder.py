"""The working folder of a training run: whose it is, what stands in it, and what is written."""

import contextlib
import dataclasses
import json
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mspfn_tf.errors import UsageError
from mspfn_tf.files import atomic_write, clear_leftovers, locked
from mspfn_tf.training.checkpoints import Checkpoints, DamagedCheckpointError, read
from mspfn_tf.training.recipe import Recipe, differences

_CONTENTS = ("pictures", "validation_pictures")  # fingerprints, noted when the sets are open
_RESULTS = ("model.weights.h5", "best.weights.h5", "log.jsonl")


class RunFolder:
    """`config.json`, checkpoints, weights and logs of one run.

    The identity of a run (`Recipe.identity`) stands in `config.json` and in every checkpoint, so
    that no two runs mix in one folder.

    Args:
        path: the folder.
        keep: checkpoints to keep.
    """

    def __init__(self, path: str | os.PathLike, keep: int = 3):
        self.path = Path(path)
        self.checkpoints = Checkpoints(self.path / "checkpoints", keep)
        self.log = self.path / "log.jsonl"
        self.weights = self.path / "model.weights.h5"
        self.best_weights = self.path / "best.weights.h5"
        self._config = self.path / "config.json"
        self._held = contextlib.ExitStack()

    def open(self) -> None:
        """Takes the folder for this process and removes what killed ones left half written.

        Of several workers only the chief does, which is the one that writes.

        Raises:
            UsageError: another process trains there, or the folder cannot be written.
        """
        self._held.enter_context(locked(self.path, "train"))
        clear_leftovers(self.path, recursive=True)

    def close(self) -> None:
        """Gives the folder back."""
        self._held.close()

    # === Whose it is ===

    def recorded(self) -> dict[str, Any] | None:
        """The identity of the run that the folder holds; None of an empty folder.

        From `config.json`, or from the newest checkpoint where that file is missing or damaged.

        Raises:
            UsageError: there are checkpoints, but neither they nor `config.json` can be read; or
                results of a run without its checkpoints.
        """
        identity = self._identity_in_config()
        if self.checkpoints.paths():
            if identity is None:
                identity = self._newest_identity()
        else:
            results = [name for name in _RESULTS if (self.path / name).exists()]
            if results:
                raise UsageError(
                    f"{self.path} holds {', '.join(results)} of a run, but none of its "
                    "checkpoints: a new run would write over them. Choose another workdir, or move "
                    "them away"
                )
        return identity

    def _identity_in_config(self) -> dict[str, Any] | None:
        try:
            identity = json.loads(self._config.read_text())["recipe"]
            if isinstance(identity, dict):
                return identity
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            pass  # told below, as what is no recipe is
        warnings.warn(f"{self._config} is damaged: it will be written again", stacklevel=1)
        return None

    def _newest_identity(self) -> dict[str, Any]:
        for path in reversed(self.checkpoints.paths()):
            try:
                return _identity_of(path, read(path)[1])
            except DamagedCheckpointError:
                continue
        raise UsageError(
            f"neither {self._config} nor any checkpoint in {self.checkpoints.folder} can be read: "
            "bring one back from a copy, or choose another workdir"
        )

    def check(self, identity: Mapping[str, Any]) -> None:
        """Refuses a folder that holds another run.

        Raises:
            UsageError: it does, with the differences; or what `recorded` refuses.
        """
        recorded = self.recorded()
        if recorded is not None:
            self._refuse(recorded, identity, f"{self.path} holds a run of another configuration")

    def _refuse(self, recorded: Mapping, identity: Mapping, what: str) -> None:
        # Runs from before there was a field had what is its default now.
        fields = {field.name: field.default for field in dataclasses.fields(Recipe)}
        earlier = identity.keys() - recorded.keys() & fields.keys()
        recorded = {**{name: fields[name] for name in earlier}, **recorded}
        # Not known yet, or not noted in runs from before, which can be resumed.
        either = {name for name in _CONTENTS if name not in recorded or name not in identity}
        recorded, identity = (
            {name: value for name, value in it.items() if name not in either}
            for it in (recorded, identity)
        )
        different = differences(recorded, identity, ("there", "now"))
        if different:
            raise UsageError(
                f"{what}; give it the same, or choose another workdir:\n" + "\n".join(different)
            )

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Writes `config.json`, with which `MSPFN.from_preset` takes the folder, unless it stands.

        Args:
            config: `model`, `recipe` (the identity) and what else is worth knowing.
        """
        if self._identity_in_config() == config["recipe"]:
            return
        path = self._config
        with self.writing(path), atomic_write(path, overwrite=True) as temporary:
            temporary.write_text(json.dumps(config, indent=2) + "\n")

    # === What is written ===

    @contextlib.contextmanager
    def writing(self, what: str | os.PathLike) -> Iterator[None]:
        """Turns the failure of a write into a message that names the last good state.

        Raises:
            UsageError: instead of an OSError or an error of the HDF5 library within.
        """
        try:
            yield
        except (OSError, RuntimeError, UsageError) as error:
            reason = getattr(error, "strerror", None) or error
            paths = self.checkpoints.paths()
            good = f"last good checkpoint: {paths[-1]}" if paths else "there is no checkpoint yet"
            raise UsageError(
                f"cannot write {what}: {reason}; {good}. Put that right and run again to resume"
            ) from error

    def check_space(self, size: int) -> None:
        """Raises `UsageError` if the checkpoints to come, of `size` bytes each, do not fit."""
        needed = size * (self.checkpoints.keep + 2 - len(self.checkpoints.paths()))
        free = shutil.disk_usage(self.path).free
        if free < needed:
            raise UsageError(
                f"workdir {self.path}: {free / 2**20:.0f} MiB are free, but the checkpoints need "
                f"{needed / 2**20:.0f} MiB: make room or lower keep_checkpoints"
            )

    def save(
        self,
        step: int,
        arrays: Mapping[str, np.ndarray],
        state: Mapping[str, Any],
        identity: Mapping[str, Any],
    ) -> None:
        """Writes a checkpoint; see `Checkpoints.save`.

        Raises:
            UsageError: it cannot be written; the message names the last good one.
        """
        with self.writing(f"the checkpoint of step {step}"):
            self.checkpoints.save(step, arrays, {**state, "recipe": identity})

    def load(self, identity: Mapping[str, Any]) -> tuple[dict[str, np.ndarray], dict] | None:
        """The newest whole checkpoint as (arrays, state); None where there is none.

        Raises:
            UsageError: it belongs to a run of another identity, or all are damaged.
        """
        loaded = self.checkpoints.load_newest()
        if loaded is not None:
            path = self.checkpoints.folder / f"step-{loaded[1]['step']:08d}.npz"
            self._refuse(
                _identity_of(path, loaded[1]),
                identity,
                f"{path} is of a run of another configuration",
            )
        return loaded


def _identity_of(path: Path, state: Mapping[str, Any]) -> dict[str, Any]:
    if "recipe" not in state:
        raise UsageError(
            f"{path} was written by an earlier version, which noted no configuration: begin a new "
            "run with init_weights"
        )
    return state["recipe"]
