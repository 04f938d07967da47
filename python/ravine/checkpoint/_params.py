"""Parameters, in the forms in which optimizers take them: what is saved of them, and writing them in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ravine._arrays import check_overlap, describe, parameter_array
from ravine.checkpoint._changes import Act, Change
from ravine.optim._groups import as_groups, as_named

Array = np.ndarray[Any, Any]


class NamedArray(NamedTuple):
    """A parameter."""

    name: str | None
    label: str
    array: Array


def read_params(where: str, params: Any) -> list[NamedArray]:
    """Return parameters, which come in the forms that optimizers take, as arrays.

    Raises:
        TypeError, ValueError: an optimizer would refuse them.
    """
    result = []
    for index, group in enumerate(as_groups(where, params)):
        prefix = "params" if index == 0 else f"params[{index}]['params']"
        for i, (name, value) in enumerate(as_named(where, prefix, group["params"])):
            label = f"{prefix}[{i if name is None else name!r}]"
            is_plain = not (hasattr(value, "grad") and hasattr(value, "data"))
            result.append(NamedArray(name, label, parameter_array(where, label, value if is_plain else value.data)))
    names = [each.name for each in result if each.name is not None]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{where}: two parameters are named {twice!r}; each needs a name of its own.")
    check_overlap(where, [each.label for each in result], [each.array for each in result])
    return result


def saved_params(where: str, params: Any) -> list[Array] | dict[str, Array]:
    """Return the arrays themselves: a dict by name where all have one, a list otherwise."""
    listed = read_params(where, params)
    named = {each.name: each.array for each in listed if each.name is not None}
    return named if len(named) == len(listed) else [each.array for each in listed]


def param_changes(where: str, params: Any, states: Any, problems: list[str]) -> list[Change]:
    """Check saved parameters against those given and return what loading does to them.

    They are found by name where both have names, and by position otherwise.
    """
    listed = read_params(where, params)
    by_name = isinstance(states, Mapping) and all(each.name is not None for each in listed)
    if by_name:
        there = dict(states)
        given = {each.name: each for each in listed}
        problems += [f"{given[name].label} has not been saved" for name in given if name not in there]
        problems += [f"params[{name!r}] has been saved; nothing is given for it" for name in there if name not in given]
        pairs = [(given[name], there[name]) for name in given if name in there]
    else:
        values: Sequence[Any] = list(states.values()) if isinstance(states, Mapping) else states
        if len(values) != len(listed):
            problems.append(f"params: {len(values)} have been saved; {len(listed)} are to be loaded")
            return []
        pairs = list(zip(listed, values, strict=True))
    problems += [
        f"{each.label} is {describe(each.array)}; {describe(value)} was saved"
        for each, value in pairs
        if not isinstance(value, np.ndarray) or value.shape != each.array.shape or value.dtype != each.array.dtype
    ]
    return [_param_change(each.array, value) for each, value in pairs]


def _param_change(array: Array, value: Array) -> Change:
    def undo() -> Act:
        before = array.copy(order="K")
        return lambda: np.copyto(array, before)

    return Change(lambda: np.copyto(array, value), undo)
