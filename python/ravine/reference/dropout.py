"""Dropout, and the random numbers behind it."""

from __future__ import annotations

import math

import numpy as np

from ravine.reference._common import Array
from ravine.reference._sums import divide_up

ALPHA = -1.7580993408473766  # what SELU tends to: Klambauer et al. 2017, equation 2


def philox4x32(counter: Array, key: tuple[int, int]) -> Array:
    """Return the four words for each of the counters (n, 4): Philox 4x32-10, Salmon et al. 2011."""
    low = np.uint64(0xFFFFFFFF)
    c0, c1, c2, c3 = counter.astype(np.uint64).T
    for i in range(10):
        k0, k1 = np.uint64(key[0] + i * 0x9E3779B9) & low, np.uint64(key[1] + i * 0xBB67AE85) & low
        p0, p1 = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c1, c2, c3 = (p1 >> np.uint64(32)) ^ c1 ^ k0, p1 & low, (p0 >> np.uint64(32)) ^ c3 ^ k1, p0 & low
    return np.stack([c0, c1, c2, c3], axis=1).astype(np.uint32)


def keep_mask(size: int, p: float, seed: int, offset: int) -> Array:
    """Return which of `size` elements are kept: those whose 16 bits are not below the threshold."""
    counters = np.zeros((divide_up(size, 8), 4), np.uint32)
    number = np.uint64(offset) + np.arange(len(counters), dtype=np.uint64)
    counters[:, 0], counters[:, 1] = number & np.uint64(0xFFFFFFFF), number >> np.uint64(32)
    words = philox4x32(counters, (seed & 0xFFFFFFFF, seed >> 32))
    half_words = np.stack([words & 0xFFFF, words >> 16], axis=2).reshape(-1)
    mask: Array = half_words[:size] >= round(p * 65536)
    return mask


def dropout(
    x: Array, p: float = 0.5, *, seed: int, offset: int = 0, kind: str = "element", layout: str = "NCHW"
) -> tuple[Array, Array]:
    """Return the result for x, contiguous in its layout, and which of its elements are kept.

    Srivastava et al. 2014; whole channels: Tompson et al. 2015; "alpha": Klambauer et al. 2017, section 3.
    """
    f = x.dtype.type
    if kind == "channel":
        channels = x.shape[-1] if layout == "NHWC" else x.shape[1]
        padded = divide_up(channels, 16) * 16
        of_channels = keep_mask(len(x) * padded, p, seed, offset).reshape(len(x), padded)[:, :channels]
        shape = (
            (len(x), *(1,) * (x.ndim - 2), channels) if layout == "NHWC" else (len(x), channels, *(1,) * (x.ndim - 2))
        )
        mask = np.broadcast_to(of_channels.reshape(shape), x.shape)
    else:
        mask = keep_mask(x.size, p, seed, offset).reshape(x.shape)
    if p == 1:
        return np.zeros_like(x), mask
    if kind == "alpha":
        a = 1 / math.sqrt((1 - p) * (1 + p * ALPHA**2))
        b = -a * p * ALPHA
        return np.where(mask, x * f(a) + f(b), f(a * ALPHA + b)), mask
    return np.where(mask, x * f(1 / (1 - p)), f(0)), mask


def dropout_backward(dy: Array, mask: Array, p: float = 0.5, *, kind: str = "element") -> Array:
    """Return the gradient by x."""
    if p == 1:
        return np.zeros_like(dy)
    factor = 1 / math.sqrt((1 - p) * (1 + p * ALPHA**2)) if kind == "alpha" else 1 / (1 - p)
    dx: Array = np.where(mask, dy * dy.dtype.type(factor), dy.dtype.type(0))
    return dx
