"""Sums in the order that all instruction sets and threads keep to, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

LANES = 16
# So many elements of a parameter are summed up at a time.
ELEMENTS_PER_SUM = 1 << 12


def divide_up(a: int, b: int) -> int:
    """Return a / b, rounded up."""
    return -(-a // b)


def sum_in_order(terms: Array) -> Array:
    """Return the sum over the first axis, one after the other."""
    total = np.zeros(terms.shape[1:])
    for term in terms:
        total = total + term
    return total


def lane_sum(runs: Array) -> Array:
    """Return the sums of (C, runs, n): each run from the first lane on, the lanes then added pair by pair."""
    channels, count, n = runs.shape
    padded = np.zeros((channels, count, divide_up(n, LANES) * LANES))
    padded[:, :, :n] = runs
    lanes = sum_in_order(padded.reshape(channels, -1, LANES).transpose(1, 0, 2))
    while lanes.shape[1] > 1:
        half = lanes.shape[1] // 2
        lanes = lanes[:, :half] + lanes[:, half:]
    result: Array = lanes[:, 0]
    return result


def block_sums(terms: Array, block: int = ELEMENTS_PER_SUM) -> Array:
    """Return the sums of the blocks of an array, as its elements lie in memory."""
    flat = terms.ravel(order="K").astype(np.float64)
    blocks = [flat[start : start + block] for start in range(0, flat.size, block)]
    return np.array([lane_sum(block[None, None])[0] for block in blocks])


def total(terms: Array, block: int = ELEMENTS_PER_SUM) -> float:
    """Return the sum of an array, block by block."""
    return float(sum_in_order(block_sums(terms, block)))


def squares(a: Array) -> Array:
    """Return the squares of an array in float64."""
    wide = a.astype(np.float64)
    return wide * wide
