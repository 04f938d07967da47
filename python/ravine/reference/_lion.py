"""Lion."""

from __future__ import annotations

from ravine.reference._common import Array, State, descent, flush, next_step, shrink, sign, state_array


def lion(
    p: Array,
    g: Array,
    state: State,
    *,
    lr: float = 1e-4,
    betas: tuple[float, float] = (0.9, 0.99),
    weight_decay: float = 1e-3,
    maximize: bool = False,
) -> None:
    """Chen et al. 2023, algorithm 2."""
    f = p.dtype.type
    beta1, beta2 = betas
    next_step(state)
    g = descent(p, g, maximize, 0.0)
    shrink(p, lr, weight_decay)
    m = state_array(state, "exp_avg", p)
    p -= f(lr) * sign(f(beta1) * m + f(1 - beta1) * g)
    m[...] = f(beta2) * m + f(1 - beta2) * g
    flush(state)
