"""Adagrad."""

from __future__ import annotations

import numpy as np

from ravine.reference._common import Array, State, descent, flush, next_step, state_array


def adagrad(
    p: Array,
    g: Array,
    state: State,
    *,
    lr: float = 1e-2,
    lr_decay: float = 0.0,
    weight_decay: float = 0.0,
    initial_accumulator_value: float = 0.0,
    eps: float = 1e-10,
    maximize: bool = False,
) -> None:
    """Duchi, Hazan & Singer 2011, section 1.1, diagonal form."""
    f = p.dtype.type
    t = next_step(state)
    g = descent(p, g, maximize, weight_decay)
    s = state_array(state, "sum", p, initial_accumulator_value)
    s += g * g
    p -= f(lr / (1 + (t - 1) * lr_decay)) * g / (np.sqrt(s) + f(eps))
    flush(state)
