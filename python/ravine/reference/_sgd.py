"""Gradient descent."""

from __future__ import annotations

from ravine.reference._common import Array, State, descent, flush, next_step, state_array


def sgd(
    p: Array,
    g: Array,
    state: State,
    *,
    lr: float = 1e-3,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    maximize: bool = False,
) -> None:
    """Sutskever et al. 2013, in torch's form: the first step stores the gradient undamped."""
    f = p.dtype.type
    t = next_step(state)
    g = descent(p, g, maximize, weight_decay)
    if momentum == 0:
        p -= f(lr) * g
        return
    b = state_array(state, "momentum_buffer", p)
    kept, added = (0.0, 1.0) if t == 1 and not nesterov else (momentum, 1 - dampening)
    b[...] = f(kept) * b + f(added) * g
    p -= f(lr) * (g + f(momentum) * b if nesterov else b)
    flush(state)
