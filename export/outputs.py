"""The files of an export: all of them or none, by one process at a time."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from mspfn_tf.files import atomic_folder, atomic_write, clear_leftovers, locked, writing


@contextlib.contextmanager
def outputs(
    *files: Path, overwrite: bool, folder: Path | None = None, mark: str | None = None
) -> Iterator[list[Path]]:
    """Yields temporary paths that take the places of `folder` and `files` when the block succeeds.

    Holds the folder that they stand in for as long as the block runs, and removes what killed
    processes left there.

    Args:
        files: what is written, all in one folder.
        overwrite: whether what is there may be replaced.
        folder: a folder that is written beside them; it comes first among the paths.
        mark: of such folders; see `atomic_folder`.

    Raises:
        UsageError: one exists and `overwrite` is false, cannot be written, or another process
            exports to the same folder.
    """
    parent = files[0].parent
    with locked(parent, "export"), contextlib.ExitStack() as stack:
        clear_leftovers(parent)
        folders = (
            [] if folder is None else [stack.enter_context(atomic_folder(folder, overwrite, mark))]
        )
        paths = [stack.enter_context(atomic_write(path, overwrite)) for path in files]
        with writing(folder or files[0]):
            yield [*folders, *paths]


def card_path(output: Path, format: str) -> Path:
    """Where the description of an export goes: `<name>.json`, or, where an export of another format
    has that name already, `<name>.<suffix>.json`, so that neither tells of the other's files.

    Args:
        output: the file or folder that is exported.
        format: the kind of export, which the description tells.
    """
    name = output.name if format == "saved_model" else output.stem  # folders have no suffix
    path = output.with_name(f"{name}.json")
    try:
        found = json.loads(path.read_text())["format"]
    except (OSError, ValueError, KeyError, TypeError):
        return path  # there is none, or something else: see `atomic_write`
    kind = format if format == "saved_model" else output.suffix[1:]
    return path if found == format else output.with_name(f"{name}.{kind}.json")
