"""What schedules have written to an optimizer's groups, by which a new one knows how to begin."""

from __future__ import annotations

import weakref
from dataclasses import dataclass

from ravine.optim.handoff import Handoff
from ravine.optim.lr_scheduler._target import KeyView, hand_overs, learning_rates
from ravine.optim.optimizer import Optimizer


class Written:
    """What schedules have written to one key of an optimizer's groups."""

    def __init__(self, values: list[float], hand_overs: int) -> None:
        self.values = values  # last, by whichever schedule
        self.hand_overs = hand_overs  # of a Handoff, before this began
        self.stepped = False  # whether any has stepped since the last that started anew


# For each optimizer (each stage of a Handoff has its own) and each key of its groups.
_WRITTEN: weakref.WeakKeyDictionary[Optimizer, dict[str, Written]] = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class Beginning:
    """What a schedule finds where it starts anew."""

    now: list[float]  # the learning rate of each group
    initial: list[float]  # the one that each is to start from
    joined: Written | None  # of the schedules that it joins; None where it takes over


def beginning(optimizer: Optimizer | KeyView) -> Beginning:
    """Return what a schedule that starts anew finds there.

    It joins schedules that have not stepped yet. Otherwise it takes over, from what was set by hand since the last of
    them wrote, or from "initial_lr".
    """
    written = _find(optimizer)
    joins = written is not None and not written.stepped and written.hand_overs == hand_overs(optimizer)
    now = learning_rates(optimizer)
    initial = []
    for i, (group, lr) in enumerate(zip(optimizer.param_groups, now, strict=True)):
        by_hand = written is not None and written.values[i : i + 1] != [lr]
        initial.append(float(group.get("initial_lr", lr)) if joins or not by_hand else lr)
    return Beginning(now, initial, written if joins else None)


def new_written(optimizer: Optimizer | KeyView, values: list[float]) -> Written:
    """Forget what was written, but for these values."""
    owner, name = _owner_and_name(optimizer)
    written = _WRITTEN.setdefault(owner, {})[name] = Written(values, hand_overs(optimizer))
    return written


def current_written(optimizer: Optimizer | KeyView, values: list[float]) -> Written:
    """Return what has been written, beginning with these values where nothing has been since the last hand-over."""
    written = _find(optimizer)
    if written is None or written.hand_overs != hand_overs(optimizer):
        return new_written(optimizer, values)
    return written


def _find(optimizer: Optimizer | KeyView) -> Written | None:
    owner, name = _owner_and_name(optimizer)
    return _WRITTEN.get(owner, {}).get(name)


def _owner_and_name(optimizer: Optimizer | KeyView) -> tuple[Optimizer, str]:
    whole, name = (optimizer.optimizer, optimizer.name) if isinstance(optimizer, KeyView) else (optimizer, "lr")
    return whole.current if isinstance(whole, Handoff) else whole, name
