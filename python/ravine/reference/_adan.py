"""Adan."""

from __future__ import annotations

import numpy as np

from ravine.reference._common import Array, State, descent, flush, next_step, shrink, state_array


def adan(
    p: Array,
    g: Array,
    state: State,
    *,
    lr: float = 1e-3,
    betas: tuple[float, float, float] = (0.98, 0.92, 0.99),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    eps_root: float = 0.0,
    maximize: bool = False,
) -> None:
    """Xie et al. 2022, algorithm 1, whose betas are one minus these."""
    f = p.dtype.type
    beta1, beta2, beta3 = betas
    t = next_step(state)
    g = descent(p, g, maximize, 0.0)
    shrink(p, lr, weight_decay)
    m = state_array(state, "exp_avg", p)
    a = state_array(state, "exp_avg_diff", p)
    n = state_array(state, "exp_avg_sq", p)
    previous = state_array(state, "previous_grad", p)
    d = g - previous if t > 1 else np.zeros_like(g)
    ahead = g + f(beta2) * d
    m += f(1 - beta1) * (g - m)
    a += f(1 - beta2) * (d - a)
    n[...] = f(beta3) * n + f(1 - beta3) * (ahead * ahead)
    root = np.sqrt(n * f(1 / (1 - beta3**t)) + f(eps_root))
    p -= (f(lr / (1 - beta1**t)) * m + f(lr * beta2 / (1 - beta2**t)) * a) / (root + f(eps))
    previous[...] = g
    flush(state)
