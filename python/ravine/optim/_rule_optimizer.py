"""Optimizers whose step is a compiled rule."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ravine import _core
from ravine._hyper import Numbers, Range, shown
from ravine.optim._averages import Averages
from ravine.optim._grouped_optimizer import GroupedOptimizer
from ravine.optim._loading import Layout, SavedState, read_state
from ravine.optim._parameters import Record
from ravine.optim._state import new_like
from ravine.optim._step_options import LastStep, StepOptions
from ravine.optim.optimizer import Group

Array = np.ndarray[Any, Any]

# What each compiled rule declares.
_SCHEMAS = _core.rules()


class Rule:
    """A choice of a compiled rule.

    Args:
        name: what the rule is called.
        decoupled: of a rule that takes either weight decay: whether it shrinks the parameter itself rather than joining
            the gradient.
        sources: where hyper-parameters of the rule come from that are not those of the group of the same name: another
            key of the group, or a number.
    """

    def __init__(self, name: str, decoupled: bool = False, **sources: str | float) -> None:
        self.name, self.decoupled, self.sources = name, decoupled, sources


class RuleOptimizer(GroupedOptimizer):
    """Each group is updated by one of the compiled rules, all of them in one call a step.

    Args:
        params: see `Optimizer`.
        defaults: the hyper-parameters of every group that does not set its own.
    """

    # The compiled rules that may be used.
    _rules: ClassVar[tuple[str, ...]] = ()
    # The numbers that choose the rule by whether they are 0, and the tuples that do, or whose numbers must go together.
    _switches: ClassVar[tuple[str, ...]] = ()
    # Whether the step count tells how long the state has existed, and so starts again with a new state array.
    _counts_state: ClassVar[bool] = False
    _bindings: ClassVar[dict[Any, _core.Binding]]  # those made so far, for each choice of a rule
    _kept = (*GroupedOptimizer._kept, "_steps_made", "_steps_skipped")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._bindings = {}

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        self._steps_made: Array = np.zeros((), np.int64)  # the compiled part advances it, and the next
        self._steps_skipped: Array = np.zeros((), np.int64)  # since the last of them
        super().__init__(params, defaults)
        self._binding(self._rule(self.defaults))  # so that a class that declares too little is refused at once

    def _make_transient(self) -> None:
        super()._make_transient()
        self._plan: _core.Plan | None = None
        self._is_whole = False  # whether it has all that it needs
        self._last_step: LastStep | None = None  # of plans that are gone
        self._bound: list[str] = []  # the rule of each group in the plan
        self._scratch: dict[int, dict[str, Array]] = {}  # of each parameter whose rule needs it

    def _rule(self, group: Mapping[str, Any]) -> Rule:
        """Return the rule that updates a group of these (checked) hyper-parameters."""
        raise NotImplementedError

    def _rule_of(self, array: Array, rule: str) -> str:
        """Return the name of the rule for one parameter of a group that has this rule."""
        return rule

    def _initial_state(self, name: str, group: Mapping[str, Any]) -> float:
        """Return what a new state array is filled with."""
        return 0.0

    def _group_adder(self, param_group: Mapping[str, Any]) -> Callable[[], None]:
        if self._averages is not None:
            self._averages.check_not_applied(f"{self._owner}.add_param_group")
        add = super()._group_adder(param_group)

        def add_and_plan_anew() -> None:
            self._drop_plan()
            add()
            if self._averages is not None:
                self._averages.cover(self._records)  # from here on, and in what is saved

        return add_and_plan_anew

    # --- steps

    def _step(
        self, grads: Any = None, closure: Callable[[], Any] | None = None, options: StepOptions | None = None
    ) -> Any:
        if callable(grads):
            grads, closure = None, grads
        result = None if closure is None else closure()
        gradients = self._parameters.gradients(grads)
        plan = self._whole_plan()
        groups = self.param_groups
        if not (plan.step(gradients, groups) if options is None else plan.step_with(gradients, groups, options)):
            self._complete(plan)
            plan.step_as_set(gradients, options or ())
        return result

    def _step_param(self, param: Any, grad: Any, options: StepOptions) -> None:
        i = self._parameters.position(f"{self._owner}.step_param: param", param)
        self._parameters.check_data()
        plan = self._whole_plan()
        if not plan.step_one(i, grad, self.param_groups, options):
            self._complete(plan)
            plan.step_one_as_set(i, grad, options)

    def _end_step(self) -> None:
        if self._plan is None or not self._plan.updated:
            super()._end_step()
        else:
            self._plan.end_step()

    @property
    def last_step(self) -> LastStep | None:
        """What came of the last step; None where there has been none since this object was made or loaded."""
        plan = self._plan
        outcome = None if plan is None else plan.outcome
        if outcome is None:
            return self._last_step
        norm, clip_coefficient, applied, nonfinite = outcome
        names = tuple(self._records[i].called for i in nonfinite)
        return LastStep(norm, clip_coefficient, applied, int(self._steps_skipped), names)

    @property
    def has_stepped(self) -> bool:
        """Whether `step` has been called, or a state loaded; schedules warn where it has not."""
        return bool(self._made + self._steps_skipped > 0 or any(record.step > 0 for record in self._records))

    @property
    def _made(self) -> int:
        return int(self._steps_made)

    def _averager(self, averages: Averages | None) -> Callable[[], None]:
        self._check_step_has_ended()

        def attach() -> None:
            self._drop_plan()
            self._averages = averages

        return attach

    def _freezer(self, positions: Collection[int], is_frozen: bool) -> Callable[[], None]:
        freeze = super()._freezer(positions, is_frozen)

        def freeze_and_tell_the_plan() -> None:
            freeze()
            if self._plan is not None:
                self._plan.set_frozen(self._parameters.frozen)

        return freeze_and_tell_the_plan

    # --- the plan

    def _drop_plan(self) -> None:
        """Let the next step make a new one."""
        self._check_step_has_ended()
        self._last_step = self.last_step
        self._plan = self._direct = None

    def _check_step_has_ended(self) -> None:
        if self._plan is not None and self._plan.updated:
            raise RuntimeError(
                f"{self._owner}: in the middle of a step that is made parameter by parameter. Call end_step() first."
            )

    def _whole_plan(self) -> _core.Plan:
        """Return the plan, made or completed where it has to be."""
        if self._plan is None:
            return self._make_plan()
        if not self._is_whole:
            self._complete(self._plan)
        return self._plan

    def _make_plan(self) -> _core.Plan:
        self._bound = [""] * self._parameters.group_count
        plan = self._new_plan()
        self._complete(plan)
        return plan

    def _complete(self, plan: _core.Plan) -> None:
        """Give a plan what it lacks. What is interrupted, or finds an error, begins anew before the next step."""
        self._direct = None
        self._is_whole = False
        self._set_groups(plan)
        self._plan, self._is_whole = plan, True
        # Those that do something of their own at a step, or whose arrays may be replaced, go the longer way.
        if self._parameters.takes_lists and type(self)._step is RuleOptimizer._step:
            self._direct = plan

    def _new_plan(self) -> _core.Plan:
        for record in self._records:
            record.pinned.check_unchanged()
        given = [(record.pinned, record.group, record.step) for record in self._records]
        plan = _core.Plan(self._owner, given, self._steps_made, self._steps_skipped)
        if self._averages is not None:
            self._averages.check_not_applied(f"{self._owner}.step")
            self._averages.give_to(plan, self._records)
        plan.set_frozen(self._parameters.frozen)
        return plan

    def _set_groups(self, plan: _core.Plan) -> None:
        """Check the hyper-parameters of each group and give them to the plan, and the rule where they changed that."""
        for index, hyper in enumerate(self._checked_groups()):
            rule = self._rule(hyper)
            plan.set_group(index, self._binding(rule), hyper)
            if rule.name == self._bound[index]:
                continue
            for i in self._parameters.positions(index):
                name = self._rule_of(self._records[i].array, rule.name)
                plan.bind(i, name, self._states_for(i, name, hyper), self._carried_for(i, name))
            self._bound[index] = rule.name

    def _binding(self, rule: Rule) -> _core.Binding:
        """Return where the hyper-parameters of a rule are found in a group."""
        choice = (rule.name, rule.decoupled, *rule.sources.items())
        if choice not in self._bindings:
            self._bindings[choice] = self._new_binding(rule)
        return self._bindings[choice]

    def _new_binding(self, rule: Rule) -> _core.Binding:
        if rule.name not in _SCHEMAS:
            raise ValueError(f"{self._owner}: no rule is called {rule.name!r}; there are {', '.join(_SCHEMAS)}.")
        if rule.name not in self._rules:
            raise ValueError(f"{self._owner}: its rule {rule.name!r} is not among its _rules {self._rules}; add it.")
        schema = _SCHEMAS[rule.name]
        keys: dict[str, Range | tuple[Range, ...] | None] = {}
        found: dict[str, str | tuple[str, int]] = {}
        for key, check in self._checks.items():
            found[key] = key
            keys[key] = check if isinstance(check, Range) else None
            if isinstance(check, Numbers):
                keys[key] = tuple(check.ranges.values())
                found.update({name: (key, place) for place, name in enumerate(check.ranges)})
        taken = [*schema["hyper"], "maximize"]
        decay = "none"
        if "weight_decay" in keys and "weight_decay" not in taken:
            taken.append("weight_decay")
            decays = schema["decays"]
            decay = decays[0] if len(decays) == 1 else "decoupled" if rule.decoupled else "coupled"
        sources: dict[str, str | tuple[str, int] | float] = {name: found[name] for name in taken if name in found}
        for name, source in rule.sources.items():
            sources[name] = found.get(source, source) if isinstance(source, str) else float(source)
        return _core.Binding(self._owner, rule.name, decay, sources, keys, self._switches, self._modifiers)

    def _states_for(self, i: int, rule: str, hyper: Mapping[str, Any]) -> dict[str, Array]:
        """Return the state arrays that a rule needs for a parameter, making those that are missing."""
        record, kinds = self._records[i], _SCHEMAS[rule]["states"]
        missing = [name for name in _kept_states(rule) if name not in record.states]
        made = {
            name: _new_state(record, kinds[name], self._initial_state(name, hyper), place)
            for place, name in enumerate(missing, 1 + len(record.states))
        }
        if missing and self._counts_state:
            record.step[...] = 0
        record.states.update(made)
        place = 1 + len(record.states)
        scratch = {name: _new_state(record, kind, 0.0, place) for name, kind in kinds.items() if kind == "scratch"}
        if scratch:
            self._scratch[i] = scratch
        return {name: record.states[name] for name in _kept_states(rule)} | scratch

    def _carried_for(self, i: int, rule: str) -> dict[str, Array]:
        """Return the numbers that a rule carries from step to step; it sets them at a parameter's first step."""
        record, schema = self._records[i], _SCHEMAS[rule]
        if schema["sums_over_group"]:
            record.carried = self._parameters.of_group(record.group)[0].carried
        return {name: record.carried.setdefault(name, np.zeros(())) for name in schema["carried"]}

    # --- state

    def _saved(self) -> dict[str, Any]:
        self._check_step_has_ended()
        return super()._saved()

    def __getstate__(self) -> dict[str, Any]:
        self._check_step_has_ended()
        return super().__getstate__()

    def _state_of(self, record: Record) -> dict[str, Any]:
        return record.as_dict()

    def _checked_state(self, state_dict: Mapping[str, Any], problems: list[str]) -> Callable[[], None]:
        groups = self._read_groups(state_dict, problems)
        states = [] if problems else self._read_states(dict(state_dict["state"]), groups, problems)

        def take_over() -> None:
            self._take_groups(groups)
            for record, state in zip(self._records, states, strict=True):
                state.take_over(record)
            self._plan = self._direct = self._last_step = None

        return take_over

    def _read_states(self, saved: dict[Any, Any], groups: Sequence[Group], problems: list[str]) -> list[SavedState]:
        """Return the saved state of each parameter, and list what does not fit."""
        keys = [(key, group) for group in groups for key in group["params"]]
        states = [
            read_state(self._owner, record, saved.pop(key, {}), self._layout(record, group), problems)
            for record, (key, group) in zip(self._records, keys, strict=True)
        ]
        problems += [f"it has a state for parameter {shown(key)}, which is in no group" for key in saved]
        if any(_SCHEMAS[rule]["sums_over_group"] for rule in self._rules):
            for index in range(len(groups)):
                positions = self._parameters.positions(index)
                carried = [states[i].carried for i in positions if states[i].carried]
                if any(repr(numbers) != repr(carried[0]) for numbers in carried):  # NaN is no other than NaN
                    problems.append(f"param_groups[{index}]: its parameters differ in {', '.join(carried[0])}")
                for i in positions:
                    states[i] = states[i]._replace(carried=carried[0] if carried else {})
        return states

    def _layout(self, record: Record, group: Mapping[str, Any]) -> Layout:
        """Return what there may be in the state of a parameter whose group has these (checked) hyper-parameters."""
        rule = self._rule_of(record.array, self._rule(group).name)
        kinds = {name: kind for rule in self._rules for name, kind in _SCHEMAS[rule]["states"].items()}
        return Layout(
            needed=(*_SCHEMAS[rule]["carried"], *_kept_states(rule)),
            states={name: _state_shape(kind, record.array) for name, kind in kinds.items() if kind != "scratch"},
            carried=frozenset(name for rule in self._rules for name in _SCHEMAS[rule]["carried"]),
        )


def _kept_states(rule: str) -> list[str]:
    """Return the names of the arrays that a rule keeps from step to step."""
    return [name for name, kind in _SCHEMAS[rule]["states"].items() if kind != "scratch"]


def _new_state(record: Record, kind: str, initial: float, place: int) -> Array:
    return new_like(record.array, initial, place, _state_shape(kind, record.array))


def _state_shape(kind: str, array: Array) -> tuple[int, ...]:
    """Return the shape of a parameter's state array of a kind."""
    shape: tuple[int, ...] = array.shape
    return (*shape[:-1], 1) if kind == "row" else (*shape[:-2], 1, shape[-1]) if kind == "column" else shape
