"""Makes a process one of a machine that has no TensorFlow."""

import sys


class _Finder:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] != "tensorflow":
            return self.finder.find_spec(name, path, target)


def hide_tensorflow():
    """To be called before anything imports TensorFlow."""
    sys.meta_path[:] = [_Finder(finder) for finder in sys.meta_path]
