"""Schedules of a single formula: steps, ramps, exponential and polynomial decay, cosines."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from ravine._hyper import MOST, at_least, each, flag, non_negative, positive, positive_unit, unit
from ravine.optim.lr_scheduler._base import LRScheduler
from ravine.optim.lr_scheduler._factor import FactorLR, power
from ravine.optim.optimizer import Optimizer


class StepLR(FactorLR):
    """Times gamma every so many steps: `torch.optim.lr_scheduler.StepLR`.

        lr(t) = initial_lr gamma^floor(t / step_size)

    Args:
        optimizer: whose groups to drive.
        step_size: the steps from one decay to the next; a whole number, 1 or more.
        gamma: the factor of each decay, 0 or more.
        last_epoch: see `LRScheduler`.

    Raises:
        TypeError, ValueError: an argument cannot be used; the message names it.

    >>> import numpy as np
    >>> from ravine import optim
    >>> sched = StepLR(optim.SGD([np.zeros(2)], lr=1), step_size=30, gamma=0.5)
    >>> [sched.lr_at(t)[0] for t in (29, 30, 60)]
    [1.0, 0.5, 0.25]
    """

    _checks = {"step_size": at_least(1), "gamma": non_negative}

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        self._configure(optimizer, step_size=step_size, gamma=gamma)
        super().__init__(optimizer, last_epoch)

    step_size: int
    gamma: float

    def _factor(self, t: float) -> float:
        return power(self.gamma, t // self.step_size)


class MultiStepLR(FactorLR):
    """Times gamma at each milestone: `torch.optim.lr_scheduler.MultiStepLR`.

        lr(t) = initial_lr gamma^(number of milestones <= t)

    Args:
        optimizer: whose groups to drive.
        milestones: the steps at which to decay, in any order; one that comes twice counts twice.
        gamma: the factor of each decay, 0 or more.
        last_epoch: see `LRScheduler`.

    Raises:
        TypeError, ValueError: an argument cannot be used; the message names it.
    """

    _checks = {"milestones": each(at_least(0)), "gamma": non_negative}

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        given: Any = list(milestones) if isinstance(milestones, Iterable) else milestones
        self._configure(optimizer, milestones=given, gamma=gamma)
        self.milestones.sort()
        super().__init__(optimizer, last_epoch)

    def _check_together(self, where: str) -> None:
        if any(later < earlier for earlier, later in pairwise(self.milestones)):
            raise ValueError(f"{where}milestones={self.milestones}; expected them in order.")

    milestones: list[int]
    gamma: float

    def _factor(self, t: float) -> float:
        return power(self.gamma, bisect_right(self.milestones, t))


class ConstantLR(FactorLR):
    """Times a factor at first: `torch.optim.lr_scheduler.ConstantLR`.

        lr(t) = initial_lr factor  while t < total_iters,  initial_lr from then on

    Args:
        optimizer: whose groups to drive.
        factor: from 0 to 1.
        total_iters: for how many steps; a whole number, 0 or more.
        last_epoch: see `LRScheduler`.

    Raises:
        TypeError, ValueError: an argument cannot be used; the message names it.
    """

    _checks = {"factor": unit, "total_iters": at_least(0)}

    def __init__(
        self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1
    ) -> None:
        self._configure(optimizer, factor=factor, total_iters=total_iters)
        super().__init__(optimizer, last_epoch)

    factor: float
    total_iters: int

    def _factor(self, t: float) -> float:
        return self.factor if t < self.total_iters else 1.0


class LinearLR(FactorLR):
    """A straight ramp between two factors: `torch.optim.lr_scheduler.LinearLR`.

        lr(t) = initial_lr (start_factor + (end_factor - start_factor) min(t, total_iters) / total_iters)

    Args:
        optimizer: whose groups to drive.
        start_factor: the factor at step 0; above 0, up to 1.
        end_factor: the factor from step total_iters on; from 0 to 1.
        total_iters: the steps of the ramp; a whole number, 0 (the end at once) or more.
        last_epoch: see `LRScheduler`.

    Raises:
        TypeError, ValueError: an argument cannot be used; the message names it.
    """

    _checks = {"start_factor": positive_unit, "end_factor": unit, "total_iters": at_least(0)}

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        self._configure(optimizer, start_factor=start_factor, end_factor=end_factor, total_iters=total_iters)
        super().__init__(optimizer, last_epoch)

    start_factor: float
    end_factor: float
    total_iters: int

    def _factor(self, t: float) -> float:
        if t >= self.total_iters:
            return self.end_factor
        return self.start_factor + (self.end_factor - self.start_factor) * t / self.total_iters


class ExponentialLR(FactorLR):
    """Times gamma at every step: `torch.optim.lr_scheduler.ExponentialLR`.

        lr(t) = initial_lr gamma^t

    Args:
        optimizer: whose groups to drive.
        gamma: the factor of each step, 0 or more.
        last_epoch: see `LRScheduler`.

    Raises:
        TypeError, ValueError: an argument cannot be used; the message names it.
    """

    _checks = {"gamma": non_negative}

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self._configure(optimizer, gamma=gamma)
        super().__init__(optimizer, last_epoch)

    gamma: float

    def _factor(self, t: float) -> float:
        return power(self.gamma, t)


class PolynomialLR(FactorLR):
    """Polynomial decay: `torch.optim.lr_scheduler.PolynomialLR`.

        lr(t) = eta_min + (initial_lr - eta_min) (1 - min(t, N) / N)^power,    N = total_iters

    With `cycle` (Keras's and TensorFlow's PolynomialDecay), N is the next multiple of total_iters instead, and t runs
    on: the learning rate jumps up whenever the end is reached, less far each time.

    Args:
        optimizer: whose groups to drive.
        total_iters: the steps of the decay; a whole number, 1 or more.
        power: the exponent, 0 or more; 1 is a straight line.
        last_epoch: see `LRScheduler`.
        eta_min: the learning rate at the end; beyond torch, whose is 0.
        cycle: whether to start again; beyond torch.

    Raises:
        TypeError, ValueError: an argument cannot be used; the message names it.
    """

    _checks = {"total_iters": at_least(1), "power": non_negative, "eta_min": non_negative, "cycle": flag}

    def __init__(
        self,
        optimizer: Optimizer,
        total_iters: int = 5,
        power: float = 1.0,
        last_epoch: int = -1,
        *,
        eta_min: float = 0.0,
        cycle: bool = False,
    ) -> None:
        self._configure(optimizer, total_iters=total_iters, power=power, eta_min=eta_min, cycle=cycle)
        super().__init__(optimizer, last_epoch)

    total_iters: int
    power: float
    eta_min: float
    cycle: bool

    def _factor(self, t: float) -> float:
        end = self.total_iters
        if self.cycle:
            end *= max(1, math.ceil(t / end))
        return float((1 - min(t, end) / end) ** self.power)

    def _prepare(self) -> None:
        self._floor = None if self.eta_min == 0 and not self.cycle else self.eta_min


class CosineAnnealingLR(FactorLR):
    """Down, and up again, along a cosine: `torch.optim.lr_scheduler.CosineAnnealingLR`.

        lr(t) = eta_min + (initial_lr - eta_min) (1 + cos(pi t / T_max)) / 2

    Loshchilov & Hutter 2017, "SGDR: Stochastic gradient descent with warm restarts", equation 5, without the restarts:
    past T_max the learning rate rises again, as in torch.

    Args:
        optimizer: whose groups to drive.
        T_max: the steps from the top to the bottom, above 0.
        eta_min: the learning rate at the bottom, 0 or more.
        last_epoch: see `LRScheduler`.

    Raises:
        TypeError, ValueError: an argument cannot be used; the message names it.
    """

    _checks = {"T_max": positive, "eta_min": non_negative}

    def __init__(self, optimizer: Optimizer, T_max: float, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self._configure(optimizer, T_max=T_max, eta_min=eta_min)
        super().__init__(optimizer, last_epoch)

    T_max: float
    eta_min: float

    def _factor(self, t: float) -> float:
        return (1 + math.cos(math.pi * t / self.T_max)) / 2

    def _prepare(self) -> None:
        self._floor = self.eta_min


class CosineAnnealingWarmRestarts(LRScheduler):
    """Down along a cosine, and again from the top: `torch.optim.lr_scheduler.CosineAnnealingWarmRestarts`.

        lr(t) = eta_min + (initial_lr - eta_min) (1 + cos(pi T_cur / T_i)) / 2

    where the cycle i that t falls into lasts T_i = T_0 T_mult^i steps, of which T_cur have passed. Loshchilov & Hutter
    2017, "SGDR: Stochastic gradient descent with warm restarts", equation 5.

    Args:
        optimizer: whose groups to drive.
        T_0: the steps of the first cycle; a whole number, 1 or more.
        T_mult: how many times longer each cycle is than the one before; a whole number, 1 or more.
        eta_min: the learning rate at the end of a cycle, 0 or more.
        last_epoch: see `LRScheduler`.

    Attributes:
        T_cur: the steps since the last restart.
        T_i: the steps of the cycle.

    Raises:
        TypeError, ValueError: an argument cannot be used; the message names it.

    `step(epoch)` takes fractions: `step(epoch + batch / batches)` after each batch.
    """

    _checks = {"T_0": at_least(1), "T_mult": at_least(1), "eta_min": non_negative}

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        self._configure(optimizer, T_0=T_0, T_mult=T_mult, eta_min=eta_min)
        super().__init__(optimizer, last_epoch)

    T_0: int
    T_mult: int
    eta_min: float

    @property
    def T_cur(self) -> float:  # noqa: N802 (torch's name)
        """The steps since the last restart."""
        return self._t - self._cycle_of(self._t)[0]

    @property
    def T_i(self) -> int:  # noqa: N802 (torch's name)
        """The steps of the cycle."""
        return self._cycle_of(self._t)[1]

    _cycle: tuple[int, int]

    def _cycle_of(self, t: float) -> tuple[int, int]:
        """Return start and length of the cycle that t falls into, in exact arithmetic."""
        start, length = self._cycle
        if start <= t < start + length:
            return self._cycle
        if self.T_mult == 1:
            start = int(t // self.T_0) * self.T_0
        else:
            start, length = 0, self.T_0
            while start + length <= t:
                start, length = start + length, length * self.T_mult
        self._cycle = start, length
        return self._cycle

    def lr_at(self, t: float) -> list[float]:
        """Return the learning rate of each group at step t = 0, 1, ... or between; nothing changes."""
        if type(t) is not int or not 0 <= t <= MOST:
            self._check_step(t)
        start, length = self._cycle_of(t)
        factor = (1 + math.cos(math.pi * (t - start) / length)) / 2
        rest = self.eta_min * (1 - factor)
        return [rest + base * factor for base in self.base_lrs]

    def _prepare(self) -> None:
        self._cycle = (0, self.T_0)  # start and length of the one that was looked at last
