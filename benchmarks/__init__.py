"""Measurements that a user can repeat: `python -m benchmarks.<name>`."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from mspfn_tf.errors import UsageError, naming_flags


def positive(text: str) -> int:
    """A flag's whole number from 1 on."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, received {text!r}")
    return int(text)


def run_main(main: Callable[[], int | None]) -> None:
    """Ends the program with the exit status of `main`: 2, and one line, on wrong usage."""
    try:
        with naming_flags():
            status = main()
    except UsageError as error:
        print(f"{Path(sys.argv[0]).stem}: error: {error}", file=sys.stderr)
        status = 2
    sys.exit(status)
