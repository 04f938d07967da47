"""Memory that a case's arrays lie in side by side, and snapshots of it and of everything else that may change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_SIZE = 1 << 14
_GAP = 64


class Arena:
    """One buffer that arrays are cut from, with guard bytes between them: one comparison sees every stray byte."""

    _pattern = np.arange(_SIZE, dtype=np.uint8) * np.uint8(37) + np.uint8(11)

    def __init__(self) -> None:
        self.buffer = self._pattern.copy()
        self._end = _GAP

    def array(self, shape: tuple[int, ...], dtype: Any, order: Any = "C", shift: int = 0) -> Array:
        """Return an array of its own; `shift` bytes away from where it would be aligned."""
        dtype = np.dtype(dtype)
        size = int(np.prod(shape, dtype=int)) * dtype.itemsize
        begin = -(-self._end // 16) * 16 + shift
        if begin + size + _GAP > _SIZE:
            raise MemoryError("a case's arrays do not fit into its arena")
        self._end = begin + size + _GAP
        return self.at(begin, shape, dtype, order)

    def at(self, begin: int, shape: tuple[int, ...], dtype: Any, order: Any = "C") -> Array:
        """Return an array that begins at a byte, whatever lies there."""
        return np.ndarray(shape, dtype, self.buffer, begin, order=order)

    def place(self, array: Array) -> int | None:
        """Return the byte at which an array begins, or None where it does not lie here."""
        begin = address(array) - address(self.buffer)
        return begin if 0 <= begin < _SIZE else None

    def free_bytes(self, arrays: list[Array]) -> bytes:
        """Return the bytes that belong to none of the arrays."""
        taken = np.zeros(_SIZE, bool)
        for array in arrays:
            begin = self.place(array)
            if begin is not None:
                taken[begin : begin + array.nbytes] = True
        return self.buffer[~taken].tobytes()


def address(array: Array) -> int:
    return int(array.__array_interface__["data"][0])


def frozen(value: Any, identities: bool = True) -> Any:
    """Return something that is equal as long as nothing in `value` has changed: bytes, dtypes, shapes, strides.

    Args:
        value: what is looked at.
        identities: whether other objects have to stay the same; otherwise they do not count.
    """
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            return (value.shape, [frozen(item, identities) for item in value.ravel().tolist()])
        return (value.dtype.str, value.shape, value.strides, value.flags.writeable, value.tobytes())
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, Mapping):
        return {key: frozen(item, identities) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [type(value), *(frozen(item, identities) for item in value)]
    if value is None or isinstance(value, str | int | bytes):
        return value
    return id(value) if identities else None


def same_numbers(a: Array, b: Array) -> bool:
    """Whether two arrays hold the same bits, but for the bits of NaN."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.tobytes() == b.tobytes():
        return True
    a, b = np.atleast_1d(a), np.atleast_1d(b)
    nan = np.isnan(a)
    return bool((nan == np.isnan(b)).all() and a[~nan].tobytes() == b[~nan].tobytes())
