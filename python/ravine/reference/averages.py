"""Averages of the weights in plain NumPy: the specification of what steps renew."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def average(a: Array, p: Array, share: float) -> Array:
    """Return an average a moved towards p by a share of the way, as `torch.lerp` does: from the nearer end.

    Args:
        a: the average.
        p: the parameter, of its shape and dtype.
        share: from 0 to 1; 1 gives p itself. Rounded once to the dtype.
    """
    f = a.dtype.type
    moved: Array = a + f(share) * (p - a) if f(share) < 0.5 else p - (p - a) * (f(1) - f(share))
    return np.array(p) if f(share) == 1 else moved
