"""Schedule-free SGD and AdamW, in training: `p` is y, at which gradients are taken."""

from __future__ import annotations

import numpy as np

from ravine.reference._common import Array, State, descent, flush, next_step, state_array


def _move(
    p: Array,
    u: Array,
    state: State,
    *,
    beta: float,
    lr: float,
    warmup_steps: int,
    r: float,
    weight_lr_power: float,
) -> None:
    """Defazio et al. 2024, equations 1 to 3, with y in place of x."""
    f = p.dtype.type
    t = state["step"]
    if t < warmup_steps:
        lr *= t / warmup_steps
    lr_max = state["lr_max"] = max(lr, float(state.get("lr_max", 0.0)))
    weight = float(t) ** r * lr_max**weight_lr_power
    weight_sum = state["weight_sum"] = state.get("weight_sum", 0.0) + weight
    c = weight / weight_sum if weight_sum else 0.0
    if "z" not in state:
        state["z"] = p.copy()
    z = state["z"]
    p += f(c) * (z - p)
    p -= f(lr * (1 - beta * (1 - c))) * u
    z -= f(lr) * u


def sgdschedulefree(
    p: Array,
    g: Array,
    state: State,
    *,
    lr: float = 1.0,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    warmup_steps: int = 0,
    r: float = 0.0,
    weight_lr_power: float = 2.0,
    maximize: bool = False,
) -> None:
    """Defazio et al. 2024, equations 1 to 3."""
    next_step(state)
    g = descent(p, g, maximize, weight_decay)
    _move(p, g, state, beta=momentum, lr=lr, warmup_steps=warmup_steps, r=r, weight_lr_power=weight_lr_power)
    flush(state)


def adamwschedulefree(
    p: Array,
    g: Array,
    state: State,
    *,
    lr: float = 2.5e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    warmup_steps: int = 0,
    r: float = 0.0,
    weight_lr_power: float = 2.0,
    maximize: bool = False,
) -> None:
    """Defazio et al. 2024, algorithm 1."""
    f = p.dtype.type
    beta1, beta2 = betas
    t = next_step(state)
    g = descent(p, g, maximize, 0.0)
    v = state_array(state, "exp_avg_sq", p)
    v[...] = f(beta2) * v + f(1 - beta2) * (g * g)
    u = g / (np.sqrt(v * f(1 / (1 - beta2**t))) + f(eps)) + f(weight_decay) * p
    _move(p, u, state, beta=beta1, lr=lr, warmup_steps=warmup_steps, r=r, weight_lr_power=weight_lr_power)
    flush(state)
