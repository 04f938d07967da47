"""Muon."""

from __future__ import annotations

import math

import numpy as np

from ravine.reference._common import Array, State, flush, next_step, shrink, state_array


def muon(
    p: Array,
    g: Array,
    state: State,
    *,
    lr: float = 1e-3,
    weight_decay: float = 0.1,
    momentum: float = 0.95,
    nesterov: bool = True,
    ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
    eps: float = 1e-7,
    ns_steps: int = 5,
    adjust_lr_fn: str | None = None,
    maximize: bool = False,
) -> None:
    """Jordan et al. 2024. Equal to the optimizer but for rounding: products of matrices have no fixed order."""
    f = p.dtype.type
    next_step(state)
    g = -g if maximize else g
    b = state_array(state, "momentum_buffer", p)
    b += f(1 - momentum) * (g - b)
    u = g + f(momentum) * (b - g) if nesterov else b
    rows, columns = p.shape
    scale = 0.2 * math.sqrt(max(p.shape)) if adjust_lr_fn == "match_rms_adamw" else math.sqrt(max(1, rows / columns))
    shrink(p, lr, weight_decay)
    p -= f(lr * scale) * orthogonalized(u, ns_coefficients, eps, ns_steps)
    flush(state)


def orthogonalized(u: Array, coefficients: tuple[float, float, float], eps: float, steps: int) -> Array:
    """Return u with its singular values brought near 1, by the iteration of Newton and Schulz."""
    a, b, c = (u.dtype.type(k) for k in coefficients)
    x = u.T if len(u) > u.shape[1] else u
    x = x / max(np.linalg.norm(x), u.dtype.type(eps))
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    result: Array = x.T if len(u) > u.shape[1] else x
    return result
