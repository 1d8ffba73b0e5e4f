"""A disk that is full at the n-th write."""


class FullDisk:
    """The `at`-th call (1, 2, ...) of certain functions finds the disk full.

    Args:
        monkeypatch: pytest's.
        at: which one; 0: none.
        functions: pairs of what has the function and its name.
    """

    def __init__(self, monkeypatch, at, functions):
        self.at, self.count = at, 0
        for owner, name in functions:
            monkeypatch.setattr(owner, name, self._asking_before(getattr(owner, name), name))

    def _asking_before(self, function, name):
        def wrapped(*arguments, **options):
            self.check(name)
            return function(*arguments, **options)

        return wrapped

    def check(self, what):
        """Counts a write of `what`; raises `OSError` where the disk is full."""
        self.count += 1
        if self.count == self.at:
            raise OSError(28, "No space left on device", str(what))
