"""Where a case's choices come from: a generator seeded with (seed, index), or the bytes of a coverage-guided fuzzer."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

Array = np.ndarray[Any, Any]
T = TypeVar("T")

# Drawing each number anew would take most of a case's time.
_POOL = np.random.default_rng(0).standard_normal(1 << 12) * np.resize([1.0, 0.01, 30.0], 1 << 12)
_SPECIAL = (0.0, -0.0, np.inf, -np.inf, np.nan, 1e30, -1e-30, "tiny", "subnormal", "max")


class Choices:
    """Every choice of a case.

    Args:
        below: returns a whole number from 0 to n - 1, given n.
    """

    def __init__(self, below: Callable[[int], int]) -> None:
        self.below = below

    @classmethod
    def seeded(cls, seed: int, index: int) -> Choices:
        """Return the choices of case `index`."""
        draw = random.Random(seed << 40 | index).random
        return cls(lambda n: int(draw() * n))

    def of(self, items: Sequence[T]) -> T:
        """Return one of the items."""
        return items[self.below(len(items))]

    def one_in(self, n: int) -> bool:
        """Return True once in n times."""
        return self.below(n) == 0

    def fill(self, array: Array) -> Array:
        """Fill an array with numbers, among them sometimes NaN, infinities and subnormal ones; return it."""
        start = self.below(_POOL.size - array.size)
        array[...] = _POOL[start : start + array.size].reshape(array.shape)
        if array.size and self.one_in(6):
            for _ in range(1 + self.below(3)):
                array.flat[self.below(array.size)] = self._special(np.finfo(array.dtype))
        return array

    def _special(self, info: Any) -> float:
        value = self.of(_SPECIAL)
        if isinstance(value, str):
            return float({"tiny": info.tiny, "subnormal": info.smallest_subnormal, "max": info.max}[value])
        return value
