"""Classes of bad arrays: whatever may come where an array is expected, and the memory that it stands for."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ravine import nn
from ravine.optim import SparseGrad

from fuzz.memory import address
from fuzz.oracle import Case, Deliberate

Array = np.ndarray[Any, Any]


class Bad(NamedTuple):
    """What is given in place of a good array."""

    name: str
    value: Any
    view: Array | None  # the memory that it stands for; None: it stands for no array


class Interface:
    """Has the array interface of an array, and nothing else."""

    def __init__(self, array: Array, **changed: Any) -> None:
        self._array, self._changed = array, changed

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return {**self._array.__array_interface__, **self._changed}


class Dlpack:
    """Has DLPack of an array, as a tensor has, and nothing else."""

    def __init__(self, array: Array) -> None:
        self._array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._array.__dlpack_device__()


class BadDlpack:
    """Has DLPack that gives no capsule."""

    def __dlpack__(self, **options: Any) -> Any:
        return 3

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)


class Convertible:
    """Becomes an array when asked, which would be a copy."""

    def __init__(self, array: Array) -> None:
        self._array = array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return self._array.copy()


class Raising:
    """Raises whatever it is asked for."""

    def __getattr__(self, name: str) -> Any:
        raise Deliberate(name)

    def __len__(self) -> int:
        raise Deliberate("len")

    def __iter__(self) -> Any:
        raise Deliberate("iter")


class Liar(np.ndarray):
    """A subclass that says other things of itself than is so."""

    shape = property(lambda self: (1 << 20,))
    dtype = property(lambda self: np.dtype(np.float64))
    nbytes = property(lambda self: 1 << 40)
    size = property(lambda self: 1 << 20)

    def __array_ufunc__(self, *args: Any, **kwargs: Any) -> Any:
        raise Deliberate("ufunc")


class Plain(np.ndarray):
    """A subclass that adds nothing."""


Maker = Callable[[Case, Array, Sequence[Array]], "tuple[Any, Array | None]"]

_HELD = Path(tempfile.gettempdir())


def _as(dtype: Any) -> Maker:
    def make(case: Case, good: Array, others: Sequence[Array]) -> tuple[Any, Array]:
        with np.errstate(all="ignore"):
            array = np.zeros(good.shape, dtype)
        return array, array

    return make


def _own(change: Callable[[Array], Any]) -> Maker:
    """Return what makes an array out of a copy of the good one."""

    def make(case: Case, good: Array, others: Sequence[Array]) -> tuple[Any, Array]:
        array = change(good.copy(order="K"))
        return array, array

    return make


def _no_array(make_value: Callable[[Array], Any]) -> Maker:
    return lambda case, good, others: (make_value(good), None)


def _over(change: Callable[[Array], Any]) -> Maker:
    """Return what makes an object over the memory of a copy of the good one."""

    def make(case: Case, good: Array, others: Sequence[Array]) -> tuple[Any, Array]:
        array = good.copy(order="K")
        return change(array), array

    return make


def _overlapping(shift: Callable[[Array, Array], int]) -> Maker:
    """Return what makes an array that lies so many bytes after the beginning of another argument."""

    def make(case: Case, good: Array, others: Sequence[Array]) -> tuple[Any, Array | None]:
        places = [(other, case.arena.place(other)) for other in others]
        there = [(other, place) for other, place in places if place is not None and other.nbytes]
        if not there:
            return None, None
        other, place = case.choose.of(there)
        begin = max(place + shift(good, other), 0)
        array = case.arena.at(min(begin, case.arena.buffer.size - good.nbytes), good.shape, good.dtype)
        return array, array

    return make


def _strided(good: Array) -> Array:
    wide = np.zeros((*good.shape[:-1], 2 * good.shape[-1]) if good.ndim else (2,), good.dtype)
    wide[..., ::2] = good
    return wide[..., ::2]


def _misaligned(good: Array) -> Array:
    raw = np.zeros(good.nbytes + 1, np.uint8)
    array = np.ndarray(good.shape, good.dtype, raw, 1)
    array[...] = good
    return array


def _read_only(array: Array) -> Array:
    array.flags.writeable = False
    return array


def _memmap(mode: Any) -> Maker:
    def make(case: Case, good: Array, others: Sequence[Array]) -> tuple[Any, Array | None]:
        if not good.size:
            return None, None
        with tempfile.TemporaryFile(dir=_HELD) as file:
            file.write(good.tobytes())
            file.flush()
            array = np.memmap(file, good.dtype, mode, shape=good.shape)
        return array, array

    return make


def _axis_more(good: Array) -> Array:
    shape = list(good.shape) or [0]
    shape[-1] += 1
    return np.zeros(shape, good.dtype)


def _zero_axis(good: Array) -> Array:
    return np.zeros((0, *good.shape[1:]), good.dtype)


def _other_float(good: Array) -> Array:
    return good.astype(np.float64 if good.dtype == np.float32 else np.float32)


def _object_array(good: Array) -> Array:
    array = np.empty(good.shape, object)
    array[...] = 1.0
    return array


CLASSES: dict[str, Maker] = {
    "None": _no_array(lambda good: None),
    "list": _no_array(lambda good: good.tolist()),
    "tuple": _no_array(lambda good: tuple(good.ravel().tolist())),
    "float": _no_array(lambda good: 1.0),
    "int": _no_array(lambda good: 3),
    "str": _no_array(lambda good: "abc"),
    "dict": _no_array(lambda good: {"a": good}),
    "set": _no_array(lambda good: {1.0}),
    "generator": _no_array(lambda good: (x for x in ())),
    "type": _no_array(lambda good: np.ndarray),
    "scalar": _no_array(lambda good: good.dtype.type(1)),
    "convertible": _no_array(Convertible),
    "raising": _no_array(lambda good: Raising()),
    "bad DLPack": _no_array(lambda good: BadDlpack()),
    "interface of nothing": _no_array(lambda good: Interface(good, data=None, shape=())),
    "interface of a wrong shape": _no_array(lambda good: Interface(good, shape=(-1,))),
    "interface that is none": _no_array(lambda good: Interface(good, typestr="??")),
    "SparseGrad": _no_array(
        lambda good: SparseGrad(np.zeros(1, np.int64), good[:1].copy(), good.shape) if len(good) else None
    ),
    "bytes": lambda case, good, others: (good.tobytes(), np.frombuffer(good.tobytes(), np.uint8)),
    "bytearray": _over(lambda array: bytearray(array.tobytes())),
    "memoryview": _over(memoryview),
    "read-only memoryview": _over(lambda array: memoryview(array).toreadonly()),
    "array interface": _over(Interface),
    "DLPack": _over(Dlpack),
    "Parameter": _over(nn.Parameter),
    **{
        f"dtype {np.dtype(dtype)}": _as(dtype)
        for dtype in (
            *(np.int8, np.int32, np.int64, np.uint8, np.bool_, np.float16, np.longdouble, np.complex64, np.complex128),
            *(">f4", ">f8", "M8[s]", "U3", "S4", [("a", "f4")], [("a", "f4"), ("b", "i4")]),
        )
    },
    "dtype object": _own(_object_array),
    "other float": _own(_other_float),
    "swapped values": _own(lambda array: array.astype(array.dtype.newbyteorder())),
    "0-d": _own(lambda array: np.ones((), array.dtype)),
    "empty": _own(lambda array: np.zeros(0, array.dtype)),
    "zero axis": _own(_zero_axis),
    "axis longer": _own(_axis_more),
    "one axis more": _own(lambda array: array[None]),
    "flat": _own(np.ravel),
    "strided": _own(_strided),
    "reversed": _own(lambda array: array[::-1]),
    "reversed last": _own(lambda array: array[..., ::-1]),
    "broadcast": _own(lambda array: np.broadcast_to(array.dtype.type(2), array.shape)),
    "writable broadcast": _own(lambda array: np.lib.stride_tricks.as_strided(array, array.shape, (0,) * array.ndim)),
    "transposed": _own(lambda array: array.T),
    "Fortran order": _own(np.asfortranarray),
    "C order": _own(np.ascontiguousarray),
    "misaligned": _own(_misaligned),
    "read-only": _own(_read_only),
    "subclass": _own(lambda array: array.view(Plain)),
    "lying subclass": _over(lambda array: array.view(Liar)),
    "masked array": _over(lambda array: np.ma.array(array, mask=False, copy=False)),
    "memory map r": _memmap("r"),
    "memory map r+": _memmap("r+"),
    "memory map c": _memmap("c"),
    "NaN": _own(lambda array: np.full_like(array, np.nan)),
    "infinite": _own(lambda array: np.full_like(array, -np.inf)),
    "subnormal": _own(lambda array: np.full_like(array, np.finfo(array.dtype).smallest_subnormal)),
    "huge": _own(lambda array: np.full_like(array, np.finfo(array.dtype).max)),
    "the same as another": lambda case, good, others: (others[0], others[0]) if others else (None, None),
    "exactly over another": _overlapping(lambda good, other: 0),
    "over another but one element": _overlapping(lambda good, other: good.itemsize),
    "over the last element of another": _overlapping(lambda good, other: other.nbytes - good.itemsize),
    "ending in another's first element": _overlapping(lambda good, other: good.itemsize - good.nbytes),
    "just behind another": _overlapping(lambda good, other: other.nbytes),
}
NAMES = list(CLASSES)


def bad_array(case: Case, good: Array, others: Sequence[Array] = (), name: str | None = None) -> Bad:
    """Return one of a class in place of a good array.

    Args:
        case: whose choices and memory are used.
        good: an array of float32 or float64 that would be right.
        others: the other arguments, for those that overlap with one.
        name: of the class; chosen without it.
    """
    name = name or case.choose.of(NAMES)
    try:
        value, view = CLASSES[name](case, good, others)
    except (TypeError, ValueError, IndexError):  # there is none of this class of such a shape
        name, value, view = "None", None, None
    return Bad(name, value, view)


def may_overlap(a: Array, b: Array) -> bool:
    """Whether two arrays may share a byte, by where they begin and end."""
    return bool(np.may_share_memory(a, b)) and a.size > 0 and b.size > 0


def same_start(a: Array, b: Array) -> bool:
    return a.nbytes > 0 and address(a) == address(b) and a.nbytes == b.nbytes
