"""What values a hyper-parameter may have: a check returns the value as plain numbers, or raises naming it."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

Check = Callable[[str, Any], Any]


def _number(where: str, value: Any, expected: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{where}={value!r} is a {type(value).__name__}; expected {expected}.") from None
    if not math.isfinite(number):
        raise ValueError(f"{where}={value!r} is not finite; expected {expected}.")
    return number


def non_negative(where: str, value: Any) -> float:
    """A finite number that is at least 0."""
    number = _number(where, value, "a finite number, 0 or more")
    if number < 0:
        raise ValueError(f"{where}={value!r} is negative; expected a finite number, 0 or more.")
    return number


def unit(where: str, value: Any) -> float:
    """A number from 0 to 1."""
    number = _number(where, value, "a number from 0 to 1")
    if not 0 <= number <= 1:
        raise ValueError(f"{where}={value!r} is out of range; expected a number from 0 to 1.")
    return number


def decay_rate(where: str, value: Any) -> float:
    """A number from 0 to 1, without 1 itself."""
    number = _number(where, value, "a number from 0 up to, but not including, 1")
    if not 0 <= number < 1:
        raise ValueError(f"{where}={value!r} is out of range; expected a number from 0 up to, but not including, 1.")
    return number


def betas(where: str, value: Any) -> tuple[float, float]:
    """Two decay rates."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise TypeError(f"{where}={value!r}; expected a pair of decay rates such as (0.9, 0.999).")
    return decay_rate(f"{where}[0]", value[0]), decay_rate(f"{where}[1]", value[1])


def flag(where: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, bool | int) or value not in (0, 1):
        raise TypeError(f"{where}={value!r}; expected True or False.")
    return bool(value)


def positive_integer(where: str, value: Any) -> int:
    """A whole number that is at least 1."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{where}={value!r} is a {type(value).__name__}; expected a whole number, 1 or more.") from None
    if number < 1:
        raise ValueError(f"{where}={value!r} is out of range; expected a whole number, 1 or more.")
    return number


def choice(where: str, value: Any, choices: Sequence[Any]) -> Any:
    """One of a few values."""
    if value not in choices:
        raise ValueError(f"{where}={value!r}; expected {' or '.join(map(repr, choices))}.")
    return value
