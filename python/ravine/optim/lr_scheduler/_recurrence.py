"""Values of which each follows from the one before."""

from __future__ import annotations

import sys
from collections.abc import Callable


class Recurrence:
    """The values x(0), x(1) = f(x(0), 1), x(2) = f(x(1), 2), ...

    Two of them are remembered, so that both stepping and looking ahead from elsewhere cost one f a step.
    """

    def __init__(self, first: Callable[[], list[float]], following: Callable[[list[float], int], list[float]]) -> None:
        self._first, self._following = first, following
        self.forget()

    def forget(self) -> None:
        """Forget the values; they will be computed anew."""
        nothing: list[float] = []
        # Of greater steps than any that can be asked for, until there are some.
        self._marks = (sys.maxsize, nothing), (sys.maxsize, nothing)

    def at(self, t: int) -> list[float]:
        """Return x(t)."""
        near, far = self._marks
        if near[0] <= t and (far[0] > t or far[0] < near[0]):
            near, far = far, near
        step, value = far if far[0] <= t else (0, self._first())
        for s in range(step + 1, t + 1):
            value = self._following(value, s)
        self._marks = near, (t, value)
        return list(value)
