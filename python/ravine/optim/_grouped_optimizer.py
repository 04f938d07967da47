"""What optimizers have in common that hold parameters and groups of their own: all but Handoff."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ravine._arrays import describe
from ravine._hyper import Range
from ravine._saved import is_list, listed
from ravine.optim._groups import as_groups, group_prefix
from ravine.optim._loading import read_groups
from ravine.optim._modifiers import MODIFIERS, check_modifiers
from ravine.optim._parameters import Parameters, Record
from ravine.optim._state import StateView, saved_state
from ravine.optim.optimizer import Group, Optimizer

Array = np.ndarray[Any, Any]

# Keys of a group that are no hyper-parameters.
_GROUP_KEYS = ("params", "param_names", "name", "initial_lr")

# Those of all optimizers of the package, by which the state of another one is known.
_HYPER_PARAMETERS: set[str] = set()


class GroupedOptimizer(Optimizer):
    """Parameters in groups, each with hyper-parameters of its own.

    Args:
        params: see `Optimizer`.
        defaults: the hyper-parameters of every group that does not set its own.
    """

    # The hyper-parameters that a group need not have.
    _modifiers: ClassVar[dict[str, Range]] = MODIFIERS
    # How gradients of plain arrays are given, for messages.
    _way_of_gradients: ClassVar[str] = "Call step(grads)"
    _kept = (*Optimizer._kept, "_parameters")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__module__.startswith(__package__ + "."):
            _HYPER_PARAMETERS.update(getattr(cls, "_checks", ()))

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        super().__init__()
        self.defaults = self._checked(defaults, 0)
        self.param_groups = []
        self._parameters = Parameters(self._owner, self._way_of_gradients)
        for group in as_groups(self._owner, params):
            self.add_param_group(group)

    @property
    def _records(self) -> Sequence[Record]:
        return self._parameters.records

    def _checked(self, group: Mapping[str, Any], index: int) -> dict[str, Any]:
        """Return a group's hyper-parameters as plain numbers, in the order of `_checks`, then its modifiers."""
        where = group_prefix(self._owner, index)
        missing = [name for name in self._checks if name not in group]
        if missing:
            raise ValueError(f"{where}the group has no {', '.join(missing)}; set group[{missing[0]!r}] again.")
        hyper = {name: check(where + name, group[name]) for name, check in self._checks.items()}
        self._check_together(hyper, where)
        hyper |= {name: check(where + name, group[name]) for name, check in self._modifiers.items() if name in group}
        check_modifiers(where, hyper)
        return hyper

    def _sound_groups(self) -> tuple[Group, ...]:
        """Return the groups, or raise where somebody has put something else there."""
        groups, known = self.param_groups, self._parameters.group_count
        if not is_list(groups):
            raise TypeError(f"{self._owner}: param_groups is {describe(groups)}; expected the list of its groups.")
        if len(groups) != known:
            raise ValueError(
                f"{self._owner}: param_groups has {len(groups)} groups, the optimizer {known}. Add a group with "
                "add_param_group(); give None as the gradients of one that is to stay as it is."
            )
        for index, group in enumerate(groups):
            if not isinstance(group, dict):
                raise TypeError(f"{self._owner}: param_groups[{index}] is {describe(group)}; expected a dict.")
        return tuple(groups)  # converting a number may run code that changes the list

    def _checked_groups(self) -> list[dict[str, Any]]:
        """Return the hyper-parameters of each group as plain numbers."""
        return [self._checked(group, index) for index, group in enumerate(self._sound_groups())]

    def _check_together(self, group: Mapping[str, Any], where: str) -> None:
        """Raise where hyper-parameters, each right by itself, do not go together."""

    def _check_array(self, array: Array, where: str) -> None:
        """Raise where a parameter, right by itself, is none for this optimizer."""

    def _group_adder(self, param_group: Mapping[str, Any]) -> Callable[[], None]:
        index = len(self._sound_groups())
        where = group_prefix(self._owner, index)
        if not isinstance(param_group, Mapping) or "params" not in param_group:
            raise TypeError(f"{where}a parameter group is {describe(param_group)}; expected a dict with 'params'.")
        for key in param_group:
            known = (*self._checks, *self._modifiers, *_GROUP_KEYS)
            if key not in known:
                raise ValueError(
                    f"{where}unknown hyper-parameter {key!r}; {self._owner} has {', '.join(self._checks)}."
                    + _did_you_mean(key, known)
                )
        hyper = self._checked({**self.defaults, **param_group}, index)
        records = self._parameters.read(param_group["params"], index, self._check_array)
        group: Group = {"params": [record.param for record in records], **hyper}
        if all(record.name is not None for record in records):
            group["param_names"] = [record.name for record in records]
        group.update({key: param_group[key] for key in ("name", "initial_lr") if key in param_group})
        parameters = self._parameters.with_group(records)

        def add() -> None:
            self.param_groups[index:] = [group]
            self._parameters = parameters

        return add

    # --- frozen parameters

    @property
    def frozen(self) -> list[str]:
        """The names of the frozen parameters, in the order of the groups."""
        parameters = self._parameters
        return [parameters.records[i].called for i in parameters.frozen]

    def _freezer(self, positions: Collection[int], is_frozen: bool) -> Callable[[], None]:
        parameters = self._parameters
        after = {*parameters.frozen, *positions} if is_frozen else {*parameters.frozen}.difference(positions)
        frozen = tuple(sorted(after))

        def freeze() -> None:
            parameters.frozen = frozen

        return freeze

    def _modifier(self, modifiers: Mapping[str, Any]) -> Callable[[], None]:
        where = f"{self._owner}.modify: "
        values = {name: check(where + name, modifiers[name]) for name, check in self._modifiers.items()}
        check_modifiers(where, values)
        groups = self._sound_groups()

        def modify() -> None:
            for group in (*groups, self.defaults):
                _take_modifiers(group, {name: value for name, value in values.items() if value})

        return modify

    # --- state

    @property
    def state(self) -> Mapping[Any, Mapping[str, Any]]:
        """For each parameter that has stepped, "step", other numbers, and its arrays (live, not copies)."""
        return StateView(self._records, self._state_of)

    def _state_of(self, record: Record) -> dict[str, Any]:
        """Return the state under a parameter, as users see it and as it is saved."""
        raise NotImplementedError

    def _saved(self) -> dict[str, Any]:
        return saved_state(self._parameters, self._sound_groups(), self._state_of)

    def _read_groups(self, state_dict: Mapping[str, Any], problems: list[str]) -> list[Group]:
        """Return the groups of a saved state, with checked hyper-parameters, and list what does not fit."""
        foreign = _HYPER_PARAMETERS - self._checks.keys()
        counts = [len(self._parameters.positions(index)) for index in range(self._parameters.group_count)]
        with listed(problems):
            # The modifiers of this optimizer's own groups do not stand in for those that were not saved.
            ours = [
                {key: value for key, value in group.items() if key not in self._modifiers}
                for group in self._sound_groups()
            ]
            return read_groups(state_dict, ours, self._checked, counts, foreign, problems)
        return []

    def _take_groups(self, groups: Iterable[Group]) -> None:
        for group, saved in zip(self._sound_groups(), groups, strict=True):
            group.update({key: value for key, value in saved.items() if key not in ("params", "param_names")})
            _take_modifiers(group, saved)


def _take_modifiers(group: dict[str, Any], given: Mapping[str, Any]) -> None:
    """Give a group these modifiers, and no others."""
    for name in MODIFIERS:
        if name in given:
            group[name] = given[name]
        else:
            group.pop(name, None)


def _did_you_mean(key: object, known: Iterable[str]) -> str:
    from difflib import get_close_matches  # noqa: PLC0415  (importing ravine has to be quick)

    close = get_close_matches(str(key), known, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
