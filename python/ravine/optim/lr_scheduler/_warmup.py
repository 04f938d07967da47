"""Schedules beyond torch, most with a warm-up of their own."""

from __future__ import annotations

import math
from typing import Literal

from ravine._hyper import at_least, non_negative, one_of, optional, positive, unit
from ravine.optim.lr_scheduler._factor import FactorLR
from ravine.optim.optimizer import Optimizer


class WarmupFactorLR(FactorLR):
    """What schedules share that start with a linear warm-up from 0."""

    warmup_steps: int

    def _factor(self, t: float) -> float:
        return t / self.warmup_steps if t < self.warmup_steps else self._after_warmup(t)

    def _after_warmup(self, t: float) -> float:
        """Return the factor at step t, when the warm-up is over."""
        raise NotImplementedError


class WarmupCosineLR(WarmupFactorLR):
    """What schedules share that go down along cosines after the warm-up."""

    def __init__(
        self,
        optimizer: Optimizer,
        warmup_steps: int,
        total_steps: int,
        num_cycles: float,
        eta_min: float,
        last_epoch: int,
    ) -> None:
        self._configure(
            optimizer, warmup_steps=warmup_steps, total_steps=total_steps, num_cycles=num_cycles, eta_min=eta_min
        )
        super().__init__(optimizer, last_epoch)

    def _check_together(self, where: str) -> None:
        if self.total_steps <= self.warmup_steps:
            raise ValueError(
                f"{where}total_steps={self.total_steps}; expected more than warmup_steps={self.warmup_steps}."
            )

    total_steps: int
    num_cycles: float
    eta_min: float

    def _prepare(self) -> None:
        self._floor = self.eta_min


