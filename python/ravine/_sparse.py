"""Sparse gradients: values for some rows of a table."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from ravine import _core
from ravine._arrays import SUPPORTED, as_array, describe, is_tensor

Array = np.ndarray[Any, Any]


class SparseGrad:
    """The gradient of a table of which only some rows were used, such as an embedding.

        dense = 0;   dense[rows[i]] += values[i]   for i = 0, 1, ..., n - 1

    `SGD`, `Adagrad` and `SparseAdam` take it wherever they take an array, and touch nothing but the rows it names. A
    row may be named more than once, its values are then summed in the order given, and rows may come in any order;
    where they are distinct and increasing, a step need not sort them.

    Args:
        rows: integer array of shape (n,): the index of each row, from 0 to shape[0] - 1. Copied where it is not
            contiguous int64.
        values: array of float32 or float64, as the parameter, of shape (n, *shape[1:]). Copied where it is not in C
            order.
        shape: the parameter's.

    Raises:
        TypeError: `rows` is no array of integers, `values` none of float32 or float64, `shape` no tuple of integers.
        ValueError: shapes do not fit together, or a row is out of range; negative ones do not count from the end.

    >>> grad = SparseGrad(np.array([7, 2, 7]), np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), (10, 2))
    >>> len(grad), grad.dtype, grad.nbytes
    (3, dtype('float64'), 72)
    >>> grad.coalesce()
    SparseGrad(rows=[2 7], values=[[3. 4.] [6. 8.]], dtype=float64, shape=(10, 2))
    """

    __slots__ = ("_rows", "_shape", "_values")

    def __init__(self, rows: object, values: object, shape: Sequence[int]) -> None:
        self._shape = _checked_shape(shape)
        self._rows = _checked_rows(rows, self._shape)
        self._values = _checked_values(values, (len(self._rows), *self._shape[1:]))

    @property
    def rows(self) -> Array:
        """The index of each row, int64 of shape (n,)."""
        return self._rows

    @property
    def values(self) -> Array:
        """The values of each row, of shape (n, *shape[1:])."""
        return self._values

    @property
    def shape(self) -> tuple[int, ...]:
        """The parameter's shape."""
        return self._shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the values."""
        dtype: np.dtype[Any] = self._values.dtype
        return dtype

    @property
    def nbytes(self) -> int:
        """The bytes of rows and values together."""
        return self._rows.nbytes + self._values.nbytes

    def __len__(self) -> int:
        """How many rows are named, repeated ones included."""
        return len(self._rows)

    def coalesce(self) -> SparseGrad:
        """Return the same gradient with each row named once, in increasing order; itself where it is like that."""
        rows, values = self._still()
        found = _core.coalesce(rows, values)
        return self if found is None else SparseGrad(*found, self._shape)

    def _still(self) -> tuple[Array, Array]:
        """Return rows and values, or raise: they may have been resized, retyped or filled anew since."""
        rows = _checked_rows(self._rows, self._shape)
        return rows, _checked_values(self._values, (len(rows), *self._shape[1:]))

    def to_dense(self) -> Array:
        """Return the gradient as an array of the parameter's shape, 0 in rows that are not named."""
        coalesced = self.coalesce()
        dense = np.zeros(self._shape, self.dtype)
        dense[coalesced.rows] = coalesced.values
        return dense

    def without_rows(self) -> SparseGrad:
        """Return a gradient for the same parameter that names no row."""
        return SparseGrad(np.empty(0, np.int64), np.empty((0, *self._shape[1:]), self.dtype), self._shape)

    def __add__(self, other: object) -> SparseGrad:
        """Add another gradient of the same parameter, by naming its rows behind one's own."""
        if isinstance(other, np.ndarray):  # some of those derived from it would begin to compute
            raise TypeError("SparseGrad: cannot add an array to one; add it to to_dense().")
        if not isinstance(other, SparseGrad):
            return NotImplemented
        if self._shape != other.shape or self.dtype != other.dtype:
            raise ValueError(
                f"SparseGrad: cannot add one of {_described(other)} to one of {_described(self)}; expected the same."
            )
        rows, values = zip(self._still(), other._still(), strict=True)
        return SparseGrad(np.concatenate(rows), np.concatenate(values), self._shape)

    def __repr__(self) -> str:
        plain = (np.asarray(a) for a in (self._rows, self._values))  # a masked array may not be able to show itself
        rows, values = (np.array2string(a, threshold=60).replace("\n", "") for a in plain)
        return f"SparseGrad(rows={rows}, values={values}, dtype={self.dtype}, shape={self._shape})"


def _described(grad: SparseGrad) -> str:
    return f"{grad.dtype}, shape {grad.shape}"


