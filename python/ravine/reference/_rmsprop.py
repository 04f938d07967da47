"""RMSprop."""

from __future__ import annotations

import numpy as np

from ravine.reference._common import Array, State, descent, flush, greater, next_step, state_array


def rmsprop(
    p: Array,
    g: Array,
    state: State,
    *,
    lr: float = 1e-2,
    alpha: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    centered: bool = False,
    maximize: bool = False,
    eps_inside_sqrt: bool = False,
) -> None:
    """Tieleman & Hinton 2012, lecture 6e; centered: Graves 2013, equations 38 to 45."""
    f = p.dtype.type
    next_step(state)
    g = descent(p, g, maximize, weight_decay)
    v = state_array(state, "square_avg", p)
    v[...] = f(alpha) * v + f(1 - alpha) * (g * g)
    variance = v
    if centered:
        a = state_array(state, "grad_avg", p)
        a[...] = f(alpha) * a + f(1 - alpha) * g
        variance = greater(f(0), v - a * a)
    u = g / (np.sqrt(variance + f(eps)) if eps_inside_sqrt else np.sqrt(variance) + f(eps))
    if momentum:
        b = state_array(state, "momentum_buffer", p)
        b[...] = f(momentum) * b + u
        u = b
    p -= f(lr) * u
    flush(state)
