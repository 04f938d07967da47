"""NumPy: as the textbook has it, and as fast as it can be made."""

from __future__ import annotations

import math

import numpy as np

from . import competitors
from .peer import Array, Running, Work


def start_naive(work: Work) -> Running:
    """A loop over the parameters with the textbook's expressions; each operation makes a new array."""
    rule = _RULES[work.rule](work)
    return Running.step_by_step(rule.step, lambda: work.params)


def start_inplace(work: Work) -> Running:
    """The module `inplace`: no new arrays, in pieces that stay in the cache from one operation to the next."""
    return Running.step_by_step(competitors.numpy(work.rule, work.params, work.grads), lambda: work.params)


class _Rule:
    """A rule in NumPy's expressions, over all parameters."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.hyper = work.hyper
        self.t = 0
        self.states = [[np.zeros_like(p) for p in work.params] for _ in range(work.states)]

    def step(self) -> None:
        """Do one step."""
        self.t += 1
        for i, (p, g) in enumerate(zip(self.work.params, self.work.grads, strict=True)):
            self.update(i, p, g)

    def update(self, i: int, p: Array, g: Array) -> None:
        """Update the i-th parameter p by its gradient g."""
        raise NotImplementedError


class _SGD(_Rule):
    def update(self, i: int, p: Array, g: Array) -> None:
        p -= self.hyper["lr"] * g


class _Momentum(_Rule):
    def update(self, i: int, p: Array, g: Array) -> None:
        (b,) = self.states
        b[i] = self.hyper["momentum"] * b[i] + g
        p -= self.hyper["lr"] * b[i]


class _Adagrad(_Rule):
    def update(self, i: int, p: Array, g: Array) -> None:
        (v,) = self.states
        v[i] = v[i] + g**2
        p -= self.hyper["lr"] * g / (np.sqrt(v[i]) + self.hyper["eps"])


class _RMSprop(_Rule):
    def update(self, i: int, p: Array, g: Array) -> None:
        (v,) = self.states
        alpha = self.hyper["alpha"]
        v[i] = alpha * v[i] + (1 - alpha) * g**2
        p -= self.hyper["lr"] * g / (np.sqrt(v[i]) + self.hyper["eps"])


class _Adam(_Rule):
    def update(self, i: int, p: Array, g: Array) -> None:
        m, v = self.states
        beta1, beta2 = self.hyper["betas"]
        m[i] = beta1 * m[i] + (1 - beta1) * g
        v[i] = beta2 * v[i] + (1 - beta2) * g**2
        step_size = self.hyper["lr"] / (1 - beta1**self.t)
        p -= step_size * m[i] / (np.sqrt(v[i]) / math.sqrt(1 - beta2**self.t) + self.hyper["eps"])


class _AdamW(_Adam):
    def update(self, i: int, p: Array, g: Array) -> None:
        p *= 1 - self.hyper["lr"] * self.hyper["weight_decay"]
        super().update(i, p, g)


_RULES: dict[str, type[_Rule]] = {
    "sgd": _SGD,
    "momentum": _Momentum,
    "adagrad": _Adagrad,
    "rmsprop": _RMSprop,
    "adam": _Adam,
    "adamw": _AdamW,
}
