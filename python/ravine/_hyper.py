"""What values a hyper-parameter may have: a check returns the value as plain numbers, or raises naming it."""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

Check = Callable[[str, Any], Any]


@dataclass(frozen=True)
class Range:
    """The numbers that a hyper-parameter may be, as data that the compiled part tests too; calling it checks a value.

    Attributes:
        expected: the range in words.
        low, high: its ends.
        low_open, high_open: whether an end is outside.
        kind: whether it is of whole numbers alone (floats such as 5.0 count), or a flag, True or False.
        outside: what messages say of a number outside.
        expected_type: what messages say that they expect of what is no finite number; otherwise `expected`.
        none: the number that None stands for in the compiled part, where None may be given.
    """

    expected: str
    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False
    kind: Literal["number", "whole", "flag"] = "number"
    outside: str = " is out of range"
    expected_type: str = ""
    none: float | None = None

    def __call__(self, where: str, value: Any) -> Any:
        """Return the value as a plain number, or raise an error that begins with `where`."""
        if value is None and self.none is not None:
            return None
        if self.kind == "flag":
            return _flag(where, value)
        number = _whole(where, value, self.expected) if self.kind == "whole" else self._finite(where, value)
        above = number > self.low if self.low_open else number >= self.low
        below = number < self.high if self.high_open else number <= self.high
        if not (above and below):
            raise ValueError(f"{where}={value!r}{self.outside}; expected {self.expected}.")
        return number

    def _finite(self, where: str, value: Any) -> float:
        expected = self.expected_type or self.expected
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise TypeError(f"{where}={value!r} is a {type(value).__name__}; expected {expected}.") from None
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise ValueError(f"{where}={value!r} is not finite; expected {expected}.")
        return number


def _flag(where: str, value: Any) -> bool:
    if not isinstance(value, bool | int) or value not in (0, 1):
        raise TypeError(f"{where}={value!r}; expected True or False.")
    return bool(value)


def _whole(where: str, value: Any, expected: str) -> int:
    try:
        number = int(value) if isinstance(value, float) and value.is_integer() else operator.index(value)
    except TypeError:
        if isinstance(value, float):
            raise ValueError(f"{where}={value!r}; expected {expected}.") from None
        raise TypeError(f"{where}={value!r} is a {type(value).__name__}; expected {expected}.") from None
    if isinstance(value, bool):
        raise ValueError(f"{where}={value!r}; expected {expected}.")
    return number


finite = Range("a finite number")
non_negative = Range("a finite number, 0 or more", low=0, outside=" is negative")
non_positive = Range("a finite number, 0 or less", high=0, outside=" is above 0")
one_or_more = Range("a finite number, 1 or more", low=1)
unit = Range("a number from 0 to 1", low=0, high=1)
decay_rate = Range("a number from 0 up to, but not including, 1", low=0, high=1, high_open=True)
proper_fraction = Range("a number between 0 and 1, neither included", low=0, high=1, low_open=True, high_open=True)
positive = Range("a finite number above 0", low=0, low_open=True, outside="")
positive_unit = Range("a number above 0, up to 1", low=0, high=1, low_open=True)
flag = Range("True or False", low=0, high=1, kind="flag")


def at_least(least: int) -> Range:
    """Return the whole numbers from `least` on."""
    return Range(f"a whole number, {least} or more", low=least, kind="whole", outside="")


whole = at_least(0)


def none_or(numbers: Range, none: float) -> Range:
    """Return the range in which None may be given too, and stands for a number outside in the compiled part."""
    return replace(numbers, none=none)


@dataclass(frozen=True)
class Numbers:
    """Several numbers in a tuple; calling it checks a value.

    Attributes:
        ranges: the range of each, by the name that rules know it by.
        expected: them in words.
        together: raises where they, each right by itself, do not go together.
    """

    ranges: dict[str, Range]
    expected: str
    together: Callable[[str, Any, Sequence[Any]], None] | None = None

    def __call__(self, where: str, value: Any) -> tuple[Any, ...]:
        """Return the value as a tuple of plain numbers, or raise an error that begins with `where`."""
        if not isinstance(value, tuple | list) or len(value) != len(self.ranges):
            raise TypeError(f"{where}={value!r}; expected {self.expected}.")
        # A tuple at once: converting a number may run code that changes a list.
        checks = zip(self.ranges.values(), tuple(value), strict=True)
        result = tuple(check(f"{where}[{i}]", item) for i, (check, item) in enumerate(checks))
        if self.together is not None:
            self.together(where, value, result)
        return result


pair_of_betas = Numbers({"beta1": decay_rate, "beta2": decay_rate}, "a pair of decay rates such as (0.9, 0.999)")
averaging_betas = replace(pair_of_betas, ranges={"beta1": proper_fraction, "beta2": decay_rate})
three_betas = Numbers(
    {"beta1": decay_rate, "beta2": decay_rate, "beta3": decay_rate}, "three decay rates such as (0.9, 0.999, 0.9999)"
)


def is_number(value: object) -> bool:
    """Whether a value is a number, and not True or False."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def one_of(*choices: Any) -> Check:
    """Return the check of a choice among a few values."""
    return lambda where, value: choice(where, value, choices)


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


def increasing(where: str, value: Any) -> list[int]:
    """A list of counts of steps, each greater than the one before."""
    if not isinstance(value, list | tuple):
        raise TypeError(f"{where}={value!r} is a {type(value).__name__}; expected a list of steps.")
    from_one = at_least(1)
    result = [from_one(f"{where}[{i}]", step) for i, step in enumerate(value)]
    if any(later <= earlier for earlier, later in pairwise(result)):
        raise ValueError(f"{where}={value!r}; expected each to be greater than the one before.")
    return result


def choice(where: str, value: Any, choices: Sequence[Any]) -> Any:
    """One of a few values."""
    if value not in choices:
        raise ValueError(f"{where}={value!r}; expected {' or '.join(map(repr, choices))}.")
    return value
