"""What counts as an array, and whether it can be updated in place. Nothing here ever copies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ravine import _core

SUPPORTED = (np.dtype(np.float32), np.dtype(np.float64))


def as_array(value: object, where: str = "") -> np.ndarray[Any, Any] | None:
    """Return `value` as a NumPy array over the same memory, or None where there is no such memory.

    Understands NumPy arrays, torch's CPU tensors, the array interface, the buffer protocol and DLPack (JAX arrays).

    Raises:
        TypeError: its memory cannot be seen. The message begins with `where`.
    """
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, np.generic):  # a NumPy scalar exposes the array interface of a temporary
        return None
    try:
        return _seen(value)
    except (AttributeError, BufferError, OverflowError, RuntimeError, TypeError, ValueError) as error:
        begin = f"{where}: " if where else ""
        raise TypeError(f"{begin}cannot see the memory of {_kind(value)}: {error}") from error


def _seen(value: Any) -> np.ndarray[Any, Any] | None:
    array: np.ndarray[Any, Any]
    if is_tensor(value):
        # torch then refuses to resize the tensor, which would free the memory. DLPack does not pin it, nor does it tell
        # of negative and conjugate bits, by which torch postpones arithmetic.
        array = value.detach().numpy()
        return array
    if hasattr(value, "__array_interface__"):
        return np.asarray(value)
    if hasattr(value, "__dlpack__"):
        return _from_dlpack(value)
    try:
        view = memoryview(value)
    except TypeError:
        return None
    return np.asarray(view)


def is_tensor(value: object) -> bool:
    """Whether a value is one of torch's tensors."""
    return hasattr(value, "is_neg") and hasattr(value, "detach") and hasattr(value, "numpy")


def _from_dlpack(value: Any) -> np.ndarray[Any, Any]:
    array = np.from_dlpack(value)
    if not array.flags.writeable and hasattr(value, "__array__"):
        # NumPy before 2.1 marks what comes through DLPack as read-only, whatever it is.
        other = np.asarray(value)
        if address(other) == address(array):
            return other
    return array


def as_scalar(value: Any) -> Any:
    """Return the number in an array or tensor of one; anything else as it is."""
    return getattr(value, "item", lambda: value)()


def address(array: np.ndarray[Any, Any]) -> int:
    """Where the array's memory begins."""
    return int(array.__array_interface__["data"][0])


def place(array: np.ndarray[Any, Any]) -> tuple[Any, ...]:
    """Which memory an array shows, and as what. One without elements shows none, wherever it begins."""
    return address(array) if array.size else 0, array.shape, array.strides, array.dtype


def describe(value: object) -> str:
    """Return 'float32, shape (10,)' for an array, and the type's name for anything else."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype}, shape {value.shape}"
    return _kind(value)


def _kind(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


def parameter_array(owner: str, label: str, value: object) -> np.ndarray[Any, Any]:
    """Return the array to update for `value`, or raise an error that names it and the way out."""
    where = f"{owner}: {label}"
    array = as_array(value, where)
    if array is None:
        raise TypeError(
            f"{where} is a {_kind(value)}; expected a NumPy array, a Parameter, or anything that exposes writable CPU "
            "memory. Convert it once with np.array(..., dtype=np.float32) and keep that array: it is updated in place."
        )
    where = f"{owner}: {label} ({describe(array)})"
    if array.dtype not in SUPPORTED:
        hint = "its bytes are swapped" if array.dtype.newbyteorder() in SUPPORTED else f"{array.dtype} is not supported"
        raise TypeError(f"{where}: {hint}; expected native float32 or float64. Convert it with arr.astype(np.float32).")
    if array.ndim == 0:
        raise ValueError(f"{where} is 0-d; expected at least one dimension. Keep the number in an array of shape (1,).")
    if not (array.flags.c_contiguous or array.flags.f_contiguous):
        raise ValueError(
            f"{where} is not contiguous (strides {array.strides}); expected C or Fortran order. Pass the whole array, "
            "or a copy made with np.ascontiguousarray(...), which is then updated instead."
        )
    if not array.flags.aligned:
        raise ValueError(f"{where} is not aligned to its element size; pass a copy made with arr.copy().")
    if not array.flags.writeable:
        raise ValueError(
            f"{where} is read-only; in-place updates need a writable array. "
            "Pass a copy, or set arr.flags.writeable = True."
        )
    return array


def check_overlap(owner: str, labels: Sequence[str], arrays: Sequence[np.ndarray[Any, Any]]) -> None:
    """Raise an error that names two arrays which share memory, if any do."""
    overlap = _core.find_overlap(arrays)
    if overlap is not None:
        first, second = overlap
        what = "are the same array" if arrays[first] is arrays[second] else "share memory"
        raise ValueError(
            f"{owner}: {labels[first]} and {labels[second]} {what}; each element may be updated once a step. "
            "Pass every array once, and give tied weights the sum of their gradients."
        )


def as_input(value: object, label: str) -> np.ndarray[Any, Any]:
    """Return an input of a layer that is no NumPy array as one. Called by the compiled part."""
    array = as_array(value, label)
    if array is None:
        raise TypeError(f"{label} is a {_kind(value)}; expected an array. Convert it with np.asarray(..., np.float32).")
    return array
