"""What the rules share."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
State = dict[str, Any]


def next_step(state: State) -> int:
    """Count the step: t = 1, 2, ..."""
    state["step"] = state.get("step", 0) + 1
    return int(state["step"])


def state_array(state: State, name: str, p: Array, initial: float = 0.0) -> Array:
    """Return an array of the state, made like `p` at the first step."""
    if name not in state:
        state[name] = np.full_like(p, initial)
    return np.asarray(state[name])


def greater(a: Array | np.floating[Any], b: Array | np.floating[Any]) -> Array:
    """Return the greater of each pair; b where they do not compare."""
    return np.where(a > b, a, b)


def lesser(a: Array | np.floating[Any], b: Array) -> Array:
    """Return the lesser of each pair; b where they do not compare."""
    return np.where(a < b, a, b)


def sign(x: Array) -> Array:
    """Return 1 or -1; x itself where it is 0 or NaN."""
    one = x.dtype.type(1)
    return np.where(x > 0, one, np.where(x < 0, -one, x))


def renew_means(m: Array, v: Array, x: Array, betas: tuple[float, float]) -> None:
    """Renew Adam's running means of a value and of its square (Kingma & Ba 2015, algorithm 1)."""
    f = m.dtype.type
    beta1, beta2 = betas
    m += f(1 - beta1) * (x - m)
    v[...] = f(beta2) * v + f(1 - beta2) * (x * x)


def flush(state: State) -> None:
    """Set what is subnormal in a state to 0: means of a gradient that has vanished would end there, and be slow."""
    for value in state.values():
        if isinstance(value, np.ndarray):
            value[np.abs(value) < np.finfo(value.dtype).tiny] = 0


def descent(p: Array, g: Array, maximize: bool, weight_decay: float) -> Array:
    """Return the gradient to descend, with the L2 penalty's."""
    g = -g if maximize else g
    return g + p.dtype.type(weight_decay) * p if weight_decay else g


def shrink(p: Array, lr: float, weight_decay: float) -> None:
    """Shrink a parameter by decoupled weight decay (Loshchilov & Hutter 2019)."""
    if weight_decay:
        p -= p.dtype.type(lr * weight_decay) * p


def with_decay(p: Array, g: Array, maximize: bool, lr: float, weight_decay: float, decoupled: bool) -> Array:
    """Return the gradient to descend; weight decay joins it, or decoupled, shrinks the parameter instead."""
    if decoupled:
        shrink(p, lr, weight_decay)
        return descent(p, g, maximize, 0.0)
    return descent(p, g, maximize, weight_decay)
