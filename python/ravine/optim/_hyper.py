"""What values a hyper-parameter may have: a check returns the value as plain numbers, or raises naming it."""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Callable
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


def is_number(value: object) -> bool:
    """Whether a value is a number, and not True or False."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def positive(where: str, value: Any) -> float:
    """A finite number above 0."""
    number = _number(where, value, "a finite number above 0")
    if number <= 0:
        raise ValueError(f"{where}={value!r}; expected a finite number above 0.")
    return number


def positive_unit(where: str, value: Any) -> float:
    """A number above 0, up to 1."""
    number = _number(where, value, "a number above 0, up to 1")
    if not 0 < number <= 1:
        raise ValueError(f"{where}={value!r} is out of range; expected a number above 0, up to 1.")
    return number


def at_least(least: int) -> Check:
    """Return the check of whole numbers from `least` on; floats such as 5.0 count."""

    def check(where: str, value: Any) -> int:
        expected = f"a whole number, {least} or more"
        try:
            number = int(value) if isinstance(value, float) and value.is_integer() else operator.index(value)
        except TypeError:
            kind = ValueError if isinstance(value, float) else TypeError
            raise kind(f"{where}={value!r}; expected {expected}.") from None
        if number < least or isinstance(value, bool):
            raise ValueError(f"{where}={value!r}; expected {expected}.")
        return number

    return check


def one_of(*names: str) -> Check:
    """Return the check of a choice among names."""

    def check(where: str, value: Any) -> str:
        if value not in names:
            raise ValueError(f"{where}={value!r}; expected {' or '.join(map(repr, names))}.")
        return str(value)

    return check


def optional(check: Check) -> Check:
    """Return the check of what may also be None."""
    return lambda where, value: None if value is None else check(where, value)


def each(check: Check) -> Check:
    """Return the check of a list."""

    def check_each(where: str, values: Any) -> list[Any]:
        if not isinstance(values, list | tuple):
            raise TypeError(f"{where}={values!r} is a {type(values).__name__}; expected a list.")
        return [check(f"{where}[{i}]", value) for i, value in enumerate(values)]

    return check_each
