"""Batch normalisation, forward and backward."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ravine.reference._common import Array
from ravine.reference._sums import LANES, divide_up, lane_sum, sum_in_order

# How a sum over a channel is ordered. Planes this long are summed in sixteen lanes, in segments of so many elements.
LEAST_PLANE = 128
PLANE_SEGMENT = 1 << 14
# Shorter ones are columns, each with a sum of its own, in rows of at least so many columns and segments of rows.
FEW_COLUMNS = 1 << 10
COLUMN_SEGMENT = 1 << 16
LEAST_ROWS = 64


class Saved(NamedTuple):
    """What the backward pass needs of the forward pass, in float64, for each channel."""

    mean: Array
    inv: Array  # 1 / sqrt(variance + eps)
    scale: Array  # weight * inv
    shift: Array  # bias
    training: bool


class Gradients(NamedTuple):
    """What `batch_norm_backward` returns."""

    x: Array
    weight: Array
    bias: Array
    residual: Array | None


def batch_norm(
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    *,
    training: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
    layout: str = "NCHW",
    activation: str | None = None,
    residual: Array | None = None,
) -> tuple[Array, Saved]:
    """Normalise x, contiguous in its layout; Ioffe & Szegedy 2015, algorithm 1. Updates the running statistics."""
    f = x.dtype.type
    planes = _planes(x, layout)
    if training:
        count = planes.shape[0] * planes.shape[2]
        pivot = _pivot(planes)
        deviation = planes.astype(np.float64) - pivot[:, None]
        total, squares = channel_sum(deviation), channel_sum(deviation * deviation)
        mean = pivot + total / count
        squares = np.maximum(squares - total * (total / count), 0.0)
        variance = squares / count
        for running, new in ((running_mean, mean), (running_var, squares / (count - 1))):
            if running is not None:
                running[...] = momentum * new + (1 - momentum) * running.astype(np.float64)
    else:
        mean, variance = np.asarray(running_mean, np.float64), np.asarray(running_var, np.float64)
    inv = 1 / np.sqrt(variance + eps)
    channels = planes.shape[1]
    scale = (np.ones(channels) if weight is None else weight.astype(np.float64)) * inv
    shift = np.zeros(channels) if bias is None else bias.astype(np.float64)
    saved = Saved(mean, inv, scale, shift, training)
    y = _normalized(planes, saved)
    if residual is not None:
        y = y + _planes(residual, layout)
    if activation == "relu":
        y = np.where(f(0) > y, f(0), y)
    return y.reshape(x.shape), saved


def batch_norm_backward(
    dy: Array,
    x: Array,
    saved: Saved,
    *,
    layout: str = "NCHW",
    activation: str | None = None,
    residual: Array | None = None,
) -> Gradients:
    """Return the gradients by x, weight, bias and residual; docs/batch-norm.md derives them."""
    f = x.dtype.type
    planes, g = _planes(x, layout), _planes(dy, layout)
    before = _normalized(planes, saved)
    if residual is not None:
        before = before + _planes(residual, layout)
    if activation == "relu":
        g = np.where(before <= 0, f(0), g)
    wide = g.astype(np.float64)
    total = channel_sum(wide)
    products = channel_sum(wide * (planes.astype(np.float64) - saved.mean[:, None]))
    scale = saved.scale.astype(f)[:, None]
    dx = g * scale
    if saved.training:
        count = planes.shape[0] * planes.shape[2]
        center = saved.mean.astype(f)
        slope = -(saved.inv * saved.inv) * (products / count)
        offset = -(total / count) - slope * (saved.mean - center)
        dx = ((g + offset.astype(f)[:, None]) + slope.astype(f)[:, None] * (planes - center[:, None])) * scale
    return Gradients(
        dx.reshape(x.shape),
        (products * saved.inv).astype(f),
        total.astype(f),
        None if residual is None else g.reshape(x.shape),
    )


def _planes(x: Array, layout: str) -> Array:
    """Return x as (N, C, L); channels-last arrays have L = 1."""
    return x.reshape(-1, x.shape[-1], 1) if layout == "NHWC" else x.reshape(*x.shape[:2], -1)


def _pivot(planes: Array) -> Array:
    """Return a value near each channel's mean, the median of its first, middle and last: sums about it stay exact."""
    n, _, length = planes.shape
    a, b, c = (planes[i // length, :, i % length] for i in (0, n * length // 2, n * length - 1))
    median: Array = np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c))
    return median.astype(np.float64)


def _normalized(planes: Array, saved: Saved) -> Array:
    """Return (x - mean) scale + shift; what the mean loses by rounding is in the shift."""
    f = planes.dtype.type
    center = saved.mean.astype(f)
    shift = (saved.shift - (saved.mean - center) * saved.scale).astype(f)
    result: Array = (planes - center[:, None]) * saved.scale.astype(f)[:, None] + shift[:, None]
    return result


def channel_sum(terms: Array) -> Array:
    """Return the sum of (N, C, L) over N and L, in the order that all instruction sets and threads keep to."""
    n, channels, length = terms.shape
    total = np.zeros(channels)
    if length >= LEAST_PLANE:
        pieces = divide_up(length, 2 * PLANE_SEGMENT)
        piece = divide_up(divide_up(length, pieces), LANES) * LANES
        samples = 1 if pieces > 1 else max(PLANE_SEGMENT // length, 1)
        for first in range(0, n, samples):
            for begin in range(0, length, piece):
                total += lane_sum(terms[first : first + samples, :, begin : begin + piece].transpose(1, 0, 2))
        return total
    fold = divide_up(FEW_COLUMNS, channels * length)  # so many samples make up a row
    rows = np.zeros((divide_up(n, fold) * fold, channels, length))
    rows[:n] = terms
    rows = rows.reshape(-1, fold, channels, length)
    rows_per_segment = max(LEAST_ROWS, COLUMN_SEGMENT // (fold * channels * length))
    for first in range(0, len(rows), rows_per_segment):
        columns = sum_in_order(rows[first : first + rows_per_segment])
        total += sum_in_order(lane_sum(columns.reshape(-1, 1, length)).reshape(fold, channels))
    return total
