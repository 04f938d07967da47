"""NAdam."""

from __future__ import annotations

import numpy as np

from ravine.reference._common import Array, State, flush, next_step, renew_means, state_array, with_decay


def nadam(
    p: Array,
    g: Array,
    state: State,
    *,
    lr: float = 2e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum_decay: float = 4e-3,
    decoupled_weight_decay: bool = False,
    maximize: bool = False,
) -> None:
    """Dozat 2016, algorithm 2."""
    f = p.dtype.type
    beta1, beta2 = betas
    t = next_step(state)
    g = with_decay(p, g, maximize, lr, weight_decay, decoupled_weight_decay)
    mu, mu_next = (beta1 * (1 - 0.5 * 0.96 ** (at * momentum_decay)) for at in (t, t + 1))
    product = state["mu_product"] = state.get("mu_product", 1.0) * mu
    m = state_array(state, "exp_avg", p)
    v = state_array(state, "exp_avg_sq", p)
    renew_means(m, v, g, betas)
    root = np.sqrt(v * f(1 / (1 - beta2**t)))
    ahead = f(lr * (1 - mu) / (1 - product)) * g + f(lr * mu_next / (1 - product * mu_next)) * m
    p -= ahead / (root + f(eps))
    flush(state)