def _checked_shape(shape: Sequence[int]) -> tuple[int, ...]:
    expected = "the parameter's shape, a tuple of whole numbers"
    try:
        sizes = tuple(operator.index(size) for size in shape)
    except TypeError:
        raise TypeError(f"SparseGrad: shape={shape!r}; expected {expected}.") from None
    if not sizes or min(sizes) < 0:
        raise ValueError(f"SparseGrad: shape={shape!r}; expected {expected}, at least one and none negative.")
    return sizes


def _checked_rows(rows: object, shape: tuple[int, ...]) -> Array:
    array = as_array(rows, "SparseGrad: rows")
    if array is None or array.dtype.kind not in "iu":
        raise TypeError(
            f"SparseGrad: rows is {describe(rows if array is None else array)}; expected an array of integers. Convert "
            "it with np.asarray(rows, dtype=np.int64)."
        )
    if array.ndim != 1:
        raise ValueError(f"SparseGrad: rows is {describe(array)}; expected shape (n,). Flatten it with rows.ravel().")
    outside = (array < 0) | (array >= shape[0])
    if outside.any():
        _refuse_row(int(outside.argmax()), array, shape)
    return np.require(array, np.int64, ["C", "A"])


def _refuse_row(i: int, rows: Array, shape: tuple[int, ...]) -> NoReturn:
    way_out = " Negative rows do not count from the end; add shape[0] to them." if rows[i] < 0 else ""
    raise ValueError(
        f"SparseGrad: rows[{i}]={rows[i]} is out of range; expected rows from 0 to {shape[0] - 1}, for a parameter of "
        f"shape {shape}.{way_out}"
    )


def _checked_values(values: object, expected: tuple[int, ...]) -> Array:
    array = as_array(values, "SparseGrad: values")
    if array is None or array.dtype not in SUPPORTED:
        raise TypeError(
            f"SparseGrad: values is {describe(values if array is None else array)}; expected an array of float32 or "
            "float64, as the parameter. Convert it with np.asarray(values, dtype=np.float32)."
        )
    if array.shape != expected:
        raise ValueError(
            f"SparseGrad: values is {describe(array)}; expected shape {expected}: a row of the parameter for each of "
            f"the {expected[0]} rows."
        )
    return np.require(array, requirements=["C", "A"])


def as_array_or_sparse(value: Any, where: str = "") -> Array | SparseGrad | None:
    """Return a gradient as an array over the same memory, or as a SparseGrad; None where it is neither.

    Messages begin with `where`.

    Understands what `as_array` does, SparseGrad, and torch's sparse tensors (COO) with one sparse dimension.
    """
    if isinstance(value, SparseGrad):
        return value
    if is_sparse_tensor(value):
        return _from_torch(value)
    # torch postpones signs. A gradient is only read, so that a copy will do.
    return as_array(value.resolve_conj().resolve_neg() if is_tensor(value) else value, where)


def misfit(grad: SparseGrad, parameter: Array) -> str:
    """Return how a gradient does not fit its parameter, and the way out. The compiled part says it too."""
    return (
        f"SparseGrad of {_described(grad)}; expected {describe(parameter)}. Make one with SparseGrad(rows, "
        "values.astype(...), parameter.shape)."
    )


def is_sparse_tensor(value: object) -> bool:
    """Whether a value is one of torch's sparse tensors (COO)."""
    return getattr(value, "is_sparse", False) is True


def _from_torch(tensor: Any) -> SparseGrad:
    if tensor.sparse_dim() != 1:
        raise TypeError(
            f"a sparse torch tensor of shape {tuple(tensor.shape)} has {tensor.sparse_dim()} sparse dimensions; "
            "expected one, that of the rows. Make it with tensor.to_dense().to_sparse(1)."
        )
    # Those without an underscore ask for a coalesced tensor; coalescing is done here.
    return SparseGrad(tensor._indices()[0], tensor._values(), tuple(tensor.shape))


def as_gradient(value: Any, label: str, zero: bool = False) -> Array | SparseGrad:
    """Return a gradient that is no NumPy array as one, or as a SparseGrad. Called by the compiled part at a step.

    Where it is to be set to zero (`zero`), a copy will not do.
    """
    if zero and is_tensor(value) and (value.is_neg() or value.is_conj()):
        raise ValueError(
            f"{label}: its gradient is a tensor whose sign torch postpones, and cannot be set to zero. Pass "
            "grad.resolve_conj().resolve_neg(), or leave zeroing out."
        )
    try:
        gradient = as_array_or_sparse(value)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{label}: its gradient: {error}") from error
    if gradient is None:
        raise TypeError(
            f"{label}: its gradient is a {describe(value)}; expected an array, or None where there is none."
        )
    return gradient
