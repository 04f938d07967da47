"""Rprop."""

from __future__ import annotations

import numpy as np

from ravine.reference._common import Array, State, descent, flush, greater, lesser, next_step, sign, state_array


def rprop(
    p: Array,
    g: Array,
    state: State,
    *,
    lr: float = 1e-2,
    etas: tuple[float, float] = (0.5, 1.2),
    step_sizes: tuple[float, float] = (1e-6, 50),
    maximize: bool = False,
) -> None:
    """Igel & Huesken 2000, algorithm 2."""
    f = p.dtype.type
    next_step(state)
    g = descent(p, g, maximize, 0.0)
    previous = state_array(state, "prev", p)
    s = state_array(state, "step_size", p, lr)
    agreement = g * previous
    factor = np.where(agreement > 0, f(etas[1]), np.where(agreement < 0, f(etas[0]), f(1)))
    s[...] = lesser(f(step_sizes[1]), greater(f(step_sizes[0]), s * factor))
    previous[...] = np.where(agreement < 0, f(0), g)
    p -= sign(previous) * s
    flush(state)
