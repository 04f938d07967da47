"""The state of an optimizer: what it keeps beside its parameters, to look at and to save."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from ravine._arrays import address
from ravine.optim._parameters import Parameters, Record

Array = np.ndarray[Any, Any]
StateOf = Callable[[Record], dict[str, Any]]

_PAGE = 4096


class StateView(Mapping[Any, Mapping[str, Any]]):
    """The state of each parameter that has stepped, looked up by the parameter, or the array, itself."""

    def __init__(self, records: Sequence[Record], state_of: StateOf) -> None:
        self._records = records
        self._state_of = state_of

    def __getitem__(self, key: object) -> Mapping[str, Any]:
        for record in self._records:
            if key is record.param or key is record.array:
                return MappingProxyType(self._state_of(record))
        raise KeyError("no parameter of this optimizer is that object")

    def __iter__(self) -> Iterator[Any]:
        return (record.param for record in self._records if self._state_of(record))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return repr({param: dict(self[param]) for param in self})


def saved_state(parameters: Parameters, param_groups: Sequence[Mapping[str, Any]], state_of: StateOf) -> dict[str, Any]:
    """Return the state and the groups in torch's form: parameters by their positions, arrays copied."""
    states = {i: state for i, record in enumerate(parameters.records) if (state := state_of(record))}
    return {
        "state": {
            i: {key: value.copy(order="K") if isinstance(value, np.ndarray) else value for key, value in state.items()}
            for i, state in states.items()
        },
        "param_groups": [
            {**_own(group), "params": list(parameters.positions(index))} for index, group in enumerate(param_groups)
        ],
    }


def _own(group: Mapping[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, list) else value for name, value in group.items()}


def new_like(array: Array, values: float | Array, place: int, shape: tuple[int, ...]) -> Array:
    """Return a new array of this shape in the dtype and memory order of another, holding `values`.

    A large one lies to cache lines as the other does, so that one loop over both is aligned for both, and begins
    `place` times 17 lines further on in its page: loads that follow stores of the same address within a page wait.
    """
    order: Literal["C", "F"] = "C" if array.flags.c_contiguous else "F"
    size = math.prod(shape)
    large = size * array.itemsize > _PAGE
    # Memory of zeros that nobody has touched yet costs nothing.
    memory = np.zeros(size + (_PAGE // array.itemsize if large else 0), array.dtype)
    offset = (address(array) + place * 17 * 64 - address(memory)) % _PAGE // array.itemsize if large else 0
    result: Array = memory[offset : offset + size].reshape(shape, order=order)
    if not isinstance(values, float) or values != 0:
        result[...] = values
    return result