class CosineWarmupLR(WarmupCosineLR):
    """A linear warm-up, then down along a cosine.

        f(t) = t / W                                             while t < W = warmup_steps
        f(t) = (1 + cos(2 pi num_cycles (t - W) / (N - W))) / 2   up to N = total_steps, then as at N
        lr(t) = eta_min + (initial_lr - eta_min) f(t)

    The transformers library's `get_cosine_schedule_with_warmup`; the cosine: Loshchilov & Hutter 2017, equation 5.

    Args:
        optimizer: whose groups to drive.
        warmup_steps: the steps of the warm-up; a whole number, 0 or more.
        total_steps: the steps of the whole; a whole number, above warmup_steps.
        num_cycles: how many waves of the cosine; one half goes from the top to the bottom once. Above 0.
        eta_min: the learning rate at the bottom (and at step 0), 0 or more.
        last_epoch: see `LRScheduler`.

    Raises:
        TypeError, ValueError: an argument cannot be used; the message names it.
    """

    _checks = {
        "warmup_steps": at_least(0),
        "total_steps": at_least(1),
        "num_cycles": positive,
        "eta_min": non_negative,
    }

    def __init__(
        self,
        optimizer: Optimizer,
        warmup_steps: int,
        total_steps: int,
        num_cycles: float = 0.5,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        super().__init__(optimizer, warmup_steps, total_steps, num_cycles, eta_min, last_epoch)

    def _after_warmup(self, t: float) -> float:
        share = min(1.0, (t - self.warmup_steps) / (self.total_steps - self.warmup_steps))
        return (1 + math.cos(2 * math.pi * self.num_cycles * share)) / 2


class CosineHardRestartsLR(WarmupCosineLR):
    """A linear warm-up, then down along a cosine several times, each time from the top.

        f(t) = t / W                                                     while t < W = warmup_steps
        f(t) = (1 + cos(pi frac(num_cycles (t - W) / (N - W)))) / 2       before N = total_steps, then 0
        lr(t) = eta_min + (initial_lr - eta_min) f(t)

    where frac is the fractional part. The transformers library's `get_cosine_with_hard_restarts_schedule_with_warmup`;
    Loshchilov & Hutter 2017, "SGDR: Stochastic gradient descent with warm restarts".

    Args:
        optimizer: whose groups to drive.
        warmup_steps: the steps of the warm-up; a whole number, 0 or more.
        total_steps: the steps of the whole; a whole number, above warmup_steps.
        num_cycles: how many times to go down; a whole number, 1 or more.
        eta_min: the learning rate at the bottom (and at step 0), 0 or more.
        last_epoch: see `LRScheduler`.

    Raises:
        TypeError, ValueError: an argument cannot be used; the message names it.
    """

    _checks = {
        "warmup_steps": at_least(0),
        "total_steps": at_least(1),
        "num_cycles": at_least(1),
        "eta_min": non_negative,
    }

    def __init__(
        self,
        optimizer: Optimizer,
        warmup_steps: int,
        total_steps: int,
        num_cycles: int = 1,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        super().__init__(optimizer, warmup_steps, total_steps, num_cycles, eta_min, last_epoch)

    def _after_warmup(self, t: float) -> float:
        if t >= self.total_steps:
            return 0.0
        # In whole numbers as long as possible: a restart must not be missed by rounding.
        steps = self.total_steps - self.warmup_steps
        return (1 + math.cos(math.pi * (self.num_cycles * (t - self.warmup_steps) % steps) / steps)) / 2


class InverseSqrtLR(WarmupFactorLR):
    """A linear warm-up, then down with the inverse square root of the step.

        lr(t) = initial_lr t / W                              while t < W = warmup_steps
        lr(t) = initial_lr sqrt(timescale / (t - W + timescale))    from then on

    With timescale = W that is initial_lr sqrt(W / t): Vaswani et al. 2017, "Attention is all you need", equation 3,
    with initial_lr = 1 / sqrt(d_model W). The transformers library's `get_inverse_sqrt_schedule`.

    Args:
        optimizer: whose groups to drive.
        warmup_steps: the steps of the warm-up; a whole number, 0 or more.
        timescale: how slowly it decays, above 0; warmup_steps without it, or 10 000 where that is 0.
        last_epoch: see `LRScheduler`.

    Raises:
        TypeError, ValueError: an argument cannot be used; the message names it.
    """

    _checks = {"warmup_steps": at_least(0), "timescale": positive}

    def __init__(
        self, optimizer: Optimizer, warmup_steps: int, timescale: float | None = None, last_epoch: int = -1
    ) -> None:
        self._configure(optimizer, warmup_steps=warmup_steps)
        optional(positive)(self._where + "timescale", timescale)
        self._configure(optimizer, timescale=(self.warmup_steps or 10_000) if timescale is None else timescale)
        super().__init__(optimizer, last_epoch)

    timescale: float

    def _after_warmup(self, t: float) -> float:
        return math.sqrt(self.timescale / (t - self.warmup_steps + self.timescale))


class WarmupStableDecayLR(WarmupFactorLR):
    """A linear warm-up, a long constant part, and a decay at the end: WSD.

        f(t) = t / W                 while t < W = warmup_steps
        f(t) = 1                     for the next stable_steps
        f(t) = d(x)                  for the next decay_steps, x going from 0 to 1;  0 from then on

        d(x) = (1 + cos(pi x)) / 2  ("cosine"),    1 - x  ("linear"),    1 - sqrt(x)  ("1-sqrt")
        lr(t) = eta_min + (initial_lr - eta_min) f(t)

    Hu et al. 2024, "MiniCPM", section 4; "1-sqrt": Hägele et al. 2024, "Scaling laws and compute-optimal training
    beyond fixed training durations". The transformers library's `get_wsd_schedule`.

    Args:
        optimizer: whose groups to drive.
        warmup_steps, stable_steps, decay_steps: the steps of each part; whole numbers, 0 or more (decay_steps: 1).
        decay: "cosine", "linear" or "1-sqrt".
        eta_min: the learning rate at the end (and at step 0), 0 or more.
        last_epoch: see `LRScheduler`.

    Raises:
        TypeError, ValueError: an argument cannot be used; the message names it.
    """

    _checks = {
        "warmup_steps": at_least(0),
        "stable_steps": at_least(0),
        "decay_steps": at_least(1),
        "decay": one_of("cosine", "linear", "1-sqrt"),
        "eta_min": non_negative,
    }

    def __init__(
        self,
        optimizer: Optimizer,
        warmup_steps: int,
        stable_steps: int,
        decay_steps: int,
        decay: Literal["cosine", "linear", "1-sqrt"] = "cosine",
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        self._configure(
            optimizer,
            warmup_steps=warmup_steps,
            stable_steps=stable_steps,
            decay_steps=decay_steps,
            decay=decay,
            eta_min=eta_min,
        )
        super().__init__(optimizer, last_epoch)

    stable_steps: int
    decay_steps: int
    decay: str
    eta_min: float

    def _after_warmup(self, t: float) -> float:
        share = (t - self.warmup_steps - self.stable_steps) / self.decay_steps
        if share <= 0:
            return 1.0
        if share >= 1:
            return 0.0
        if self.decay == "cosine":
            return (1 + math.cos(math.pi * share)) / 2
        return 1 - (share if self.decay == "linear" else math.sqrt(share))

    def _prepare(self) -> None:
        self._floor = None if self.eta_min == 0 else self.eta_min


class REXLR(FactorLR):
    """Reflected exponential decay: slow at first, fast at the end.

        lr(t) = initial_lr (1 - x) / (1 - beta x),    x = min(t, total_steps) / total_steps

    Chen, Wolfe & Kyrillidis 2022, "REX: Revisiting budgeted training with an improved schedule", equation 1, where beta
    is 1/2. A beta of 0 is a straight line.

    Args:
        optimizer: whose groups to drive.
        total_steps: the steps of the whole; a whole number, 1 or more.
        beta: how long the learning rate stays high, from 0 to 1.
        last_epoch: see `LRScheduler`.

    Raises:
        TypeError, ValueError: an argument cannot be used; the message names it.
    """

    _checks = {"total_steps": at_least(1), "beta": unit}

    def __init__(self, optimizer: Optimizer, total_steps: int, beta: float = 0.5, last_epoch: int = -1) -> None:
        self._configure(optimizer, total_steps=total_steps, beta=beta)
        super().__init__(optimizer, last_epoch)

    total_steps: int
    beta: float

    def _factor(self, t: float) -> float:
        if t >= self.total_steps:
            return 0.0
        share = t / self.total_steps
        return (1 - share) / (1 - self.beta * share)
