"""What may be done to an array between two calls, in place: nobody but the next call can notice."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from fuzz.oracle import Case

Array = np.ndarray[Any, Any]


def _resized(case: Case, array: Array) -> None:
    shape = list(array.shape)
    shape[0] = case.choose.of([0, max(shape[0] - 1, 0), shape[0] + 1, shape[0] + 4096])
    array.resize(shape, refcheck=False)


def _moved(case: Case, array: Array) -> None:
    """Let it have other memory of the same size."""
    shape = array.shape
    array.resize((*shape[:-1], shape[-1] + 8192), refcheck=False)
    array.resize(shape, refcheck=False)


def _retyped(dtype: str) -> Callable[[Case, Array], None]:
    def change(case: Case, array: Array) -> None:
        array.dtype = np.dtype(dtype)

    return change


def _restrided(case: Case, array: Array) -> None:
    array.strides = case.choose.of([(0,) * array.ndim, array.strides[::-1]])


def _reshaped(case: Case, array: Array) -> None:
    array.shape = case.choose.of([array.shape[::-1], (array.size,), (1, *array.shape)])


def _read_only(case: Case, array: Array) -> None:
    array.flags.writeable = False


def _overwritten(case: Case, array: Array) -> None:
    steps = [(n - 1) * abs(stride) for n, stride in zip(array.shape, array.strides, strict=True)]
    if array.size and sum(steps) >= array.nbytes:
        raise ValueError  # other strides have let it reach beyond its memory
    array[...] = case.choose.fill(np.empty(array.shape, array.dtype))


MUTATIONS: dict[str, Callable[[Case, Array], None]] = {
    "resized": _resized,
    "moved": _moved,
    **{f"retyped {dtype}": _retyped(dtype) for dtype in ("i1", "i4", "f4", "f8", ">f4", "c8", "f2")},
    "re-strided": _restrided,
    "reshaped": _reshaped,
    "made read-only": _read_only,
    "overwritten": _overwritten,
}


def mutate(case: Case, array: Array) -> str:
    """Change an array in place in some way that its memory allows; return how, "-" where none was possible."""
    name = case.choose.of(list(MUTATIONS))
    before = description(array)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy's, that attributes are not for setting
            MUTATIONS[name](case, array)
    except (ValueError, TypeError, AttributeError, IndexError):  # it owns no memory to resize, or has no axes
        return "-"
    return name if name == "overwritten" or description(array) != before else "-"


def description(array: Array) -> tuple[Any, ...]:
    """Return all of an array but its numbers."""
    interface = array.__array_interface__["data"]
    return interface, array.dtype.str, array.shape, array.strides


def restore(array: Array, before: tuple[Any, ...]) -> bool:
    """Undo what a mutation did where the memory is still the same; return whether it is as it was."""
    (_, was_read_only), dtype, shape, strides = before
    if array.__array_interface__["data"][0] != before[0][0]:
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if not was_read_only:
                array.flags.writeable = True
            if array.dtype.str != dtype:
                array.dtype = np.dtype(dtype)
            if array.strides != strides and array.shape == shape:
                array.strides = strides
            if array.shape != shape:
                array.shape = shape
    except (ValueError, TypeError, AttributeError):
        return False
    return description(array) == before
