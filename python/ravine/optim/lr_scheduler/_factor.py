"""Schedules that are a factor, between a floor and the initial learning rate."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ravine._hyper import MOST
from ravine.optim.lr_scheduler._base import LRScheduler


class FactorLR(LRScheduler):
    """Base class of schedules that scale the distance of the learning rate from a floor.

        lr(t) = floor + (initial_lr - floor) f(t)

    A subclass gives f(t) and, where it is not 0, the floor of each group. Where somebody else changed the learning
    rate it goes on in proportion: lr(t) - floor is multiplied by f(t) / f(t - 1).
    """

    def _factor(self, t: float) -> float:
        """Return f(t)."""
        raise NotImplementedError

    # None stands for 0; schedules without a floor make one product when they are chained.
    _floor: float | None = None

    def lr_at(self, t: float) -> list[float]:
        """Return the learning rate of each group at step t = 0, 1, ... or between; nothing changes."""
        if type(t) is not int or not 0 <= t <= MOST:
            self._check_step(t)
        factor = self._factor(t)
        if self._floor is None:
            return [base * factor for base in self.base_lrs]
        low = self._floor * (1 - factor)  # so that both ends are met exactly
        return [low + base * factor for base in self.base_lrs]

    def _floors(self) -> list[float]:
        """Return the floor of each group."""
        return [self._floor or 0.0] * len(self.base_lrs)

    def _chainable_lr(
        self, lrs: Sequence[float], t0: float | None, t1: float, metrics: float | None = None
    ) -> list[float]:
        f0, f1 = 1 if t0 is None else self._factor(t0), self._factor(t1)
        if f0 == f1:
            return list(lrs)
        floors = self._floors()
        if f0 == 0:
            # A factor of 0 has wiped out what others did; as torch's cosine does, go on with what is there added.
            return [lr + (base - a) * f1 for lr, base, a in zip(lrs, self.base_lrs, floors, strict=False)]
        ratio = f1 / f0
        # Below the floor, where another schedule may have brought it, the distance must not grow beyond 0.
        return [max(a + (lr - a) * ratio, 0.0) for lr, a in zip(lrs, floors, strict=False)]


def power(base: float, exponent: float) -> float:
    """Return base ** exponent; what is too large becomes infinite, which optimizers refuse."""
    try:
        return float(base**exponent)
    except OverflowError:
        return math.inf
