"""AdaBelief."""

from __future__ import annotations

import numpy as np

from ravine.reference._common import Array, State, flush, next_step, state_array, with_decay


def adabelief(
    p: Array,
    g: Array,
    state: State,
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-16,
    weight_decay: float = 0.0,
    decoupled_weight_decay: bool = False,
    eps_root: float = 1e-16,
    nesterov: bool = False,
    maximize: bool = False,
) -> None:
    """Zhuang et al. 2020, algorithm 2; nesterov: Dozat 2016."""
    f = p.dtype.type
    beta1, beta2 = betas
    t = next_step(state)
    g = with_decay(p, g, maximize, lr, weight_decay, decoupled_weight_decay)
    m = state_array(state, "exp_avg", p)
    s = state_array(state, "exp_avg_var", p)
    m += f(1 - beta1) * (g - m)
    s[...] = f(beta2) * s + f(1 - beta2) * ((g - m) * (g - m)) + f(eps_root)
    root = np.sqrt(s * f(1 / (1 - beta2**t)))
    if nesterov:
        ahead = f(lr * (1 - beta1) / (1 - beta1**t)) * g + f(lr * beta1 / (1 - beta1 ** (t + 1))) * m
    else:
        ahead = f(lr / (1 - beta1**t)) * m
    p -= ahead / (root + f(eps))
    flush(state)
