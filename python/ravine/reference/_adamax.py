"""Adamax."""

from __future__ import annotations

import numpy as np

from ravine.reference._common import Array, State, descent, flush, greater, next_step, state_array


def adamax(
    p: Array,
    g: Array,
    state: State,
    *,
    lr: float = 2e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    maximize: bool = False,
) -> None:
    """Kingma & Ba 2015, algorithm 2."""
    f = p.dtype.type
    beta1, beta2 = betas
    t = next_step(state)
    g = descent(p, g, maximize, weight_decay)
    m = state_array(state, "exp_avg", p)
    u = state_array(state, "exp_inf", p)
    m += f(1 - beta1) * (g - m)
    u[...] = greater(f(beta2) * u, np.abs(g) + f(eps))
    p -= f(lr / (1 - beta1**t)) * m / u
    flush(state)
