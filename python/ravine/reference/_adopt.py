"""ADOPT."""

from __future__ import annotations

import numpy as np

from ravine.reference._common import Array, State, flush, greater, lesser, next_step, state_array, with_decay


def adopt(
    p: Array,
    g: Array,
    state: State,
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.9999),
    eps: float = 1e-6,
    weight_decay: float = 0.0,
    decoupled_weight_decay: bool = False,
    nesterov: bool = False,
    use_clipping: bool = True,
    maximize: bool = False,
) -> None:
    """Taniguchi et al. 2024, algorithm 2."""
    f = p.dtype.type
    t = next_step(state)
    beta1, beta2 = betas if t > 1 else (1.0, 0.0)
    clip = f((t - 1) ** 0.25 if use_clipping or t == 1 else np.inf)
    g = with_decay(p, g, maximize, lr, weight_decay, decoupled_weight_decay)
    m = state_array(state, "exp_avg", p)
    v = state_array(state, "exp_avg_sq", p)
    u = greater(-clip, lesser(clip, g / greater(f(eps), np.sqrt(v))))
    m += f(1 - beta1) * (u - m)
    p -= f(lr) * (m + f(1 - beta1) * (u - m) if nesterov else m)
    v[...] = f(beta2) * v + f(1 - beta2) * (g * g)
    flush(state)
