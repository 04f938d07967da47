"""AdEMAMix."""

from __future__ import annotations

import math

import numpy as np

from ravine.reference._common import Array, State, descent, flush, next_step, shrink, state_array


def ademamix(
    p: Array,
    g: Array,
    state: State,
    *,
    lr: float = 1e-3,
    betas: tuple[float, float, float] = (0.9, 0.999, 0.9999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    alpha: float = 5.0,
    alpha_warmup: int = 0,
    beta3_warmup: int = 0,
    eps_root: float = 0.0,
    maximize: bool = False,
) -> None:
    """Pagliardini et al. 2024, algorithm 1 and the schedules after it."""
    f = p.dtype.type
    beta1, beta2, beta3 = betas
    t = next_step(state)
    g = descent(p, g, maximize, 0.0)
    shrink(p, lr, weight_decay)
    if t < alpha_warmup:
        alpha *= t / alpha_warmup
    if t < beta3_warmup:
        part = t / beta3_warmup
        beta3 = math.exp(1 / ((1 - part) / math.log(beta1) + part / math.log(beta3)))
    m = state_array(state, "exp_avg", p)
    slow = state_array(state, "exp_avg_slow", p)
    v = state_array(state, "exp_avg_sq", p)
    m += f(1 - beta1) * (g - m)
    slow += f(1 - beta3) * (g - slow)
    v[...] = f(beta2) * v + f(1 - beta2) * (g * g)
    root = np.sqrt(v * f(1 / (1 - beta2**t)) + f(eps_root))
    p -= (f(lr / (1 - beta1**t)) * m + f(lr * alpha) * slow) / (root + f(eps))
    flush(state)
