"""Schedules made of other schedules."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from ravine._arrays import describe
from ravine._hyper import MOST, at_least, increasing, one_of, positive_unit, shown, unit
from ravine._saved import is_list, within
from ravine.optim.lr_scheduler._base import LRScheduler
from ravine.optim.lr_scheduler._factor import FactorLR, power
from ravine.optim.lr_scheduler._recurrence import Recurrence
from ravine.optim.lr_scheduler._target import initial_learning_rates, learning_rates
from ravine.optim.lr_scheduler._written import current_written
from ravine.optim.optimizer import Optimizer


class Composite(LRScheduler):
    """What schedules share that are made of others: these only compute, and the whole sets the learning rates."""

    _schedulers: list[LRScheduler]

    def _check_parts(self, schedulers: Any, optimizer: Any) -> None:
        """Keep the parts after making sure that they can be combined."""
        if not isinstance(schedulers, list | tuple) or not schedulers:
            raise TypeError(f"{self._where}schedulers={shown(schedulers)}; expected a list of schedules.")
        for index, part in enumerate(schedulers):
            if not isinstance(part, LRScheduler):
                raise TypeError(
                    f"{self._where}schedulers[{index}] is a {type(part).__name__}; expected a schedule, constructed "
                    "with the same optimizer."
                )
            if part._overrides_get_lr:
                raise TypeError(
                    f"{self._where}schedulers[{index}] is a {type(part).__name__}, which overrides get_lr; define "
                    "lr_at(self, t) instead, so that it can be combined."
                )
            if any(part is other for other in schedulers[:index]):
                raise ValueError(
                    f"{self._where}schedulers[{index}] is in the list twice; construct one for each place."
                )
        self._attach(schedulers[0].optimizer if optimizer is None else optimizer)
        for index, part in enumerate(schedulers):
            if part.optimizer is not self.optimizer:
                raise ValueError(
                    f"{self._where}schedulers[{index}] ({type(part).__name__}) drives another optimizer; construct it "
                    "with the same."
                )
        self._schedulers = list(schedulers)

    def step(self, epoch: float | None = None, *, metrics: Any = None) -> None:
        """Go on to the next step, or to step `epoch`, and set the learning rates there.

        Args:
            epoch: see `LRScheduler.step`.
            metrics: for a `ReduceLROnPlateau` among the parts.

        Raises:
            TypeError, ValueError: an argument cannot be used; nothing has changed.
        """
        if metrics is None:
            super().step(epoch)
        else:
            self._step(epoch, metrics)

    def _begin(self, t: int) -> None:
        """Begin at step t, from what the parts have begun from."""
        self.base_lrs = initial_learning_rates(self.optimizer)
        self._t = t
        self._written = current_written(self.optimizer, self.base_lrs)

    def _continue(self, t: int) -> None:
        self._begin(t)
        lrs = self.lr_at(t)
        self._set(t, lrs, lrs)

    def _cycles_momentum(self) -> bool:
        return any(part._cycles_momentum() for part in self._schedulers)

    def _takes_fractions(self) -> bool:
        return all(part._takes_fractions() for part in self._schedulers)

    def _needs_metrics(self) -> bool:
        return any(part._needs_metrics() for part in self._schedulers)

    def state_dict(self) -> dict[str, Any]:
        """Return what a later `load_state_dict` needs, the states of the parts included."""
        return {**super().state_dict(), "schedulers": [part.state_dict() for part in self._schedulers]}

    def _checked_state(self, state: Mapping[str, Any], problems: list[str]) -> Callable[[], None]:
        saved = state.get("schedulers")
        if not is_list(saved) or len(saved) != len(self._schedulers):
            came = f"has {len(saved)} states" if is_list(saved) else f"is {describe(saved)}"
            problems.append(f"schedulers {came}; expected a list of {len(self._schedulers)} states")
            saved = ()
        restores = [
            within(f"schedulers[{i}] ({type(part).__name__})", part._own_loader, part_state, problems)
            for i, (part, part_state) in enumerate(zip(self._schedulers, saved, strict=False))
        ]
        own = {name: value for name, value in state.items() if name != "schedulers"}
        restores.append(super()._checked_state(own, problems))

        def restore() -> None:
            for restore_one in restores:
                restore_one()

        return restore


class SequentialLR(Composite):
    """One schedule after the other: `torch.optim.lr_scheduler.SequentialLR`.

        lr(t) = lr_i(t - milestone_i)    from milestone i (0 for the first schedule) up to the next

    Each schedule begins at its own step 0, from its own initial learning rate, whatever the one before has left. Any
    schedule can be a part, another SequentialLR and `ReduceLROnPlateau` (see `step`) included.

    Args:
        optimizer: whose groups to drive.
        schedulers: the schedules, constructed with the same optimizer.
        milestones: at which step each but the first begins, in increasing order.
        last_epoch: see `LRScheduler`.

    Raises:
        TypeError, ValueError: an argument cannot be used; the message names it.

    >>> import numpy as np
    >>> from ravine import optim
    >>> opt = optim.SGD([np.zeros(2)], lr=1)
    >>> from ravine.optim.lr_scheduler import ConstantLR, ExponentialLR
    >>> sched = SequentialLR(opt, [ConstantLR(opt, 0.1), ExponentialLR(opt, 0.5)], milestones=[3])
    >>> [sched.lr_at(t)[0] for t in range(6)]
    [0.1, 0.1, 0.1, 1.0, 0.5, 0.25]
    """

    _checks = {"milestones": increasing}

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ) -> None:
        self._attach(optimizer)
        self._check_parts(schedulers, optimizer)
        self.milestones = increasing(self._where + "milestones", milestones)
        super().__init__(optimizer, last_epoch)

    milestones: list[int]

    def _check_together(self, where: str) -> None:
        if len(self.milestones) != len(self._schedulers) - 1:
            raise ValueError(
                f"{where}{len(self._schedulers)} schedulers and {len(self.milestones)} milestones; expected one "
                "milestone less than schedulers."
            )

    def _start(self) -> None:
        self._continue(0)

    def _part_at(self, t: float) -> tuple[LRScheduler, float]:
        """Return the schedule in charge at step t, and which step that is to it."""
        if type(t) is not int or not 0 <= t <= MOST:
            self._check_step(t)
        index = bisect_right(self.milestones, t)
        return self._schedulers[index], t - self.milestones[index - 1] if index else t

    def _takes_fractions_at(self, t: float) -> bool:
        part, local = self._part_at(t)
        return part._takes_fractions_at(local)

    def lr_at(self, t: float) -> list[float]:
        """Return the learning rate of each group at step t = 0, 1, ... or between; nothing changes."""
        part, local = self._part_at(t)
        return part.lr_at(local)

    def momentum_at(self, t: float) -> list[float] | None:
        """Return the momentum (or first beta) of each group at step t; None where it is left alone."""
        part, local = self._part_at(t)
        return part.momentum_at(local)

    def _knows(self, t: float) -> bool:
        part, local = self._part_at(t)
        return part._knows(local)

    def _chainable_lr(
        self, lrs: Sequence[float], t0: float | None, t1: float, metrics: float | None = None
    ) -> list[float]:
        part, local = self._part_at(t1)
        if t0 is not None:
            before, local_before = self._part_at(t0)
            if before is part:
                return part._chainable_lr(lrs, local_before, local, metrics)
        return part.lr_at(local)

    def _arrive(self, t: float, lrs: list[float]) -> None:
        part, local = self._part_at(t)
        part._stand_at(local, lrs)


class ChainedScheduler(Composite):
    """Several schedules at once: `torch.optim.lr_scheduler.ChainedScheduler`.

    Each step applies one after the other to the learning rate, as if each drove the optimizer by itself. Where all are
    factors of the initial learning rate, without a floor above 0,

        lr(t) = initial_lr f_1(t) f_2(t) ...

    Otherwise lr(t) follows from lr(t - 1): a schedule with a floor scales the distance from it, one that is no factor
    (LambdaLR, CyclicLR, ...) replaces what those before it have made. `lr_at` then takes time in proportion to t, but
    remembers where it was.

    Args:
        schedulers: the schedules, constructed with the same optimizer.
        optimizer: whose groups to drive; that of the schedules.

    Raises:
        TypeError, ValueError: an argument cannot be used; the message names it.

    >>> import numpy as np
    >>> from ravine import optim
    >>> opt = optim.SGD([np.zeros(2)], lr=1)
    >>> from ravine.optim.lr_scheduler import ConstantLR, ExponentialLR
    >>> sched = ChainedScheduler([ConstantLR(opt, 0.5, total_iters=2), ExponentialLR(opt, 0.5)])
    >>> [sched.lr_at(t)[0] for t in range(4)]
    [0.5, 0.25, 0.25, 0.125]
    """

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None) -> None:
        self._check_parts(schedulers, optimizer)
        self._recurrence = Recurrence(self._first, self._next)
        super().__init__(self.optimizer)

    def _start(self) -> None:
        self._begin(0)
        self._prepare()
        now = learning_rates(self.optimizer)
        if self._needs_metrics():
            self._set(0, None, now)
        else:
            closed = self.lr_at(0)
            # What the parts have made of it in the order of their construction is the same but for rounding.
            close = [math.isclose(lr, c, rel_tol=1e-12) for lr, c in zip(now, closed, strict=True)]
            self._set(0, closed, [c if same else lr for lr, c, same in zip(now, closed, close, strict=True)])

    def lr_at(self, t: float) -> list[float]:
        """Return the learning rate of each group at step t = 0, 1, ...; nothing changes."""
        if type(t) is not int or not 0 <= t <= MOST:
            self._check_step(t)
        if self._is_product:
            factor = 1.0
            for part, offset in zip(self._factors, self._offsets, strict=True):
                factor *= part._factor(t + offset)
            return [base * factor for base in self.base_lrs]
        if t != int(t):
            self._check_step(t, whole=True)
        if t > 0 and self._needs_metrics():
            raise self._refuse_without_metrics(t)
        return self._recurrence.at(int(t))

    def _takes_fractions(self) -> bool:
        return self._is_product

    def _checked_state(self, state: Mapping[str, Any], problems: list[str]) -> Callable[[], None]:
        restore = super()._checked_state(state, problems)
        if not problems and any(part["last_epoch"] < state["last_epoch"] for part in state["schedulers"]):
            problems.append(f"one of schedulers stands at an earlier step than last_epoch={state['last_epoch']}")
        return restore

    def _first(self) -> list[float]:
        return self._through(self.base_lrs, None, 0, None)

    def _next(self, lrs: list[float], t: int) -> list[float]:
        return self._through(lrs, t - 1, t, None)

    def _through(self, lrs: Sequence[float], t0: float | None, t1: float, metrics: float | None) -> list[float]:
        result = list(lrs)
        for part, offset in zip(self._schedulers, self._offsets, strict=True):
            result = part._chainable_lr(result, None if t0 is None else t0 + offset, t1 + offset, metrics)
        return result

    def _chainable_lr(
        self, lrs: Sequence[float], t0: float | None, t1: float, metrics: float | None = None
    ) -> list[float]:
        return self._through(lrs, t0, t1, metrics)

    def _knows(self, t: float) -> bool:
        return not self._needs_metrics()

    def momentum_at(self, t: float) -> list[float] | None:
        """Return the momentum (or first beta) of each group at step t; None where it is left alone."""
        found = [part.momentum_at(t + offset) for part, offset in zip(self._schedulers, self._offsets, strict=True)]
        return next((momentums for momentums in reversed(found) if momentums is not None), None)

    def _arrive(self, t: float, lrs: list[float]) -> None:
        for part, offset in zip(self._schedulers, self._offsets, strict=True):
            part._stand_at(t + offset, lrs)

    def _prepare(self) -> None:
        self._recurrence.forget()
        # A part that has stepped before goes on from there.
        self._offsets = [part._t - self._t for part in self._schedulers]
        self._factors = [part for part in self._schedulers if isinstance(part, FactorLR) and part._floor is None]
        self._is_product = len(self._factors) == len(self._schedulers)


class WarmupLR(Composite):
    """A warm-up before any schedule.

        lr(t) = lr_after(0) r(t)           while t < warmup_steps = W
        lr(t) = lr_after(t - W)            from then on

        r(t) = start_factor + (1 - start_factor) t / W  ("linear"),    start_factor^(1 - t / W)  ("exponential")

    Linear: Goyal et al. 2017, "Accurate, large minibatch SGD", section 2.2.

    Args:
        schedule: what follows, constructed already; it begins at its step 0 when the warm-up is over.
        warmup_steps: the steps of the warm-up; a whole number, 0 or more.
        start_factor: r(0), from 0 to 1; above 0 for "exponential".
        strategy: "linear" or "exponential".
        last_epoch: see `LRScheduler`.

    Raises:
        TypeError, ValueError: an argument cannot be used; the message names it.

    >>> import numpy as np
    >>> from ravine import optim
    >>> opt = optim.SGD([np.zeros(2)], lr=1)
    >>> sched = WarmupLR(optim.lr_scheduler.ExponentialLR(opt, gamma=0.5), warmup_steps=4)
    >>> [sched.lr_at(t)[0] for t in range(7)]
    [0.0, 0.25, 0.5, 0.75, 1.0, 0.5, 0.25]
    """

    _checks = {
        "warmup_steps": at_least(0),
        "start_factor": unit,
        "strategy": one_of("linear", "exponential"),
    }

    def __init__(
        self,
        schedule: LRScheduler,
        warmup_steps: int,
        start_factor: float = 0.0,
        strategy: Literal["linear", "exponential"] = "linear",
        last_epoch: int = -1,
    ) -> None:
        self._check_parts([schedule], None)
        self._after = schedule
        self._configure(self.optimizer, warmup_steps=warmup_steps, start_factor=start_factor, strategy=strategy)
        super().__init__(self.optimizer, last_epoch)

    def _check_together(self, where: str) -> None:
        if self.strategy == "exponential":
            positive_unit(where + "start_factor", self.start_factor)

    warmup_steps: int
    start_factor: float
    strategy: str

    def _start(self) -> None:
        now = learning_rates(self.optimizer)
        self._begin(0)
        closed, ramp = self.lr_at(0), self._ramp(0)
        # Where it joins others, they have a share in what is there.
        self._set(0, closed, self._merged(now, self._after.lr_at(0), closed, [lr * ramp for lr in now]))

    def _ramp(self, t: float) -> float:
        if type(t) is not int or not 0 <= t <= MOST:
            self._check_step(t)
        if t >= self.warmup_steps:
            return 1.0
        if self.strategy == "exponential":
            return power(self.start_factor, 1 - t / self.warmup_steps)
        return self.start_factor + (1 - self.start_factor) * t / self.warmup_steps

    def _local(self, t: float) -> float:
        return max(0, t - self.warmup_steps)

    def lr_at(self, t: float) -> list[float]:
        """Return the learning rate of each group at step t = 0, 1, ... or between; nothing changes."""
        ramp = self._ramp(t)
        lrs = self._after.lr_at(self._local(t))
        return lrs if ramp == 1 else [lr * ramp for lr in lrs]

    def momentum_at(self, t: float) -> list[float] | None:
        """Return the momentum (or first beta) of each group at step t; None where it is left alone."""
        return self._after.momentum_at(self._local(t))

    def _knows(self, t: float) -> bool:
        return self._after._knows(self._local(t))

    def _chainable_lr(
        self, lrs: Sequence[float], t0: float | None, t1: float, metrics: float | None = None
    ) -> list[float]:
        r0, r1 = 1.0 if t0 is None else self._ramp(t0), self._ramp(t1)
        i0, i1 = None if t0 is None else self._local(t0), self._local(t1)
        if r0 == 0 and r1 != 0:
            return [lr + more for lr, more in zip(lrs, self.lr_at(t1), strict=False)]
        result = list(lrs) if r0 in (r1, 1) else [lr / r0 for lr in lrs]
        if i0 != i1:
            result = self._after._chainable_lr(result, i0, i1, metrics)
        return result if r0 == r1 else [lr * r1 for lr in result]

    def _arrive(self, t: float, lrs: list[float]) -> None:
        self._after._stand_at(self._local(t), lrs)
