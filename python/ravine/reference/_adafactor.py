"""Adafactor."""

from __future__ import annotations

import math

import numpy as np

from ravine.reference._common import Array, State, flush, greater, next_step, shrink, state_array
from ravine.reference._sums import ELEMENTS_PER_SUM, divide_up, lane_sum, squares, sum_in_order, total

# A matrix is summed up in blocks of rows of about so many elements, so many blocks at the most; smaller ones together.
ELEMENTS_PER_BLOCK = 1 << 14
MAX_BLOCKS = 1 << 6


def adafactor(
    p: Array,
    g: Array,
    state: State,
    *,
    lr: float = 1e-2,
    beta2_decay: float = -0.8,
    eps: tuple[float | None, float] = (None, 1e-3),
    d: float = 1.0,
    weight_decay: float = 0.0,
    maximize: bool = False,
) -> None:
    """Shazeer & Stern 2018, algorithms 4 to 6, in torch's form."""
    f = p.dtype.type
    t = next_step(state)
    g = -g if maximize else g
    eps1 = np.finfo(p.dtype).eps if eps[0] is None else f(eps[0])
    added = f(float(t) ** beta2_decay)
    if p.ndim == 1:
        v = state_array(state, "variance", p)
        v += added * (g * g - v)
        u = g / np.sqrt(greater(f(eps1 * eps1), v))
        of_p, of_u = total(squares(p)), total(squares(u))
        flush(state)
        u = g / np.sqrt(greater(f(eps1 * eps1), v))
    else:
        u = g / np.sqrt(greater(f(eps1 * eps1), _factored(g, state, added, eps1)))
        of_p, of_u = _total_of_blocks(squares(p)), _total_of_blocks(squares(u))
    with np.errstate(invalid="ignore", divide="ignore"):
        rms_p, rms_u = (np.sqrt(np.float64(x) / p.size) if p.size else math.nan for x in (of_p, of_u))
        ratio = rms_u / d
    step = min(lr, 1 / math.sqrt(t))
    step *= (rms_p if rms_p > eps[1] else eps[1]) / (ratio if ratio > 1 else 1.0)
    shrink(p, lr, weight_decay)
    p -= f(step) * u


def _factored(g: Array, state: State, added: float, eps1: float) -> Array:
    """Renew the running means along rows and columns, and return their product in place of the running mean of g^2."""
    f = g.dtype.type
    rows, columns = g.shape[-2:]
    r = state_array(state, "row_var", np.empty((*g.shape[:-1], 1), g.dtype))
    c = state_array(state, "col_var", np.empty((*g.shape[:-2], 1, columns), g.dtype))
    if g.size == 0:
        return g * 0
    # As it lies in memory: a matrix in Fortran order is its transpose there.
    transposed = not g.flags.c_contiguous
    if transposed:
        g, r, c = g.T, c.T, r.T
        rows, columns = columns, rows
    terms = squares(g).reshape(-1, rows, columns)
    along_rows = lane_sum(terms.reshape(1, -1, columns).transpose(1, 0, 2)) / columns
    along_columns = np.array([_column_sums(matrix) for matrix in _in_blocks(terms)]) / rows
    r += added * (along_rows.astype(g.dtype).reshape(r.shape) - r)
    c += added * (along_columns.astype(g.dtype).reshape(c.shape) - c)
    flush(state)
    mean = (lane_sum(r.reshape(-1, 1, rows).astype(np.float64)) / rows).astype(g.dtype)
    shares = r / greater(f(eps1), mean).reshape(*g.shape[:-2], 1, 1)
    product = shares * c
    return product.T if transposed else product


def _rows_per_block(shape: tuple[int, ...]) -> int:
    matrices, rows, columns = shape
    count = max(divide_up(ELEMENTS_PER_BLOCK, columns), divide_up(rows, MAX_BLOCKS))
    while matrices > 1 and rows % count:
        count += 1
    return count


def _in_blocks(terms: Array) -> list[list[Array]]:
    """Return each of (matrices, rows, columns) as its blocks of rows."""
    rows, columns = terms.shape[1:]
    whole = rows * columns <= 2 * ELEMENTS_PER_BLOCK
    count = rows if whole else _rows_per_block(terms.shape)
    return [[matrix[start : start + count] for start in range(0, rows, count)] for matrix in terms]


def _column_sums(blocks: list[Array]) -> Array:
    return sum_in_order(np.array([sum_in_order(block) for block in blocks]))


def _total_of_blocks(terms: Array) -> float:
    """Return the sum of matrices, as their elements lie in memory, block by block."""
    return 0.0 if terms.size == 0 else total(terms, block_of(terms))


def block_of(p: Array) -> int:
    """Return how many elements of a parameter are summed up at a time."""
    if p.ndim == 1:
        return ELEMENTS_PER_SUM
    shape = p.shape if p.flags.c_contiguous else p.shape[::-1]
    matrix: int = shape[-2] * shape[-1]
    if matrix <= 2 * ELEMENTS_PER_BLOCK:  # some whole matrices are a block
        return max(ELEMENTS_PER_BLOCK // matrix, 1) * matrix
    columns: int = shape[-1]
    return _rows_per_block((p.size // matrix, *shape[-2:])) * columns
