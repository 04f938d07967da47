"""The base class of all schedules: they step, and are saved."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

from ravine._arrays import describe
from ravine._hyper import MOST, shown
from ravine._saved import checked
from ravine.optim.lr_scheduler._saving import (
    FITS,
    checked_attributes,
    checked_values,
    saved_attributes,
    saved_groups,
    set_values,
)
from ravine.optim.lr_scheduler._standing import Standing
from ravine.optim.lr_scheduler._target import enlist, handoff_of, learning_rates
from ravine.optim.lr_scheduler._undoing import all_or_nothing
from ravine.optim.optimizer import Optimizer


class LRScheduler(Standing):
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

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self._attach(optimizer)
        if not isinstance(last_epoch, int) or not -1 <= last_epoch <= MOST:
            raise ValueError(
                f"{self._where}last_epoch={shown(last_epoch)}; expected -1 to start anew, or a step to go on after."
            )
        self._check_together(self._where)
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

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        enlist(self.optimizer, self)

    # --- stepping

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
        try:
            # zip takes twice as long with strict=False.
            for group, expected in zip(groups, self._expected):  # noqa: B905
                if group["lr"] != expected:
                    self._step(None, None)
                    return
        except (KeyError, IndexError, TypeError, ValueError):  # of what is no learning rate
            self._step(None, None)
            return
        try:
            for group, lr in zip(groups, lrs):  # noqa: B905
                group["lr"] = lr
            self._t = t
            self._expected = self._last_lr = self._written.values = lrs
            if self._overrides_arrive:
                self._arrive(t, lrs)
        except BaseException:
            self._set(t, lrs, lrs)  # what Ctrl-C has interrupted is done again
            raise

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
        all_or_nothing(self, lambda: self._advance(t, epoch is not None, metrics))

    def _advance(self, t: float, jumps: bool, metrics: float | None) -> None:
        now = learning_rates(self.optimizer, self._where)
        if self._overrides_get_lr:
            self._set(t, None, self._from_get_lr(t))
        elif jumps:
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
        all_or_nothing(self, checked(type(self).__name__, "schedule", self._loader, state_dict))

    def _loader(self, state_dict: Mapping[str, Any], problems: list[str]) -> Callable[[], None]:
        """Check a saved state and list what does not fit; return what takes it over."""
        restore = self._own_loader(state_dict, problems)
        values = {} if problems else checked_values(self, state_dict, problems)

        def restore_with_groups() -> None:
            restore()
            self._written.values = values["lr"]
            self._written.stepped = self._t != 0
            set_values(self.optimizer, values)

        return restore_with_groups

    def _own_loader(self, state_dict: Mapping[str, Any], problems: list[str]) -> Callable[[], None]:
        """Do as `_loader`, but leave what the groups hold alone, as parts of other schedules do."""
        if not isinstance(state_dict, Mapping):
            problems.append(f"it is {describe(state_dict)}; expected a dict, {FITS}")
            return lambda: None
        return self._checked_state(state_dict, problems)

    def _checked_state(self, state: Mapping[str, Any], problems: list[str]) -> Callable[[], None]:
        """Check what has been saved of the schedule by itself; return what takes it over."""
        attributes = checked_attributes(self, state, problems)

        def restore() -> None:
            vars(self).update(attributes)
            self._prepare()

        return restore
