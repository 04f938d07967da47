"""What all schedules share: they stand at a step of their formula, and step."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from ravine._hyper import is_number
from ravine.optim.lr_scheduler._formula import Formula
from ravine.optim.lr_scheduler._record import Record, beginning, current_record, new_record
from ravine.optim.lr_scheduler._saving import checked_state, groups_loader, saved_attributes, saved_groups
from ravine.optim.lr_scheduler._target import enlist, handoff_of, initial_learning_rates, learning_rates
from ravine.optim.optimizer import Optimizer


class LRScheduler(Formula):
    """Base class: sets the learning rate of every group of an optimizer as a function of a count of steps.

    A subclass gives `lr_at(t)`, the learning rates at step t; nothing else. (One written for torch, which overrides
    `get_lr` instead, works too, but cannot look ahead.)

    Constructing a schedule sets the learning rates of step 0 and keeps what each group had as its "initial_lr". A
    schedule that is made before those already there have stepped joins them: they work on one learning rate together.
    One that is made later takes over and starts anew: from the learning rate that was set by hand since, otherwise from
    "initial_lr".

    As long as nobody else changes the learning rate, it is `lr_at(t)` exactly. Where somebody does, by hand or with
    another schedule, a schedule whose formula is a factor goes on from there in proportion, as torch's chainable forms
    do; others (LambdaLR, CosineAnnealingWarmRestarts, CyclicLR, OneCycleLR, a subclass of your own) set it outright.

    Over a `Handoff` it starts again with each stage, from that one's own learning rate.

    Args:
        optimizer: whose groups to drive. Groups that it is given later keep their own learning rates.
        last_epoch: the step to continue after; -1 starts anew. To continue, every group needs its "initial_lr", which
            the optimizer's state_dict carries.

    Attributes:
        base_lrs: the initial learning rate of each group.
        last_epoch: the step that the learning rates stand at. Assigning to it changes no learning rate.

    Raises:
        TypeError: `optimizer` is no Optimizer.
        ValueError: `last_epoch` cannot be continued.
    """

    # Whether it starts from what the learning rate is, whatever it was at the beginning.
    _starts_from_current: ClassVar[bool] = False
    # Whether its initial learning rates are among its arguments.
    _brings_bases: ClassVar[bool] = False
    # Whether later schedules start from its own initial learning rate.
    _replaces_initial_lr: ClassVar[bool] = False
    _overrides_get_lr: ClassVar[bool] = False
    _overrides_arrive: ClassVar[bool] = False

    _own_bases: list[float] | None = None  # of a schedule that is given its initial learning rates
    _t: float  # where it stands
    _last_lr: list[float]  # what it set last
    _expected: list[float] | None  # what the groups hold unless somebody else changed them; None: not computed
    _record: Record

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._overrides_get_lr = cls.get_lr is not LRScheduler.get_lr and cls.lr_at is Formula.lr_at
        cls._overrides_arrive = cls._arrive is not LRScheduler._arrive

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self._attach(optimizer)
        if not isinstance(last_epoch, int) or last_epoch < -1:
            raise ValueError(
                f"{self._where}last_epoch={last_epoch!r}; expected -1 to start anew, or a step to go on after."
            )
        for index, group in enumerate(optimizer.param_groups):
            if last_epoch >= 0 and "initial_lr" not in group:
                raise ValueError(
                    f"{self._where}last_epoch={last_epoch} goes on with an earlier schedule, but param_groups[{index}] "
                    "has no 'initial_lr'. Load the optimizer's state_dict first, or set group['initial_lr']."
                )
        if last_epoch == -1:
            self._start()
        else:
            self._continue(last_epoch + 1)
        enlist(optimizer, self)

    # --- beginning

    def _start(self) -> None:
        """Stand at step 0 of a new schedule."""
        found = beginning(self.optimizer)
        self.base_lrs = self._own_bases or (found.now if self._starts_from_current else found.initial)
        self._t = 0
        self._prepare()
        if self._overrides_get_lr:
            closed = lrs = self._got_lr(0)
        else:
            closed = lrs = self.lr_at(0)
            if found.joined is not None:
                lrs = self._merged(found.now, self.base_lrs, closed, self._chainable_lr(found.now, None, 0))
        for group, lr, base in zip(self.optimizer.param_groups, found.initial, self.base_lrs, strict=True):
            fresh = "initial_lr" not in group
            group["initial_lr"] = base if self._replaces_initial_lr or fresh else lr
        self._record = found.joined or new_record(self.optimizer, lrs)
        self._set(0, closed, lrs)

    def _continue(self, t: int) -> None:
        """Stand at step t of a schedule that goes on, keeping learning rates that an earlier run has set."""
        now, initial = learning_rates(self.optimizer), initial_learning_rates(self.optimizer)
        self.base_lrs = self._own_bases or initial
        self._t = t
        self._prepare()
        if self._overrides_get_lr:
            closed = lrs = self._got_lr(t)
        else:
            closed = self.lr_at(t)
            lrs = self._merged(now, initial, closed, self._chainable_lr(now, t, t))
        self._record = current_record(self.optimizer, lrs)
        self._set(t, closed, lrs)

    def _restart(self) -> None:
        """Stand at step 0 again, with the stage of a Handoff that has begun to work."""
        self._own_bases = self.base_lrs if self._brings_bases else None
        self._start()

    def _rebind(self) -> None:
        """Go on where a Handoff has loaded which stage is at work."""
        self._record = current_record(self.optimizer, learning_rates(self.optimizer))
        self._record.stepped = self._record.stepped or self._t != 0
        self._expected = None

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        enlist(self.optimizer, self)

    # --- stepping

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

    def step(self, epoch: float | None = None) -> None:
        """Go on to the next step, or to step `epoch`, and set the learning rates there.

        Call it after `optimizer.step()`, once an epoch or once a batch as the schedule is meant.

        Args:
            epoch: the step to jump to, which may be a fraction where the formula allows it. What was changed by hand
                is given up.

        Raises:
            TypeError, ValueError: `epoch` is no number, or below 0; nothing has changed.
        """
        t = self._t + 1
        if epoch is not None or t == 1 or self._expected is None:
            self._step(epoch, None)
            return
        lrs = self.lr_at(t)
        groups = self.optimizer.param_groups
        # zip takes twice as long with strict=False.
        for group, expected in zip(groups, self._expected):  # noqa: B905
            if group["lr"] != expected:
                self._step(None, None)
                return
        for group, lr in zip(groups, lrs):  # noqa: B905
            group["lr"] = lr
        self._t = t
        self._expected = self._last_lr = self._record.values = lrs
        if self._overrides_arrive:
            self._arrive(t, lrs)

    def _step(self, epoch: float | None, metrics: float | None) -> None:
        """Step in the general case: at the beginning, to some epoch, from what others have set, with metrics."""
        if self._waits(epoch):
            return
        t = self._t + 1 if epoch is None else self._checked_epoch(epoch)
        if self._t == 0 and not self.optimizer.has_stepped:
            warnings.warn(
                f"{type(self).__name__}.step() was called before optimizer.step(), so the first learning rate of the "
                "schedule was never used. Call optimizer.step() first, then the schedule's step().",
                stacklevel=3,
            )
        now = [group["lr"] for group in self.optimizer.param_groups]
        if self._overrides_get_lr:
            self._set(t, None, self._got_lr(t))
        elif epoch is not None:
            lrs = self.lr_at(t)
            self._set(t, lrs, lrs)
        elif not self._knows(t):
            self._set(t, None, self._chainable_lr(now, self._t, t, metrics))
        else:
            closed = self.lr_at(t)
            lrs = self._chainable_lr(now, self._t, t, metrics)
            if self._expected is None and self._knows(self._t):
                self._expected = self.lr_at(self._t)
            if self._expected is not None:
                lrs = self._merged(now, self._expected, closed, lrs)
            self._set(t, closed, lrs)

    def _waits(self, epoch: float | None) -> bool:
        """Whether a step still belongs to the stage of a Handoff that has just ended."""
        handoff = handoff_of(self.optimizer) if epoch is None and self._t == 0 else None
        return handoff is not None and handoff.has_just_switched

    def _checked_epoch(self, epoch: float) -> float:
        if not is_number(epoch):
            raise TypeError(f"{self._where}epoch={epoch!r} is a {type(epoch).__name__}; expected a number, 0 or more.")
        if not 0 <= epoch < math.inf:
            raise ValueError(f"{self._where}epoch={epoch!r}; expected a finite number, 0 or more.")
        return int(epoch) if epoch == int(epoch) else float(epoch)

    def _got_lr(self, t: float) -> list[float]:
        """Return what a `get_lr` that was written for torch, which asks where the schedule stands, has for step t."""
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
        record = self._record
        record.values = lrs
        if t != 0:
            record.stepped = True
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

    # --- state

    def state_dict(self) -> dict[str, Any]:
        """Return what a later `load_state_dict` needs, as copies: not the optimizer, and no plain functions.

        Returns:
            "last_epoch", "_last_lr", the public attributes; and what the groups hold now: "lr", "initial_lr" and, where
            the schedule moves it, "momentum".
        """
        return {
            **saved_attributes(self),
            "last_epoch": self._t,
            "_last_lr": list(self._last_lr),
            **saved_groups(self),
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a saved schedule of the same class and as many groups, whatever this one was constructed with.

        Sets the learning rates (and the momentum, where the schedule moves it) that the optimizer had then, so that it
        does not matter whether this schedule is constructed and loaded before or after the optimizer's state.

        Raises:
            ValueError: the saved state does not fit; nothing has changed.
        """
        restore = self._loader(f"{type(self).__name__}.load_state_dict: ", state_dict)
        restore_groups = groups_loader(self.optimizer, state_dict)
        restore()
        self._record.values = restore_groups()
        self._record.stepped = self._t != 0

    def _loader(self, where: str, state: Mapping[str, Any]) -> Callable[[], None]:
        """Check a saved state; return what takes it over, but for the groups."""
        attributes = checked_state(self, where, state)

        def restore() -> None:
            vars(self).update(attributes)
            self._prepare()

        return restore
