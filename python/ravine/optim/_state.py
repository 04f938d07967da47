"""The parameters of an optimizer and the arrays it keeps beside them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np

from ravine._arrays import address

Array = np.ndarray[Any, Any]

_PAGE = 4096


class Member(NamedTuple):
    """A parameter of an optimizer."""

    param: Any  # a Parameter, or any object with .data and .grad
    array: Array
    name: str | None
    keyed: bool  # whether the name came with it as a key, and so must differ from others
    label: str  # how error messages call it
    bare: bool  # whether it came as a plain array, which carries no gradient


class StateView(Mapping[Any, Mapping[str, Any]]):
    """The state of each parameter that has stepped, looked up by the parameter, or the array, itself."""

    def __init__(self, members: list[Member], state_of: Callable[[int], dict[str, Any]]) -> None:
        self._members = members
        self._state_of = state_of

    def __getitem__(self, key: object) -> Mapping[str, Any]:
        for i, member in enumerate(self._members):
            if key is member.param or key is member.array:
                return MappingProxyType(self._state_of(i))
        raise KeyError("no parameter of this optimizer is that object")

    def __iter__(self) -> Iterator[Any]:
        return (member.param for i, member in enumerate(self._members) if self._state_of(i))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return repr({param: dict(self[param]) for param in self})


def new_like(array: Array, values: float | Array, place: int, shape: tuple[int, ...]) -> Array:
    """Return a new array of this shape in the dtype and memory order of another, holding `values`.

    A large one lies to cache lines as the other does, so that one loop over both is aligned for both, and begins
    `place` times 17 lines further on in its page: loads that follow stores of the same address within a page wait.
    """
    order: Literal["C", "F"] = "C" if array.flags.c_contiguous else "F"
    size = math.prod(shape)
    large = size * array.itemsize > _PAGE
    # Memory of zeros that nobody has touched yet costs nothing.
    room = np.zeros(size + (_PAGE // array.itemsize if large else 0), array.dtype)
    offset = (address(array) + place * 17 * 64 - address(room)) % _PAGE // array.itemsize if large else 0
    result: Array = room[offset : offset + size].reshape(shape, order=order)
    if not isinstance(values, float) or values != 0:
        result[...] = values
    return result
