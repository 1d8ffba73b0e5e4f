"""Results of long runs, kept line by line as they come, so that an interrupted run continues."""

import hashlib
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mspfn_tf import __version__
from mspfn_tf.errors import UsageError
from mspfn_tf.files import atomic_write, sha256, sha256_if_readable, visible_files
from mspfn_tf.pictures import find_images

_LIBRARIES = {
    "numpy": "numpy",
    "PIL": "pillow",
    "tensorflow": "tensorflow",
    "jax": "jax",
    "torch": "torch",
    "keras": "keras",
    "ai_edge_litert": "ai-edge-litert",
    "onnxruntime": "onnxruntime",
    "pycocotools": "pycocotools",
    "tensorflow_datasets": "tensorflow-datasets",
}


def resume(partial: Path, configuration: Mapping[str, object]) -> dict[int, dict]:
    """What a partial file holds, `{index: record}`; starts the file if there is none.

    The file's first line is the configuration, each further one a record with its `index`.

    Raises:
        UsageError: the file is damaged, or that of another configuration.
    """
    done = {}
    if partial.is_file():
        # The last line of a run that was killed may be torn.
        try:
            lines = partial.read_text(encoding="utf-8").splitlines(keepends=True)
            lines = [json.loads(line) for line in lines if line.endswith("\n")]
            if lines:
                check_same(lines[0], configuration, partial.parent)
            for record in lines[1:]:
                done[record.pop("index")] = record
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, UsageError):
                raise
            raise UsageError(
                f"{partial} is damaged ({error}): remove it to evaluate from the start"
            ) from error
    with atomic_write(partial, overwrite=True) as path:
        records = [{"index": index, **record} for index, record in done.items()]
        text = "".join(json.dumps(line) + "\n" for line in (configuration, *records))
        path.write_text(text, encoding="utf-8")
    return done


def complete(
    finished: Path, partial: Path, configuration: Mapping[str, object]
) -> dict[str, Any] | None:
    """The results that a run wrote to `finished` at its end; None if it did not come so far.

    Raises:
        UsageError: they are damaged, or those of another configuration.
    """
    if partial.is_file() or not finished.is_file():
        return None
    try:
        scores = json.loads(finished.read_text(encoding="utf-8"))
        found = dict(scores.get("configuration", {}))
    except (ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"{finished} is damaged ({error}): remove it to evaluate again") from error
    check_same(found, configuration, finished.parent)
    return scores


def check_same(found: Mapping[str, object], wanted: Mapping[str, object], output: object) -> None:
    """Raises `UsageError` if two configurations differ; the message names what does."""
    wanted = json.loads(json.dumps(wanted))  # tuples are lists in JSON
    differing = [
        f"{key} (there {found.get(key)!r}, now {wanted.get(key)!r})"
        for key in sorted(found.keys() | wanted.keys())
        if found.get(key) != wanted.get(key)
    ]
    if differing:
        raise UsageError(
            f"{output} holds results of another configuration: {'; '.join(differing)}. Choose "
            "another output or remove it"
        )


def digest(path: str | os.PathLike) -> str:
    """The SHA-256 of a file; of a folder, that of the paths and digests of what is not hidden."""
    path = Path(path)
    if path.is_file():
        return sha256(path)
    # What reads the pictures follows links to folders.
    files = {*visible_files(path), *find_images(path)}
    facts = [
        (file.relative_to(path).as_posix(), sha256_if_readable(file)) for file in sorted(files)
    ]
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def provenance(command: str | None) -> dict[str, object]:
    """The command, the date and the versions of what is loaded, for the head of a result file."""
    versions = {"mspfn_tf": __version__, "python": platform.python_version()}
    for module, distribution in _LIBRARIES.items():
        if module in sys.modules:
            versions[distribution] = importlib.metadata.version(distribution)
    return {
        "command": command,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions,
    }
