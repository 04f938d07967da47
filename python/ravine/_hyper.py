"""What values a hyper-parameter may have: a check returns the value as plain numbers, or raises naming it."""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Callable, Sequence
from itertools import pairwise
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


def finite(where: str, value: Any) -> float:
    """A finite number."""
    return _number(where, value, "a finite number")


def non_negative(where: str, value: Any) -> float:
    """A finite number that is at least 0."""
    number = _number(where, value, "a finite number, 0 or more")
    if number < 0:
        raise ValueError(f"{where}={value!r} is negative; expected a finite number, 0 or more.")
    return number


def non_positive(where: str, value: Any) -> float:
    """A finite number that is at most 0."""
    number = _number(where, value, "a finite number, 0 or less")
    if number > 0:
        raise ValueError(f"{where}={value!r} is above 0; expected a finite number, 0 or less.")
    return number


def at_least_one(where: str, value: Any) -> float:
    """A finite number that is at least 1."""
    number = _number(where, value, "a finite number, 1 or more")
    if number < 1:
        raise ValueError(f"{where}={value!r} is out of range; expected a finite number, 1 or more.")
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


def proper_fraction(where: str, value: Any) -> float:
    """A number between 0 and 1, without either."""
    number = _number(where, value, "a number between 0 and 1, neither included")
    if not 0 < number < 1:
        raise ValueError(f"{where}={value!r} is out of range; expected a number between 0 and 1, neither included.")
    return number


def _several(where: str, value: Any, checks: tuple[Check, ...], expected: str) -> tuple[Any, ...]:
    if not isinstance(value, tuple | list) or len(value) != len(checks):
        raise TypeError(f"{where}={value!r}; expected {expected}.")
    return tuple(check(f"{where}[{i}]", item) for i, (check, item) in enumerate(zip(checks, value, strict=True)))


def betas(where: str, value: Any) -> tuple[Any, ...]:
    """Two decay rates."""
    return _several(where, value, (decay_rate,) * 2, "a pair of decay rates such as (0.9, 0.999)")


def three_betas(where: str, value: Any) -> tuple[Any, ...]:
    """Three decay rates."""
    return _several(where, value, (decay_rate,) * 3, "three decay rates such as (0.9, 0.999, 0.9999)")


def averaging_betas(where: str, value: Any) -> tuple[Any, ...]:
    """A number between 0 and 1, and a decay rate."""
    return _several(where, value, (proper_fraction, decay_rate), "a pair of decay rates such as (0.9, 0.999)")


def etas(where: str, value: Any) -> tuple[Any, ...]:
    """A factor below 1 and one above 1."""
    pair = _several(where, value, (proper_fraction, finite), "a pair of factors such as (0.5, 1.2)")
    if pair[1] <= 1:
        raise ValueError(f"{where}[1]={pair[1]!r} is out of range; expected a number above 1.")
    return pair


def limits(where: str, value: Any) -> tuple[Any, ...]:
    """A least and a greatest number, neither negative."""
    pair = _several(where, value, (non_negative,) * 2, "a pair of limits such as (1e-6, 50)")
    if pair[0] > pair[1]:
        raise ValueError(f"{where}={value!r}; expected the lower limit first.")
    return pair


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
            if isinstance(value, float):
                raise ValueError(f"{where}={value!r}; expected {expected}.") from None
            raise TypeError(f"{where}={value!r} is a {type(value).__name__}; expected {expected}.") from None
        if number < least or isinstance(value, bool):
            raise ValueError(f"{where}={value!r}; expected {expected}.")
        return number

    return check


def one_of(*choices: Any) -> Check:
    """Return the check of a choice among a few values."""
    return lambda where, value: choice(where, value, choices)


def optional(check: Check) -> Check:
    """Return the check of what may also be None."""
    return lambda where, value: None if value is None else check(where, value)


def epsilons(where: str, value: Any) -> tuple[Any, ...]:
    """A small number or None, and a small number."""
    return _several(where, value, (optional(non_negative), non_negative), "a pair such as (None, 1e-3)")


def coefficients(where: str, value: Any) -> tuple[Any, ...]:
    """Three finite numbers."""
    return _several(where, value, (finite,) * 3, "three numbers such as (3.4445, -4.775, 2.0315)")


def each(check: Check) -> Check:
    """Return the check of a list."""

    def check_each(where: str, values: Any) -> list[Any]:
        if not isinstance(values, list | tuple):
            raise TypeError(f"{where}={values!r} is a {type(values).__name__}; expected a list.")
        return [check(f"{where}[{i}]", value) for i, value in enumerate(values)]

    return check_each


whole = at_least(0)


def increasing(where: str, value: Any) -> list[int]:
    """A list of counts of steps, each greater than the one before."""
    if not isinstance(value, list | tuple):
        raise TypeError(f"{where}={value!r} is a {type(value).__name__}; expected a list of steps.")
    one_or_more = at_least(1)
    result = [one_or_more(f"{where}[{i}]", step) for i, step in enumerate(value)]
    if any(later <= earlier for earlier, later in pairwise(result)):
        raise ValueError(f"{where}={value!r}; expected each to be greater than the one before.")
    return result


def choice(where: str, value: Any, choices: Sequence[Any]) -> Any:
    """One of a few values."""
    if value not in choices:
        raise ValueError(f"{where}={value!r}; expected {' or '.join(map(repr, choices))}.")
    return value
