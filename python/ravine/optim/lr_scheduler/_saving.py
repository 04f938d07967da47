"""What of a schedule is saved, and whether a saved state fits one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from ravine.optim.lr_scheduler._momentum import get_momentum, set_momentum
from ravine.optim.lr_scheduler._standing import Standing
from ravine.optim.optimizer import Optimizer

# Those of the groups' values that are saved with a schedule.
_OF_GROUPS = ("lr", "initial_lr", "momentum")


def saved_attributes(schedule: Standing) -> dict[str, Any]:
    """Return copies of a schedule's public attributes, but for the optimizer."""
    return {
        name: copy.deepcopy(value)
        for name, value in vars(schedule).items()
        if not name.startswith("_") and name != "optimizer"
    }


def saved_groups(schedule: Standing) -> dict[str, Any]:
    """Return what a schedule's groups hold now of that which it drives."""
    optimizer = schedule.optimizer
    groups = optimizer.param_groups[: len(schedule.base_lrs)]
    state = {
        "lr": [group["lr"] for group in groups],
        "initial_lr": [group.get("initial_lr") for group in groups],
    }
    if schedule._cycles_momentum():
        state["momentum"] = [get_momentum(optimizer, group) for group in groups]
    return state


def checked_state(schedule: Standing, where: str, state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes that a schedule takes over from a saved state.

    Raises:
        TypeError, ValueError: the state does not fit the schedule.
    """
    own = saved_attributes(schedule)
    groups = len(schedule.base_lrs)
    fits = "load what state_dict() of the same schedule returned."
    for name in ("last_epoch", "_last_lr", *own):
        if name not in state:
            raise ValueError(f"{where}{name!r} is missing; {fits}")
    for name in state:
        if not name.startswith("_") and name not in own and name not in ("last_epoch", *_OF_GROUPS):
            raise ValueError(f"{where}unknown {name!r}; {fits}")
    for name in ("base_lrs", "_last_lr", *_OF_GROUPS, *schedule._per_group):
        if len(state.get(name) or schedule.base_lrs) != groups:
            raise ValueError(f"{where}{name} has {len(state[name])} values; expected those of {groups} groups; {fits}")
    standing = {
        "_t": schedule._checked_epoch(state["last_epoch"]),
        "_expected": None,
        "_last_lr": [float(lr) for lr in state["_last_lr"]],
    }
    loaded = {name: copy.deepcopy(state[name]) for name in own}
    loaded.update({name: check(where + name, loaded[name]) for name, check in schedule._checks.items()})
    loaded["base_lrs"] = [float(lr) for lr in loaded["base_lrs"]]
    return {**loaded, **standing}


def groups_loader(optimizer: Optimizer, state: Mapping[str, Any]) -> Callable[[], list[float]]:
    """Return what gives an optimizer's groups the values in a saved state; it returns their learning rates."""
    lrs = [float(lr) for lr in state.get("lr", state["_last_lr"])]
    initial = [None if lr is None else float(lr) for lr in state.get("initial_lr", state["base_lrs"])]
    momentum = state.get("momentum")

    def restore() -> list[float]:
        for group, lr, first in zip(optimizer.param_groups, lrs, initial, strict=False):
            group["lr"] = lr
            if first is not None:
                group["initial_lr"] = first
        if momentum is not None:
            set_momentum(optimizer, momentum)
        return lrs

    return restore
