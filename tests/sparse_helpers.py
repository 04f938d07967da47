"""Sums and steps of sparse gradients by the dense rule, and what the tests of them share."""

from __future__ import annotations

import hypothesis.extra.numpy as npst
import hypothesis.strategies as st
import numpy as np
import pytest
from sparse_cases import SPARSE, SPARSE_CONFIGS, SPARSE_IDS

each_sparse = pytest.mark.parametrize("case", SPARSE, ids=lambda case: case.name)
each_config = pytest.mark.parametrize(("case", "i", "hyper"), SPARSE_CONFIGS, ids=SPARSE_IDS)


def bits(array):
    return array.tobytes()


def summed(rows, values):
    """Return the rows named, increasing, and their values summed one after the other."""
    sums = {}
    for row, value in zip(rows.tolist(), values, strict=True):
        sums[row] = sums[row] + value if row in sums else value.copy()
    named = np.array(sorted(sums), np.int64)
    return named, np.array([sums[row] for row in named.tolist()], values.dtype).reshape(len(named), *values.shape[1:])


def reference_step(case, hyper, p, state, rows, values):
    """Make a step of the dense rule on the rows named, their states, and their values alone."""
    named, sums = summed(rows, values)
    part = {name: value if name == "step" else value[named] for name, value in state.items()}
    some = p[named]
    case.reference(some, sums, part, **hyper)
    p[named] = some
    for name, value in part.items():
        if name == "step":
            state[name] = value
        else:
            state.setdefault(name, np.full_like(p, hyper.get("initial_accumulator_value", 0.0)))[named] = value


def snapshot(optimizer, arrays):
    state = optimizer.state_dict()["state"]
    return [bits(a) for a in arrays], {
        i: {name: bits(v) if isinstance(v, np.ndarray) else v for name, v in s.items()} for i, s in state.items()
    }


@st.composite
def gradients(draw):
    """A table's shape, and rows in any order with their values."""
    shape = draw(npst.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=40))
    rows = draw(st.lists(st.integers(0, shape[0] - 1), max_size=60))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    return shape, np.array(rows, np.int64), rng.standard_normal((len(rows), *shape[1:]))
