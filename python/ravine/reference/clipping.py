"""Norms of gradients and clipping in plain NumPy: the specification of `nn.utils` and of what a step clips."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ravine.reference._sums import block_sums, squares, sum_in_order

Array = np.ndarray[Any, Any]


def total_norm(grads: Sequence[Array], norm_type: float = 2.0) -> float:
    """Return (sum |g|^p)^(1/p) over the elements of all gradients; for p = infinity the greatest |g|.

    Elements are taken in float64 as they lie in memory, those that do not lie together in C order. The kernels give the
    same bits for p = 1, 2 and infinity, other p have powers of the C library.
    """
    p = float(norm_type)
    packed = [g if g.flags.c_contiguous or g.flags.f_contiguous else np.ascontiguousarray(g) for g in grads]
    if p == math.inf:
        return float(max((np.abs(g).max() for g in packed if g.size), key=lambda a: (np.isnan(a), a), default=0.0))
    if p == 2:
        return math.sqrt(_sum([squares(g) for g in packed]))
    if p == 1:
        return _sum([np.abs(g) for g in packed])
    return float(_sum([np.abs(g.astype(np.float64)) ** p for g in packed]) ** (1 / p))


def clip_grad_norm(grads: Sequence[Array], max_norm: float, norm_type: float = 2.0) -> float:
    """Multiply gradients in place by min(1, max_norm / (norm + 1e-6)), rounded once to their dtype; return the norm.

    Pascanu, Mikolov & Bengio 2013, "On the difficulty of training recurrent neural networks", algorithm 1, as torch has
    it.
    """
    norm = total_norm(grads, norm_type)
    clip = float(np.minimum(1.0, max_norm / (norm + 1e-6)))
    for g in grads:
        g[...] = g.dtype.type(clip) * g
    return norm


def clip_grad_value(grads: Sequence[Array], clip_value: float) -> None:
    """Cut elements off at -clip_value and clip_value, in place. NaN stays."""
    for g in grads:
        limit = g.dtype.type(clip_value)
        np.clip(g, -limit, limit, out=g)


def _sum(terms: Sequence[Array]) -> float:
    """Return the sum of all, block after block."""
    return float(sum_in_order(np.concatenate([block_sums(array) for array in terms])))
