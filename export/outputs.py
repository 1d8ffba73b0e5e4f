"""The files of an export: all of them or none, by one process at a time."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mspfn_tf.errors import UsageError
from mspfn_tf.files import (
    atomic_folder,
    atomic_write,
    clear_leftovers,
    locked,
    partial_path,
    writing,
)

_FORMATS = ("saved_model", "litert", "onnx", "openvino")


@contextlib.contextmanager
def outputs(
    *files: Path, overwrite: bool, folder: Path | None = None, mark: str | None = None
) -> Iterator[list[Path]]:
    """Yields temporary paths that take the places of `folder` and `files` when the block succeeds.
    Where one of them cannot take its place, what stood there before stays or comes back.

    Holds the folder that they stand in for as long as the block runs, and removes what killed
    processes left there.

    Args:
        files: what is written, all in one folder.
        overwrite: whether what is there may be replaced.
        folder: a folder that is written beside them; it comes first among the paths.
        mark: of such folders; see `atomic_folder`.

    Raises:
        UsageError: one exists and `overwrite` is false, cannot be written, a `.json` file is there
            that describes no export, or another process exports to the same folder.
    """
    parent = files[0].parent
    for path in files:
        if path.suffix == ".json" and path.exists() and _described(path) not in _FORMATS:
            raise UsageError(
                f"{path} exists already and is no description of an export: it is not replaced. "
                "Move it away, or choose another output"
            )
    with locked(parent, "export"), contextlib.ExitStack() as stack:
        clear_leftovers(parent)
        before = stack.enter_context(_put_back())
        folders = (
            [] if folder is None else [stack.enter_context(atomic_folder(folder, overwrite, mark))]
        )
        paths = [stack.enter_context(atomic_write(path, overwrite)) for path in files]
        with writing(folder or files[0], temporary=True):
            yield [*folders, *paths]
        _keep(files, before)  # from here on the new ones take their places


@contextlib.contextmanager
def _put_back() -> Iterator[dict[Path, Path | None]]:
    """Yields a dict from files to the hidden names of what stood there, None for nothing; where the
    block fails, that stands there again."""
    before: dict[Path, Path | None] = {}
    try:
        yield before
    except BaseException:
        for path, kept in before.items():
            with contextlib.suppress(OSError):
                if kept is None:
                    path.unlink(missing_ok=True)
                else:
                    kept.replace(path)
        raise
    finally:
        for kept in before.values():
            if kept is not None:
                kept.unlink(missing_ok=True)


def _keep(files: Sequence[Path], before: dict[Path, Path | None]) -> None:
    """Gives what stands at `files` a second name each, and notes it in `before`."""
    for path in files:
        if not path.exists():
            before[path] = None
            continue
        kept = partial_path(path)
        with writing(path):
            try:
                os.link(path, kept)
            except OSError:  # a file system without links
                shutil.copyfile(path, kept)
        before[path] = kept


def _described(path: Path) -> str | None:
    """The format that a description tells of; None if `path` is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))["format"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def write_card(path: Path, description: dict[str, Any]) -> dict[str, Any]:
    """Writes the description of an export; returns it as JSON keeps it."""
    text = json.dumps(description, indent=1) + "\n"
    path.write_text(text)
    return json.loads(text)


def card_path(output: Path, format: str) -> Path:
    """Where the description of an export goes: `<name>.json`, or, where an export of another format
    has that name already, `<name>.<suffix>.json`, so that neither tells of the other's files.

    Args:
        output: the file or folder that is exported.
        format: the kind of export, which the description tells.
    """
    name = output.name if format == "saved_model" else output.stem  # folders have no suffix
    path = output.with_name(f"{name}.json")
    found = _described(path)
    if found is None:  # there is none, or something else: see `outputs`
        return path
    kind = format if format == "saved_model" else output.suffix[1:]
    return path if found == format else output.with_name(f"{name}.{kind}.json")
