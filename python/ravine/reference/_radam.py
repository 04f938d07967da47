"""RAdam."""

from __future__ import annotations

import math

import numpy as np

from ravine.reference._common import Array, State, flush, next_step, renew_means, state_array, with_decay


def radam(
    p: Array,
    g: Array,
    state: State,
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled_weight_decay: bool = False,
    maximize: bool = False,
) -> None:
    """Liu et al. 2020, algorithm 2."""
    f = p.dtype.type
    beta1, beta2 = betas
    t = next_step(state)
    g = with_decay(p, g, maximize, lr, weight_decay, decoupled_weight_decay)
    m = state_array(state, "exp_avg", p)
    v = state_array(state, "exp_avg_sq", p)
    renew_means(m, v, g, betas)
    step = lr / (1 - beta1**t)
    rho = 2 / (1 - beta2) - 1
    rho_t = rho - 2 * t * beta2**t / (1 - beta2**t)
    if rho_t > 5:
        rectification = math.sqrt((rho_t - 4) * (rho_t - 2) * rho / ((rho - 4) * (rho - 2) * rho_t))
        p -= f(step * (math.sqrt(1 - beta2**t) * rectification)) * m / (np.sqrt(v) + f(eps))
    else:
        p -= f(step) * m
    flush(state)
