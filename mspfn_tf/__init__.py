"""MSPFN (Jiang et al., CVPR 2020) in Keras 3: takes rain out of photographs.

Importing this package imports neither TensorFlow nor Keras; the public names load what they need
when they are first used.
"""

import importlib
import importlib.abc
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what editors complete; at run time `__getattr__` imports it when it is used
    from mspfn_tf import datasets, export, losses, metrics, training
    from mspfn_tf.model import MSPFN
    from mspfn_tf.presets import PRESETS
    from mspfn_tf.reference_checkpoint import load_reference_checkpoint
    from mspfn_tf.restorer import Restorer

__version__ = "0.2.0"

_root = Path(__file__).resolve().parent.parent


_ROOMS = ("datasets", "export", "web")


class _Rooms(importlib.abc.MetaPathFinder):
    """In a checkout, the folders of `_ROOMS` stand beside this package rather than inside it."""

    def find_spec(self, fullname, path=None, target=None):
        room = fullname.removeprefix(f"{__name__}.")
        if fullname == room or room not in _ROOMS:
            return None
        return importlib.util.spec_from_file_location(
            fullname,
            _root / room / "__init__.py",
            submodule_search_locations=[str(_root / room)],
        )


if (_root / "setup.cfg").is_file() and (_root / "datasets").is_dir():
    sys.meta_path.insert(0, _Rooms())

_NAMES = {
    "MSPFN": "mspfn_tf.model",
    "PRESETS": "mspfn_tf.presets",
    "Restorer": "mspfn_tf.restorer",
    "load_reference_checkpoint": "mspfn_tf.reference_checkpoint",
}
_MODULES = ("datasets", "export", "losses", "metrics", "training")

__all__ = [
    "MSPFN",
    "PRESETS",
    "Restorer",
    "datasets",
    "export",
    "load_reference_checkpoint",
    "losses",
    "metrics",
    "training",
]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        value = getattr(importlib.import_module(_NAMES[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(f"mspfn_tf.{name}")
    else:
        raise AttributeError(f"module 'mspfn_tf' has no attribute '{name}'")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
