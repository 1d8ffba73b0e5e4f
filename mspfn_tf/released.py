"""Released folders of a model: `metadata.json` says which files belong together."""

import json
import os
from pathlib import Path

from mspfn_tf.errors import UsageError
from mspfn_tf.files import sha256

DIGESTS = "sha256"
"""Key in `metadata.json` of a dict from file names to SHA-256."""

_LONGEST_NAME = 255


def released_files(folder: Path) -> dict[str, str]:
    """SHA-256 by name of the files that were released together; none for other folders.

    Raises:
        UsageError: `metadata.json` is damaged.
    """
    path = folder / "metadata.json"
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        digests = found.get(DIGESTS, {})
        for name in digests:  # the folder may be a stranger's, and is not to lead out of itself
            if os.path.basename(name) != name or len(name) > _LONGEST_NAME:
                raise ValueError(f"{name[:_LONGEST_NAME]!r} is no file of the folder")
        return {str(name): str(digest) for name, digest in digests.items()}
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise UsageError(f"{path} is damaged: {error}. Fetch the model again") from error


def check_released(folder: Path) -> None:
    """Compares the files of a released folder with their SHA-256; those not there are left out.

    Raises:
        UsageError: one differs.
    """
    for name, expected in released_files(folder).items():
        path = folder / name
        if not path.is_file():
            continue
        found = sha256(path)
        if found != expected:
            raise UsageError(
                f"{path} is damaged or was changed: its SHA-256 is {found}, metadata.json says "
                f"{expected}. Fetch the model again"
            )
