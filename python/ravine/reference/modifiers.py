"""Modifiers of updates in plain NumPy: the specification of what the engine does to the update of any rule."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ravine.reference._common import greater, sign
from ravine.reference._sums import ELEMENTS_PER_SUM, squares, total

Array = np.ndarray[Any, Any]


def modified(
    before: Array,
    after: Array,
    g: Array,
    *,
    lr: float,
    cautious: bool = False,
    max_update_rms: float | None = None,
    max_grad_rms: float | None = None,
    shrunk: float = 0.0,
    mean_square: Array | None = None,
    eps: float = 0.0,
    block: int = ELEMENTS_PER_SUM,
) -> Array:
    """Return a parameter after its modified update.

    Args:
        before: the parameter before the step.
        after: what the rule has made of it, once it was shrunk.
        g: the gradient that it was to descend, with the L2 penalty.
        lr: the learning rate.
        cautious: Liang, Chen, Liu & Liu 2024: no element of the update that climbs, the others larger for that.
        max_update_rms: Shazeer & Stern 2018, section 6: the greatest RMS of the update, in units of lr.
        max_grad_rms: Wortsman et al. 2023, algorithm 2: the greatest RMS of g in units of the root of its mean square.
        shrunk: what decoupled weight decay takes, as a share of `before`.
        mean_square: that of g, with the bias corrected: v / (1 - beta2^t), in the dtype of g.
        eps: the least root of it that g is divided by.
        block: how many elements are summed up at a time; of a factored parameter `_adafactor.block_of`.
    """
    f = before.dtype.type
    d = after - _without(before, f(shrunk))
    kept = (d * sign(g) < 0) | (not cautious)
    factor = 1.0
    if cautious:
        factor = before.size / (total(kept, block) + 1)
    if max_grad_rms is not None and mean_square is not None:
        measured = g * g / greater(mean_square, f(eps * eps))
        rms = math.sqrt(total(np.where(g == 0, f(0), measured), block) / before.size)
        if rms > max_grad_rms:
            shrunk *= max_grad_rms / rms
            factor *= max_grad_rms / rms
    if max_update_rms is not None:
        rms = math.sqrt(total(np.where(kept, squares(d), 0.0), block) / before.size)
        most = lr * max_update_rms
        if factor * rms > most:
            factor = most / rms
    if not cautious and factor == 1:
        return after
    result: Array = _without(before, f(shrunk)) + np.where(kept, f(factor), f(0)) * d
    return result


def _without(p: Array, share: np.floating[Any]) -> Array:
    return p - share * p if share else p
