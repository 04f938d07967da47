"""LARS and LAMB: steps as long as their parameter."""

from __future__ import annotations

import math

import numpy as np

from ravine.reference._common import Array, State, descent, flush, next_step, renew_means, state_array
from ravine.reference._sums import squares, total


def trust_ratio(p: Array, u: Array, coefficient: float = 1.0, eps: float = 0.0) -> float:
    """Return |p| / (|u| + eps); 1 where either norm is 0."""
    of_parameter, of_update = math.sqrt(total(squares(p))), math.sqrt(total(squares(u)))
    if of_parameter == 0 or of_update == 0:
        return 1.0
    return float(coefficient * np.float64(of_parameter) / (of_update + eps))


def lars(
    p: Array,
    g: Array,
    state: State,
    *,
    lr: float = 1.0,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    trust_coefficient: float = 1e-3,
    eps: float = 0.0,
    nesterov: bool = False,
    maximize: bool = False,
) -> None:
    """You, Gitman & Ginsburg 2017, algorithm 1."""
    f = p.dtype.type
    next_step(state)
    g = descent(p, g, maximize, weight_decay)
    b = state_array(state, "momentum_buffer", p)
    now = f(lr * trust_ratio(p, g, trust_coefficient, eps)) * g
    b[...] = f(momentum) * b + now
    p -= f(momentum) * b + now if nesterov else b
    flush(state)


def lamb(
    p: Array,
    g: Array,
    state: State,
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-6,
    weight_decay: float = 0.0,
    eps_root: float = 0.0,
    maximize: bool = False,
) -> None:
    """You et al. 2020, algorithm 2."""
    f = p.dtype.type
    beta1, beta2 = betas
    t = next_step(state)
    g = descent(p, g, maximize, 0.0)
    m = state_array(state, "exp_avg", p)
    v = state_array(state, "exp_avg_sq", p)
    renew_means(m, v, g, betas)

    def direction() -> Array:
        root = np.sqrt(v * f(1 / (1 - beta2**t)) + f(eps_root))
        u: Array = f(1 / (1 - beta1**t)) * m / (root + f(eps)) + f(weight_decay) * p
        return u

    ratio = trust_ratio(p, direction())
    flush(state)
    p -= f(lr * ratio) * direction()
