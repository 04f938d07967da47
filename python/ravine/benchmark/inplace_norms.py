"""The rules that look at whole tensors, as fast as NumPy does them: as `inplace`, with BLAS for the sums and products.

Their sums are taken in another order than the compiled rules', so the last bits differ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy import absolute, add, copyto, divide, maximum, multiply, sqrt, subtract

from ravine.benchmark.inplace import Adam, Array, InPlace, decay_and_add, mean, take

Sums = tuple[float, float]


class TwoPhase(InPlace):
    """A rule that goes over each tensor twice: for sums, and to update it."""

    together = False  # whether the sums go over all tensors

    def measure(self, g: Array, p: Array, *arrays: Array) -> Sums:
        """Return a piece's part of the two sums; renew the states."""
        raise NotImplementedError

    def decide(self, sums: Sums, size: int) -> None:
        """Prepare the update; size is that of the tensor."""

    def step(self, grads: Sequence[Array]) -> None:  # noqa: D102
        self.t += 1
        self.advance()
        flat = [grad.reshape(-1) for grad in grads]
        tensors = list(zip(self._pieces, flat, strict=True))
        for part in [tensors] if self.together else [[tensor] for tensor in tensors]:
            sums = [self.measure(g[piece], *arrays) for pieces, g in part for piece, arrays in pieces]
            self.decide((sum(a for a, _ in sums), sum(b for _, b in sums)), part[0][1].size)
            for pieces, g in part:
                for piece, arrays in pieces:
                    self.update(g[piece], *arrays)


def _trust_ratio(sums: Sums) -> float:
    return 1.0 if 0 in sums else math.sqrt(sums[0] / sums[1])


class LARS(TwoPhase):
    """With Nesterov's momentum or without."""

    def prepare(self) -> None:  # noqa: D102
        self.momentum = self.number(self.hyper["momentum"])

    def measure(self, g: Array, p: Array, *arrays: Array) -> Sums:  # noqa: D102
        return float(p @ p), float(g @ g)

    def decide(self, sums: Sums, size: int) -> None:  # noqa: D102
        factor = 1.0 if 0 in sums else self.hyper["trust_coefficient"]
        self.lr = self.number(self.hyper["lr"] * factor * _trust_ratio(sums))

    def update(self, g: Array, p: Array, *arrays: Array) -> None:  # noqa: D102
        b, s, u = arrays
        decay_and_add(b, self.momentum, g, self.lr, s)
        if self.hyper["nesterov"]:
            multiply(b, self.momentum, out=u)
            add(s, u, out=s)
            subtract(p, s, out=p)
        else:
            subtract(p, b, out=p)


class LAMB(TwoPhase, Adam):
    """Without weight decay."""

    def advance(self) -> None:  # noqa: D102
        super().advance()
        self.lr = self.number(1 / (1 - self.hyper["betas"][0] ** self.t))

    def measure(self, g: Array, p: Array, *arrays: Array) -> Sums:  # noqa: D102
        m, v, s, u = arrays
        self.average(g, m, v, s)
        multiply(m, self.lr, out=u)
        self.divide(u, v, s)
        return float(p @ p), float(u @ u)

    def decide(self, sums: Sums, size: int) -> None:  # noqa: D102
        self.length = self.number(self.hyper["lr"] * _trust_ratio(sums))

    def update(self, g: Array, p: Array, *arrays: Array) -> None:  # noqa: D102
        m, v, s, u = arrays
        multiply(m, self.lr, out=u)
        self.divide(u, v, s)
        take(p, self.length, u, u)


class SWATS(TwoPhase, Adam):
    """Its first phase."""

    together = True

    def prepare(self) -> None:  # noqa: D102
        super().prepare()
        self.gamma = self.weight = 0.0

    def measure(self, g: Array, p: Array, *arrays: Array) -> Sums:  # noqa: D102
        m, v, s, u = arrays
        self.average(g, m, v, s)
        multiply(m, self.lr, out=u)
        self.divide(u, v, s)
        subtract(p, u, out=p)
        return float(u @ u), float(u @ g)

    def decide(self, sums: Sums, size: int) -> None:  # noqa: D102
        beta2 = self.hyper["betas"][1]
        if sums[1] > 0:
            self.gamma = beta2 * self.gamma + (1 - beta2) * sums[0] / sums[1]
            self.weight = beta2 * self.weight + (1 - beta2)

    def update(self, g: Array, p: Array, *arrays: Array) -> None:  # noqa: D102
        pass


