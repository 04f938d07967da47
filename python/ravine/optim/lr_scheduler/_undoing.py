"""Taking back what an exception, Ctrl-C among them, has interrupted in a step of a schedule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ravine.optim.lr_scheduler._standing import Standing
from ravine.optim.lr_scheduler._target import KeyView, learning_rates


def all_or_nothing(schedule: Standing, act: Callable[[], None]) -> None:
    """Do something to a schedule, its parts and the groups that it drives; where that fails, they are as before."""
    learning_rates(schedule.optimizer, schedule._where)  # so that the groups are what they should be
    parts = [schedule]
    for part in parts:
        parts += getattr(part, "_schedulers", ())
    optimizer = schedule.optimizer
    groups = (optimizer.optimizer if isinstance(optimizer, KeyView) else optimizer).param_groups
    held: list[dict[str, Any]] = [vars(part) for part in parts]
    before = [{name: list(value) if type(value) is list else value for name, value in each.items()} for each in held]
    held += [vars(schedule._written), *groups]
    before += [dict(each) for each in held[len(before) :]]
    try:
        act()
    except BaseException:
        for each, was in zip(held, before, strict=True):
            each.update(was)
        raise
