"""What the tests of batch normalisation run over: dtypes, layouts, what is fused, and arrays."""

from __future__ import annotations

import numpy as np

DTYPES = [np.float32, np.float64]
LAYOUTS = ["NCHW", "NHWC"]
FUSED = [(None, False), ("relu", False), (None, True), ("relu", True)]


def tensors(shape, dtype, layout, count, seed=0):
    """Return arrays of a shape given as (N, C, ...) in the layout, with channels of very different sizes."""
    rng = np.random.default_rng(seed)
    channels = shape[1]
    scale = 10.0 ** rng.uniform(-2, 2, (channels, *(1,) * (len(shape) - 2)))
    shift = rng.standard_normal(scale.shape)
    found = [((rng.standard_normal(shape) + shift) * scale).astype(dtype) for _ in range(count)]
    return [np.ascontiguousarray(np.moveaxis(a, 1, -1)) if layout == "NHWC" else a for a in found]


def vectors(channels, dtype, count, seed=1):
    rng = np.random.default_rng(seed)
    return [(rng.random(channels) + 0.5).astype(dtype) for _ in range(count)]
