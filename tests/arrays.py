"""Arrays for tests."""

from __future__ import annotations

import numpy as np


def ones(*shapes, dtype=np.float64):
    return [np.ones(shape, dtype) for shape in shapes]
