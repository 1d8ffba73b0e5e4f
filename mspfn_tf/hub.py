"""Models from the Hugging Face Hub, `hf://owner/name` or `hf://owner/name@revision`.

The layout there is that of keras-hub's presets: `config.json`, `model.weights.h5`, `metadata.json`;
ours have `model.tflite` beside them, which runs without TensorFlow.
"""

import re
from pathlib import Path

from mspfn_tf.errors import UsageError
from mspfn_tf.extras import require
from mspfn_tf.released import check_released

PATTERNS = ["config.json", "metadata.json", "model.weights.h5", "model.tflite"]
"""What is fetched of a repository."""

_HANDLE = re.compile(r"hf://([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")


def fetch(handle: str) -> Path:
    """The folder of a model in the Hub's cache; what is not there yet is downloaded.

    `HF_ENDPOINT`, `HF_HUB_CACHE`, `HF_HUB_OFFLINE` and `HF_TOKEN` hold as everywhere. Without a
    network the cached files are used. Name a commit as the revision to get the same files forever,
    and, once they are cached, without asking the network.

    Args:
        handle: `hf://owner/name`, or `hf://owner/name@revision` with a branch, tag or commit.

    Raises:
        UsageError: another form, the extra `hub` is missing, no such repository or revision, no
            network and nothing cached, no model in it, or a file whose SHA-256 is not the one that
            `metadata.json` says.
    """
    match = _HANDLE.fullmatch(handle)
    if not match:
        raise UsageError(
            f"expected hf://owner/name or hf://owner/name@revision; received {handle!r}"
        )
    repository, revision = match.groups()
    hub = require("huggingface_hub", "hub")
    errors = require("huggingface_hub.errors", "hub")
    constants = require("huggingface_hub.constants", "hub")
    where = f"at {constants.ENDPOINT}"
    try:
        folder = hub.snapshot_download(repository, revision=revision, allow_patterns=PATTERNS)
    except errors.RevisionNotFoundError as error:
        raise UsageError(f"{repository} has no revision {revision!r} {where}") from error
    except errors.RepositoryNotFoundError as error:
        raise UsageError(
            f"no model {repository} {where}: check the name, or log in (hf auth login) if it is "
            "private"
        ) from error
    except errors.LocalEntryNotFoundError as error:
        raise UsageError(
            f"{handle} is not in the cache ({constants.HF_HUB_CACHE}), and {where} it cannot "
            "be reached: check the network, and that HF_HUB_OFFLINE is not set"
        ) from error
    except (errors.HfHubHTTPError, errors.HFValidationError, OSError, RuntimeError) as error:
        # RuntimeError: one of several downloads failed and closed the connection of the others.
        raise UsageError(f"cannot fetch {handle} {where}: {error}") from error
    path = Path(folder)
    if not (path / "config.json").is_file():
        raise UsageError(f"{handle} holds no model of Keras: expected config.json in it")
    check_released(path)
    return path
