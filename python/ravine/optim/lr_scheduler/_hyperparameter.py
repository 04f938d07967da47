"""Any hyper-parameter on any schedule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ravine._arrays import describe
from ravine._hyper import shown
from ravine._saved import checked, within
from ravine.optim.lr_scheduler._base import LRScheduler
from ravine.optim.lr_scheduler._target import KeyView
from ravine.optim.lr_scheduler._undoing import all_or_nothing
from ravine.optim.optimizer import Optimizer


class HyperparameterScheduler:
    """Drives any number in an optimizer's groups (weight decay, momentum, eps, ...) by any schedule.

    What the schedule calls learning rate is the value of `key`; the value at the beginning, which schedules call
    initial_lr, is kept in the groups as "initial_<key>".

    Args:
        optimizer: whose groups to drive.
        key: the key, such as "weight_decay"; or a pair of key and position, such as ("betas", 0).
        schedule: the class of a schedule, or a function that constructs one from an optimizer.
        arguments: of the schedule, by name.

    Attributes:
        schedule: the schedule, all of whose methods work.
        name: what is driven, such as "weight_decay" or "betas[0]".

    Raises:
        TypeError, ValueError: there is no such key, it is no number, or the schedule cannot be constructed.

    >>> import numpy as np
    >>> from ravine import optim
    >>> opt = optim.AdamW([np.zeros(2)], weight_decay=0.1)
    >>> sched = HyperparameterScheduler(opt, "weight_decay", optim.lr_scheduler.StepLR, step_size=10, gamma=0.5)
    >>> sched.value_at(10)
    [0.05]

    Several schedules in one, for which a function constructs the whole:

    >>> from ravine.optim.lr_scheduler import ConstantLR, LinearLR, SequentialLR
    >>> def ramp_then_hold(optimizer):
    ...     parts = [LinearLR(optimizer, 0.5, total_iters=4), ConstantLR(optimizer, 1)]
    ...     return SequentialLR(optimizer, parts, milestones=[4])
    >>> HyperparameterScheduler(opt, ("betas", 0), ramp_then_hold).value_at(0)
    [0.45]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        key: str | tuple[str, int],
        schedule: Callable[..., LRScheduler],
        **arguments: Any,
    ) -> None:
        view = KeyView("HyperparameterScheduler", optimizer, key)
        if not callable(schedule):
            raise TypeError(
                f"HyperparameterScheduler: schedule={shown(schedule)}; expected the class of a schedule, or a function "
                "that constructs one."
            )
        made = schedule(view, **arguments)
        if not isinstance(made, LRScheduler) or vars(made)["optimizer"] is not view:
            raise TypeError(
                f"HyperparameterScheduler: schedule made a {type(made).__name__}; expected a schedule of the optimizer "
                "that it was given."
            )
        self.optimizer = optimizer
        self.schedule = made
        self.name = view.name

    def value_at(self, t: float) -> list[float]:
        """Return the value of each group at step t = 0, 1, ...; nothing changes."""
        return self.schedule.lr_at(t)

    def get_last_value(self) -> list[float]:
        """Return the values that were set last, one for each group."""
        return self.schedule.get_last_lr()

    def step(self, *args: Any, **kwargs: Any) -> None:
        """Go on to the next step, with the arguments of the schedule's own `step`, and set the values there."""
        self.schedule.step(*args, **kwargs)

    @property
    def last_epoch(self) -> int:
        """The step that the values stand at."""
        return self.schedule.last_epoch

    def state_dict(self) -> dict[str, Any]:
        """Return what a later `load_state_dict` needs."""
        return {"name": self.name, "schedule": self.schedule.state_dict()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a saved schedule of the same key, class and optimizer.

        Raises:
            ValueError: the saved state does not fit; nothing has changed.
        """
        all_or_nothing(self.schedule, checked("HyperparameterScheduler", "schedule", self._loader, state_dict))

    def _loader(self, state_dict: Mapping[str, Any], problems: list[str]) -> Callable[[], None]:
        """Check a saved state and list what does not fit; return what takes it over."""
        if not isinstance(state_dict, Mapping) or set(state_dict) != {"name", "schedule"}:
            problems.append(f"it is {describe(state_dict)}; expected a dict of 'name' and 'schedule'")
            return lambda: None
        name = state_dict["name"]
        if not isinstance(name, str) or name != self.name:
            problems.append(f"a schedule of {shown(name)} was saved; expected one of {self.name!r}")
        return within(type(self.schedule).__name__, self.schedule._loader, state_dict["schedule"], problems)
