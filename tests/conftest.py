"""Settings that hold for every test."""

import os

import pytest

# Fewer lines of TensorFlow's own on standard error; it reads this when it is first imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leaves out `test_session`, which is no test but a context manager of TensorFlow's test cases:
    it skips itself in every class that comes from them, and a real skip would not be seen.
    """
    items[:] = [item for item in items if item.name != "test_session"]
