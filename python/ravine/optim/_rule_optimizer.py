"""Optimizers whose step is a compiled rule."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ravine import _core
from ravine.optim._grouped_optimizer import GroupedOptimizer
from ravine.optim._loading import Layout, SavedState, read_state
from ravine.optim._parameters import Record
from ravine.optim._state import new_like
from ravine.optim.optimizer import Group

Array = np.ndarray[Any, Any]

# The arrays, and the numbers, that each compiled rule keeps beside a parameter.
_STATES = {name: states for name, (states, _) in _core.rules().items()}
_CARRIED = {name: carried for name, (_, carried) in _core.rules().items()}


class Rule(NamedTuple):
    """A compiled update rule with the numbers it takes."""

    name: str
    hyper: dict[str, float]
    decoupled: bool = False  # whether weight decay shrinks the parameter itself rather than joining the gradient


def numbers_of(group: Mapping[str, Any], *names: str, **others: float) -> dict[str, float]:
    """Return the numbers of a group that a rule takes, and others: "betas" become "beta1", "beta2", ..."""
    numbers = {name: group[name] for name in names if name != "betas"}
    if "betas" in names:
        numbers.update((f"beta{i}", beta) for i, beta in enumerate(group["betas"], start=1))
    return {**numbers, **others}


class RuleOptimizer(GroupedOptimizer):
    """Each group is updated by one of the compiled rules, all of them in one call a step.

    Args:
        params: see `Optimizer`.
        defaults: the hyper-parameters of every group that does not set its own.
    """

    # The compiled rules that may be used.
    _rules: ClassVar[tuple[str, ...]] = ()
    # Whether the step count tells how long the state has existed, and so starts again with a new state array.
    _counts_state: ClassVar[bool] = False
    # Arrays of its rules that are workspace, not state.
    _workspaces: ClassVar[tuple[str, ...]] = ()
    # Whether the numbers that its rules carry from step to step belong to a group rather than to a parameter.
    _shares_carried: ClassVar[bool] = False
    _kept = (*GroupedOptimizer._kept, "_has_stepped")

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        self._has_stepped = False
        super().__init__(params, defaults)

    def _make_transient(self) -> None:
        super()._make_transient()
        self._plan: _core.Plan | None = None
        self._takes_lists = False  # whether a list of gradients can go on as it is
        self._bound: list[str] = []  # the rule of each group in the plan

    def _rule(self, group: Mapping[str, Any]) -> Rule:
        """Return the rule that updates a group of these (checked) hyper-parameters."""
        raise NotImplementedError

    def _rule_of(self, array: Array, rule: str) -> str:
        """Return the name of the rule for one parameter of a group that has this rule."""
        return rule

    def _state_shape(self, name: str, array: Array) -> tuple[int, ...]:
        """Return the shape of a parameter's state array."""
        shape: tuple[int, ...] = array.shape
        return shape

    def _initial_state(self, name: str, group: Mapping[str, Any]) -> float:
        """Return what a new state array is filled with."""
        return 0.0

    def _add_group(self, param_group: Mapping[str, Any]) -> None:
        super()._add_group(param_group)
        self._plan = None

    # --- steps

    def _step(self, grads: Any = None, closure: Callable[[], Any] | None = None) -> Any:
        if callable(grads):
            grads, closure = None, grads
        result = None if closure is None else closure()
        plan = self._plan or self._make_plan()
        gradients = grads if self._takes_lists and type(grads) is list else self._parameters.gradients(grads)
        if not self._update(plan, gradients, self.param_groups):
            for index in plan.stale(self.param_groups):
                self._apply(plan, index)
            self._update(plan, gradients)
        self._has_stepped = True
        return result

    @property
    def has_stepped(self) -> bool:
        """Whether `step` has been called, or a state loaded; schedules warn where it has not."""
        return self._has_stepped

    # --- the plan

    def _update(self, plan: _core.Plan, gradients: Sequence[Any], param_groups: list[Group] | None = None) -> bool:
        """Make the step, or return False where it was planned for other hyper-parameters than those of these groups."""
        return plan.step(gradients, param_groups)

    def _new_plan(self, arrays: Sequence[Array], steps: Array) -> _core.Plan:
        labels, groups = [record.label for record in self._records], [record.group for record in self._records]
        return _core.Plan(self._owner, arrays, labels, groups, steps)

    def _make_plan(self) -> _core.Plan:
        steps = np.array([record.step for record in self._records], np.int64)
        for i, record in enumerate(self._records):
            record.step = steps[i, ...]
        self._plan = self._new_plan([record.array for record in self._records], steps)
        self._takes_lists = self._parameters.takes_lists
        self._bound = [""] * len(self.param_groups)
        return self._plan

    def _apply(self, plan: _core.Plan, index: int) -> dict[str, Any]:
        """Give the plan a group's hyper-parameters, and its rule where they changed that. Return them, checked."""
        hyper = self._checked(self.param_groups[index], index)
        rule = self._rule(hyper)
        if rule.name != self._bound[index]:
            for i in self._parameters.positions(index):
                record = self._records[i]
                name = self._rule_of(record.array, rule.name)
                plan.bind(i, name, self._states_for(i, name, hyper), self._carried_for(record, name))
            self._bound[index] = rule.name
        plan.set(index, rule.hyper, rule.decoupled, hyper["maximize"], hyper)
        return hyper

    def _states_for(self, i: int, rule: str, hyper: Mapping[str, Any]) -> list[Array]:
        """Return the state arrays that a rule needs for a parameter, making those that are missing."""
        record = self._records[i]
        missing = [name for name in self._states_of(rule) if name not in record.states]
        for name in missing:
            record.states[name] = self._new_state(record, name, self._initial_state(name, hyper))
        if missing and self._counts_state:
            record.step[...] = 0
        return [self._workspace(i, name) if name in self._workspaces else record.states[name] for name in _STATES[rule]]

    def _states_of(self, rule: str) -> list[str]:
        """Return the names of the arrays that a rule keeps from step to step."""
        return [name for name in _STATES[rule] if name not in self._workspaces]

    def _new_state(self, record: Record, name: str, initial: float) -> Array:
        return new_like(record.array, initial, 1 + len(record.states), self._state_shape(name, record.array))

    def _workspace(self, i: int, name: str) -> Array:
        """Return the array of `_workspaces` for a parameter."""
        raise NotImplementedError

    def _carried_for(self, record: Record, rule: str) -> list[Array]:
        """Return the numbers that a rule carries from step to step; it sets them at a parameter's first step."""
        if self._shares_carried:
            record.carried = self._parameters.of_group(record.group)[0].carried
        return [record.carried.setdefault(name, np.zeros(())) for name in _CARRIED[rule]]

    # --- state

    def _state_of(self, record: Record) -> dict[str, Any]:
        return record.as_dict()

    def _checked_state(self, state_dict: Mapping[str, Any], problems: list[str]) -> Callable[[], None]:
        groups = self._read_groups(state_dict, problems)
        states = [] if problems else self._read_states(dict(state_dict["state"]), groups, problems)

        def take_over() -> None:
            self._take_groups(groups)
            for record, state in zip(self._records, states, strict=True):
                state.take_over(record)
            self._has_stepped = any(state.step for state in states)
            self._plan = None

        return take_over

    def _read_states(self, saved: dict[Any, Any], groups: Sequence[Group], problems: list[str]) -> list[SavedState]:
        """Return the saved state of each parameter, and list what does not fit."""
        keys = [(key, group) for group in groups for key in group["params"]]
        states = [
            read_state(self._owner, record, dict(saved.pop(key, {})), self._layout(record, group), problems)
            for record, (key, group) in zip(self._records, keys, strict=True)
        ]
        problems += [f"it has a state for parameter {key!r}, which is in no group" for key in saved]
        if self._shares_carried:
            for index in range(len(groups)):
                positions = self._parameters.positions(index)
                carried = [states[i].carried for i in positions if states[i].carried]
                if any(numbers != carried[0] for numbers in carried):
                    problems.append(f"param_groups[{index}]: its parameters differ in {', '.join(carried[0])}")
                for i in positions:
                    states[i] = states[i]._replace(carried=carried[0] if carried else {})
        return states

    def _layout(self, record: Record, group: Mapping[str, Any]) -> Layout:
        """Return what there may be in the state of a parameter whose group has these (checked) hyper-parameters."""
        rule = self._rule_of(record.array, self._rule(group).name)
        names = {name for rule in self._rules for name in self._states_of(rule)}
        return Layout(
            needed=(*_CARRIED[rule], *self._states_of(rule)),
            states={name: self._state_shape(name, record.array) for name in names},
            carried=frozenset(name for rule in self._rules for name in _CARRIED[rule]),
        )
