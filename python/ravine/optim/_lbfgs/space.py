"""The vector space of LBFGS."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any

import numpy as np

from ravine._arrays import describe
from ravine._saved import of_array
from ravine._sparse import SparseGrad, as_gradient
from ravine.optim._parameters import Record

Array = np.ndarray[Any, Any]


class Space:
    """The parameters as one vector, and the vectors that a step needs besides.

    Args:
        owner: the optimizer, for messages.
        records: its parameters.
    """

    def __init__(self, owner: str, records: Sequence[Record]) -> None:
        self._owner = owner
        self._records = records
        ends = np.cumsum([0, *(record.array.size for record in records)]).tolist()
        self._slices = [slice(begin, end) for begin, end in pairwise(ends)]
        self.size: int = ends[-1]
        self.dtype = np.result_type(*(record.array.dtype for record in records))
        self.before = self.new()  # the parameters before the step
        self.x = self.new()  # where a move begins
        self._work = self.new()
        self._vectors: list[Array] = []
        self.spare: list[tuple[Array, Array]] = []  # memory for pairs

    def new(self) -> Array:
        """Return a new vector."""
        return np.empty(self.size, self.dtype)

    def take(self, keep: Sequence[Array | None]) -> Array:
        """Return a vector to write to, none of `keep`."""
        for vector in self._vectors:
            if not any(vector is other for other in keep):
                return vector
        self._vectors.append(self.new())
        return self._vectors[-1]

    def check_arrays(self) -> None:
        """Raise where a parameter cannot be written to as it could at the beginning."""
        for record in self._records:
            if not record.array.flags.writeable:
                raise ValueError(
                    f"{self._owner}: {record.label} has been made read-only; in-place updates need a writable array. "
                    "Set arr.flags.writeable = True."
                )
            record.pinned.check_unchanged()

    def gather(self, out: Array) -> None:
        """Write the parameters to a vector."""
        for record, part in zip(self._records, self._slices, strict=True):
            out[part].reshape(record.array.shape)[...] = record.array

    def scatter(self, vector: Array) -> None:
        """Write a vector to the parameters."""
        for record, part in zip(self._records, self._slices, strict=True):
            np.copyto(record.array, vector[part].reshape(record.array.shape), casting="same_kind")

    def put_back(self) -> None:
        """Write the parameters as they were before the step, but for those that are not the same arrays any more."""
        for record, part in zip(self._records, self._slices, strict=True):
            with suppress(ValueError):
                record.pinned.check_unchanged()
                np.copyto(record.array, self.before[part].reshape(record.array.shape), casting="same_kind")

    def move(self, t: float, d: Array) -> None:
        """Set the parameters to x + t d."""
        np.multiply(d, t, out=self._work)
        self._work += self.x
        self.scatter(self._work)

    def gather_gradients(self, gradients: Sequence[Any], out: Array) -> None:
        """Check the gradients and write them to a vector."""
        if len(gradients) != len(self._records):
            raise ValueError(
                f"{self._owner}.step: got {len(gradients)} gradients for {len(self._records)} parameters; give one for "
                "each, and None where a parameter has none this time."
            )
        for record, part, gradient in zip(self._records, self._slices, gradients, strict=True):
            if gradient is None:
                out[part] = 0
                continue
            where = f"{self._owner}: {record.label}"
            given = as_gradient(gradient, where)
            array = _dense(given, where) if isinstance(given, SparseGrad) else given
            if array.shape != record.array.shape or array.dtype != record.array.dtype:
                raise ValueError(
                    f"{where}: its gradient is {describe(array)}; expected {describe(record.array)}. Convert it with "
                    "grad.astype(...) or grad.reshape(...)."
                )
            out[part].reshape(array.shape)[...] = array

    def nonfinite(self, vector: Array) -> list[str]:
        """Return the parameters in whose part of a vector there is NaN or infinity, by name."""
        parts = zip(self._records, self._slices, strict=True)
        return [record.called for record, part in parts if not np.isfinite(vector[part]).all()]

    def largest(self, vector: Array) -> float:
        """Return the largest element by absolute value; NaN where there is one, 0 of no elements."""
        return float(np.abs(vector, out=self._work).max(initial=0))

    def sum_of_sizes(self, vector: Array) -> float:
        """Return the sum of the elements' absolute values."""
        return float(np.abs(vector, out=self._work).sum())

    def subtract_multiple(self, vector: Array, factor: float, other: Array) -> None:
        """Subtract factor times another vector."""
        np.multiply(other, factor, out=self._work)
        vector -= self._work

    def copy_of(self, where: str, value: object) -> Array:
        """Return a copy of a saved vector, or raise an error that begins with `where`."""
        vector: Array = of_array(self.dtype, (self.size,))(where, value).copy()
        return vector


def _dense(gradient: SparseGrad, where: str) -> Array:
    try:
        return gradient.to_dense()
    except (TypeError, ValueError) as error:  # its arrays have been changed since it was made
        raise type(error)(f"{where}: its gradient: {error}") from error


def dot(a: Array, b: Array) -> float:
    """Return the product of two vectors."""
    return float(np.dot(a, b))
