"""Damaged copies of small model files, the same ones for a seed, and what they may cost.

`MSPFN_MUTATIONS` is how many copies of each kind the tests make (default 200).
"""

import contextlib
import os
import resource
import time

import numpy as np

COUNT = int(os.environ.get("MSPFN_MUTATIONS", "200"))
SECONDS = 10.0  # of processor time, so that a busy machine does not fail the test
BYTES = 2e9


def mutated(data, random, reach=None):
    """One damaged copy: bits flipped, numbers replaced, a piece cut, doubled, zeroed or moved.

    Args:
        data: bytes of the whole file.
        random: `numpy.random.Generator`.
        reach: where damage begins: (first, last) of the bytes. Default: anywhere.
    """
    data = bytearray(data)
    first, last = reach or (0, len(data))
    for _ in range(int(random.integers(1, 4))):
        last = max(first + 1, min(last, len(data)))
        start = int(random.integers(first, last))
        word = start // 4 * 4
        length = int(random.integers(1, 40))
        kind = int(random.integers(0, 9))
        if kind == 0:
            data[start % len(data)] ^= 1 << int(random.integers(0, 8))
        elif kind == 1:
            data[word : word + 4] = random.bytes(4)
        elif kind == 2:
            data[word : word + 4] = int(random.integers(0, 300)).to_bytes(4, "little")
        elif kind == 3:
            number = int(random.choice([65535, 2**31 - 1, 2**32 - 1, 2**16, 2**28]))
            data[word : word + 4] = number.to_bytes(4, "little")
        elif kind == 4:
            data[start : start + length] = b""
        elif kind == 5:
            data[start:start] = data[start : start + length]
        elif kind == 6:
            data[start : start + length] = bytes(length)
        elif kind == 7:
            other = int(random.integers(first, last))
            data[start : start + length] = data[other : other + length]
        elif random.random() < 0.3:
            del data[max(1, start) :]
        if not data:
            data = bytearray(b"\0")
    return bytes(data)


@contextlib.contextmanager
def bounded():
    """Fails if the block takes more than `SECONDS` of processor time or if this process, or one
    that it started, has grown beyond `BYTES` more than it was at first."""
    before, memory = _seconds(), _memory()
    started = time.monotonic()
    yield
    assert _seconds() - before < SECONDS
    assert time.monotonic() - started < 60 * SECONDS  # a hang, however busy the machine is
    assert _memory() - memory < BYTES


def _seconds():
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _memory():
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(one).ru_maxrss * 1024 for one in who)


def random_of(seed):
    return np.random.default_rng(seed)
