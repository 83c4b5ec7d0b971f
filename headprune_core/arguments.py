"""Checks of arguments that many functions have."""

import numbers

from .errors import HeadPruneError


def whole_number(name: str, value, minimum: int) -> int:
    """Return an argument as an integer.

    Args:
        name: name of the argument, for the message.
        value: the argument.
        minimum: smallest possible value.

    Raises:
        HeadPruneError: if the value is no whole number, or below the minimum.
    """
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or value != value or value in (float("inf"), -float("inf")) or value != int(value):
        raise HeadPruneError(f"{name} must be a whole number, got {value!r}")
    if value < minimum:
        raise HeadPruneError(f"{name} must be at least {minimum}, got {int(value)}")
    return int(value)
