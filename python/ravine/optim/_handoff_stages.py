"""The stages of a Handoff: what they must have in common, and their saved states together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ravine._arrays import describe, place
from ravine._hyper import whole
from ravine._saved import is_list, noted, within
from ravine.optim._grouped_optimizer import GroupedOptimizer
from ravine.optim.optimizer import Optimizer
from ravine.optim.schedule_free import ScheduleFree


def checked_stages(optimizers: object) -> list[Optimizer]:
    """Return the stages as a list, or raise where they are none."""
    if not isinstance(optimizers, list | tuple) or len(optimizers) < 2:
        came = f"{len(optimizers)} of them" if isinstance(optimizers, list | tuple) else describe(optimizers)
        raise TypeError(f"Handoff: optimizers is {came}; expected a list of two or more optimizers.")
    for i, optimizer in enumerate(optimizers):
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"Handoff: optimizers[{i}] is {describe(optimizer)}; expected a ravine.optim optimizer.")
        if not isinstance(optimizer, GroupedOptimizer):
            raise TypeError(f"Handoff: optimizers[{i}] is a Handoff itself; give all its stages in one list.")
        if any(optimizer is other for other in optimizers[:i]):
            raise ValueError(f"Handoff: optimizers[{i}] is in the list twice; construct one for each stage.")
        check_shared("Handoff: ", optimizers, 0, i)
    return list(optimizers)


def check_shared(where: str, optimizers: Sequence[Optimizer], i: int, j: int) -> None:
    """Raise where two stages do not have the same parameters."""
    one, other = optimizers[i], optimizers[j]
    stages = f"{where}optimizers[{i}] ({one._owner}) and optimizers[{j}] ({other._owner})"
    advice = "Construct all stages with the same list of parameters."
    if len(one._records) != len(other._records):
        raise ValueError(f"{stages} have {len(one._records)} and {len(other._records)} parameters. {advice}")
    for a, b in zip(one._records, other._records, strict=True):
        if place(a.array) != place(b.array):
            raise ValueError(
                f"{stages} have different arrays: {a.label} ({describe(a.array)}) and {b.label} ({describe(b.array)}). "
                + advice
            )
        if a.is_plain != b.is_plain or not (a.is_plain or a.param is b.param):
            raise ValueError(
                f"{stages} have the array of {a.label} in different objects, which carry a gradient each. {advice}"
            )
        if a.name != b.name:
            raise ValueError(f"{stages} have different names for one array: {a.name!r} and {b.name!r}. {advice}")


def check_takes_over(where: str, optimizers: Sequence[Optimizer], at_work: int, stage: int) -> None:
    """Raise where a stage cannot take over from the one at work."""
    check_shared(where, optimizers, at_work, stage)
    there = optimizers[stage]
    if isinstance(there, ScheduleFree) and there.has_stepped:
        raise ValueError(
            f"{where}optimizers[{stage}] ({there._owner}) has been at work already, and its average knows nothing of "
            "the steps since. Give the list a new one for it."
        )


def groups_differ(optimizers: Iterable[Optimizer]) -> str:
    """Return what is wrong where a schedule is to drive stages of different numbers of groups, in words."""
    counts = ", ".join(str(len(optimizer.param_groups)) for optimizer in optimizers)
    return (
        f"its stages have {counts} parameter groups, and one schedule over all needs as many in each. Give them alike "
        "groups, or schedule each of handoff.optimizers by itself."
    )


class SavedStages(NamedTuple):
    """What has been saved of a Handoff."""

    stage: int = 0
    steps: int = 0
    stage_steps: int = 0
    restores: tuple[Callable[[], None], ...] = ()  # each gives one of the optimizers its state


def read_stages(state_dict: Mapping[str, Any], optimizers: Sequence[Optimizer], problems: list[str]) -> SavedStages:
    """Return what has been saved, and list what does not fit these optimizers, which stay as they are."""
    names = ("stage", "steps", "stage_steps", "optimizers")
    if not isinstance(state_dict, Mapping) or not set(names) <= state_dict.keys():
        problems.append(f"it is not a dict with {', '.join(map(repr, names))}")
        return SavedStages()
    stage, steps, stage_steps = (noted(whole, name, state_dict[name], problems) for name in names[:3])
    problems += [f"unknown {key!r}" for key in state_dict if key not in names]
    saved = state_dict["optimizers"]
    if not is_list(saved):
        problems.append(f"optimizers is {describe(saved)}; expected a list of {len(optimizers)} states")
        return SavedStages()
    if len(saved) != len(optimizers):
        problems.append(f"it has {len(saved)} optimizers; expected {len(optimizers)}")
    elif stage >= len(saved):
        problems.append(f"stage={stage}; expected one of 0 to {len(saved) - 1}")
    restores = [
        within(f"optimizers[{i}] ({optimizer._owner})", optimizer._loader, state, problems)
        for i, (optimizer, state) in enumerate(zip(optimizers, saved, strict=False))
    ]
    return SavedStages(stage, steps, stage_steps, tuple(restores))
