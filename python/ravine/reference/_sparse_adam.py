"""SparseAdam."""

from __future__ import annotations

import math

import numpy as np

from ravine.reference._common import Array, State, descent, flush, next_step, renew_means, state_array


def sparseadam(
    p: Array,
    g: Array,
    state: State,
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    maximize: bool = False,
) -> None:
    """Kingma & Ba 2015, section 2, at its end. `p`, `g` and the state are those of the rows that a gradient names."""
    f = p.dtype.type
    beta1, beta2 = betas
    t = next_step(state)
    g = descent(p, g, maximize, 0.0)
    m = state_array(state, "exp_avg", p)
    v = state_array(state, "exp_avg_sq", p)
    renew_means(m, v, g, betas)
    p -= f(lr / (1 - beta1**t) * math.sqrt(1 - beta2**t)) * m / (np.sqrt(v) + f(eps))
    flush(state)
