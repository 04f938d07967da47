"""What surrounds a step in a training loop: the matrix products of a layer."""

from __future__ import annotations

import numpy as np


class Products:
    """The products of a fully connected layer's forward and backward pass, in float32, on NumPy's BLAS.

    y = x w, dw = xᵀ dy, with x: (batch, inputs), w: (inputs, outputs). As in any training loop, BLAS runs on the
    threads that the user gives it, and keeps them spinning for a while after each product.

    Args:
        batch: samples in a batch.
        inputs: width of the layer's input.
        outputs: width of its output.
    """

    def __init__(self, batch: int, inputs: int, outputs: int) -> None:
        rng = np.random.default_rng(0)
        self._x, self._w, self._dy = (
            rng.standard_normal(shape, np.float32) for shape in ((batch, inputs), (inputs, outputs), (batch, outputs))
        )
        self._y, self._dw = np.empty_like(self._dy), np.empty_like(self._w)

    def __call__(self) -> None:
        """Do them once."""
        np.matmul(self._x, self._w, out=self._y)
        np.matmul(self._x.T, self._dy, out=self._dw)
