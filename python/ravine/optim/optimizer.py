"""What all optimizers share: parameter groups, state, and the one call a step."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ravine import _core
from ravine._arrays import address, as_array, check_overlap, describe, parameter_array
from ravine._hyper import Check, finite
from ravine._sparse import SparseGrad, is_sparse_tensor
from ravine.nn.parameter import Parameter, gradients_of
from ravine.optim._groups import as_groups, as_named
from ravine.optim._hooks import Hook, Hooks, RemovableHandle
from ravine.optim._state import Member, StateView, new_like

Array = np.ndarray[Any, Any]
Group = dict[str, Any]

# Keys of a group that are no hyper-parameters.
_GROUP_KEYS = ("params", "param_names", "name", "initial_lr")

# The arrays, and the numbers, that each compiled rule keeps beside a parameter.
_STATES = {name: states for name, (states, _) in _core.rules().items()}
_SCALARS = {name: scalars for name, (_, scalars) in _core.rules().items()}


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


class Optimizer:
    """Base class of all optimizers.

    Args:
        params: what to update, as one of
            an iterable of arrays, of `nn.Parameter`s, or of objects with `.data` and `.grad` (torch parameters);
            a dict of name to array; an iterable of `(name, array)` pairs;
            an iterable of group dicts, each with "params" in one of the forms above and hyper-parameters of its own.
            Arrays are float32 or float64, at least 1-d, contiguous (C or Fortran order), writable and distinct.
        defaults: the hyper-parameters of every group that does not set its own.

    Attributes:
        param_groups: a list of dicts: "params" and the hyper-parameters of each group. Edit the hyper-parameters at
            any time; the next step checks and uses them.
        defaults: the hyper-parameters given at the start.

    Raises:
        TypeError, ValueError: something in `params` or `defaults` cannot be used; the message names it.
    """

    # What a subclass says of itself: its hyper-parameters, each with its check, and the compiled rules it may use.
    _checks: ClassVar[dict[str, Check]] = {}
    _rules: ClassVar[tuple[str, ...]] = ()
    # How gradients of plain arrays are given, for messages.
    _way_of_gradients: ClassVar[str] = "Call step(grads)"
    # Whether a step evaluates the loss at several places.
    _needs_closure: bool = False
    # Whether the step count tells how long the state has existed, and so starts again with a new state array.
    _counts_state: ClassVar[bool] = False
    # Arrays of its rules that are only room to work in.
    _rooms: ClassVar[tuple[str, ...]] = ()
    # Whether the numbers that its rules carry from step to step belong to a group rather than to a parameter.
    _shares_scalars: ClassVar[bool] = False

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        self._owner = type(self).__name__
        self.defaults = self._checked(defaults, 0)
        self.param_groups: list[Group] = []
        self._members: list[Member] = []
        self._arrays: list[dict[str, Array]] = []  # the state of each parameter, by name
        self._scalars: list[dict[str, Array]] = []  # its numbers, 0-d; the compiled part advances them
        self._steps = np.zeros(0, np.int64)  # of each parameter; the compiled part advances it
        self._has_stepped = False
        self._make_transient()
        for group in as_groups(self._owner, params):
            self.add_param_group(group)

    def _make_transient(self) -> None:
        """Make what is neither copied nor pickled."""
        self._make_hooks()
        self._plan: _core.Plan | None = None
        self._params: list[Any] = []
        self._takes_lists = False  # whether a list of gradients can go on as it is
        self._bare: list[int] = []  # those that came as plain arrays
        self._foreign: list[int] = []  # those that may rebind their .data
        self._bound: list[str] = []  # the rule of each group in the plan

    def _make_hooks(self) -> None:
        """Make the lock and the hooks, which every optimizer has."""
        self._busy = threading.Lock()
        self._pre_step, self._post_step = Hooks(), Hooks()
        self._pre_save, self._post_save = Hooks(), Hooks()
        self._pre_load, self._post_load = Hooks(), Hooks()

    def _rule(self, group: Mapping[str, Any]) -> Rule:
        """Return the rule that updates a group of these (checked) hyper-parameters."""
        raise NotImplementedError

    def _check_together(self, group: Mapping[str, Any], where: str) -> None:
        """Raise where hyper-parameters, each right by itself, do not go together."""

    def _check_array(self, array: Array, where: str) -> None:
        """Raise where a parameter, right by itself, is none for this optimizer."""

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

    # --- parameters and groups

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """Add a group of parameters.

        Args:
            param_group: a dict of "params" (in the forms of the constructor, or a single array) and of the
                hyper-parameters that differ from the defaults.

        Raises:
            TypeError, ValueError: something in it cannot be used; the optimizer is as it was.
        """
        index = len(self.param_groups)
        where = self._where(index)
        if not isinstance(param_group, Mapping) or "params" not in param_group:
            raise TypeError(f"{where}a parameter group is {describe(param_group)}; expected a dict with 'params'.")
        for key in param_group:
            if key not in self._checks and key not in _GROUP_KEYS:
                raise ValueError(
                    f"{where}unknown hyper-parameter {key!r}; {self._owner} has {', '.join(self._checks)}."
                    + _did_you_mean(key, (*self._checks, *_GROUP_KEYS))
                )
        hyper = self._checked({**self.defaults, **param_group}, index)
        added = self._as_members(param_group["params"], index)
        members = [*self._members, *added]
        check_overlap(self._owner, [m.label for m in members], [m.array for m in members])
        keys = [m.name for m in members if m.keyed]
        if len(set(keys)) < len(keys):
            twice = next(key for key in keys if keys.count(key) > 1)
            raise ValueError(f"{where}two parameters are named {twice!r}; each needs a name of its own.")

        group: Group = {"params": [m.param for m in added], **hyper}
        if all(m.name is not None for m in added):
            group["param_names"] = [m.name for m in added]
        group.update({key: param_group[key] for key in ("name", "initial_lr") if key in param_group})
        self.param_groups.append(group)
        self._members = members
        self._arrays = [*self._arrays, *({} for _ in added)]
        self._scalars = [*self._scalars, *({} for _ in added)]
        self._steps = np.concatenate([self._steps, np.zeros(len(added), np.int64)])
        self._plan = None

    def _where(self, group: int) -> str:
        return f"{self._owner}: " if group == 0 else f"{self._owner}: param_groups[{group}]: "

    def _checked(self, group: Mapping[str, Any], index: int) -> dict[str, Any]:
        """Return a group's hyper-parameters as plain numbers, in the order of `_checks`."""
        where = self._where(index)
        hyper = {name: check(where + name, group[name]) for name, check in self._checks.items()}
        self._check_together(hyper, where)
        return hyper

    def _as_members(self, params: object, group: int) -> list[Member]:
        prefix = "params" if group == 0 else f"param_groups[{group}]['params']"
        found = []
        for i, (given, value) in enumerate(as_named(self._owner, prefix, params)):
            bare = not (hasattr(value, "grad") and hasattr(value, "data"))
            name = getattr(value, "name", None) if given is None and not bare else given
            label = f"{prefix}[{i}]" + (f" ({name!r})" if name is not None else "")
            array = parameter_array(self._owner, label, value if bare else value.data)
            self._check_array(array, f"{self._owner}: {label} ({describe(array)})")
            param = Parameter(array, name, requires_grad=False) if bare else value
            found.append(Member(param, array, name, given is not None, label, bare))
        return found

    def _members_of(self, group: int) -> range:
        """Return the positions of a group's parameters among all."""
        start = sum(len(g["params"]) for g in self.param_groups[:group])
        return range(start, start + len(self.param_groups[group]["params"]))

    # --- steps

    def step(
        self,
        grads: Iterable[Any] | Mapping[str, Any] | Callable[[], Any] | None = None,
        closure: Callable[[], Any] | None = None,
    ) -> Any:
        """Update every parameter that has a gradient, in place.

        Args:
            grads: one gradient for each parameter in the order of the groups (or one list for each group), or a dict
                by name; without it, each `Parameter.grad` is taken. None stands for "no gradient this time": that
                parameter and its state stay as they are. A gradient has its parameter's shape and dtype. It may be
                read-only and of any strides; one in another memory order than its parameter costs a copy. SGD, Adagrad
                and SparseAdam also take a `SparseGrad`, and then touch nothing but the rows it names.
            closure: called first; computes the gradients and returns the loss. As in torch it may also come first.

        Returns:
            What the closure returned, or None.

        Raises:
            TypeError, ValueError: a gradient or a hyper-parameter cannot be used. Parameters, states and step counts
                are as they were.
            RuntimeError: this optimizer is in the middle of a step (in another thread, or around a hook or closure).
        """
        if not self._busy.acquire(False):
            raise RuntimeError(
                f"{self._owner}.step: this optimizer is in the middle of a step. Do not call step() from its own hooks "
                "or closure, and give each thread an optimizer of its own."
            )
        try:
            if self._pre_step or self._post_step:
                return self._step_between_hooks(grads, closure)
            return self._step(grads, closure)
        finally:
            self._busy.release()

    def _step_between_hooks(self, *args: Any) -> Any:
        kwargs: dict[str, Any] = {}
        for hook in self._pre_step.in_order():
            changed = hook(self, args, kwargs)
            if changed is not None:
                args, kwargs = changed
        result = self._step(*args, **kwargs)
        for hook in self._post_step.in_order():
            hook(self, args, kwargs)
        return result

    def _step(self, grads: Any = None, closure: Callable[[], Any] | None = None) -> Any:
        if callable(grads):
            grads, closure = None, grads
        result = None if closure is None else closure()
        plan = self._plan or self._make_plan()
        gradients = grads if self._takes_lists and type(grads) is list else self._gradients(grads)
        if not self._update(plan, gradients, self.param_groups):
            for index in plan.stale(self.param_groups):
                self._apply(plan, index)
            self._update(plan, gradients)
        self._has_stepped = True
        return result

    def _update(self, plan: _core.Plan, gradients: Sequence[Any], param_groups: list[Group] | None = None) -> bool:
        """Make the step, or return False where it was planned for other hyper-parameters than those of these groups."""
        return plan.step(gradients, param_groups)

    def _gradients(self, grads: Any) -> Sequence[Any]:
        """Return one gradient, or None, for each parameter; the compiled part checks each."""
        if self._foreign:
            self._check_foreign()
        if type(grads) is list and len(self.param_groups) == 1:
            return grads
        if grads is None:
            gradients = [param.grad for param in self._params] if self._foreign else gradients_of(self._params)
            for i in self._bare:
                if gradients[i] is None:
                    raise ValueError(
                        f"{self._owner}.step: {self._members[i].label} is a plain array, which carries no gradient. "
                        f"{self._way_of_gradients}, or make the array an nn.Parameter and set its grad."
                    )
            return gradients
        if isinstance(grads, Mapping):
            return self._by_name(grads, range(len(self._members)))
        if as_array(grads) is not None or isinstance(grads, str) or not isinstance(grads, Iterable):
            raise TypeError(
                f"{self._owner}.step: grads is {describe(grads)}; expected a list with one gradient for each "
                "parameter, or a dict by name."
            )
        gradients = list(grads)
        if len(gradients) == len(self.param_groups) and all(isinstance(g, list | tuple | Mapping) for g in gradients):
            groups = [(part, self._members_of(index)) for index, part in enumerate(gradients)]
            return [
                gradient
                for part, members in groups
                for gradient in (self._by_name(part, members) if isinstance(part, Mapping) else part)
            ]
        return gradients

    def _by_name(self, grads: Mapping[str, Any], members: range) -> list[Any]:
        names = [member.name for member in self._members[members.start : members.stop]]
        found = [grads[name] for name in names if name is not None and name in grads]
        if len(found) == len(names) == len(grads):
            return found
        if None in names:
            problem = f"{self._members[members[names.index(None)]].label} has no name"
        elif len(set(names)) < len(names):
            problem = f"two parameters are named {next(name for name in names if names.count(name) > 1)!r}"
        else:
            missing = ", ".join(repr(name) for name in names if name not in grads)
            unknown = ", ".join(repr(name) for name in grads if name not in names)
            problems = [f"no gradient for {missing}"] if missing else []
            problems += [f"no parameter named {unknown}"] if unknown else []
            raise ValueError(
                f"{self._owner}.step: {' and '.join(problems)}; the parameters are {', '.join(map(repr, names))}. "
                "Give None where a parameter has no gradient this time."
            )
        raise ValueError(
            f"{self._owner}.step: grads is a dict, but {problem}. Give the parameters as a dict or as (name, array) "
            "pairs, or the gradients as a list."
        )

    def _check_foreign(self) -> None:
        """Make sure that objects which may rebind their `.data` have not done so."""
        for i in self._foreign:
            member = self._members[i]
            array = as_array(member.param.data)
            if array is None or address(array) != address(member.array):
                raise ValueError(
                    f"{self._owner}: the data of {member.label} has been replaced since the optimizer was made. "
                    "Assign into it (p.data[...] = new), or make a new optimizer."
                )

    def _new_plan(self, arrays: Sequence[Array], steps: Array) -> _core.Plan:
        groups = [index for index, group in enumerate(self.param_groups) for _ in group["params"]]
        return _core.Plan(self._owner, arrays, [m.label for m in self._members], groups, steps)

    def _make_plan(self) -> _core.Plan:
        self._plan = self._new_plan([m.array for m in self._members], self._steps)
        self._sort_members()
        self._bound = [""] * len(self.param_groups)
        return self._plan

    def _sort_members(self) -> None:
        """Write down what `_gradients` looks up at each step."""
        self._params = [m.param for m in self._members]
        self._bare = [i for i, m in enumerate(self._members) if m.bare]
        self._foreign = [i for i, m in enumerate(self._members) if not isinstance(m.param, Parameter)]
        self._takes_lists = len(self.param_groups) == 1 and not self._foreign

    def _apply(self, plan: _core.Plan, index: int) -> dict[str, Any]:
        """Give the plan a group's hyper-parameters, and its rule where they changed that. Return them, checked."""
        hyper = self._checked(self.param_groups[index], index)
        rule = self._rule(hyper)
        if rule.name != self._bound[index]:
            for i in self._members_of(index):
                name = self._rule_of(self._members[i].array, rule.name)
                plan.bind(i, name, self._states_for(i, name, hyper), self._scalars_for(i, index, name))
            self._bound[index] = rule.name
        plan.set(index, rule.hyper, rule.decoupled, hyper["maximize"], hyper)
        return hyper

    def _states_for(self, i: int, rule: str, hyper: Mapping[str, Any]) -> list[Array]:
        """Return the state arrays that a rule needs for a parameter, making those that are missing."""
        arrays = self._arrays[i]
        missing = [name for name in self._states_of(rule) if name not in arrays]
        for name in missing:
            arrays[name] = self._new_state(i, name, self._initial_state(name, hyper))
        if missing and self._counts_state:
            self._steps[i] = 0
        return [self._room(i, name) if name in self._rooms else arrays[name] for name in _STATES[rule]]

    def _states_of(self, rule: str) -> list[str]:
        """Return the names of the arrays that a rule keeps from step to step."""
        return [name for name in _STATES[rule] if name not in self._rooms]

    def _new_state(self, i: int, name: str, initial: float) -> Array:
        array = self._members[i].array
        return new_like(array, initial, 1 + len(self._arrays[i]), self._state_shape(name, array))

    def _room(self, i: int, name: str) -> Array:
        """Return the array of `_rooms` for a parameter."""
        raise NotImplementedError

    def _scalars_for(self, i: int, group: int, rule: str) -> list[Array]:
        """Return the numbers that a rule carries from step to step; it sets them at a parameter's first step."""
        if self._shares_scalars:
            self._scalars[i] = self._scalars[self._members_of(group).start]
        return [self._scalars[i].setdefault(name, np.zeros(())) for name in _SCALARS[rule]]

    def zero_grad(self, set_to_none: bool = False) -> None:
        """Set every gradient to zeros in place, or drop it. A sparse one becomes one that names no row.

        Args:
            set_to_none: drop the gradients instead. torch does so by default; here the default keeps `p.grad += ...`
                working.
        """
        for member in self._members:
            grad = member.param.grad
            if grad is None:
                continue
            if set_to_none:
                member.param.grad = None
            elif isinstance(member.param, Parameter):
                member.param.zero_grad()
            elif isinstance(grad, SparseGrad):
                member.param.grad = grad.without_rows()
            elif is_sparse_tensor(grad):
                grad.zero_()
            else:
                np.asarray(as_array(grad)).fill(0)

    @property
    def has_stepped(self) -> bool:
        """Whether `step` has been called, or a state loaded; schedules warn where it has not."""
        return self._has_stepped

    # --- state

    @property
    def state(self) -> Mapping[Any, Mapping[str, Any]]:
        """For each parameter that has stepped, "step", other numbers, and its arrays (live, not copies)."""
        return StateView(self._members, self._state_of)

    def _state_of(self, i: int) -> dict[str, Any]:
        if self._steps[i] == 0:
            return {}
        scalars = {name: float(value) for name, value in self._scalars[i].items()}
        return {"step": int(self._steps[i]), **scalars, **self._arrays[i]}

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a later `load_state_dict` needs, as copies, in torch's form.

        Returns:
            "state": for the position of each parameter that has stepped, "step" (int), other numbers and its arrays;
            "param_groups": the groups, with the positions of their parameters as "params".
        """
        for hook in self._pre_save.in_order():
            hook(self)
        result = self._saved()
        for hook in self._post_save.in_order():
            changed = hook(self, result)
            result = result if changed is None else changed
        return result

    def _saved(self) -> dict[str, Any]:
        states = [self._state_of(i) for i in range(len(self._members))]
        return {
            "state": {
                i: {key: value.copy(order="K") if isinstance(value, np.ndarray) else value for key, value in s.items()}
                for i, s in enumerate(states)
                if s
            },
            "param_groups": [
                {**group, "params": list(self._members_of(index))} for index, group in enumerate(self.param_groups)
            ],
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over the state and hyper-parameters of a saved optimizer of the same class and parameters.

        Args:
            state_dict: what `state_dict()` returned; one of torch's with its tensors on the CPU works too.

        Raises:
            ValueError: it does not fit. The message lists every mismatch (groups, names, shapes, dtypes, values), and
                the optimizer is as it was.
        """
        problems: list[str] = []
        restore = self._loader(state_dict, problems)
        if problems:
            raise ValueError(
                f"{self._owner}.load_state_dict: the saved state does not fit this optimizer, which is unchanged:\n  "
                + "\n  ".join(problems)
            )
        restore()

    def _loader(self, state_dict: Mapping[str, Any], problems: list[str]) -> Callable[[], None]:
        """Check a saved state between the hooks, and list what does not fit; return what takes it over."""
        for hook in self._pre_load.in_order():
            changed = hook(self, state_dict)
            state_dict = state_dict if changed is None else changed
        take_over = self._checked_state(state_dict, problems)

        def restore() -> None:
            take_over()
            for hook in self._post_load.in_order():
                hook(self)

        return restore

    def _checked_state(self, state_dict: Mapping[str, Any], problems: list[str]) -> Callable[[], None]:
        groups = self._loaded_groups(state_dict, problems)
        states = [] if problems else self._loaded_states(state_dict, groups, problems)

        def take_over() -> None:
            self._take_groups(groups)
            self._steps = np.array([step for step, _, _ in states], np.int64)
            self._scalars = [{name: np.array(value) for name, value in scalars.items()} for _, scalars, _ in states]
            self._arrays = [
                {
                    name: new_like(member.array, value, place, value.shape)
                    for place, (name, value) in enumerate(arrays.items(), 1)
                }
                for member, (_, _, arrays) in zip(self._members, states, strict=True)
            ]
            self._has_stepped = bool(self._steps.any())
            self._plan = None

        return take_over

    def _take_groups(self, groups: Iterable[Group]) -> None:
        for group, saved in zip(self.param_groups, groups, strict=True):
            group.update({key: value for key, value in saved.items() if key not in ("params", "param_names")})

    def _loaded_groups(self, state_dict: Mapping[str, Any], problems: list[str]) -> list[Group]:
        """Return the saved groups with checked hyper-parameters."""
        if not isinstance(state_dict, Mapping) or not {"state", "param_groups"} <= set(state_dict):
            problems.append("it is not a dict with 'state' and 'param_groups'")
            return []
        saved = list(state_dict["param_groups"])
        if len(saved) != len(self.param_groups):
            problems.append(f"it has {len(saved)} parameter groups, the optimizer {len(self.param_groups)}")
            return []
        result = []
        for index, (theirs, ours) in enumerate(zip(saved, self.param_groups, strict=True)):
            held, expected = len(theirs.get("params", ())), len(ours["params"])
            if held != expected:
                problems.append(f"param_groups[{index}] has {held} parameters, the optimizer's {expected}")
            names = theirs.get("param_names")
            if names is not None and "param_names" in ours and list(names) != ours["param_names"]:
                problems.append(f"param_groups[{index}] names {names}, the optimizer's {ours['param_names']}")
            try:
                result.append({**theirs, **self._checked({**ours, **theirs}, index)})
            except (TypeError, ValueError) as error:
                problems.append(str(error))
        return result

    def _loaded_states(
        self, state_dict: Mapping[str, Any], groups: list[Group], problems: list[str]
    ) -> list[tuple[int, dict[str, float], dict[str, Array]]]:
        """Return the step count, the numbers and the arrays of each parameter's state."""
        saved = dict(state_dict["state"])
        known = {name for rule in self._rules for name in self._states_of(rule)}
        known_scalars = {name for rule in self._rules for name in _SCALARS[rule]}
        result = []
        keys = [(key, group) for group in groups for key in group["params"]]
        for member, (key, group) in zip(self._members, keys, strict=True):
            entry = {name: value for name, value in dict(saved.pop(key, {})).items() if value is not None}
            # torch's SGD keeps no count; that it has a state at all says that it has stepped.
            step = entry.pop("step", 1 if entry else 0)
            if float(step) != int(step) or step < 0:
                problems.append(f"{member.label}: step is {step}; expected a whole number, 0 or more")
            rule = self._rule_of(member.array, self._rule(group).name)
            needed = (*_SCALARS[rule], *self._states_of(rule)) if entry or step > 0 else ()
            problems += [f"{member.label}: state {name!r} is missing" for name in needed if name not in entry]
            problems += [
                f"{member.label}: {self._owner} keeps no state {name!r}"
                for name in entry
                if name not in known | known_scalars
            ]
            scalars = {
                name: _number(f"{member.label}: state {name!r}", entry.pop(name), problems)
                for name in [name for name in entry if name in known_scalars]
            }
            arrays = {name: as_array(value) for name, value in entry.items()}
            shapes = {name: self._state_shape(name, member.array) for name in arrays}
            problems += [
                f"{member.label}: state {name!r} is {describe(entry[name] if array is None else array)}; "
                f"expected {member.array.dtype}, shape {shapes[name]}"
                for name, array in arrays.items()
                if array is None or array.dtype != member.array.dtype or array.shape != shapes[name]
            ]
            result.append((int(step), scalars, {name: array for name, array in arrays.items() if array is not None}))
        problems += [f"it has a state for parameter {key!r}, which is in no group" for key in saved]
        if self._shares_scalars:
            for index in range(len(groups)):
                carried = [scalars for _, scalars, _ in (result[i] for i in self._members_of(index)) if scalars]
                if any(scalars != carried[0] for scalars in carried):
                    problems.append(f"param_groups[{index}]: its parameters differ in {', '.join(carried[0])}")
                for i in self._members_of(index):
                    result[i] = (result[i][0], dict(carried[0]) if carried else {}, result[i][2])
        return result

    # --- hooks

    def register_step_pre_hook(self, hook: Hook) -> RemovableHandle:
        """Call `hook(optimizer, args, kwargs)` before each step; it may return changed `(args, kwargs)`."""
        return self._pre_step.add(hook)

    def register_step_post_hook(self, hook: Hook) -> RemovableHandle:
        """Call `hook(optimizer, args, kwargs)` after each step."""
        return self._post_step.add(hook)

    def register_state_dict_pre_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer)` before `state_dict`."""
        return self._pre_save.add(hook, prepend)

    def register_state_dict_post_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer, state_dict)` after `state_dict`; it may return another dict."""
        return self._post_save.add(hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer, state_dict)` before `load_state_dict`; it may return another dict."""
        return self._pre_load.add(hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer)` after `load_state_dict`."""
        return self._post_load.add(hook, prepend)

    # --- as an object

    def __repr__(self) -> str:
        lines = []
        for index, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {index}")
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key not in ("params", "param_names")]
        return "\n".join([f"{self._owner} (", *lines, ")"])

    def __getstate__(self) -> dict[str, Any]:
        kept = ("_owner", "defaults", "param_groups", "_members", "_arrays", "_scalars", "_steps", "_has_stepped")
        return {key: self.__dict__[key] for key in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        # A copied torch parameter has memory of its own, which the copied array knows nothing of.
        self._members = [m._replace(array=parameter_array(self._owner, m.label, m.param.data)) for m in self._members]
        self._make_transient()


def _number(where: str, value: Any, problems: list[str]) -> float:
    try:
        return finite(where, value)
    except (TypeError, ValueError) as error:
        problems.append(str(error))
        return 0.0


def _did_you_mean(key: object, known: Iterable[str]) -> str:
    from difflib import get_close_matches  # noqa: PLC0415  (importing ravine has to be quick)

    close = get_close_matches(str(key), known, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
