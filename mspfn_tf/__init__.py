"""MSPFN (Jiang et al., CVPR 2020) in Keras 3: takes rain out of photographs.

Importing this package imports neither TensorFlow nor Keras; the public names load what they need
when they are first used.
"""

import importlib
from pathlib import Path

__version__ = "0.1.0"

# In a checkout, `datasets/` and `export/` stand beside this package rather than inside it.
_root = Path(__file__).resolve().parent.parent
if (_root / "setup.cfg").is_file() and (_root / "datasets").is_dir():
    __path__.append(str(_root))

_NAMES = {
    "MSPFN": "mspfn_tf.model",
    "PRESETS": "mspfn_tf.presets",
    "Restorer": "mspfn_tf.restorer",
    "load_reference_checkpoint": "mspfn_tf.reference_checkpoint",
}
_MODULES = ("datasets", "export", "losses", "metrics", "training")

__all__ = [*_NAMES, *_MODULES]


def __getattr__(name):
    if name in _NAMES:
        value = getattr(importlib.import_module(_NAMES[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(f"mspfn_tf.{name}")
    else:
        raise AttributeError(f"module 'mspfn_tf' has no attribute '{name}'")
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__})
