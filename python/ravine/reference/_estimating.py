"""Prodigy and SWATS: sums over all parameters decide, so these functions take lists."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ravine.reference._common import Array, State, descent, flush, next_step, renew_means, state_array
from ravine.reference._sums import sum_in_order, total


def _take(p: Array, step: Array) -> None:
    p -= step


def prodigy(
    params: Sequence[Array],
    grads: Sequence[Array],
    states: Sequence[State],
    *,
    lr: float = 1.0,
    betas: tuple[float, float] = (0.9, 0.999),
    beta3: float | None = None,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    safeguard_warmup: bool = False,
    d0: float = 1e-6,
    d_coef: float = 1.0,
    maximize: bool = False,
) -> None:
    """Mishchenko & Defazio 2024, algorithm 4, as in optax."""
    beta1, beta2 = betas
    beta3 = math.sqrt(beta2) if beta3 is None else beta3
    carried = next((state for state in states if "d" in state), {"d": d0, "d_numerator": 0.0})
    d, numerator = carried["d"], carried["d_numerator"]
    sums, steps = [], []
    gradients = [descent(p, g, maximize, 0.0) for p, g in zip(params, grads, strict=True)]
    for p, g, state in zip(params, gradients, states, strict=True):
        f = p.dtype.type
        t = next_step(state)
        steps.append(lr * d * math.sqrt(1 - beta2**t) / (1 - beta1**t))
        weight = steps[-1] * d / d0
        m, v, s = (state_array(state, name, p) for name in ("exp_avg", "exp_avg_sq", "s"))
        p0 = state.setdefault("p0", p.copy(order="K"))
        scaled = f(d) * g
        renew_means(m, v, scaled, betas)
        s[...] = f(beta3) * s + f(d * d / d0 if safeguard_warmup else weight) * g
        products = (f(weight) * g).astype(np.float64) * (p0 - p).astype(np.float64)
        sums.append([total(products), total(np.abs(s))])
        flush(state)
    correlation, length = sum_in_order(np.array(sums))
    numerator = beta3 * numerator + correlation
    if length > 0:
        estimate = d_coef * numerator / length
        d = float(estimate) if estimate > d else d
    for p, state, step in zip(params, states, steps, strict=True):
        f = p.dtype.type
        state["d"], state["d_numerator"] = d, float(numerator)
        root = np.sqrt(state["exp_avg_sq"]) + f(eps * d)
        _take(p, f(step) * state["exp_avg"] / root + f(step * weight_decay) * p)


def swats(
    params: Sequence[Array],
    grads: Sequence[Array],
    states: Sequence[State],
    *,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-9,
    weight_decay: float = 0.0,
    tolerance: float = 1e-9,
    maximize: bool = False,
    sgd_scale: float = 0.0,
) -> dict[str, float]:
    """Keskar & Socher 2017, algorithm 1. Returns what changes in the group's hyper-parameters."""
    beta1, beta2 = betas
    gradients = [descent(p, g, maximize, weight_decay) for p, g in zip(params, grads, strict=True)]
    for state in states:
        next_step(state)
    if sgd_scale > 0:
        for p, g, state in zip(params, gradients, states, strict=True):
            f = p.dtype.type
            b = state_array(state, "momentum_buffer", p)
            b[...] = f(beta1) * b + g
            _take(p, f(lr * sgd_scale * (1 - beta1)) * b)
            flush(state)
        return {}
    sums = []
    for p, g, state in zip(params, gradients, states, strict=True):
        f = p.dtype.type
        t = state["step"]
        m, v = state_array(state, "exp_avg", p), state_array(state, "exp_avg_sq", p)
        renew_means(m, v, g, betas)
        u = f(lr / (1 - beta1**t)) * m / (np.sqrt(v * f(1 / (1 - beta2**t)) + f(0)) + f(eps))
        _take(p, u)
        wide = u.astype(np.float64)
        sums.append([total(wide * wide), total(wide * g.astype(np.float64))])
        flush(state)
    length, along = sum_in_order(np.array(sums))
    mean, weight = states[0].get("gamma_avg", 0.0), states[0].get("gamma_weight", 0.0)
    rate = 0.0
    if along > 0:
        gamma, first = length / along, weight == 0
        mean, weight = beta2 * mean + (1 - beta2) * gamma, beta2 * weight + (1 - beta2)
        if not first and abs(mean / weight - gamma) < tolerance:
            rate = float(mean / weight)
    for p, state in zip(params, states, strict=True):
        if rate > 0:
            step = state["step"]
            state.clear()
            state |= {"step": step, "momentum_buffer": np.zeros_like(p)}
        else:
            state |= {"gamma_avg": float(mean), "gamma_weight": float(weight), "rate": rate}
    return {"sgd_scale": rate / lr} if rate > 0 else {}
