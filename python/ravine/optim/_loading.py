"""Reading a saved state: every mismatch is added to a list of problems, and the optimizer is left as it is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ravine._arrays import describe
from ravine._hyper import Range, as_float, finite, shown
from ravine._saved import hashable, is_list, listed, noted, of_array, of_scalar
from ravine.optim._parameters import Record
from ravine.optim._state import new_like

Array = np.ndarray[Any, Any]
Group = dict[str, Any]

# Step counts are 64 bits wide.
_COUNT = Range("a whole number, 0 or more", low=0, high=2**63 - 1, kind="whole", outside="", limit=", below 2^63")


def read_groups(
    state_dict: Any,
    param_groups: Sequence[Group],
    checked: Callable[[Mapping[str, Any], int], dict[str, Any]],
    counts: Sequence[int],
    foreign: Collection[str],
    problems: list[str],
) -> list[Group]:
    """Return the saved groups with checked hyper-parameters.

    Args:
        state_dict: the saved state.
        param_groups: the optimizer's groups.
        checked: returns the hyper-parameters of a group at a position as plain numbers, or raises.
        counts: how many parameters each has.
        foreign: the hyper-parameters that only other optimizers have.
        problems: what does not fit is added to it.
    """
    if not isinstance(state_dict, Mapping) or not {"state", "param_groups"} <= state_dict.keys():
        problems.append("it is not a dict with 'state' and 'param_groups'")
        return []
    if not isinstance(state_dict["state"], Mapping):
        problems.append(f"state is {describe(state_dict['state'])}; expected a dict")
    saved = state_dict["param_groups"]
    if not is_list(saved):
        problems.append(f"param_groups is {describe(saved)}; expected a list of {len(param_groups)} dicts")
        return []
    if len(saved) != len(param_groups):
        problems.append(f"it has {len(saved)} parameter groups, the optimizer {len(param_groups)}")
        return []
    result: list[Group] = []
    keys: set[Any] = set()
    for index, (theirs, ours) in enumerate(zip(saved, param_groups, strict=True)):
        where = f"param_groups[{index}]"
        if not isinstance(theirs, Mapping):
            problems.append(f"{where} is {describe(theirs)}; expected a dict")
            continue
        _check_keys(where, theirs.get("params"), counts[index], keys, problems)
        _check_names(where, theirs, ours, problems)
        unknown = [name for name in theirs if name in foreign and name not in ours]
        if unknown:
            problems.append(f"{where} has {', '.join(unknown)}: it is of another optimizer")
        problems += [f"{where} has the key {shown(key)}; expected text" for key in theirs if not isinstance(key, str)]
        with listed(problems):
            hyper = checked({**ours, **theirs}, index)
            # What schedules start from.
            initial = [key for key in theirs if str(key).startswith("initial_") and key not in hyper]
            hyper |= {key: noted(finite, f"{where}: {key}", theirs[key], problems) for key in initial}
            result.append({**theirs, **hyper})
    return result


def _check_keys(where: str, saved: Any, expected: int, seen: set[Any], problems: list[str]) -> None:
    """List what is wrong with the saved "params" of a group: a key for each parameter, each another."""
    if not is_list(saved) or not all(map(hashable, saved)):
        came = shown(saved) if is_list(saved) else describe(saved)
        problems.append(f"{where}: params is {came}; expected a list of the positions of its {expected} parameters")
        return
    if len(saved) != expected:
        problems.append(f"{where} has {len(saved)} parameters, the optimizer's {expected}")
    for key in saved:
        if key in seen:
            problems.append(f"{where}: params has {shown(key)} a second time")
        seen.add(key)


def _check_names(where: str, theirs: Mapping[str, Any], ours: Group, problems: list[str]) -> None:
    """List what is wrong with the saved names of a group's parameters, where there are any."""
    names = theirs.get("param_names")
    if names is None:
        return
    if not is_list(names) or not all(isinstance(name, str) for name in names):
        problems.append(f"{where}: param_names is {shown(names)}; expected a list of names")
    elif "param_names" in ours and list(names) != ours["param_names"]:
        problems.append(f"{where} names {names}, the optimizer's {ours['param_names']}")


class Layout(NamedTuple):
    """What an optimizer may keep of a parameter."""

    needed: tuple[str, ...]  # what there is once it has stepped
    states: Mapping[str, tuple[int, ...]]  # the shape of each array
    carried: frozenset[str]  # the numbers


class SavedState(NamedTuple):
    """The state of one parameter as it was saved, in arrays of its own."""

    step: int
    carried: dict[str, float]
    states: dict[str, Array]

    def take_over(self, record: Record) -> None:
        """Make it the state of a parameter."""
        record.step = np.array(self.step, np.int64)
        record.carried = {name: np.array(value) for name, value in self.carried.items()}
        record.states = self.states


def read_state(owner: str, record: Record, entry: Any, layout: Layout, problems: list[str]) -> SavedState:
    """Return the saved state of a parameter.

    Args:
        owner: the optimizer, for messages.
        record: the parameter.
        entry: what has been saved for it; torch says None where there is no state of a name.
        layout: what may be there.
        problems: what does not fit is added to it.
    """
    parameter, label = record.array, record.label
    if not isinstance(entry, Mapping):
        problems.append(f"{label}: its state is {describe(entry)}; expected a dict")
        return SavedState(0, {}, {})
    held = {name: value for name, value in entry.items() if value is not None or name == "step"}
    # torch's SGD and Muon keep no count; that there is a state at all says that they have stepped.
    count = held.pop("step", 1 if held.keys() == {"momentum_buffer"} else None if held else 0)
    step = noted(of_scalar(_COUNT), f"{label}: step", count, problems)
    needed = layout.needed if held or step > 0 else ()
    problems += [f"{label}: state {name!r} is missing" for name in needed if name not in held]
    unknown = [name for name in held if name not in layout.states and name not in layout.carried]
    problems += [f"{label}: {owner} keeps no state {name!r}" for name in unknown]
    carried: dict[str, float] = {}
    states: dict[str, Array] = {}
    for name, value in held.items():
        where = f"{label}: state {name!r}"
        if name in layout.carried:
            carried[name] = float(noted(of_scalar(as_float), where, value, problems))  # NaN is exact, too
        elif name in layout.states:
            with listed(problems):
                array = of_array(parameter.dtype, layout.states[name])(where, value)
                states[name] = new_like(parameter, array, 1 + len(states), array.shape)
    return SavedState(step, carried, states)
