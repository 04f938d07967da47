"""Steps on sparse gradients: what they name gets the dense rule's bits, and nothing else changes."""

from __future__ import annotations

import itertools

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from ravine import _core, config, optim
from ravine.optim import SparseGrad
from sparse_cases import SPARSE
from sparse_helpers import bits, each_config, each_sparse, gradients, reference_step
from test_kernels import DTYPES, GUARD, GUARD_VALUE, THREADS

# Rows of one element, of few, of as many as are copied together and one more, long ones, and none at all. Threads cut
# the first ones and the long ones within a row.
TABLES = [(70_001,), (5000, 1), (30_001, 3), (2001, 32), (2001, 33), (301, 2, 40), (40, 5000), (10, 0), (1, 7), (0, 3)]


def guarded(array):
    """Return a copy of an array between guard values, and the whole buffer."""
    buffer = np.full(array.size + 2 * GUARD + 1, GUARD_VALUE, array.dtype)
    inside = buffer[GUARD + 1 : GUARD + 1 + array.size].reshape(array.shape)
    inside[...] = array
    return inside, buffer


def some_rows(rng, count):
    """Return rows in three ways: distinct and sorted with neighbours among them, in any order, repeated."""
    if count == 0:
        return [np.empty(0, np.int64)] * 3
    piece = np.arange(count // 3, count // 2)
    sorted_rows = np.unique(np.concatenate([rng.integers(0, count, 1 + count // 7), piece]))
    return [sorted_rows, rng.permutation(count)[: 1 + count // 5], rng.integers(0, count, 1 + count // 4)]


class TestBits:
    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("shape", TABLES, ids=str)
    @each_config
    def test_equal_the_dense_rule_on_the_rows_named(self, case, i, hyper, shape, dtype):
        _core.share_from(0)
        rng = np.random.default_rng(1)
        start = rng.standard_normal(shape).astype(dtype)
        entries = [(r, rng.standard_normal((len(r), *shape[1:])).astype(dtype)) for r in some_rows(rng, shape[0])]
        expected, state = start.copy(), {}
        for rows, values in entries:
            reference_step(case, hyper, expected, state, rows, values)
        for isa, (threading, threads) in itertools.product(config.available_isas(), THREADS):
            config.set_isa(isa)
            config.set_threading(threading)
            config.set_num_threads(threads)
            table, buffer = guarded(start)
            optimizer = case.optimizer([table], **hyper)
            for rows, values in entries:
                optimizer.step([SparseGrad(rows, values, shape)])
            where = f"{isa}, {threading} {threads}"
            assert bits(table) == bits(expected), where
            ours = optimizer.state[table]
            assert ours.keys() == state.keys()
            assert ours["step"] == state["step"] == 3
            for name in state.keys() - {"step"}:
                assert bits(ours[name]) == bits(state[name]), f"{where}: {name}"
            assert (buffer[: GUARD + 1] == GUARD_VALUE).all(), where
            assert (buffer[GUARD + 1 + table.size :] == GUARD_VALUE).all(), where

    @each_sparse
    @given(gradient=gradients(), dtype=st.sampled_from(DTYPES), steps=st.integers(1, 3))
    @settings(max_examples=60, deadline=None)
    def test_whatever_the_rows(self, case, gradient, dtype, steps):
        shape, rows, values = gradient
        values = values.astype(dtype)
        table = np.random.default_rng(0).standard_normal(shape).astype(dtype)
        expected, state = table.copy(), {}
        optimizer = case.optimizer([table], lr=0.1)
        for _ in range(steps):
            optimizer.step([SparseGrad(rows, values, shape)])
            reference_step(case, {"lr": 0.1}, expected, state, rows, values)
        assert bits(table) == bits(expected)
        for name, value in optimizer.state[table].items():
            np.testing.assert_array_equal(value, state[name])

    @each_sparse
    def test_rows_that_are_not_named_keep_every_byte(self, case):
        """Even NaN of any payload, infinities, and what a kernel would flush."""
        table = np.full((50, 3), 1e-310)
        table[10:20] = np.inf
        table.view(np.uint64)[20:30] = 0x7FF0_0000_0000_1234  # a signalling NaN
        before = table.copy()
        optimizer = case.optimizer([table])
        named = np.arange(0, 50, 7)
        others = np.setdiff1d(np.arange(50), named)
        optimizer.step([SparseGrad(named, np.ones((len(named), 3)), table.shape)])
        assert bits(table[others]) == bits(before[others])
        assert bits(table[:1]) != bits(before[:1])

    @each_sparse
    def test_an_array_is_a_gradient_of_all_rows(self, case):
        rng = np.random.default_rng(2)
        shape = (40, 7)
        tables = [np.ones(shape), np.ones(shape)]
        optimizers = [case.optimizer([table]) for table in tables]
        for t in range(4):
            g = rng.standard_normal(shape)
            sparse = SparseGrad(np.arange(40), g, shape)
            optimizers[0].step([g])
            optimizers[1].step([g if t == 2 else sparse])
        assert bits(tables[0]) == bits(tables[1])

    def test_many_parameters_of_both_kinds_in_one_step(self):
        _core.share_from(0)
        config.set_num_threads(3)
        rng = np.random.default_rng(3)
        shapes = [(3000, 5), (70_001,), (900, 64), (4,), (20, 3)]
        params = [rng.standard_normal(shape).astype(DTYPES[k % 2]) for k, shape in enumerate(shapes)]
        expected, states = [p.copy() for p in params], [{} for _ in params]
        (case,) = [case for case in SPARSE if case.name == "SparseAdam"]
        optimizer = optim.SparseAdam([{"params": params[:2]}, {"params": params[2:], "maximize": True, "lr": 0.1}])
        for step in range(5):
            grads = []
            for k, (p, q, state) in enumerate(zip(params, expected, states, strict=True)):
                hyper = {} if k < 2 else {"maximize": True, "lr": 0.1}
                if (k + step) % 4 == 0:
                    grads.append(None)
                    continue
                dense = (k + step) % 4 == 1
                rows = np.arange(len(p)) if dense else rng.integers(0, len(p), 1 + len(p) // 9)
                values = rng.standard_normal((len(rows), *p.shape[1:])).astype(p.dtype)
                grads.append(values if dense else SparseGrad(rows, values, p.shape))
                reference_step(case, hyper, q, state, rows, values)
            optimizer.step(grads)
        for p, q, state in zip(params, expected, states, strict=True):
            assert bits(p) == bits(q)
            assert optimizer.state[p]["step"] == state["step"]
