"""The rules that the peers are compared in, as fast as NumPy does them: in place, with `out=` everywhere.

They leave nothing on the table: arrays are cut into pieces that stay in the cache from one operation to the next,
intermediate results go to two scratch arrays of a piece's size, numbers are 0-d arrays (the fastest form a ufunc
takes), and nothing is sliced twice. The operations and their order are the compiled rules', so the results have the
same bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy import add, divide, multiply, sqrt, subtract

Array = np.ndarray[Any, Any]

# A piece's arrays, eight at the most, fit into a second-level cache of 1 MiB.
PIECE_BYTES = 1 << 17


class InPlace:
    """A rule over a list of parameters.

    Args:
        params: contiguous arrays of one dtype, updated in place.
        hyper: hyper-parameters as in an optimizer's `defaults`. Weight decay is left out where it joins the gradient.
        states: how many arrays the rule keeps beside each parameter.
    """

    def __init__(self, params: Sequence[Array], hyper: Mapping[str, Any], states: int) -> None:
        self.hyper = hyper
        self.t = 0
        self._dtype = params[0].dtype
        size = min(PIECE_BYTES // self._dtype.itemsize, max(p.size for p in params))
        scratch = [np.empty(size, self._dtype) for _ in range(2)]
        self._pieces: list[list[tuple[slice, list[Array]]]] = []
        for param in params:
            arrays = [param.reshape(-1), *(np.zeros(param.size, self._dtype) for _ in range(states))]
            parts = [slice(start, min(start + size, param.size)) for start in range(0, param.size, size)]
            self._pieces.append(
                [(part, [a[part] for a in arrays] + [s[: part.stop - part.start] for s in scratch]) for part in parts]
            )
        self.prepare()

    def number(self, value: float) -> Array:
        """Return a number rounded to the arrays' dtype."""
        return np.array(value, self._dtype)

    def prepare(self) -> None:
        """Keep the numbers that every step needs."""
        raise NotImplementedError

    def advance(self) -> None:
        """Renew the numbers that change with the step number t = 1, 2, ..."""

    def update(self, g: Array, p: Array, *arrays: Array) -> None:
        """Update a piece; `arrays` are its states, then two scratch arrays."""
        raise NotImplementedError

    def step(self, grads: Sequence[Array]) -> None:
        """Update every parameter."""
        self.t += 1
        self.advance()
        for pieces, grad in zip(self._pieces, grads, strict=True):
            flat = grad.reshape(-1)
            for part, arrays in pieces:
                self.update(flat[part], *arrays)


class SGD(InPlace):
    """Plain, or with momentum."""

    def prepare(self) -> None:  # noqa: D102
        self.lr = self.number(self.hyper["lr"])
        self.momentum = self.number(self.hyper["momentum"])

    def update(self, g: Array, p: Array, *arrays: Array) -> None:  # noqa: D102
        *states, s, _ = arrays
        direction = g
        if states:
            (b,) = states
            multiply(b, self.momentum, out=b)
            direction = add(b, g, out=b)
        multiply(direction, self.lr, out=s)
        subtract(p, s, out=p)


class Adagrad(InPlace):
    """Without decay of lr."""

    def prepare(self) -> None:  # noqa: D102
        self.lr = self.number(self.hyper["lr"])
        self.eps = self.number(self.hyper["eps"])

    def update(self, g: Array, p: Array, *arrays: Array) -> None:  # noqa: D102
        total, s, u = arrays
        multiply(g, g, out=s)
        add(total, s, out=total)
        sqrt(total, out=s)
        add(s, self.eps, out=s)
        multiply(g, self.lr, out=u)
        divide(u, s, out=u)
        subtract(p, u, out=p)


class RMSprop(InPlace):
    """Plain."""

    def prepare(self) -> None:  # noqa: D102
        self.lr = self.number(self.hyper["lr"])
        self.alpha = self.number(self.hyper["alpha"])
        self.one_minus_alpha = self.number(1 - self.hyper["alpha"])
        self.eps = self.number(self.hyper["eps"])

    def update(self, g: Array, p: Array, *arrays: Array) -> None:  # noqa: D102
        v, s, _ = arrays
        multiply(v, self.alpha, out=v)
        multiply(g, g, out=s)
        multiply(s, self.one_minus_alpha, out=s)
        add(v, s, out=v)
        sqrt(v, out=s)
        add(s, self.eps, out=s)
        divide(g, s, out=s)
        multiply(s, self.lr, out=s)
        subtract(p, s, out=p)


class Adam(InPlace):
    """Plain, or with decoupled weight decay."""

    def prepare(self) -> None:  # noqa: D102
        beta1, beta2 = self.hyper["betas"]
        self.one_minus_beta1 = self.number(1 - beta1)
        self.beta2, self.one_minus_beta2 = self.number(beta2), self.number(1 - beta2)
        self.eps = self.number(self.hyper["eps"])
        self.decay = self.number(self.hyper["lr"] * self.hyper["weight_decay"])

    def advance(self) -> None:  # noqa: D102
        beta1, beta2 = self.hyper["betas"]
        self.lr = self.number(self.hyper["lr"] / (1 - beta1**self.t))
        self.inv_bias_correction2 = self.number(1 / (1 - beta2**self.t))

    def update(self, g: Array, p: Array, *arrays: Array) -> None:  # noqa: D102
        m, v, s, u = arrays
        if self.hyper["decoupled_weight_decay"]:
            multiply(p, self.decay, out=s)
            subtract(p, s, out=p)
        subtract(g, m, out=s)
        multiply(s, self.one_minus_beta1, out=s)
        add(m, s, out=m)
        multiply(g, g, out=s)
        multiply(v, self.beta2, out=v)
        multiply(s, self.one_minus_beta2, out=s)
        add(v, s, out=v)
        multiply(m, self.lr, out=u)
        multiply(v, self.inv_bias_correction2, out=s)
        sqrt(s, out=s)
        add(s, self.eps, out=s)
        divide(u, s, out=u)
        subtract(p, u, out=p)
