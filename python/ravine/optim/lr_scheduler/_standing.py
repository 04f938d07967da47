"""Where a schedule stands, and how it comes to stand there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from ravine.optim.lr_scheduler._formula import Formula
from ravine.optim.lr_scheduler._target import initial_learning_rates, learning_rates
from ravine.optim.lr_scheduler._written import Written, beginning, current_written, new_written


class Standing(Formula):
    """A formula that stands at a step, where it began or was put, and has set the learning rates there."""

    # Whether it starts from what the learning rate is, whatever it was at the beginning.
    _starts_from_current: ClassVar[bool] = False
    # Whether its initial learning rates are among its arguments.
    _brings_bases: ClassVar[bool] = False
    # Whether later schedules start from its own initial learning rate.
    _replaces_initial_lr: ClassVar[bool] = False
    # Whether it is written for torch.
    _overrides_get_lr: ClassVar[bool] = False
    # Whether there is something to do at a step besides setting the learning rates.
    _overrides_arrive: ClassVar[bool] = False

    _own_bases: list[float] | None = None  # of a schedule that is given its initial learning rates
    _t: float  # where it stands
    _last_lr: list[float]  # what it set last
    _expected: list[float] | None  # what the groups hold unless somebody else changed them; None: not computed
    _written: Written

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._overrides_get_lr = cls.get_lr is not Standing.get_lr and cls.lr_at is Formula.lr_at
        cls._overrides_arrive = cls._arrive is not Standing._arrive

    @property
    def last_epoch(self) -> int:
        """The step that the learning rates stand at, rounded down."""
        return math.floor(self._t)

    @last_epoch.setter
    def last_epoch(self, epoch: float) -> None:
        self._t = epoch
        self._expected = None

    def get_lr(self) -> list[float]:
        """Return the learning rates that the schedule has for the step it stands at.

        `get_last_lr` returns what was set. Kept for schedules written for torch, which override it.
        """
        return self.lr_at(self._t)

    def get_last_lr(self) -> list[float]:
        """Return the learning rates that were set last, one for each group."""
        return list(self._last_lr)

    # --- beginning

    def _start(self) -> None:
        """Stand at step 0 of a new schedule."""
        found = beginning(self.optimizer)
        self.base_lrs = self._own_bases or (found.now if self._starts_from_current else found.initial)
        self._t = 0
        self._prepare()
        if self._overrides_get_lr:
            closed = lrs = self._from_get_lr(0)
        else:
            closed = lrs = self.lr_at(0)
            if found.joined is not None:
                lrs = self._merged(found.now, self.base_lrs, closed, self._chainable_lr(found.now, None, 0))
        for group, lr, base in zip(self.optimizer.param_groups, found.initial, self.base_lrs, strict=True):
            fresh = "initial_lr" not in group
            group["initial_lr"] = base if self._replaces_initial_lr or fresh else lr
        self._written = found.joined or new_written(self.optimizer, lrs)
        self._set(0, closed, lrs)

    def _continue(self, t: int) -> None:
        """Stand at step t of a schedule that goes on, keeping learning rates that an earlier run has set."""
        now, initial = learning_rates(self.optimizer), initial_learning_rates(self.optimizer)
        self.base_lrs = self._own_bases or initial
        self._t = t
        self._prepare()
        if self._overrides_get_lr:
            closed = lrs = self._from_get_lr(t)
        else:
            closed = self.lr_at(t)
            lrs = self._merged(now, initial, closed, self._chainable_lr(now, t, t))
        self._written = current_written(self.optimizer, lrs)
        self._set(t, closed, lrs)

    def _restart(self) -> None:
        """Stand at step 0 again, with the stage of a Handoff that has begun to work."""
        self._own_bases = self.base_lrs if self._brings_bases else None
        self._start()

    def _rebind(self) -> None:
        """Go on where a Handoff has loaded which stage is at work."""
        self._written = current_written(self.optimizer, learning_rates(self.optimizer))
        self._written.stepped = self._written.stepped or self._t != 0
        self._expected = None

    # --- putting it at a step

    def _from_get_lr(self, t: float) -> list[float]:
        """Return what a `get_lr` written for torch, which asks where the schedule stands, has for step t."""
        before, self._t = self._t, t
        try:
            return [float(lr) for lr in self.get_lr()]
        finally:
            self._t = before

    @staticmethod
    def _merged(
        now: Sequence[float], expected: Sequence[float], closed: list[float], chainable: list[float]
    ) -> list[float]:
        """Return the closed form where the learning rate is as expected, else what follows from the one that is."""
        return [c if n == e else f for n, e, c, f in zip(now, expected, closed, chainable, strict=False)]

    def _set(self, t: float, closed: list[float] | None, lrs: list[float]) -> None:
        """Set the learning rates of step t to `lrs`; `closed` is what they would be had nobody else changed them."""
        for group, lr in zip(self.optimizer.param_groups, lrs, strict=False):
            group["lr"] = lr
        written = self._written
        written.values = lrs
        if t != 0:
            written.stepped = True
        self._stand_at(t, lrs)
        self._expected = closed

    def _stand_at(self, t: float, lrs: list[float]) -> None:
        """Stand at step t, where the learning rates have been set to `lrs`."""
        self._t = t
        self._expected = None
        self._last_lr = lrs
        if self._overrides_arrive:
            self._arrive(t, lrs)

    def _arrive(self, t: float, lrs: list[float]) -> None:
        """Do what has to be done at step t besides setting the learning rates to `lrs`."""
