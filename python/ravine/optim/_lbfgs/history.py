"""The two-loop recursion of LBFGS: the inverse Hessian as the last moves tell of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ravine.optim._lbfgs.space import Space, dot

Array = np.ndarray[Any, Any]

# A step whose y s is not above this says nothing reliable of the curvature and is not remembered.
LEAST_CURVATURE = 1e-10


class Pair(NamedTuple):
    """How the gradient changed along a move of the parameters."""

    y: Array
    s: Array
    rho: float  # 1 / y s


class History:
    """The pairs while a step is under way. Those from before it are left as they are, should it be taken back.

    Args:
        pairs: those from before the step.
        space: has memory for vectors.
    """

    def __init__(self, pairs: Sequence[Pair], space: Space) -> None:
        self.pairs = list(pairs)
        self._space = space
        self._from_before = len(pairs)  # how many of the oldest are
        self._dropped: list[tuple[Array, Array]] = []

    def add(self, gradient: Array, previous: Array, d: Array, t: float, history_size: int, scale: float) -> float:
        """Remember a move by t d between two gradients; return the scale of the inverse Hessian to begin with."""
        memory = self._space.spare.pop() if self._space.spare else (self._space.new(), self._space.new())
        y = np.subtract(gradient, previous, out=memory[0])
        s = np.multiply(d, t, out=memory[1])
        curvature = dot(y, s)
        added = curvature > LEAST_CURVATURE
        while len(self.pairs) > history_size - added:
            oldest = self.pairs.pop(0)
            if self._from_before > 0:
                self._from_before -= 1
                self._dropped.append((oldest.y, oldest.s))
            else:
                self._space.spare.append((oldest.y, oldest.s))
        if not added:
            self._space.spare.append(memory)
            return scale
        self.pairs.append(Pair(y, s, 1 / curvature))
        return curvature / dot(y, y)

    def direction(self, gradient: Array, scale: float, out: Array) -> Array:
        """Return -H g: Nocedal & Wright 2006, algorithm 7.4."""
        q = np.negative(gradient, out=out)
        alphas = []
        for y, s, rho in reversed(self.pairs):
            alphas.append(rho * dot(s, q))
            self._space.subtract_multiple(q, alphas[-1], y)
        q *= scale
        for y, s, rho in self.pairs:
            self._space.subtract_multiple(q, rho * dot(y, q) - alphas.pop(), s)
        return q

    def close(self, most: int) -> None:
        """Give memory back when the step is complete, and keep that of `most` pairs."""
        spare = self._space.spare
        spare += self._dropped
        del spare[most:]
