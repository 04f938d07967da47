"""States as plain arrays and JSON: no pickle, and back to the same Python values."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ravine._arrays import as_array, describe

Array = np.ndarray[Any, Any]

# Kinds of dtypes that a .npy file holds as they are: no objects, no fields, none of another package.
_KINDS = "biufcSUmM"
# Of np.savez: these are its own arguments.
_RESERVED = ("file", "allow_pickle")
_LONGEST_NAME = 200
# Python reads and writes no decimal number of more than 4300 digits.
_MOST_BITS = 14_000
_EXPECTED = "None, True or False, int, float, str, an array, or a list, tuple or dict of these"


def flatten(state: Any) -> tuple[dict[str, Array], Any]:
    """Split a state, such as any `state_dict()`, into arrays and what JSON can hold.

        arrays, rest = flatten(optimizer.state_dict())
        np.savez("state.npz", **arrays)
        text = json.dumps(rest, allow_nan=False)

    Args:
        state: None, True or False, int, float, str, NumPy numbers, arrays (or what exposes CPU memory, such as torch
            tensors) of numbers, text or dates, and lists, tuples and dicts of these. Keys may be whatever is no array
            and no list: the ints of "state" come back as ints.

    Returns:
        arrays: a dict of the arrays themselves (not copies), named after where they stand: "state/0/exp_avg".
        rest: the same structure, `{"$array": name}` in place of each array. What JSON does not know is an object with
            one key: "$tuple", "$dict" (a list of pairs, where keys are no plain text), "$float" (inf, nan), "$scalar".

    Raises:
        TypeError: there is something else in it; the message says where.

    >>> arrays, rest = flatten({"state": {0: {"step": 3, "sum": np.ones(2)}}, "betas": (0.9, 0.999)})
    >>> list(arrays), rest["betas"]
    (['state/0/sum'], {'$tuple': [0.9, 0.999]})
    >>> unflatten(arrays, rest)
    {'state': {0: {'step': 3, 'sum': array([1., 1.])}}, 'betas': (0.9, 0.999)}
    """
    try:
        flattener = _Flattener()
        rest = flattener.value(state, ())
    except RecursionError:
        raise TypeError("flatten: the state is nested too deeply, or contains itself.") from None
    return flattener.arrays, rest


def unflatten(arrays: Mapping[str, Array], rest: Any) -> Any:
    """Return the state that `flatten` has split.

    Args:
        arrays: by the names that `flatten` gave them: its dict, or what `np.load` returns.
        rest: the other part, as it was or as JSON gave it back.

    Raises:
        ValueError: they are not what `flatten` returned.
    """
    try:
        return _joined(arrays, rest)
    except (KeyError, TypeError, IndexError, AttributeError, RecursionError, ValueError) as error:
        raise ValueError(f"unflatten: this is not what flatten returned: {type(error).__name__}: {error}") from None


class _Flattener:
    def __init__(self) -> None:
        self.arrays: dict[str, Array] = {}

    def value(self, value: Any, path: tuple[Any, ...]) -> Any:
        if type(value) is int and value.bit_length() > _MOST_BITS:
            raise TypeError(
                f"flatten: {_place(path)} is an int of {value.bit_length()} bits; expected {_MOST_BITS} at most, "
                "which JSON is read with. Save it as an array of its bytes."
            )
        if value is None or type(value) in (bool, int, str):
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {"$float": repr(value)}
        if isinstance(value, Mapping):
            return self._mapping(value, path)
        if isinstance(value, list | tuple):
            items = [self.value(item, (*path, i)) for i, item in enumerate(value)]
            return items if isinstance(value, list) else {"$tuple": items}
        return self._of_memory(value, path)

    def _of_memory(self, value: Any, path: tuple[Any, ...]) -> Any:
        if isinstance(value, np.generic):
            return {"$scalar": self._array(np.asarray(value), value, path)}
        array = (
            None
            if isinstance(value, bytes | bytearray | np.ma.MaskedArray)
            else as_array(value, f"flatten: {_place(path)}")
        )
        if array is None:
            raise TypeError(f"flatten: {_place(path)} is a {type(value).__name__}; expected {_EXPECTED}.")
        return {"$array": self._array(array, value, path)}

    def _mapping(self, value: Mapping[Any, Any], path: tuple[Any, ...]) -> Any:
        if all(type(key) is str and not key.startswith("$") for key in value):
            return {key: self.value(item, (*path, key)) for key, item in value.items()}
        pairs = []
        for key, item in value.items():
            if not _is_key(key):
                raise TypeError(
                    f"flatten: {_place(path)} has a key {key!r}, a {describe(key)}; expected None, True or False, int, "
                    "float, str, or a tuple of these."
                )
            pairs.append([self.value(key, path), self.value(item, (*path, key))])
        return {"$dict": pairs}

    def _array(self, array: Array, value: Any, path: tuple[Any, ...]) -> str:
        if array.dtype.kind not in _KINDS:
            raise TypeError(
                f"flatten: {_place(path)} is {describe(value)}; expected an array of numbers, text or dates. Save its "
                "parts, or view it as such: a.view(np.uint16)."
            )
        name = self._name(path)
        self.arrays[name] = array.view(np.ndarray)
        return name

    def _name(self, path: tuple[Any, ...]) -> str:
        words = ["".join(c if c.isalnum() or c in "_-." else "_" for c in str(part)) for part in path]
        name = "/".join(word if word.strip(".") else "_" for word in words)[:_LONGEST_NAME] or "array"
        if name.endswith(".npy") or name in _RESERVED:
            name += "_"
        unique, number = name, 2
        while unique in self.arrays:
            unique, number = f"{name}~{number}", number + 1
        return unique


def _is_key(key: object) -> bool:
    return key is None or type(key) in (bool, int, float, str) or (isinstance(key, tuple) and all(map(_is_key, key)))


def _place(path: tuple[Any, ...]) -> str:
    return "the state" + "".join(f"[{part!r}]" for part in path)


def _joined(arrays: Mapping[str, Array], rest: Any) -> Any:
    if isinstance(rest, list):
        return [_joined(arrays, item) for item in rest]
    if not isinstance(rest, dict):
        return rest
    tag = next(iter(rest)) if len(rest) == 1 else ""
    if tag.startswith("$"):
        return _JOINERS[tag](arrays, rest[tag])
    return {key: _joined(arrays, item) for key, item in rest.items()}


_JOINERS: dict[str, Callable[[Mapping[str, Array], Any], Any]] = {
    "$array": lambda arrays, name: arrays[name],
    "$scalar": lambda arrays, name: arrays[name][()],
    "$tuple": lambda arrays, items: tuple(_joined(arrays, item) for item in items),
    "$dict": lambda arrays, pairs: {_joined(arrays, key): _joined(arrays, item) for key, item in pairs},
    "$float": lambda arrays, text: float(text),  # noqa: ARG005
}
