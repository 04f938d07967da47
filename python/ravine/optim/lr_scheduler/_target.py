"""What a schedule drives: the learning rate of an optimizer's groups, or another of their keys."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

from ravine._arrays import describe
from ravine._hyper import Check, Numbers, Range, as_float, finite, is_number, shown
from ravine.optim._followers import Follower
from ravine.optim._handoff_stages import groups_differ
from ravine.optim.handoff import Handoff
from ravine.optim.optimizer import Optimizer


def learning_rates(optimizer: Optimizer | KeyView, where: str = "") -> list[float]:
    """Return the learning rate of each group. Messages begin with `where`.

    Raises:
        TypeError, ValueError: a group has none, or something else there.
    """
    name = optimizer.name if isinstance(optimizer, KeyView) else "lr"
    groups = optimizer.param_groups
    if not isinstance(groups, list):
        raise TypeError(f"{where}param_groups is {describe(groups)}; expected the list of the optimizer's groups.")
    return [_value_of(group, f"{where}param_groups[{i}]", name) for i, group in enumerate(groups)]


def _value_of(group: MutableMapping[str, Any], where: str, name: str) -> float:
    try:
        value = group["lr"]
    except (KeyError, IndexError, TypeError):
        raise ValueError(f"{where} has no {name}, which a schedule drives; set it again.") from None
    return as_float(f"{where}: {name}", value)


def initial_learning_rates(optimizer: Optimizer | KeyView) -> list[float]:
    """Return the initial learning rate of each group; the present one where no schedule has driven it yet."""
    now = learning_rates(optimizer)
    return [float(group.get("initial_lr", lr)) for group, lr in zip(optimizer.param_groups, now, strict=True)]


def check_of_lr(optimizer: Optimizer | KeyView) -> Check:
    """Return the optimizer's own check of what schedules set, or that of any number where it has none."""
    if not isinstance(optimizer, KeyView):
        return optimizer._checks.get("lr", finite)
    check = optimizer.optimizer._checks.get(optimizer.key)
    if isinstance(check, Numbers) and optimizer.position is not None:
        check = list(check.ranges.values())[optimizer.position]
    return check if isinstance(check, Range) else finite


def handoff_of(optimizer: Optimizer | KeyView) -> Handoff | None:
    """Return the Handoff that a schedule drives, if it does."""
    whole = optimizer.optimizer if isinstance(optimizer, KeyView) else optimizer
    return whole if isinstance(whole, Handoff) else None


def hand_overs(optimizer: Optimizer | KeyView) -> int:
    """Return how many hand-overs there have been."""
    handoff = handoff_of(optimizer)
    return 0 if handoff is None else handoff._hand_overs


def check_stages(where: str, optimizer: Optimizer | KeyView) -> None:
    """Raise where the stages of a Handoff are too different for one schedule."""
    handoff = handoff_of(optimizer)
    if handoff is not None and len({len(stage.param_groups) for stage in handoff.optimizers}) > 1:
        raise ValueError(f"{where}optimizer is a Handoff, but {groups_differ(handoff.optimizers)}")


def enlist(optimizer: Optimizer | KeyView, schedule: Follower) -> None:
    """Have a Handoff tell a schedule of its hand-overs."""
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
        name, position = key if isinstance(key, tuple | list) and len(key) == 2 else (key, None)
        if not isinstance(name, str) or not isinstance(position, int | None):
            raise TypeError(
                f"{owner}: key={shown(key)}; expected a key of the groups such as 'weight_decay', or a pair of key and "
                "position such as ('betas', 0)."
            )
        self.optimizer = optimizer
        self.key = name
        self.position = position
        self.name = self.key if self.position is None else f"{self.key}[{self.position}]"
        self.defaults = {"lr": None}  # of momentum and betas, which cyclical schedules move too, there are none
        self._views: list[GroupView] = []
        self._viewed: object = None
        for index, group in ((i, group) for stage in optimizer._stages for i, group in enumerate(stage.param_groups)):
            if self.key not in group:
                known = ", ".join(name for name in optimizer.defaults if is_number(optimizer.defaults[name]))
                raise ValueError(f"{owner}: key={key!r} is in no parameter group; expected one of {known}.")
            value = group[self.key]
            if isinstance(value, tuple | list) and (self.position is None or not 0 <= self.position < len(value)):
                pairs = " or ".join(f"({self.key!r}, {i})" for i in range(len(value)))
                raise ValueError(f"{owner}: key={key!r}, but the value there is {shown(value)}; expected key={pairs}.")
            if not is_number(value if self.position is None else value[self.position]):
                raise ValueError(
                    f"{owner}: key={key!r}, but param_groups[{index}][{self.key!r}] is {shown(value)}; expected the "
                    "key of a number."
                )

    @property
    def param_groups(self) -> list[GroupView]:
        """The groups, with the key's value under "lr"."""
        groups = self.optimizer.param_groups
        if not isinstance(groups, list):
            return groups
        if self._viewed is not groups or len(self._views) != len(groups):
            self._viewed = groups
            self._views = [GroupView(group, self.key, self.position, self.name) for group in groups]
        return self._views

    @property
    def _stages(self) -> tuple[KeyView]:
        """Itself: it has no momentum of its own, whatever makes the steps."""
        return (self,)

    @property
    def has_stepped(self) -> bool:
        """Whether the optimizer has stepped."""
        return self.optimizer.has_stepped


class GroupView(MutableMapping[str, Any]):
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
