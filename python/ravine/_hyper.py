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
        limit: what messages add to `expected` where a number is above the range, if it does not say so itself.
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
    limit: str = ""

    def __call__(self, where: str, value: Any) -> Any:
        """Return the value as a plain number, or raise an error that begins with `where`."""
        if value is None and self.none is not None:
            return None
        read = self._finite if self.kind == "number" else self._whole if self.kind == "whole" else self._flag
        number = read(where, value)
        above = number > self.low if self.low_open else number >= self.low
        below = number < self.high if self.high_open else number <= self.high
        if not below and self.limit:
            raise ValueError(f"{where}={shown(value)} is too large; expected {self.expected}{self.limit}.")
        if not (above and below):
            raise ValueError(f"{where}={shown(value)}{self.outside}; expected {self.expected}.")
        return number

    def _finite(self, where: str, value: Any) -> float:
        number = as_float(where, value, self.expected_type or self.expected)
        if not math.isfinite(number):
            raise ValueError(f"{where}={shown(value)} is not finite; expected {self.expected_type or self.expected}.")
        return number

    def _flag(self, where: str, value: Any) -> bool:
        if not isinstance(value, bool | int) or value not in (0, 1):
            raise TypeError(f"{where}={shown(value)}; expected {self.expected}.")
        return bool(value)

    def _whole(self, where: str, value: Any) -> int:
        try:
            number = int(value) if isinstance(value, float) and value.is_integer() else operator.index(value)
        except TypeError:
            if isinstance(value, float):
                raise ValueError(f"{where}={value!r}; expected {self.expected}.") from None
            raise TypeError(f"{where}={shown(value)} is a {type(value).__name__}; expected {self.expected}.") from None
        if isinstance(value, bool):
            raise ValueError(f"{where}={value!r}; expected {self.expected}.")
        return number


def as_float(where: str, value: Any, expected: str = "a number") -> float:
    """Return a number, but no array of one, as a float; too large a one is infinite."""
    try:
        if getattr(value, "ndim", 0) != 0 or isinstance(value, str | bytes | bytearray):
            raise TypeError  # where NumPy only warns, and Python reads it
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{where}={shown(value)} is a {type(value).__name__}; expected {expected}.") from None
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def shown(value: object) -> str:
    """Return a value as messages show it: on one line, and not too long."""
    try:
        text = " ".join(repr(value).split("\n"))
    except Exception:  # Python writes no integer of thousands of digits
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 120 else f"{text[:100]}..."


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


def above_0(where: str, value: Any) -> float:
    """Return a number above 0, which may be infinite."""
    if type(value) is float and value > 0:
        return value
    number = as_float(where, value, "a number above 0")
    if not number > 0:
        raise ValueError(f"{where}={shown(value)}; expected a number above 0.")
    return number


def checked_norm_type(where: str, value: Any) -> float:
    """Return the p of a norm; "inf" is a way to write it in torch."""
    return math.inf if isinstance(value, str) and value == "inf" else above_0(where, value)


def checked_norm(where: str, value: Any) -> float:
    """Return a norm that was computed elsewhere, which may be infinite or NaN."""
    norm = as_float(where, value, "a norm, 0 or more")
    if norm < 0:
        raise ValueError(f"{where}={norm!r} is negative; expected a norm, 0 or more.")
    return norm


# The greatest number of steps, and of whatever else is counted: up to here a float has every whole number.
MOST = 2**53


def at_least(least: int) -> Range:
    """Return the whole numbers from `least` to `MOST`."""
    return Range(
        f"a whole number, {least} or more", low=least, high=MOST, kind="whole", outside="", limit=", up to 2^53"
    )


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
            raise TypeError(f"{where}={shown(value)}; expected {self.expected}.")
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
            raise TypeError(f"{where}={shown(values)} is a {type(values).__name__}; expected a list.")
        return [check(f"{where}[{i}]", value) for i, value in enumerate(values)]

    return check_each


def increasing(where: str, value: Any) -> list[int]:
    """A list of counts of steps, each greater than the one before."""
    if not isinstance(value, list | tuple):
        raise TypeError(f"{where}={shown(value)} is a {type(value).__name__}; expected a list of steps.")
    from_one = at_least(1)
    result = [from_one(f"{where}[{i}]", step) for i, step in enumerate(value)]
    if any(later <= earlier for earlier, later in pairwise(result)):
        raise ValueError(f"{where}={shown(value)}; expected each to be greater than the one before.")
    return result


def choice(where: str, value: Any, choices: Sequence[Any]) -> Any:
    """One of a few values: words, or None."""
    # An array would be compared element by element.
    if not isinstance(value, str | None) or value not in choices:
        raise ValueError(f"{where}={shown(value)}; expected {' or '.join(map(repr, choices))}.")
    return value
