"""The update rules as fast as NumPy does them: in place, with `out=` everywhere.

This is what ravine is measured against, so it leaves nothing on the table: arrays are cut into pieces that stay in the
cache from one operation to the next, intermediate results go to two scratch arrays of a piece's size, numbers are 0-d
arrays (the fastest form a ufunc takes), and nothing is sliced twice. The operations and their order are the compiled
rules', so the results have the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy import add, copyto, divide, maximum, minimum, multiply, sqrt, subtract

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


def mean(m: Array, x: Array, weight: Array, s: Array) -> None:
    """Compute m += weight (x - m)."""
    subtract(x, m, out=s)
    multiply(s, weight, out=s)
    add(m, s, out=m)


def decay_and_add(v: Array, kept: Array, x: Array, added: Array, s: Array) -> None:
    """Compute v = kept v + added x; s may be x."""
    multiply(v, kept, out=v)
    multiply(x, added, out=s)
    add(v, s, out=v)


def take(p: Array, factor: Array, x: Array, s: Array) -> None:
    """Compute p -= factor x."""
    multiply(x, factor, out=s)
    subtract(p, s, out=p)


class SGD(InPlace):
    """Plain, with momentum, or Nesterov's."""

    def prepare(self) -> None:  # noqa: D102
        self.lr = self.number(self.hyper["lr"])
        self.momentum = self.number(self.hyper["momentum"])

    def update(self, g: Array, p: Array, *arrays: Array) -> None:  # noqa: D102
        *states, s, _ = arrays
        direction = g
        if states:
            (b,) = states
            multiply(b, self.momentum, out=b)
            add(b, g, out=b)
            direction = b
            if self.hyper["nesterov"]:
                multiply(b, self.momentum, out=s)
                direction = add(g, s, out=s)
        multiply(direction, self.lr, out=s)
        subtract(p, s, out=p)


