"""numba: the loop that a user would write, compiled."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from ravine import config

from .extras import require
from .peer import Running, Work

_Function = TypeVar("_Function", bound=Callable[..., None])


def start(work: Work) -> Running:
    """One call of a kernel for each parameter: one pass over it, `parallel=True, fastmath=True`.

    Divisions by numbers are done beforehand, once a step. On one thread it is compiled without `parallel`, which
    would only cost. Division is NumPy's (`error_model="numpy"`), without which nothing is vectorised.
    """
    numba, threads = require("numba"), config.get_num_threads()
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))  # of those it has started with
    kernel, numbers = _kernels(threads > 1)[work.rule], _NUMBERS[work.rule]
    states = [[np.zeros(p.size, p.dtype) for p in work.params] for _ in range(work.states)]
    arrays = [(p.reshape(-1), g.reshape(-1), *s) for p, g, *s in zip(work.params, work.grads, *states, strict=True)]
    t = 0

    def step() -> None:
        nonlocal t
        t += 1
        of_the_step = tuple(map(np.float32, numbers(work.hyper, t)))
        for each in arrays:
            kernel(*each, *of_the_step)

    return Running.step_by_step(step, lambda: work.params)


def _adam_numbers(hyper: Mapping[str, Any], t: int) -> tuple[float, ...]:
    beta1, beta2 = hyper["betas"]
    kept = 1 - hyper["lr"] * hyper["weight_decay"]
    unbias = 1 / math.sqrt(1 - beta2**t)
    return kept, hyper["lr"] / (1 - beta1**t), beta1, 1 - beta1, beta2, 1 - beta2, unbias, hyper["eps"]


_NUMBERS: dict[str, Callable[[Mapping[str, Any], int], tuple[float, ...]]] = {
    "sgd": lambda hyper, t: (hyper["lr"],),  # noqa: ARG005
    "momentum": lambda hyper, t: (hyper["lr"], hyper["momentum"]),  # noqa: ARG005
    "adagrad": lambda hyper, t: (hyper["lr"], hyper["eps"]),  # noqa: ARG005
    "rmsprop": lambda hyper, t: (hyper["lr"], hyper["alpha"], 1 - hyper["alpha"], hyper["eps"]),  # noqa: ARG005
    "adam": _adam_numbers,
    "adamw": _adam_numbers,
}


@functools.cache
def _kernels(parallel: bool) -> dict[str, Callable[..., None]]:
    """Return the kernels, which are compiled when they are first called."""
    numba = require("numba")
    prange = numba.prange
    compiled: Callable[[_Function], _Function] = numba.njit(parallel=parallel, fastmath=True, error_model="numpy")

    @compiled
    def sgd(p: Any, g: Any, lr: Any) -> None:
        for i in prange(p.size):
            p[i] -= lr * g[i]

    @compiled
    def momentum(p: Any, g: Any, b: Any, lr: Any, mu: Any) -> None:
        for i in prange(p.size):
            b[i] = mu * b[i] + g[i]
            p[i] -= lr * b[i]

    @compiled
    def adagrad(p: Any, g: Any, v: Any, lr: Any, eps: Any) -> None:
        for i in prange(p.size):
            v[i] += g[i] * g[i]
            p[i] -= lr * g[i] / (np.sqrt(v[i]) + eps)

    @compiled
    def rmsprop(p: Any, g: Any, v: Any, lr: Any, alpha: Any, one_minus_alpha: Any, eps: Any) -> None:
        for i in prange(p.size):
            v[i] = alpha * v[i] + one_minus_alpha * (g[i] * g[i])
            p[i] -= lr * g[i] / (np.sqrt(v[i]) + eps)

    @compiled
    def adam(
        p: Any, g: Any, m: Any, v: Any, kept: Any, lr: Any, b1: Any, c1: Any, b2: Any, c2: Any, unbias: Any, eps: Any
    ) -> None:
        for i in prange(p.size):
            m[i] = b1 * m[i] + c1 * g[i]
            v[i] = b2 * v[i] + c2 * (g[i] * g[i])
            p[i] = kept * p[i] - lr * m[i] / (np.sqrt(v[i]) * unbias + eps)

    return {"sgd": sgd, "momentum": momentum, "adagrad": adagrad, "rmsprop": rmsprop, "adam": adam, "adamw": adam}
