"""What of a schedule is saved, and whether a saved state fits one."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from ravine._hyper import each, finite, optional
from ravine._saved import listed, noted
from ravine.optim.lr_scheduler._formula import checked_step
from ravine.optim.lr_scheduler._momentum import get_momentum, momentum_check, momentum_key, set_momentum
from ravine.optim.lr_scheduler._standing import Standing
from ravine.optim.lr_scheduler._target import check_of_lr
from ravine.optim.optimizer import Optimizer

FITS = "load what state_dict() of the same schedule returned"

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


def checked_attributes(schedule: Standing, state: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    """Return the attributes that a schedule takes over from a saved state, and list what does not fit."""
    own = saved_attributes(schedule)
    needed = ("last_epoch", "_last_lr", *own)
    missing = [name for name in needed if name not in state]
    unknown = [name for name in state if not (name in needed or name in _OF_GROUPS or str(name).startswith("_"))]
    problems += [f"{name!r} is missing; {FITS}" for name in missing]
    problems += [f"unknown {name!r}; {FITS}" for name in unknown]
    checks = {"base_lrs": each(finite), **schedule._checks, "_last_lr": each(finite), "last_epoch": checked_step}
    found = {
        name: noted(checks.get(name, _copied), name, state[name], problems) for name in needed if name not in missing
    }
    for name in ("base_lrs", "_last_lr", *schedule._per_group):
        if name in found:
            _check_length(schedule, name, found[name], problems)
    if problems:
        return {}
    attributes = {**{name: found[name] for name in own}, "_last_lr": found["_last_lr"]}
    attributes |= {"_t": found["last_epoch"], "_expected": None}
    trial = object.__new__(type(schedule))
    vars(trial).update({**vars(schedule), **attributes})
    with listed(problems):
        trial._check_together("")
        trial._prepare()
        if trial._t % 1 and not trial._takes_fractions_at(trial._t):
            problems.append(f"last_epoch={trial._t}; expected a whole number")
    return attributes


def checked_values(schedule: Standing, state: Mapping[str, Any], problems: list[str]) -> dict[str, list[Any]]:
    """Return what a saved state has of the groups' values, and list what does not fit."""
    saved = {name: state[name] for name in _OF_GROUPS if name in state}
    saved = {"lr": state["_last_lr"], "initial_lr": state["base_lrs"], **saved}
    own = check_of_lr(schedule.optimizer)
    checks = {"lr": each(own), "initial_lr": each(optional(own))}
    if momentum_key(schedule.optimizer) is not None:
        checks["momentum"] = each(momentum_check(schedule.optimizer))
    values = {name: noted(checks[name], name, saved[name], problems) for name in saved if name in checks}
    if "momentum" in saved.keys() - checks.keys():
        problems.append("momentum is saved, but the optimizer has neither momentum nor betas")
    for name, value in values.items():
        _check_length(schedule, name, value, problems)
    return values


def set_values(optimizer: Optimizer, values: Mapping[str, Sequence[Any]]) -> None:
    """Give an optimizer's groups the values of a saved state."""
    for group, lr, first in zip(optimizer.param_groups, values["lr"], values["initial_lr"]):  # noqa: B905
        group["lr"] = lr
        if first is not None:
            group["initial_lr"] = first
    if "momentum" in values:
        set_momentum(optimizer, values["momentum"])


def _check_length(schedule: Standing, name: str, values: Any, problems: list[str]) -> None:
    groups = len(schedule.base_lrs)
    if isinstance(values, list) and len(values) != groups:
        problems.append(f"{name} has {len(values)} values; expected those of {groups} groups; {FITS}")


def _copied(where: str, value: Any) -> Any:
    """Return a copy of a value that has no check of its own."""
    try:
        return copy.deepcopy(value)
    except Exception as error:
        raise ValueError(f"{where} cannot be copied: {error}") from None
