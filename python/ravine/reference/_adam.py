"""Adam and AdamW."""

from __future__ import annotations

from typing import Any

import numpy as np

from ravine.reference._common import Array, State, flush, greater, next_step, renew_means, state_array, with_decay


def adam(
    p: Array,
    g: Array,
    state: State,
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    amsgrad: bool = False,
    maximize: bool = False,
    decoupled_weight_decay: bool = False,
    eps_root: float = 0.0,
) -> None:
    """Kingma & Ba 2015, algorithm 1; amsgrad: Reddi et al. 2018; decoupled decay: Loshchilov & Hutter 2019."""
    f = p.dtype.type
    beta1, beta2 = betas
    t = next_step(state)
    g = with_decay(p, g, maximize, lr, weight_decay, decoupled_weight_decay)
    m = state_array(state, "exp_avg", p)
    v = state_array(state, "exp_avg_sq", p)
    renew_means(m, v, g, betas)
    if amsgrad:
        v_max = state_array(state, "max_exp_avg_sq", p)
        v_max[...] = greater(v_max, v)
        v = v_max
    root = np.sqrt(v * f(1 / (1 - beta2**t)) + f(eps_root))
    p -= f(lr / (1 - beta1**t)) * m / (root + f(eps))
    flush(state)


def adamw(p: Array, g: Array, state: State, *, weight_decay: float = 1e-2, **hyper: Any) -> None:
    """Loshchilov & Hutter 2019, algorithm 2."""
    adam(p, g, state, weight_decay=weight_decay, decoupled_weight_decay=True, **hyper)
