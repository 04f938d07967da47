"""Yogi."""

from __future__ import annotations

import numpy as np

from ravine.reference._common import Array, State, flush, next_step, sign, state_array, with_decay


def yogi(
    p: Array,
    g: Array,
    state: State,
    *,
    lr: float = 1e-2,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-3,
    weight_decay: float = 0.0,
    decoupled_weight_decay: bool = False,
    initial_accumulator_value: float = 1e-6,
    maximize: bool = False,
) -> None:
    """Zaheer et al. 2018, algorithm 2."""
    f = p.dtype.type
    beta1, beta2 = betas
    t = next_step(state)
    g = with_decay(p, g, maximize, lr, weight_decay, decoupled_weight_decay)
    m = state_array(state, "exp_avg", p, initial_accumulator_value)
    v = state_array(state, "exp_avg_sq", p, initial_accumulator_value)
    m += f(1 - beta1) * (g - m)
    v -= f(1 - beta2) * (sign(v - g * g) * (g * g))
    root = np.sqrt(v * f(1 / (1 - beta2**t)))
    p -= f(lr / (1 - beta1**t)) * m / (root + f(eps))
    flush(state)
