"""Reading a saved state: every mismatch is added to a list of problems, and the optimizer is left as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ravine._arrays import as_array, as_scalar, describe
from ravine._hyper import finite, whole
from ravine._saved import noted
from ravine.optim._parameters import Record
from ravine.optim._state import new_like

Array = np.ndarray[Any, Any]
Group = dict[str, Any]


def read_groups(
    state_dict: Mapping[str, Any],
    param_groups: Sequence[Group],
    checked: Callable[[Mapping[str, Any], int], dict[str, Any]],
    problems: list[str],
) -> list[Group]:
    """Return the saved groups with checked hyper-parameters.

    Args:
        state_dict: the saved state.
        param_groups: the optimizer's groups.
        checked: returns the hyper-parameters of a group at a position as plain numbers, or raises.
        problems: what does not fit is added to it.
    """
    if not isinstance(state_dict, Mapping) or not {"state", "param_groups"} <= set(state_dict):
        problems.append("it is not a dict with 'state' and 'param_groups'")
        return []
    saved = list(state_dict["param_groups"])
    if len(saved) != len(param_groups):
        problems.append(f"it has {len(saved)} parameter groups, the optimizer {len(param_groups)}")
        return []
    result = []
    for index, (theirs, ours) in enumerate(zip(saved, param_groups, strict=True)):
        held, expected = len(theirs.get("params", ())), len(ours["params"])
        if held != expected:
            problems.append(f"param_groups[{index}] has {held} parameters, the optimizer's {expected}")
        names = theirs.get("param_names")
        if names is not None and "param_names" in ours and list(names) != ours["param_names"]:
            problems.append(f"param_groups[{index}] names {names}, the optimizer's {ours['param_names']}")
        try:
            result.append({**theirs, **checked({**ours, **theirs}, index)})
        except (TypeError, ValueError) as error:
            problems.append(str(error))
    return result


class Layout(NamedTuple):
    """What an optimizer may keep of a parameter."""

    needed: tuple[str, ...]  # what there is once it has stepped
    states: Mapping[str, tuple[int, ...]]  # the shape of each array
    carried: frozenset[str]  # the numbers


class SavedState(NamedTuple):
    """The state of one parameter as it was saved."""

    step: int
    carried: dict[str, float]
    states: dict[str, Array]

    def take_over(self, record: Record) -> None:
        """Make it the state of a parameter, in arrays of its own."""
        record.step = np.array(self.step, np.int64)
        record.carried = {name: np.array(value) for name, value in self.carried.items()}
        record.states = {
            name: new_like(record.array, value, place, value.shape)
            for place, (name, value) in enumerate(self.states.items(), 1)
        }


def read_state(owner: str, record: Record, entry: Mapping[str, Any], layout: Layout, problems: list[str]) -> SavedState:
    """Return the saved state of a parameter.

    Args:
        owner: the optimizer, for messages.
        record: the parameter.
        entry: what has been saved for it; torch says None where there is no state of a name.
        layout: what may be there.
        problems: what does not fit is added to it.
    """
    parameter = record.array
    held = {name: value for name, value in entry.items() if value is not None}
    # torch's SGD keeps no count; that it has a state at all says that it has stepped.
    step = _step_count(record.label, held.pop("step", 1 if held else 0), problems)
    needed = layout.needed if held or step > 0 else ()
    problems += [f"{record.label}: state {name!r} is missing" for name in needed if name not in held]
    problems += [
        f"{record.label}: {owner} keeps no state {name!r}"
        for name in held
        if name not in layout.states and name not in layout.carried
    ]
    carried = {
        name: float(noted(finite, f"{record.label}: state {name!r}", held.pop(name), problems))
        for name in [name for name in held if name in layout.carried]
    }
    states = {name: as_array(value) for name, value in held.items()}
    shapes = {name: layout.states.get(name, parameter.shape) for name in states}
    problems += [
        f"{record.label}: state {name!r} is {describe(held[name] if state is None else state)}; "
        f"expected {parameter.dtype}, shape {shapes[name]}"
        for name, state in states.items()
        if state is None or state.dtype != parameter.dtype or state.shape != shapes[name]
    ]
    return SavedState(step, carried, {name: state for name, state in states.items() if state is not None})


def _step_count(label: str, value: Any, problems: list[str]) -> int:
    try:
        count = int(whole("step", as_scalar(value)))
    except (TypeError, ValueError):
        count = -1
    if not 0 <= count < 1 << 63:
        problems.append(f"{label}: step is {value}; expected a whole number, 0 or more")
        return 0
    return count
