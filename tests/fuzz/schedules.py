"""Attacks on learning-rate schedules: bad arguments, hand edits, jumps, damaged states."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
from ravine import optim
from schedule_cases import CASES, ravine_optimizer, ravine_schedules

from fuzz.models import everything
from fuzz.oracle import Case, Ended
from fuzz.saved_states import damaged

SCHEDULES = ravine_schedules()
GARBAGE = [None, "x", -1, 0, 2.5, [], [0.1], (1, 2, 3), {}, float("nan"), float("inf"), 1 << 70, 1j, True, ...,
           np.zeros(2)]  # fmt: skip
TIMES = [0, 1, 2, 7, 2.5, 1000, -1, -0.5, float("nan"), float("inf"), None, "x", [1], np.float32(3), True, 1j]
# Right values of the arguments that have no default.
NEEDED: dict[str, Any] = {
    "lr_lambda": lambda t: 0.9, "step_size": 3, "milestones": [2, 5], "gamma": 0.9, "T_max": 5, "T_0": 4,
    "base_lr": 0.01, "max_lr": 0.1, "total_steps": 20, "swa_lr": 0.02, "warmup_steps": 2, "stable_steps": 3,
    "decay_steps": 4, "num_cycles": 2, "key": "lr",
}  # fmt: skip


def look(schedule: Any) -> Any:
    """Return all of a schedule that a refused call must leave as it is, but its optimizer."""
    parts = getattr(schedule, "schedulers", None) or getattr(schedule, "_schedulers", None) or []
    return [
        {k: v for k, v in vars(schedule).items() if k not in ("optimizer", "_written", "schedulers", "_schedulers")},
        vars(schedule._written) if hasattr(schedule, "_written") else None,
        *map(look, parts),
    ]


def step(schedule: Any, *args: Any) -> None:
    if isinstance(schedule, optim.lr_scheduler.ReduceLROnPlateau):
        args = args or (1.0,)
    schedule.step(*args)


def rates(schedule: Any) -> list[str]:
    return [repr(float(group["lr"])) for group in schedule.optimizer.param_groups]


def attack(case: Case) -> None:
    """A schedule goes on beside a twin that sees none of the refused calls: they stay equal bit for bit."""
    choose = case.choose
    if choose.one_in(3):
        construct(case)
        return
    row = choose.of(CASES)
    pair = [row.make(SCHEDULES, ravine_optimizer(row.optimizer)) for _ in range(2)]
    schedule, twin = pair
    name = type(schedule).__name__
    owners = (name,)
    case.watch(lambda: look(schedule))
    case.watch(lambda: everything(schedule.optimizer))
    for _ in range(1 + choose.below(5)):
        kind = choose.below(8)
        if kind <= 2:
            accepted, _ = case.attempt(f"{name}.step", lambda: step(schedule), owners=owners)
            if accepted:
                step(twin)
        elif kind == 3:
            t = choose.of(TIMES)
            accepted, _ = case.attempt(f"{name}.step(epoch)", lambda: step(schedule, t), bad=repr(t), owners=owners)
            if accepted:
                step(twin, t)
        elif kind == 4:
            t = choose.of(TIMES)
            accepted, found = case.attempt(f"{name}.lr_at", lambda: schedule.lr_at(t), bad=repr(t), owners=owners)
            if accepted and [repr(x) for x in found] != [repr(x) for x in twin.lr_at(t)]:
                case.fail("WRONG", f"{name}.lr_at", repr(t), "-", "differs from its twin's")
        elif kind == 5:
            load(case, schedule, name)
        elif kind == 6:
            edit(case, schedule, twin, name)
        else:
            saved = schedule.state_dict()
            case.attempt(f"{name}.load_state_dict", lambda: schedule.load_state_dict(saved), expected="accept")
            twin.load_state_dict(saved)
        if rates(schedule) != rates(twin):
            case.fail("WRONG", f"{name}.step", "-", "-", f"{rates(schedule)}; its twin has {rates(twin)}")
            raise Ended


def load(case: Case, schedule: Any, name: str) -> None:
    """A damaged state, or another schedule's."""
    choose = case.choose
    if choose.one_in(4):
        other = choose.of(CASES)
        saved, where, value = other.make(SCHEDULES, ravine_optimizer(other.optimizer)).state_dict(), "-", other.name
    else:
        saved, where, value = damaged(case, schedule.state_dict())
    accepted, _ = case.attempt(
        f"{name}.load_state_dict", lambda: schedule.load_state_dict(saved), bad=value, mutation=where, owners=(name,)
    )
    if accepted:
        # It is another schedule now; it may not break off with an error that nobody has thought of.
        case.attempt(f"{name}.step", lambda: step(schedule), bad=value, mutation=f"loaded: {where}", owners=(name,))
        raise Ended


def edit(case: Case, schedule: Any, twin: Any, name: str) -> None:
    """The learning rate of a group is changed by hand, to something right or to garbage."""
    choose = case.choose
    groups = schedule.optimizer.param_groups
    i = choose.below(len(groups))
    if choose.one_in(2):
        groups[i]["lr"] = twin.optimizer.param_groups[i]["lr"] = choose.of([0.3, 0.0, 1])
        return
    kind = choose.of(["lr garbage", "lr removed", "initial_lr garbage", "group removed", "group appended", "no group"])
    if kind == "lr garbage":
        groups[i]["lr"] = choose.of(GARBAGE)
    elif kind == "lr removed":
        del groups[i]["lr"]
    elif kind == "initial_lr garbage":
        groups[i]["initial_lr"] = choose.of(GARBAGE)
    elif kind == "group removed":
        del groups[i]
    elif kind == "group appended":
        groups.append(dict(groups[0]))
    else:
        groups[i] = None
    case.watched[:] = case.watched[:1]
    case.attempt(f"{name}.step", lambda: step(schedule), mutation=kind, owners=(name,), may_change=True)
    raise Ended


def construct(case: Case) -> None:
    """One argument of a constructor is garbage."""
    choose = case.choose
    name = choose.of(sorted({row.name for row in CASES}))
    cls = getattr(SCHEDULES, name)
    optimizer = ravine_optimizer()
    options: dict[str, Any] = {}
    parameters = [p for p in inspect.signature(cls).parameters.values() if p.kind is not p.VAR_KEYWORD][1:]
    for parameter in parameters:
        if parameter.default is parameter.empty:
            options[parameter.name] = NEEDED.get(parameter.name)
    if not parameters or name in ("ChainedScheduler", "SequentialLR", "WarmupLR"):
        first: Any = choose.of([optimizer, [], [None], None, 3, "x", [optimizer], object])
        bad = f"first: {type(first).__name__}"
    else:
        first, key = optimizer, choose.of([p.name for p in parameters])
        options[key] = choose.of(GARBAGE)
        bad = f"{key} garbage"
    case.watch(lambda: everything(optimizer))
    accepted, schedule = case.attempt(f"{name}()", lambda: cls(first, **options), bad=bad, owners=(name,))
    for _ in range(3 if accepted else 0):
        case.attempt(f"{name}.step", lambda: step(schedule), bad=bad, owners=(name,), may_change=True)
