"""Checks of arguments, with messages that name the argument, the rule and what was received."""

import numbers
from collections.abc import Sequence
from typing import Any

from mspfn_tf.errors import UsageError


def check_int(name: str, value: Any, minimum: int) -> int:
    """`value` as an int of at least `minimum`; NumPy's integers count, booleans do not.

    Raises:
        UsageError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < minimum:
        raise UsageError(
            f"{name} must be an int of at least {minimum}; received {value!r} "
            f"of type {type(value).__name__}"
        )
    return int(value)


def check_choice(name: str, value: Any, choices: Sequence[Any]) -> None:
    """Raises `UsageError` unless `value` is one of `choices`."""
    if isinstance(value, bool) or value not in choices:
        known = ", ".join(map(repr, choices))
        raise UsageError(f"{name} must be one of {known}; received {value!r}")
