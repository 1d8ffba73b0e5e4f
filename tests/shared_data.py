"""Image data that is not part of the repository; tests that need it are skipped without it."""

import os
from pathlib import Path

import pytest


def shared(path):
    """`path` below the folder of shared data: $MSPFN_SHARED, or `shared` beside the checkout."""
    root = os.environ.get("MSPFN_SHARED") or Path(__file__).resolve().parents[2] / "shared"
    found = Path(root, path)
    if not found.exists():
        pytest.skip(f"{path} is not in {root} (set MSPFN_SHARED to the folder that holds it)")
    return found
