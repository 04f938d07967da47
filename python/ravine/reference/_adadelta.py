"""Adadelta."""

from __future__ import annotations

import numpy as np

from ravine.reference._common import Array, State, descent, flush, next_step, state_array


def adadelta(
    p: Array,
    g: Array,
    state: State,
    *,
    lr: float = 1.0,
    rho: float = 0.9,
    eps: float = 1e-6,
    weight_decay: float = 0.0,
    maximize: bool = False,
) -> None:
    """Zeiler 2012, algorithm 1."""
    f = p.dtype.type
    next_step(state)
    g = descent(p, g, maximize, weight_decay)
    v = state_array(state, "square_avg", p)
    u = state_array(state, "acc_delta", p)
    v[...] = f(rho) * v + f(1 - rho) * (g * g)
    d = np.sqrt(u + f(eps)) / np.sqrt(v + f(eps)) * g
    u[...] = f(rho) * u + f(1 - rho) * (d * d)
    p -= f(lr) * d
    flush(state)
