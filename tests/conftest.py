"""Settings that hold for every test."""

import os
import re
import signal
from pathlib import Path

import pytest

# Fewer lines of TensorFlow's own on standard error; it reads this when it is first imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# JAX compiles here what runs once or twice, in a third of the time without its optimizations.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # As in a shell's background. Programs that the tests interrupt would ignore it, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)


# The files that take longest, with which several processes begin: one that is left for the end
# would run while the others have nothing to do.
LONGEST = ("training", "web_page", "export_litert", "runtimes", "export_saved_model", "quickstart")


def pytest_configure(config: pytest.Config) -> None:
    """Has pytest-xdist keep the order of the files: it would begin with those of most tests."""
    config.option.loadscopereorder = False


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """For `-m "not slow"`, does not even import files that are slow as a whole."""
    if config.option.markexpr != "not slow" or not collection_path.name.startswith("test_"):
        return None
    slow = re.search(r"^pytestmark = pytest\.mark\.slow$", collection_path.read_text(), re.M)
    return True if slow else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leaves out `test_session`, which is no test but a context manager of TensorFlow's test cases:
    it skips itself in every class that comes from them, and a real skip would not be seen. The
    files that take longest come first.
    """
    places = {f"test_{name}.py": place for place, name in enumerate(LONGEST)}
    items[:] = sorted(
        (item for item in items if item.name != "test_session"),
        key=lambda item: places.get(item.path.name, len(places)),
    )
