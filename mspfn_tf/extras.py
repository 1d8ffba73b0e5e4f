"""Packages that come with an extra: imported when they are needed, with a message if missing."""

import importlib
from types import ModuleType

from mspfn_tf.errors import UsageError


def require(module: str, extra: str) -> ModuleType:
    """Imports `module`, a package that the extra `extra` of this package installs.

    Raises:
        UsageError: it is not installed, or what it needs is not; the message has the command.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(
            f'{module} is not installed ({error}): pip install "mspfn_tf[{extra}]"'
        ) from error
