"""A parameter: an array and its gradient."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ravine._arrays import describe, parameter_array
from ravine._sparse import SparseGrad, as_array_or_sparse, misfit

Array = np.ndarray[Any, Any]


class Parameter:
    """An array that an optimizer updates, together with its gradient.

    `p.data` is the very array that was given, so whoever holds that array sees every update. `p.grad` is an array of
    zeros of the same shape, dtype and memory order, made when it is first asked for: add to it in place, or assign
    another array, a `SparseGrad`, or None for "no gradient this time".

    Args:
        data: array of float32 or float64, at least 1-d, contiguous and writable; never copied.
        name: shown in error messages, and the key of its gradient where gradients come as a dict.
        requires_grad: with False the gradient starts as None, and optimizers leave the parameter alone.

    Raises:
        TypeError: `data` is not an array of float32 or float64.
        ValueError: `data` cannot be updated in place (read-only, strided, 0-d).

    >>> w = np.zeros((2, 3), np.float32)
    >>> p = Parameter(w, name="w")
    >>> p.data is w, p.grad.shape
    (True, (2, 3))
    """

    __slots__ = ("__weakref__", "_data", "_grad", "name")

    _grad: Array | SparseGrad | None  # missing until it is first asked for

    def __init__(self, data: object, name: str | None = None, requires_grad: bool = True) -> None:
        self._data = parameter_array("Parameter", f"data ({name!r})" if name else "data", data)
        self.name = name
        if not requires_grad:
            self._grad = None

    @property
    def data(self) -> Array:
        """The array itself."""
        return self._data

    @property
    def grad(self) -> Any:
        """The gradient: an array, a `SparseGrad`, or None."""
        try:
            return self._grad
        except AttributeError:
            self._grad = np.zeros_like(self._data, subok=False)
            return self._grad

    @grad.setter
    def grad(self, value: Any) -> None:
        grad = None if value is None else as_array_or_sparse(value, "Parameter: grad")
        if value is not None and (grad is None or grad.shape != self.shape or grad.dtype != self.dtype):
            problem = (
                misfit(grad, self._data)
                if isinstance(grad, SparseGrad)
                else f"{describe(value if grad is None else grad)}; expected {describe(self._data)}. "
                "Convert it with grad.astype(...) or grad.reshape(...)."
            )
            raise ValueError(f"Parameter{f' {self.name!r}' if self.name else ''}: grad is {problem}")
        self._grad = grad

    def zero_grad(self, set_to_none: bool = False) -> None:
        """Fill the gradient with zeros in place, or drop it. A sparse one becomes one that names no row."""
        grad = getattr(self, "_grad", None)
        if set_to_none:
            self._grad = None
        elif isinstance(grad, SparseGrad):
            self._grad = grad.without_rows()
        elif grad is not None:
            if grad.flags.writeable:
                grad.fill(0)
            else:
                self._grad = np.zeros_like(self._data, subok=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array."""
        shape: tuple[int, ...] = self._data.shape
        return shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the array."""
        dtype: np.dtype[Any] = self._data.dtype
        return dtype

    @property
    def ndim(self) -> int:
        """The number of dimensions of the array."""
        return self._data.ndim

    @property
    def size(self) -> int:
        """The number of elements of the array."""
        return self._data.size

    def __len__(self) -> int:
        return len(self._data)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """Let NumPy functions and operators take the parameter for its array."""
        if dtype is None or np.dtype(dtype) == self.dtype:
            return self._data.copy() if copy else self._data
        if copy is False:
            raise ValueError(f"Parameter: cannot give {self.dtype} as {np.dtype(dtype)} without a copy")
        return self._data.astype(dtype)

    def __repr__(self) -> str:
        name = f", name={self.name!r}" if self.name else ""
        return f"Parameter({np.array2string(self._data, prefix='Parameter(')}, dtype={self.dtype}{name})"


_grad_of: Callable[[Parameter], Any] = operator.attrgetter("_grad")


def gradients_of(params: Iterable[Parameter]) -> list[Any]:
    """Return each `grad`, without a call in Python for each of them."""
    try:
        return list(map(_grad_of, params))
    except AttributeError:
        return [param.grad for param in params]
