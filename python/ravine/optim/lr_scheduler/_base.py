"""What all schedules share: steps, hand edits of the learning rate, state."""

from __future__ import annotations

import copy
import math
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from ravine._hyper import Check, is_number
from ravine.optim.lr_scheduler._target import (
    Group,
    KeyView,
    Written,
    check_stages,
    current_record,
    follow,
    hand_overs,
    handoff_of,
    new_written,
    written,
)
from ravine.optim.optimizer import Optimizer

# What the groups hold, as a schedule's state has it.
_HELD = ("lr", "initial_lr", "momentum")


class LRScheduler:
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

    # The check of each of a subclass's arguments that is kept under its own name.
    _checks: ClassVar[dict[str, Check]] = {}
    # Its lists with one value for each group, besides base_lrs.
    _per_group: ClassVar[tuple[str, ...]] = ()
    # Whether it starts from what the learning rate is, whatever it was at the beginning.
    _starts_from_current: ClassVar[bool] = False
    # Whether there is something to do at a step besides setting the learning rates.
    _arrives: ClassVar[bool] = False
    # Whether its initial learning rates are among its arguments.
    _brings_bases: ClassVar[bool] = False
    # Whether later schedules start from its own initial learning rate.
    _replaces_initial_lr: ClassVar[bool] = False
    _overrides_get_lr: ClassVar[bool] = False

    _own_bases: list[float] | None = None  # of a schedule that is given its initial learning rates
    _t: float  # where it stands
    _last_lr: list[float]  # what it set last
    _expected: list[float] | None  # what the groups hold unless somebody else changed them; None: not computed
    _record: Written

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._overrides_get_lr = cls.get_lr is not LRScheduler.get_lr and cls.lr_at is LRScheduler.lr_at

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self._attach(optimizer)
        if not isinstance(last_epoch, int) or last_epoch < -1:
            raise ValueError(
                f"{self._where}last_epoch={last_epoch!r}; expected -1 to start anew, or a step to go on after."
            )
        groups = optimizer.param_groups
        for index, group in enumerate(groups):
            if last_epoch >= 0 and "initial_lr" not in group:
                raise ValueError(
                    f"{self._where}last_epoch={last_epoch} goes on with an earlier schedule, but param_groups[{index}] "
                    "has no 'initial_lr'. Load the optimizer's state_dict first, or set group['initial_lr']."
                )
        if last_epoch == -1:
            self._start(groups)
        else:
            self._continue(groups, last_epoch + 1)
        follow(optimizer, self)

    # --- what a schedule is

    def lr_at(self, t: float) -> list[float]:
        """Return the learning rate of each group at step t = 0, 1, ...; nothing changes.

        t may be a fraction where the formula allows it. It is the learning rate as long as nobody else changes it.
        """
        raise NotImplementedError(
            f"{self._where}lr_at is not defined, so the schedule cannot look ahead; define lr_at(self, t)."
        )

    def get_lr(self) -> list[float]:
        """Return the learning rates that the schedule has for the step it stands at.

        `get_last_lr` returns what was set. Kept for schedules written for torch, which override it.
        """
        return self.lr_at(self._t)

    def momentum_at(self, t: float) -> list[float] | None:
        """Return the momentum (or first beta) of each group at step t, or None where the schedule leaves it alone."""
        return None

    def _cycles_momentum(self) -> bool:
        """Whether it moves the momentum at any step."""
        return False

    def _follow(self, lrs: Sequence[float], t0: float | None, t1: float, metrics: float | None = None) -> list[float]:
        """Return the learning rates at step t1 where somebody else made them `lrs`.

        Args:
            lrs: what they are now.
            t0: the step that they are of; None if this schedule has not been applied to them.
            t1: the step to go to.
            metrics: for `ReduceLROnPlateau`.
        """
        return self.lr_at(t1)

    def _knows(self, t: float) -> bool:
        """Whether `lr_at(t)` can be known in advance."""
        return True

    def _needs_metrics(self) -> bool:
        """Whether it has to be told how the training goes."""
        return False

    def _arrive(self, t: float, lrs: list[float]) -> None:
        """Do what has to be done at step t besides setting the learning rates to `lrs`."""

    # --- starting

    @property
    def _where(self) -> str:
        return f"{type(self).__name__}: "

    def _attach(self, optimizer: Optimizer) -> None:
        if not isinstance(optimizer, Optimizer | KeyView):
            raise TypeError(
                f"{self._where}optimizer is a {type(optimizer).__name__}; expected a ravine.optim optimizer."
            )
        check_stages(self._where, optimizer)
        self.optimizer = optimizer

    def _configure(self, optimizer: Optimizer, **arguments: Any) -> None:
        """Check and keep what a subclass was given."""
        self._attach(optimizer)
        vars(self).update({name: self._checks[name](self._where + name, value) for name, value in arguments.items()})

    def _for_each_group(self, name: str, value: Any, check: Check) -> list[Any]:
        """Return an argument that may be a single value or a list with one for each group as such a list."""
        groups = len(self.optimizer.param_groups)
        if not isinstance(value, list | tuple):
            return [check(self._where + name, value)] * groups
        if len(value) != groups:
            raise ValueError(
                f"{self._where}{name} has {len(value)} values for {groups} parameter groups; give one for each, or a "
                "single one for all."
            )
        return [check(f"{self._where}{name}[{i}]", item) for i, item in enumerate(value)]

    def _start(self, groups: Sequence[Group]) -> None:
        """Stand at step 0 of a new schedule."""
        now = [float(group["lr"]) for group in groups]
        record = written(self.optimizer)
        joins = record is not None and not record.stepped and record.hand_overs == hand_overs(self.optimizer)
        initial = []
        for i, (group, lr) in enumerate(zip(groups, now, strict=True)):
            by_hand = record is not None and record.values[i : i + 1] != [lr]
            initial.append(float(group.get("initial_lr", lr)) if joins or not by_hand else lr)
        self.base_lrs = self._own_bases or (now if self._starts_from_current else initial)
        self._t = 0
        self._prepare()
        closed = lrs = self._initial() if self._overrides_get_lr else self.lr_at(0)
        if joins and not self._overrides_get_lr:
            lrs = self._merged(now, self.base_lrs, closed, self._follow(now, None, 0))
        for group, lr, base in zip(groups, initial, self.base_lrs, strict=True):
            fresh = "initial_lr" not in group
            group["initial_lr"] = base if self._replaces_initial_lr or fresh else lr
        self._record = record if record is not None and joins else new_written(self.optimizer, lrs)
        self._set(0, closed, lrs)

    def _continue(self, groups: Sequence[Group], t: int) -> None:
        """Stand at step t of a schedule that goes on, keeping learning rates that an earlier run has set."""
        initial = [float(group["initial_lr"]) for group in groups]
        now = [float(group["lr"]) for group in groups]
        self.base_lrs = self._own_bases or initial
        self._t = t
        self._prepare()
        if self._overrides_get_lr:
            closed = lrs = self._initial()
        else:
            closed = self.lr_at(t)
            lrs = self._merged(now, initial, closed, self._follow(now, t, t))
        self._record = current_record(self.optimizer, lrs)
        self._set(t, closed, lrs)

    def _restart(self) -> None:
        """Stand at step 0 again, with the stage of a Handoff that has begun to work."""
        self._own_bases = self.base_lrs if self._brings_bases else None
        self._start(self.optimizer.param_groups)

    def _rebind(self) -> None:
        """Go on where a Handoff has loaded which stage is at work."""
        lrs = [float(group["lr"]) for group in self.optimizer.param_groups]
        self._record = current_record(self.optimizer, lrs)
        self._record.stepped = self._record.stepped or self._t != 0
        self._expected = None

    def _waits(self, epoch: float | None) -> bool:
        """Whether a step still belongs to the stage of a Handoff that has just ended."""
        handoff = handoff_of(self.optimizer) if epoch is None and self._t == 0 else None
        return handoff is not None and handoff.has_just_switched

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        follow(self.optimizer, self)

    def _initial(self) -> list[float]:
        return [float(lr) for lr in self.get_lr()]

    @staticmethod
    def _merged(
        now: Sequence[float], expected: Sequence[float], closed: list[float], followed: list[float]
    ) -> list[float]:
        """Return the closed form where the learning rate is as expected, else what follows from the one that is."""
        return [c if n == e else f for n, e, c, f in zip(now, expected, closed, followed, strict=False)]

    # --- steps

    @property
    def last_epoch(self) -> int:
        """The step that the learning rates stand at, rounded down."""
        return math.floor(self._t)

    @last_epoch.setter
    def last_epoch(self, epoch: float) -> None:
        self._t = epoch
        self._expected = None

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
        if self._arrives:
            self._arrive(t, lrs)

    def _step(self, epoch: float | None, metrics: float | None) -> None:
        """Step in the general case: at the beginning, to some epoch, from what others have set, with metrics."""
        if self._waits(epoch):
            return
        t = self._t + 1 if epoch is None else self._position(epoch)
        if self._t == 0 and not self.optimizer.has_stepped:
            warnings.warn(
                f"{type(self).__name__}.step() was called before optimizer.step(), so the first learning rate of the "
                "schedule was never used. Call optimizer.step() first, then the schedule's step().",
                stacklevel=3,
            )
        now = [group["lr"] for group in self.optimizer.param_groups]
        if self._overrides_get_lr:
            self._step_by_get_lr(t)
        elif epoch is not None:
            lrs = self.lr_at(t)
            self._set(t, lrs, lrs)
        elif not self._knows(t):
            self._set(t, None, self._follow(now, self._t, t, metrics))
        else:
            closed = self.lr_at(t)
            lrs = self._follow(now, self._t, t, metrics)
            if self._expected is None and self._knows(self._t):
                self._expected = self.lr_at(self._t)
            if self._expected is not None:
                lrs = self._merged(now, self._expected, closed, lrs)
            self._set(t, closed, lrs)

    def _step_by_get_lr(self, t: float) -> None:
        before, self._t = self._t, t
        try:
            lrs = self._initial()
        except BaseException:
            self._t = before
            raise
        self._set(t, None, lrs)

    def _set(self, t: float, closed: list[float] | None, lrs: list[float]) -> None:
        """Set the learning rates of step t to `lrs`; `closed` is what they would be had nobody else changed them."""
        for group, lr in zip(self.optimizer.param_groups, lrs, strict=False):
            group["lr"] = lr
        record = self._record
        record.values = lrs
        if t != 0:
            record.stepped = True
        self._t = t
        self._expected = closed
        self._last_lr = lrs
        if self._arrives:
            self._arrive(t, lrs)

    def _place(self, t: float, lrs: list[float]) -> None:
        """Stand at step t, as part of another schedule that has set the learning rates to `lrs`."""
        self._t = t
        self._expected = None
        self._last_lr = lrs
        if self._arrives:
            self._arrive(t, lrs)

    def _position(self, epoch: float) -> float:
        if not is_number(epoch):
            raise TypeError(f"{self._where}epoch={epoch!r} is a {type(epoch).__name__}; expected a number, 0 or more.")
        if not 0 <= epoch < math.inf:
            raise ValueError(f"{self._where}epoch={epoch!r}; expected a finite number, 0 or more.")
        return int(epoch) if epoch == int(epoch) else float(epoch)

    def _refuse_step(self, t: float, expected: str = "a number, 0 or more") -> ValueError:
        return ValueError(f"{self._where}t={t!r}; expected {expected}.")

    # --- state

    def state_dict(self) -> dict[str, Any]:
        """Return what a later `load_state_dict` needs, as copies: not the optimizer, and no plain functions.

        Returns:
            "last_epoch", "_last_lr", the public attributes; and what the groups hold now: "lr", "initial_lr" and, where
            the schedule moves it, "momentum".
        """
        groups = self.optimizer.param_groups[: len(self.base_lrs)]
        state = {
            **self._own_state(),
            "last_epoch": self._t,
            "_last_lr": list(self._last_lr),
            "lr": [group["lr"] for group in groups],
            "initial_lr": [group.get("initial_lr") for group in groups],
        }
        if self._cycles_momentum():
            state["momentum"] = [get_momentum(self.optimizer, group) for group in groups]
        return state

    def _own_state(self) -> dict[str, Any]:
        return {
            name: copy.deepcopy(value)
            for name, value in vars(self).items()
            if not name.startswith("_") and name != "optimizer"
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a saved schedule of the same class and as many groups, whatever this one was constructed with.

        Sets the learning rates (and the momentum, where the schedule moves it) that the optimizer had then, so that it
        does not matter whether this schedule is constructed and loaded before or after the optimizer's state.

        Raises:
            ValueError: the saved state does not fit; nothing has changed.
        """
        where = f"{type(self).__name__}.load_state_dict: "
        restore = self._loader(where, state_dict)
        momentum = state_dict.get("momentum")
        lrs = [float(lr) for lr in state_dict.get("lr", state_dict["_last_lr"])]
        initial = state_dict.get("initial_lr", state_dict["base_lrs"])
        restore()
        for group, lr, first in zip(self.optimizer.param_groups, lrs, initial, strict=False):
            group["lr"] = lr
            if first is not None:
                group["initial_lr"] = float(first)
        if momentum is not None:
            set_momentum(self.optimizer, momentum)
        self._record.values = lrs
        self._record.stepped = self._t != 0

    def _loader(self, where: str, state: Mapping[str, Any]) -> Callable[[], None]:
        """Check a saved state; return what takes it over, but for the groups."""
        own = self._own_state()
        groups = len(self.base_lrs)
        fits = "load what state_dict() of the same schedule returned."
        for name in ("last_epoch", "_last_lr", *own):
            if name not in state:
                raise ValueError(f"{where}{name!r} is missing; {fits}")
        for name in state:
            if not name.startswith("_") and name not in own and name not in ("last_epoch", *_HELD):
                raise ValueError(f"{where}unknown {name!r}; {fits}")
        for name in ("base_lrs", "_last_lr", *_HELD, *self._per_group):
            if len(state.get(name) or self.base_lrs) != groups:
                raise ValueError(
                    f"{where}{name} has {len(state[name])} values; expected those of {groups} groups; {fits}"
                )
        last_epoch = self._position(state["last_epoch"])
        last_lr = [float(lr) for lr in state["_last_lr"]]
        loaded = {name: copy.deepcopy(state[name]) for name in own}
        loaded.update({name: check(where + name, loaded[name]) for name, check in self._checks.items()})
        loaded["base_lrs"] = [float(lr) for lr in loaded["base_lrs"]]

        def restore() -> None:
            vars(self).update(loaded)
            self._last_lr = last_lr
            self.last_epoch = last_epoch
            self._prepare()

        return restore

    def _prepare(self) -> None:
        """Compute what is kept to save time; called whenever attributes have changed."""


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
        if not 0 <= t < math.inf:
            raise self._refuse_step(t)
        factor = self._factor(t)
        if self._floor is None:
            return [base * factor for base in self.base_lrs]
        low = self._floor * (1 - factor)  # so that both ends are met exactly
        return [low + base * factor for base in self.base_lrs]

    def _floors(self) -> list[float]:
        """Return the floor of each group."""
        return [self._floor or 0.0] * len(self.base_lrs)

    def _follow(self, lrs: Sequence[float], t0: float | None, t1: float, metrics: float | None = None) -> list[float]:
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


def power(base: float, exponent: float) -> float:
    """Return base ** exponent; what is too large becomes infinite, which optimizers refuse."""
    try:
        return float(base**exponent)
    except OverflowError:
        return math.inf


def momentum_key(optimizer: Optimizer) -> str | None:
    """Return the key of what corresponds to momentum: "betas" (the first), "momentum", or None."""
    return "betas" if "betas" in optimizer.defaults else "momentum" if "momentum" in optimizer.defaults else None


def get_momentum(optimizer: Optimizer, group: Mapping[str, Any]) -> float:
    """Return a group's momentum, or first beta."""
    return float(group["betas"][0] if momentum_key(optimizer) == "betas" else group["momentum"])


def set_momentum(optimizer: Optimizer, values: Iterable[float]) -> None:
    """Set each group's momentum, or first beta."""
    betas = "betas" in optimizer.defaults
    for group, value in zip(optimizer.param_groups, values):  # noqa: B905
        if betas:
            group["betas"] = (value, *group["betas"][1:])
        else:
            group["momentum"] = value