class Rprop(InPlace):
    """All of it."""

    def prepare(self) -> None:  # noqa: D102
        eta_minus, eta_plus = self.hyper["etas"]
        least, greatest = self.hyper["step_sizes"]
        self.lr, self.eta_minus, self.eta_plus, self.least, self.greatest, self.zero, self.one = map(
            self.number, (self.hyper["lr"], eta_minus, eta_plus, least, greatest, 0, 1)
        )
        self._mask = np.empty(PIECE_BYTES // self._dtype.itemsize, bool)

    def update(self, g: Array, p: Array, *arrays: Array) -> None:  # noqa: D102
        previous, size, s, u = arrays
        mask = self._mask[: s.size]
        if self.t == 1:
            copyto(size, self.lr)
        multiply(g, previous, out=s)
        copyto(u, self.one)
        copyto(u, self.eta_plus, where=np.greater(s, self.zero, out=mask))
        copyto(u, self.eta_minus, where=np.less(s, self.zero, out=mask))
        multiply(size, u, out=size)
        maximum(size, self.least, out=size)
        minimum(size, self.greatest, out=size)
        copyto(previous, g)
        copyto(previous, self.zero, where=mask)
        np.sign(previous, out=s)
        multiply(s, size, out=s)
        subtract(p, s, out=p)


class Lion(InPlace):
    """All of it."""

    def prepare(self) -> None:  # noqa: D102
        lr, (beta1, beta2) = self.hyper["lr"], self.hyper["betas"]
        self.lr, self.decay = self.number(lr), self.number(lr * self.hyper["weight_decay"])
        self.beta1, self.one_minus_beta1 = self.number(beta1), self.number(1 - beta1)
        self.beta2, self.one_minus_beta2 = self.number(beta2), self.number(1 - beta2)

    def update(self, g: Array, p: Array, *arrays: Array) -> None:  # noqa: D102
        m, s, u = arrays
        take(p, self.decay, p, s)
        multiply(m, self.beta1, out=s)
        multiply(g, self.one_minus_beta1, out=u)
        add(s, u, out=s)
        np.sign(s, out=s)
        take(p, self.lr, s, s)
        decay_and_add(m, self.beta2, g, self.one_minus_beta2, s)


class ASGD(InPlace):
    """Before t0, while the average is the parameter itself."""

    def prepare(self) -> None:  # noqa: D102
        self._eta = self.hyper["lr"]
        self.kept, self.added = self.number(0), self.number(1)

    def advance(self) -> None:  # noqa: D102
        lr, lambd = self.hyper["lr"], self.hyper["lambd"]
        self.eta, self.shrink = self.number(self._eta), self.number(lambd * self._eta)
        self._eta = lr / (1 + lambd * lr * self.t) ** self.hyper["alpha"]

    def update(self, g: Array, p: Array, *arrays: Array) -> None:  # noqa: D102
        a, s, _ = arrays
        take(p, self.shrink, p, s)
        take(p, self.eta, g, s)
        decay_and_add(a, self.kept, p, self.added, s)


class ScheduleFree(InPlace):
    """SGD, or AdamW without weight decay, both without warm-up."""

    def prepare(self) -> None:  # noqa: D102
        self.lr = self.number(self.hyper["lr"])
        self._beta = self.hyper["betas"][0] if "betas" in self.hyper else self.hyper["momentum"]
        self._sum = 0.0
        if "betas" in self.hyper:
            beta2 = self.hyper["betas"][1]
            self.beta2, self.one_minus_beta2 = self.number(beta2), self.number(1 - beta2)
            self.eps = self.number(self.hyper["eps"])

    def advance(self) -> None:  # noqa: D102
        lr = self.hyper["lr"]
        weight = lr ** self.hyper["weight_lr_power"]
        self._sum += weight
        c = weight / self._sum
        self.c, self.y_step = self.number(c), self.number(lr * (1 - self._beta * (1 - c)))
        if "betas" in self.hyper:
            self.unbias2 = self.number(1 / (1 - self.hyper["betas"][1] ** self.t))

    def update(self, g: Array, p: Array, *arrays: Array) -> None:  # noqa: D102
        z, *states, s, u = arrays
        if states:
            (v,) = states
            multiply(g, g, out=s)
            decay_and_add(v, self.beta2, s, self.one_minus_beta2, s)
            multiply(v, self.unbias2, out=u)
            sqrt(u, out=u)
            add(u, self.eps, out=u)
            g = divide(g, u, out=u)
        if self.t == 1:
            copyto(z, p)
        mean(p, z, self.c, s)
        take(p, self.y_step, g, s)
        take(z, self.lr, g, s)


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
    """Plain, with momentum, centered, or both."""

    def prepare(self) -> None:  # noqa: D102
        self.lr = self.number(self.hyper["lr"])
        self.alpha = self.number(self.hyper["alpha"])
        self.one_minus_alpha = self.number(1 - self.hyper["alpha"])
        self.eps = self.number(self.hyper["eps"])
        self.momentum = self.number(self.hyper["momentum"])
        self.zero = self.number(0)

    def update(self, g: Array, p: Array, *arrays: Array) -> None:  # noqa: D102
        v, *states, s, _ = arrays
        multiply(v, self.alpha, out=v)
        multiply(g, g, out=s)
        multiply(s, self.one_minus_alpha, out=s)
        add(v, s, out=v)
        if self.hyper["centered"]:
            a = states[0]
            multiply(a, self.alpha, out=a)
            multiply(g, self.one_minus_alpha, out=s)
            add(a, s, out=a)
            multiply(a, a, out=s)
            subtract(v, s, out=s)
            maximum(s, self.zero, out=s)
            sqrt(s, out=s)
        else:
            sqrt(v, out=s)
        add(s, self.eps, out=s)
        divide(g, s, out=s)
        direction = s
        if self.hyper["momentum"]:
            b = states[-1]
            multiply(b, self.momentum, out=b)
            direction = add(b, s, out=b)
        multiply(direction, self.lr, out=s)
        subtract(p, s, out=p)


class Adadelta(InPlace):
    """All of it."""

    def prepare(self) -> None:  # noqa: D102
        self.lr, self.rho, self.one_minus_rho, self.eps = map(
            self.number, (self.hyper["lr"], self.hyper["rho"], 1 - self.hyper["rho"], self.hyper["eps"])
        )

    def update(self, g: Array, p: Array, *arrays: Array) -> None:  # noqa: D102
        v, d_squares, s, d = arrays
        multiply(g, g, out=s)
        decay_and_add(v, self.rho, s, self.one_minus_rho, s)
        add(v, self.eps, out=s)
        sqrt(s, out=s)
        add(d_squares, self.eps, out=d)
        sqrt(d, out=d)
        divide(d, s, out=d)
        multiply(d, g, out=d)
        multiply(d, d, out=s)
        decay_and_add(d_squares, self.rho, s, self.one_minus_rho, s)
        take(p, self.lr, d, s)


class Adam(InPlace):
    """Plain, AMSGrad, or AdamW."""

    def prepare(self) -> None:  # noqa: D102
        beta1, beta2 = self.hyper["betas"][:2]
        self.one_minus_beta1 = self.number(1 - beta1)
        self.beta2 = self.number(beta2)
        self.one_minus_beta2 = self.number(1 - beta2)
        self.eps = self.number(self.hyper["eps"])
        self.decay = self.number(self.hyper["lr"] * self.hyper.get("weight_decay", 0.0))

    def advance(self) -> None:  # noqa: D102
        beta1, beta2 = self.hyper["betas"][:2]
        self.lr = self.number(self.hyper["lr"] / (1 - beta1**self.t))
        self.unbias2 = self.number(1 / (1 - beta2**self.t))

    def average(self, g: Array, m: Array, v: Array, s: Array) -> None:
        """Update the running means."""
        mean(m, g, self.one_minus_beta1, s)
        multiply(g, g, out=s)
        decay_and_add(v, self.beta2, s, self.one_minus_beta2, s)

    def divide(self, u: Array, v: Array, s: Array) -> None:
        """Divide u by the root of v."""
        multiply(v, self.unbias2, out=s)
        sqrt(s, out=s)
        add(s, self.eps, out=s)
        divide(u, s, out=u)

    def update(self, g: Array, p: Array, *arrays: Array) -> None:  # noqa: D102
        m, v, *states, s, u = arrays
        if self.hyper["decoupled_weight_decay"]:
            take(p, self.decay, p, s)
        self.average(g, m, v, s)
        if states:
            (v_max,) = states
            v = maximum(v_max, v, out=v_max)
        multiply(m, self.lr, out=u)
        self.divide(u, v, s)
        subtract(p, u, out=p)


class Adamax(Adam):
    """All of it."""

    def update(self, g: Array, p: Array, *arrays: Array) -> None:  # noqa: D102
        m, greatest, s, _ = arrays
        mean(m, g, self.one_minus_beta1, s)
        multiply(greatest, self.beta2, out=greatest)
        np.abs(g, out=s)
        add(s, self.eps, out=s)
        maximum(greatest, s, out=greatest)
        multiply(m, self.lr, out=s)
        divide(s, greatest, out=s)
        subtract(p, s, out=p)


class NAdam(Adam):
    """All of it."""

    def prepare(self) -> None:  # noqa: D102
        super().prepare()
        self._product = 1.0

    def advance(self) -> None:  # noqa: D102
        super().advance()
        lr, decay, beta1 = self.hyper["lr"], self.hyper["momentum_decay"], self.hyper["betas"][0]
        mu, mu_next = (beta1 * (1 - 0.5 * 0.96 ** (t * decay)) for t in (self.t, self.t + 1))
        self._product *= mu
        self.gradient_lr = self.number(lr * (1 - mu) / (1 - self._product))
        self.lr = self.number(lr * mu_next / (1 - self._product * mu_next))

    def update(self, g: Array, p: Array, *arrays: Array) -> None:  # noqa: D102
        m, v, s, u = arrays
        self.average(g, m, v, s)
        multiply(g, self.gradient_lr, out=u)
        multiply(m, self.lr, out=s)
        add(u, s, out=u)
        self.divide(u, v, s)
        subtract(p, u, out=p)


class RAdam(Adam):
    """All of it."""

    def advance(self) -> None:  # noqa: D102
        beta1, beta2 = self.hyper["betas"]
        step = self.hyper["lr"] / (1 - beta1**self.t)
        rho = 2 / (1 - beta2) - 1
        rho_t = rho - 2 * self.t * beta2**self.t / (1 - beta2**self.t)
        self._rectified = rho_t > 5
        if self._rectified:
            rectification = math.sqrt((rho_t - 4) * (rho_t - 2) * rho / ((rho - 4) * (rho - 2) * rho_t))
            step *= math.sqrt(1 - beta2**self.t) * rectification
        self.lr, self.unbias2 = self.number(step), self.number(1)

    def update(self, g: Array, p: Array, *arrays: Array) -> None:  # noqa: D102
        m, v, s, u = arrays
        self.average(g, m, v, s)
        multiply(m, self.lr, out=u)
        if self._rectified:
            self.divide(u, v, s)
        subtract(p, u, out=p)


class SparseAdam(Adam):
    """All of it, for gradients that are arrays."""

    def advance(self) -> None:  # noqa: D102
        beta1, beta2 = self.hyper["betas"]
        self.lr = self.number(self.hyper["lr"] / (1 - beta1**self.t) * math.sqrt(1 - beta2**self.t))

    def update(self, g: Array, p: Array, *arrays: Array) -> None:  # noqa: D102
        m, v, s, u = arrays
        self.average(g, m, v, s)
        multiply(m, self.lr, out=u)
        sqrt(v, out=s)
        add(s, self.eps, out=s)
        divide(u, s, out=u)
        subtract(p, u, out=p)


class AdaBelief(Adam):
    """Plain, or with Nesterov's momentum."""

    def prepare(self) -> None:  # noqa: D102
        super().prepare()
        self.eps_root = self.number(self.hyper["eps_root"])

    def advance(self) -> None:  # noqa: D102
        super().advance()
        lr, beta1 = self.hyper["lr"], self.hyper["betas"][0]
        if self.hyper["nesterov"]:
            self.gradient_lr = self.number(lr * (1 - beta1) / (1 - beta1**self.t))
            self.lr = self.number(lr * beta1 / (1 - beta1 ** (self.t + 1)))

    def update(self, g: Array, p: Array, *arrays: Array) -> None:  # noqa: D102
        m, variance, s, u = arrays
        mean(m, g, self.one_minus_beta1, s)
        subtract(g, m, out=s)
        multiply(s, s, out=s)
        decay_and_add(variance, self.beta2, s, self.one_minus_beta2, s)
        add(variance, self.eps_root, out=variance)
        multiply(m, self.lr, out=u)
        if self.hyper["nesterov"]:
            multiply(g, self.gradient_lr, out=s)
            add(u, s, out=u)
        self.divide(u, variance, s)
        subtract(p, u, out=p)


class Yogi(Adam):
    """All of it."""

    def update(self, g: Array, p: Array, *arrays: Array) -> None:  # noqa: D102
        m, v, s, u = arrays
        if self.t == 1:
            m.fill(self.hyper["initial_accumulator_value"])
            v.fill(self.hyper["initial_accumulator_value"])
        mean(m, g, self.one_minus_beta1, s)
        multiply(g, g, out=s)
        subtract(v, s, out=u)
        np.sign(u, out=u)
        multiply(u, s, out=u)
        take(v, self.one_minus_beta2, u, u)
        multiply(m, self.lr, out=u)
        self.divide(u, v, s)
        subtract(p, u, out=p)


class AdEMAMix(Adam):
    """Without warm-ups and weight decay."""

    def prepare(self) -> None:  # noqa: D102
        super().prepare()
        self.one_minus_beta3 = self.number(1 - self.hyper["betas"][2])
        self.slow_lr = self.number(self.hyper["lr"] * self.hyper["alpha"])

    def update(self, g: Array, p: Array, *arrays: Array) -> None:  # noqa: D102
        m, slow, v, s, u = arrays
        self.average(g, m, v, s)
        mean(slow, g, self.one_minus_beta3, s)
        multiply(m, self.lr, out=u)
        multiply(slow, self.slow_lr, out=s)
        add(u, s, out=u)
        self.divide(u, v, s)
        subtract(p, u, out=p)


class Adan(InPlace):
    """Without weight decay."""

    def prepare(self) -> None:  # noqa: D102
        betas = self.hyper["betas"]
        self.one_minus_beta1, self.one_minus_beta2, self.one_minus_beta3 = (self.number(1 - beta) for beta in betas)
        _, self.beta2, self.beta3 = map(self.number, betas)
        self.eps = self.number(self.hyper["eps"])

    def advance(self) -> None:  # noqa: D102
        lr = self.hyper["lr"]
        beta1, beta2, beta3 = self.hyper["betas"]
        self.lr = self.number(lr / (1 - beta1**self.t))
        self.change_lr = self.number(lr * beta2 / (1 - beta2**self.t))
        self.unbias3 = self.number(1 / (1 - beta3**self.t))

    def update(self, g: Array, p: Array, *arrays: Array) -> None:  # noqa: D102
        m, changes, n, previous, s, u = arrays
        if self.t == 1:
            copyto(previous, g)
        subtract(g, previous, out=u)
        multiply(u, self.beta2, out=s)
        add(s, g, out=s)
        multiply(s, s, out=s)
        decay_and_add(n, self.beta3, s, self.one_minus_beta3, s)
        mean(changes, u, self.one_minus_beta2, s)
        mean(m, g, self.one_minus_beta1, s)
        multiply(m, self.lr, out=u)
        multiply(changes, self.change_lr, out=s)
        add(u, s, out=u)
        multiply(n, self.unbias3, out=s)
        sqrt(s, out=s)
        add(s, self.eps, out=s)
        divide(u, s, out=u)
        subtract(p, u, out=p)
        copyto(previous, g)


class ADOPT(Adam):
    """With clipping, plain or with Nesterov's momentum."""

    def advance(self) -> None:  # noqa: D102
        self.lr = self.number(self.hyper["lr"])
        self.clip, self.minus_clip = self.number((self.t - 1) ** 0.25), self.number(-((self.t - 1) ** 0.25))

    def update(self, g: Array, p: Array, *arrays: Array) -> None:  # noqa: D102
        m, v, s, u = arrays
        if self.t == 1:
            multiply(g, g, out=v)
            return
        sqrt(v, out=s)
        maximum(s, self.eps, out=s)
        divide(g, s, out=u)
        minimum(u, self.clip, out=u)
        maximum(u, self.minus_clip, out=u)
        mean(m, u, self.one_minus_beta1, s)
        direction = m
        if self.hyper["nesterov"]:
            subtract(u, m, out=s)
            multiply(s, self.one_minus_beta1, out=s)
            direction = add(s, m, out=s)
        take(p, self.lr, direction, s)
        multiply(g, g, out=s)
        decay_and_add(v, self.beta2, s, self.one_minus_beta2, s)
