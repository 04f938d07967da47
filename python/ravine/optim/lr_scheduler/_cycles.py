"""Schedules that move the momentum against the learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from ravine._hyper import MOST, at_least, each, flag, non_negative, one_of, optional, positive, unit
from ravine.optim.lr_scheduler._base import LRScheduler
from ravine.optim.lr_scheduler._factor import power
from ravine.optim.lr_scheduler._functions import check_callable, saved_callable, with_callables
from ravine.optim.lr_scheduler._momentum import momentum_check, momentum_key, set_momentum
from ravine.optim.optimizer import Optimizer


class MomentumCycle(LRScheduler):
    """What schedules share that cycle the momentum too."""

    _brings_bases = True

    cycle_momentum: bool
    max_lrs: list[float]
    base_momentums: list[float]
    max_momentums: list[float]

    def _configure_momentum(self, cycle_momentum: Any, base: Any, greatest: Any) -> None:
        self.cycle_momentum = flag(self._where + "cycle_momentum", cycle_momentum)
        if not self.cycle_momentum:
            self.base_momentums, self.max_momentums = [], []
            return
        for stage in self.optimizer._stages:
            if momentum_key(stage) is None:
                raise ValueError(
                    f"{self._where}cycle_momentum=True, but the optimizer has neither momentum nor betas; "
                    "pass cycle_momentum=False."
                )
            check = momentum_check(stage)
            self.base_momentums = self._for_each_group("base_momentum", base, check)
            self.max_momentums = self._for_each_group("max_momentum", greatest, check)

    def _cycles_momentum(self) -> bool:
        return self.cycle_momentum

    def _check_together(self, where: str) -> None:
        counts = len(self.base_momentums), len(self.max_momentums)
        if counts[0] != counts[1]:
            raise ValueError(f"{where}base_momentums and max_momentums have {counts[0]} and {counts[1]} values")
        if not self.cycle_momentum:
            return
        for name in ("base_momentums", "max_momentums"):
            values = getattr(self, name)
            if len(values) != len(self.max_lrs):
                raise ValueError(f"{where}{name} has {len(values)} values for {len(self.max_lrs)} parameter groups")
            for stage in self.optimizer._stages:
                if momentum_key(stage) is None:
                    raise ValueError(f"{where}cycle_momentum=True, but the optimizer has neither momentum nor betas")
                each(momentum_check(stage))(where + name, values)

    def _arrive(self, t: float, lrs: list[float]) -> None:
        if self.cycle_momentum:
            set_momentum(self.optimizer, self.momentum_at(t) or ())


def _pairs(starts: list[float], ends: list[float]) -> list[tuple[float, float]]:
    return list(zip(starts, ends, strict=True))


class CyclicLR(MomentumCycle):
    """Up and down between two learning rates: `torch.optim.lr_scheduler.CyclicLR`.

        lr(t) = base_lr + (max_lr - base_lr) x(t) scale,    momentum(t) = max_m - (max_m - base_m) x(t) scale

    where x rises from 0 to 1 in step_size_up steps and falls back in step_size_down, again and again. In cycle c = 1,
    2, ... scale is 1 ("triangular"), 1 / 2^(c - 1) ("triangular2"), gamma^t ("exp_range"), or the value of `scale_fn`.
    Smith 2017, "Cyclical learning rates for training neural networks", section 3.

    Args:
        optimizer: whose groups to drive.
        base_lr: the lowest learning rate, or a list with one for each group.
        max_lr: the highest learning rate, likewise.
        step_size_up: the steps up; above 0.
        step_size_down: the steps down; as many as up without it.
        mode: "triangular", "triangular2" or "exp_range"; without effect where there is a `scale_fn`.
        gamma: the base of "exp_range".
        scale_fn: a function of the cycle c, or of the step t.
        scale_mode: "cycle" or "iterations": which of these `scale_fn` takes.
        cycle_momentum: whether to move the momentum (the first of the betas) in the opposite direction.
        base_momentum: the lowest momentum, at the highest learning rate; or a list with one for each group.
        max_momentum: the highest momentum, at the lowest learning rate; likewise.
        last_epoch: see `LRScheduler`.

    Raises:
        TypeError, ValueError: an argument cannot be used; the message names it.

    The optimizer's own learning rate is replaced. `scale_fn` is saved as `LambdaLR` saves its functions.
    """

    _checks = {
        "step_size_up": positive,
        "step_size_down": positive,
        "mode": one_of("triangular", "triangular2", "exp_range"),
        "gamma": non_negative,
        "scale_mode": one_of("cycle", "iterations"),
        "cycle_momentum": flag,
        "base_momentums": each(non_negative),
        "max_momentums": each(non_negative),
        "max_lrs": each(non_negative),
    }
    _per_group = ("max_lrs",)

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | Sequence[float],
        max_lr: float | Sequence[float],
        step_size_up: float = 2000,
        step_size_down: float | None = None,
        mode: Literal["triangular", "triangular2", "exp_range"] = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: Literal["cycle", "iterations"] = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.8,
        max_momentum: float | Sequence[float] = 0.9,
        last_epoch: int = -1,
    ) -> None:
        self._configure(
            optimizer,
            step_size_up=step_size_up,
            step_size_down=step_size_up if step_size_down is None else step_size_down,
            mode="triangular" if scale_fn is not None else mode,
            gamma=gamma,
            scale_mode=scale_mode,
        )
        self._scale_fn = optional(check_callable)(self._where + "scale_fn", scale_fn)
        self._own_bases = self._for_each_group("base_lr", base_lr, non_negative)
        self.max_lrs = self._for_each_group("max_lr", max_lr, non_negative)
        self._configure_momentum(cycle_momentum, base_momentum, max_momentum)
        super().__init__(optimizer, last_epoch)

    step_size_up: float
    step_size_down: float
    mode: str
    gamma: float
    scale_mode: str

    def _prepare(self) -> None:
        self._lr_bounds = _pairs(self.base_lrs, self.max_lrs)
        self._momentum_bounds = _pairs(self.base_momentums, self.max_momentums)
        self._last_t = -1.0  # the momentum is asked for where the learning rate has been

    def _height(self, t: float) -> float:
        """Return how far the learning rate is from the lowest towards the highest."""
        if t != self._last_t:
            self._last_height = self._height_at(t)
            self._last_t = t
        return self._last_height

    def _height_at(self, t: float) -> float:
        if type(t) is not int or not 0 <= t <= MOST:
            self._check_step(t)
        length = self.step_size_up + self.step_size_down
        cycle, passed = divmod(t, length)
        height = passed / self.step_size_up if passed <= self.step_size_up else (length - passed) / self.step_size_down
        if self._scale_fn is not None:
            return float(height * self._scale_fn(1 + int(cycle) if self.scale_mode == "cycle" else t))
        if self.mode == "triangular2":
            return float(height * 0.5**cycle)
        if self.mode == "exp_range":
            return height * power(self.gamma, t)
        return height

    def lr_at(self, t: float) -> list[float]:
        """Return the learning rate of each group at step t = 0, 1, ... or between; nothing changes."""
        height = self._height(t)
        return [low + (high - low) * height for low, high in self._lr_bounds]

    def momentum_at(self, t: float) -> list[float] | None:
        """Return the momentum (or first beta) of each group at step t; None without `cycle_momentum`."""
        if not self.cycle_momentum:
            return None
        height = self._height(t)
        return [high - (high - low) * height for low, high in self._momentum_bounds]

    def state_dict(self) -> dict[str, Any]:
        """Return what a later `load_state_dict` needs, the attributes of a callable object included."""
        return {**super().state_dict(), "scale_fn": [saved_callable(f) for f in self._functions()]}

    def _checked_state(self, state: Mapping[str, Any], problems: list[str]) -> Callable[[], None]:
        return with_callables(super()._checked_state, state, "scale_fn", self._functions(), problems)

    def _functions(self) -> list[Callable[..., float]]:
        return [] if self._scale_fn is None else [self._scale_fn]


class OneCycleLR(MomentumCycle):
    """Up to a high learning rate and down to a very low one: `torch.optim.lr_scheduler.OneCycleLR`.

    From initial_lr = max_lr / div_factor up to max_lr at step pct_start total_steps - 1, and down to min_lr =
    initial_lr / final_div_factor at step total_steps - 1, where it stays; the momentum moves in the opposite direction.
    With `three_phase` it goes down to initial_lr first, as long as it went up, and from there to min_lr. Within a
    phase, from a to b, at the share x of it:

        b + (a - b) (1 + cos(pi x)) / 2  ("cos"),    a + (b - a) x  ("linear")

    Smith & Topin 2018, "Super-convergence: Very fast training of neural networks using large learning rates"; two
    phases as in fastai.

    Args:
        optimizer: whose groups to drive.
        max_lr: the highest learning rate, or a list with one for each group.
        total_steps: the steps of the whole; a whole number, 1 or more. Without it: epochs times steps_per_epoch.
        epochs, steps_per_epoch: see `total_steps`.
        pct_start: the share of the steps that goes up, from 0 to 1.
        anneal_strategy: "cos" or "linear".
        cycle_momentum: whether to move the momentum (the first of the betas) too.
        base_momentum: the lowest momentum, at the highest learning rate; or a list with one for each group.
        max_momentum: the highest momentum, at both ends; likewise.
        div_factor: max_lr / initial_lr, above 0.
        final_div_factor: initial_lr / min_lr, above 0.
        three_phase: see above.
        last_epoch: see `LRScheduler`.

    Attributes:
        max_lrs, min_lrs: the highest and the final learning rate of each group; `base_lrs` are the initial ones.

    Raises:
        TypeError, ValueError: an argument cannot be used; the message names it.

    The optimizer's own learning rate and its "initial_lr" are replaced.

    >>> import numpy as np
    >>> from ravine import optim
    >>> sched = OneCycleLR(optim.SGD([np.zeros(2)]), max_lr=1, total_steps=10)
    >>> [round(sched.lr_at(t)[0], 6) for t in (0, 2, 9, 10)]
    [0.04, 1.0, 4e-06, 4e-06]
    """

    _checks = {
        "total_steps": at_least(1),
        "pct_start": unit,
        "anneal_strategy": one_of("cos", "linear"),
        "cycle_momentum": flag,
        "base_momentums": each(non_negative),
        "max_momentums": each(non_negative),
        "three_phase": flag,
        "max_lrs": each(non_negative),
        "min_lrs": each(non_negative),
    }
    _per_group = ("max_lrs", "min_lrs")

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: Literal["cos", "linear"] = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.85,
        max_momentum: float | Sequence[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        self._attach(optimizer)
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError(
                    f"{self._where}total_steps is missing; give total_steps, or both epochs and steps_per_epoch."
                )
            whole = at_least(1)
            total_steps = whole(f"{self._where}epochs", epochs) * whole(
                f"{self._where}steps_per_epoch", steps_per_epoch
            )
        self._configure(
            optimizer,
            total_steps=total_steps,
            pct_start=pct_start,
            anneal_strategy=anneal_strategy,
            three_phase=three_phase,
        )
        self.max_lrs = self._for_each_group("max_lr", max_lr, non_negative)
        div_factor = positive(self._where + "div_factor", div_factor)
        final_div_factor = positive(self._where + "final_div_factor", final_div_factor)
        self._own_bases = [lr / div_factor for lr in self.max_lrs]
        self.min_lrs = [lr / final_div_factor for lr in self._own_bases]
        self._configure_momentum(cycle_momentum, base_momentum, max_momentum)
        super().__init__(optimizer, last_epoch)

    _replaces_initial_lr = True

    total_steps: int
    pct_start: float
    anneal_strategy: str
    three_phase: bool

    def _prepare(self) -> None:
        """Lay out the phases: first and last step; for each group the learning rates, and the momenta, at both ends."""
        end = self.total_steps - 1
        top = self.pct_start * self.total_steps - 1
        up, down = _pairs(self.base_lrs, self.max_lrs), _pairs(self.max_lrs, self.min_lrs)
        easing = _pairs(self.max_momentums, self.base_momentums)
        rising = _pairs(self.base_momentums, self.max_momentums)
        if self.three_phase:
            back, out = _pairs(self.max_lrs, self.base_lrs), _pairs(self.base_lrs, self.min_lrs)
            still = _pairs(self.max_momentums, self.max_momentums)
            self._phases = [(0.0, top, up, easing), (top, 2 * top, back, rising), (2 * top, end, out, still)]
        else:
            self._phases = [(0.0, top, up, easing), (top, end, down, rising)]
        self._last_t = -1.0  # the momentum is asked for where the learning rate has been

    def _find_phase(self, t: float) -> None:
        """Find which phase step t is in, and how much of it is still to go, of 1."""
        if type(t) is not int or not 0 <= t <= MOST:
            self._check_step(t)
        at = min(t, self.total_steps - 1)
        for phase in self._phases:
            if at <= phase[1]:
                break
        start, stop = phase[:2]
        # A phase of no length is at its end: with pct_start total_steps = 1 the first step has the highest lr.
        share = (at - start) / (stop - start) if stop > start else 1.0
        self._rest = (1 + math.cos(math.pi * share)) / 2 if self.anneal_strategy == "cos" else 1 - share
        self._phase = phase
        self._last_t = t

    def lr_at(self, t: float) -> list[float]:
        """Return the learning rate of each group at step t = 0, 1, ... or between; nothing changes."""
        if t != self._last_t:
            self._find_phase(t)
        rest = self._rest
        done = 1 - rest
        return [start * rest + end * done for start, end in self._phase[2]]

    def momentum_at(self, t: float) -> list[float] | None:
        """Return the momentum (or first beta) of each group at step t; None without `cycle_momentum`."""
        if not self.cycle_momentum:
            return None
        if t != self._last_t:
            self._find_phase(t)
        rest = self._rest
        done = 1 - rest
        return [start * rest + end * done for start, end in self._phase[3]]
