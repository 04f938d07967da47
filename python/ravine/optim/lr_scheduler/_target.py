"""What a schedule writes to: the learning rate of an optimizer's groups, or another of their keys."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, MutableMapping
from typing import Any

from ravine._hyper import is_number
from ravine.optim.handoff import Follower, Handoff, groups_differ
from ravine.optim.optimizer import Optimizer

Group = MutableMapping[str, Any]


class Written:
    """What schedules have written to one key of an optimizer's groups."""

    def __init__(self, values: list[float], hand_overs: int) -> None:
        self.values = values  # last, by whichever schedule
        self.hand_overs = hand_overs  # of a Handoff, before this record began
        self.stepped = False  # whether any has stepped since the last that started anew


_WRITTEN: weakref.WeakKeyDictionary[Optimizer, dict[str, Written]] = weakref.WeakKeyDictionary()


def written(optimizer: Optimizer | KeyView) -> Written | None:
    """Return what schedules have written there so far, or None."""
    owner, name = _owner_and_name(optimizer)
    return _WRITTEN.get(owner, {}).get(name)


def new_written(optimizer: Optimizer | KeyView, values: list[float]) -> Written:
    """Start the record anew."""
    owner, name = _owner_and_name(optimizer)
    record = _WRITTEN.setdefault(owner, {})[name] = Written(values, hand_overs(optimizer))
    return record


def current_record(optimizer: Optimizer | KeyView, values: list[float]) -> Written:
    """Return the record, or start one where there is none since the last hand-over."""
    record = written(optimizer)
    if record is None or record.hand_overs != hand_overs(optimizer):
        return new_written(optimizer, values)
    return record


def _owner_and_name(optimizer: Optimizer | KeyView) -> tuple[Optimizer, str]:
    whole, name = (optimizer.optimizer, optimizer.name) if isinstance(optimizer, KeyView) else (optimizer, "lr")
    return whole.current if isinstance(whole, Handoff) else whole, name


def handoff_of(optimizer: Optimizer | KeyView) -> Handoff | None:
    """Return the Handoff that a schedule drives, if it does."""
    whole = optimizer.optimizer if isinstance(optimizer, KeyView) else optimizer
    return whole if isinstance(whole, Handoff) else None


def hand_overs(optimizer: Optimizer | KeyView) -> int:
    """Return how many hand-overs there have been."""
    handoff = handoff_of(optimizer)
    return 0 if handoff is None else handoff._hand_overs


def stages(optimizer: Optimizer) -> list[Optimizer]:
    """Return the optimizers that a schedule will come to drive, one after the other."""
    return optimizer.optimizers if isinstance(optimizer, Handoff) else [optimizer]


def check_stages(where: str, optimizer: Optimizer | KeyView) -> None:
    """Raise where the stages of a Handoff are too different for one schedule."""
    handoff = handoff_of(optimizer)
    if handoff is not None and len({len(stage.param_groups) for stage in handoff.optimizers}) > 1:
        raise ValueError(f"{where}optimizer is a Handoff, but {groups_differ(handoff.optimizers)}")


def follow(optimizer: Optimizer | KeyView, schedule: Follower) -> None:
    """Let a schedule start again at each hand-over."""
    handoff = handoff_of(optimizer)
    if handoff is not None:
        handoff._enlist(schedule)


class KeyView:
    """An optimizer as a schedule sees it, with another key of its groups in place of "lr".

    Args:
        owner: who asks, for messages.
        optimizer: whose groups.
        key: the key, or a pair of key and position where the value is a tuple: ("betas", 0).

    Raises:
        TypeError, ValueError: there is no such key, or its value is no number.
    """

    def __init__(self, owner: str, optimizer: Optimizer, key: str | tuple[str, int]) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{owner}: optimizer is a {type(optimizer).__name__}; expected a ravine.optim optimizer.")
        self.optimizer = optimizer
        self.key = key if isinstance(key, str) else key[0]
        self.position = None if isinstance(key, str) else key[1]
        self.name = self.key if self.position is None else f"{self.key}[{self.position}]"
        self.defaults = {"lr": None}  # of momentum and betas, which cyclical schedules move too, there are none
        self._slots: list[Slot] = []
        self._held: object = None
        for index, group in ((i, group) for stage in stages(optimizer) for i, group in enumerate(stage.param_groups)):
            if self.key not in group:
                known = ", ".join(name for name in optimizer.defaults if is_number(optimizer.defaults[name]))
                raise ValueError(f"{owner}: key={key!r} is in no parameter group; expected one of {known}.")
            value = group[self.key]
            if isinstance(value, tuple | list) and (self.position is None or not 0 <= self.position < len(value)):
                pairs = " or ".join(f"({self.key!r}, {i})" for i in range(len(value)))
                raise ValueError(f"{owner}: key={key!r}, but the value there is {value!r}; expected key={pairs}.")
            if not is_number(value if self.position is None else value[self.position]):
                raise ValueError(
                    f"{owner}: key={key!r}, but param_groups[{index}][{self.key!r}] is {value!r}; expected the key of "
                    "a number."
                )

    @property
    def param_groups(self) -> list[Slot]:
        """The groups, with the key's value under "lr"."""
        groups = self.optimizer.param_groups
        if self._held is not groups or len(self._slots) != len(groups):
            self._held = groups
            self._slots = [Slot(group, self.key, self.position, self.name) for group in groups]
        return self._slots

    @property
    def has_stepped(self) -> bool:
        """Whether the optimizer has stepped."""
        return self.optimizer.has_stepped


class Slot(MutableMapping[str, Any]):
    """A group in which "lr" stands for another key, and "initial_lr" for that one's initial value."""

    def __init__(self, group: dict[str, Any], key: str, position: int | None, name: str) -> None:
        self._group, self._key, self._position = group, key, position
        self._initial = f"initial_{name}"

    def __getitem__(self, key: str) -> Any:
        if key == "lr":
            value = self._group[self._key]
            return value if self._position is None else value[self._position]
        return self._group[self._initial if key == "initial_lr" else key]

    def __setitem__(self, key: str, value: Any) -> None:
        if key == "initial_lr":
            self._group[self._initial] = value
        elif key != "lr":
            self._group[key] = value
        elif self._position is None:
            self._group[self._key] = value
        else:
            held = self._group[self._key]
            self._group[self._key] = (*held[: self._position], value, *held[self._position + 1 :])

    def __delitem__(self, key: str) -> None:
        del self._group[self._initial if key == "initial_lr" else key]

    def __contains__(self, key: object) -> bool:
        return (self._initial if key == "initial_lr" else key) in self._group

    def __iter__(self) -> Iterator[str]:
        return iter(self._group)

    def __len__(self) -> int:
        return len(self._group)