class Prodigy(TwoPhase, Adam):
    """Without weight decay."""

    together = True

    def prepare(self) -> None:  # noqa: D102
        super().prepare()
        self.d, self.numerator = self.hyper["d0"], 0.0
        self.beta3 = math.sqrt(self.hyper["betas"][1])

    def advance(self) -> None:  # noqa: D102
        beta1, beta2 = self.hyper["betas"]
        self._step = self.hyper["lr"] * self.d * math.sqrt(1 - beta2**self.t) / (1 - beta1**self.t)
        weight = self._step * self.d / self.hyper["d0"]
        self.weight, self.scale, self.kept = self.number(weight), self.number(self.d), self.number(self.beta3)

    def measure(self, g: Array, p: Array, *arrays: Array) -> Sums:  # noqa: D102
        m, v, sum_, start, s, u = arrays
        if self.t == 1:
            copyto(start, p)
        multiply(g, self.scale, out=u)
        self.average(u, m, v, s)
        decay_and_add(sum_, self.kept, g, self.weight, u)
        subtract(start, p, out=s)
        correlation = float(u @ s)
        absolute(sum_, out=s)
        return correlation, float(s.sum())

    def decide(self, sums: Sums, size: int) -> None:  # noqa: D102
        self.numerator = self.beta3 * self.numerator + sums[0]
        if sums[1] > 0:
            self.d = max(self.d, self.hyper["d_coef"] * self.numerator / sums[1])
        self.lr, self.least = self.number(self._step), self.number(self.hyper["eps"] * self.d)

    def update(self, g: Array, p: Array, *arrays: Array) -> None:  # noqa: D102
        m, v, _, _, s, u = arrays
        sqrt(v, out=s)
        add(s, self.least, out=s)
        multiply(m, self.lr, out=u)
        divide(u, s, out=u)
        subtract(p, u, out=p)


class WholeArrays:
    """A rule for which the shapes of arrays matter; arguments as `InPlace`."""

    def __init__(self, params: Sequence[Array], hyper: Mapping[str, Any], states: int) -> None:
        self.hyper = hyper
        self.t = 0
        self._tensors = [(param, *self.room(param)) for param in params]

    def room(self, param: Array) -> tuple[Array, ...]:
        """Return a parameter's states, then its scratch arrays."""
        raise NotImplementedError

    def update(self, g: Array, p: Array, *arrays: Array) -> None:
        """Update a parameter."""
        raise NotImplementedError

    def step(self, grads: Sequence[Array]) -> None:
        """Update every parameter."""
        self.t += 1
        for grad, tensor in zip(grads, self._tensors, strict=True):
            self.update(grad, *tensor)


class Adafactor(WholeArrays):
    """Without weight decay."""

    def room(self, param: Array) -> tuple[Array, ...]:  # noqa: D102
        s, u = np.empty_like(param), np.empty_like(param)
        if param.ndim == 1:
            return np.zeros_like(param), s, u
        r = np.zeros((*param.shape[:-1], 1), param.dtype)
        c = np.zeros((*param.shape[:-2], 1, param.shape[-1]), param.dtype)
        return r, c, s, u

    def update(self, g: Array, p: Array, *arrays: Array) -> None:  # noqa: D102
        *states, s, u = arrays
        added = p.dtype.type(self.t ** self.hyper["beta2_decay"])
        eps1 = np.finfo(p.dtype).eps
        multiply(g, g, out=s)
        if p.ndim == 1:
            (v,) = states
            mean(v, s, added, s)
            maximum(v, eps1 * eps1, out=u)
        else:
            r, c = states
            r += added * (s.mean(axis=-1, keepdims=True) - r)
            c += added * (s.mean(axis=-2, keepdims=True) - c)
            multiply(r / maximum(r.mean(axis=-2, keepdims=True), eps1), c, out=u)
            maximum(u, eps1 * eps1, out=u)
        sqrt(u, out=u)
        divide(g, u, out=u)
        of_p, of_u = (math.sqrt(np.vdot(x, x) / x.size) for x in (p, u))
        step = min(self.hyper["lr"], 1 / math.sqrt(self.t)) * max(self.hyper["eps"][1], of_p)
        multiply(u, p.dtype.type(step / max(1.0, of_u / self.hyper["d"])), out=u)
        subtract(p, u, out=p)


class Muon(WholeArrays):
    """With Nesterov's momentum and weight decay."""

    def room(self, param: Array) -> tuple[Array, ...]:  # noqa: D102
        side = min(param.shape)
        squares = [np.empty((side, side), param.dtype) for _ in range(2)]
        return np.zeros_like(param), np.empty_like(param), np.empty_like(param), *squares

    def update(self, g: Array, p: Array, *arrays: Array) -> None:  # noqa: D102
        b, u, s, gram, factor = arrays
        f = p.dtype.type
        momentum, lr = f(self.hyper["momentum"]), self.hyper["lr"]
        mean(b, g, f(1 - self.hyper["momentum"]), s)
        subtract(b, g, out=u)
        multiply(u, momentum, out=u)
        add(u, g, out=u)
        rows, columns = p.shape
        x, y = (u, s) if rows <= columns else (u.T, s.T)
        divide(x, max(np.linalg.norm(u), self.hyper["eps"]), out=x)
        k1, k2, k3 = map(f, self.hyper["ns_coefficients"])
        for _ in range(self.hyper["ns_steps"]):
            np.matmul(x, x.T, out=gram)
            np.matmul(gram, gram, out=factor)
            multiply(factor, k3, out=factor)
            multiply(gram, k2, out=gram)
            add(factor, gram, out=factor)
            np.matmul(factor, x, out=y)
            multiply(x, k1, out=x)
            add(x, y, out=x)
        multiply(p, f(1 - lr * self.hyper["weight_decay"]), out=p)
        take(p, f(lr * math.sqrt(max(1, rows / columns))), u, u)
