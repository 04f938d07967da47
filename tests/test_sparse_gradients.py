"""SparseGrad: what it holds and refuses, and the sums of rows named again."""

from __future__ import annotations

import copy
import pickle

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from ravine import _core, config, optim
from ravine.optim import SparseGrad
from sparse_helpers import bits, gradients, summed
from test_kernels import DTYPES


class TestSparseGrad:
    def test_what_it_says_of_itself(self):
        rows, values = np.array([3, 0, 3]), np.arange(6, dtype=np.float32).reshape(3, 2)
        grad = SparseGrad(rows, values, [5, 2])
        assert grad.rows is rows
        assert grad.values is values
        assert (grad.shape, grad.dtype, grad.nbytes, len(grad)) == ((5, 2), np.float32, 3 * 8 + 6 * 4, 3)
        assert repr(grad) == "SparseGrad(rows=[3 0 3], values=[[0. 1.] [2. 3.] [4. 5.]], dtype=float32, shape=(5, 2))"
        assert len(repr(SparseGrad(np.arange(1000), np.zeros((1000, 50)), (1000, 50)))) < 500

    def test_coalesced_and_dense(self):
        grad = SparseGrad(np.array([3, 0, 3]), np.array([[1.0, 2], [3, 4], [5, 6]]), (4, 2))
        coalesced = grad.coalesce()
        assert coalesced.rows.tolist() == [0, 3]
        assert coalesced.values.tolist() == [[3, 4], [6, 8]]
        assert coalesced.coalesce() is coalesced
        assert grad.to_dense().tolist() == [[3, 4], [0, 0], [0, 0], [6, 8]]
        assert grad.rows.tolist() == [3, 0, 3]

    def test_addition_names_the_rows_of_both(self):
        a = SparseGrad(np.array([1]), np.array([2.0]), (3,))
        b = SparseGrad(np.array([2, 1]), np.array([5.0, 7.0]), (3,))
        assert (a + b).rows.tolist() == [1, 2, 1]
        assert (a + b).to_dense().tolist() == [0, 9, 5]
        with pytest.raises(
            ValueError, match=r"cannot add one of float64, shape \(4,\) to one of float64, shape \(3,\)"
        ):
            a + SparseGrad(np.array([1]), np.array([2.0]), (4,))
        with pytest.raises(ValueError, match="cannot add one of float32"):
            a + SparseGrad(np.array([1]), np.array([2.0], np.float32), (3,))
        with pytest.raises(TypeError):
            a + np.zeros(3)

    @pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda g: pickle.loads(pickle.dumps(g))])
    def test_copies(self, copied):
        grad = SparseGrad(np.array([1, 0]), np.ones((2, 3)), (4, 3))
        again = copied(grad)
        assert again.shape == grad.shape
        np.testing.assert_array_equal(again.rows, grad.rows)
        np.testing.assert_array_equal(again.values, grad.values)

    @pytest.mark.parametrize("dtype", [np.int8, np.int32, np.uint16, np.uint64, np.int64])
    def test_any_integers_are_rows(self, dtype):
        grad = SparseGrad(np.array([9, 9, 9, 2], dtype)[::3], np.ones((2, 1)), (10, 1))
        assert grad.rows.dtype == np.int64
        assert grad.rows.tolist() == [9, 2]

    @pytest.mark.parametrize("values", [np.ones((3, 4)).T[:, ::3], np.asfortranarray(np.ones((4, 1)))])
    def test_values_of_any_strides(self, values):
        grad = SparseGrad(np.arange(4), values, (4, 1))
        assert grad.values.flags.c_contiguous
        w = np.zeros((4, 1))
        optim.SGD([w], lr=1).step([grad])
        assert (w == -1).all()

    @pytest.mark.parametrize(
        ("rows", "values", "shape", "exception", "text"),
        [
            ([0, 1], np.ones(2), (3,), TypeError, "rows is list; expected an array of integers"),
            (np.array([0.0, 1.0]), np.ones(2), (3,), TypeError, r"rows is float64, shape \(2,\); expected an array of"),
            (np.array([True, False]), np.ones(2), (3,), TypeError, "rows is bool"),
            (np.array([[0], [1]]), np.ones(2), (3,), ValueError, r"rows is int64, shape \(2, 1\); expected shape \(n,"),
            (np.array([0, 3]), np.ones(2), (3,), ValueError, r"rows\[1\]=3 is out of range; expected rows from 0 to 2"),
            (np.array([1, -1]), np.ones(2), (3,), ValueError, r"rows\[1\]=-1 is out of range.*Negative rows do not"),
            (np.array([2**64 - 1], np.uint64), np.ones(1), (3,), ValueError, r"rows\[0\]=18446744073709551615 is out"),
            (np.array([0]), np.ones(1), (0,), ValueError, r"rows\[0\]=0 is out of range"),
            (np.array([0, 1]), [1.0, 2.0], (3,), TypeError, "values is list; expected an array of float32 or float64"),
            (
                np.array([0, 1]),
                np.ones(2, int),
                (3,),
                TypeError,
                r"values is int64, shape \(2,\); expected an array of",
            ),
            (np.array([0, 1]), np.ones(2, ">f8"), (3,), TypeError, "values is >f8"),
            (np.array([0, 1]), np.ones(3), (3,), ValueError, r"values is float64, shape \(3,\); expected shape \(2,\)"),
            (np.array([0, 1]), np.ones((2, 3)), (3, 4), ValueError, r"expected shape \(2, 4\): a row of the parameter"),
            (np.array([0, 1]), np.ones((2, 3)), (3,), ValueError, r"expected shape \(2,\)"),
            (np.array([0]), np.ones(1), 3, TypeError, r"shape=3; expected the parameter's shape"),
            (np.array([0]), np.ones(1), (3.0,), TypeError, r"shape=\(3.0,\); expected the parameter's shape"),
            (np.array([0]), np.ones(1), (), ValueError, r"shape=\(\); expected the parameter's shape"),
            (np.array([0]), np.ones(1), (3, -1), ValueError, r"shape=\(3, -1\); .*none negative"),
        ],
    )
    def test_what_is_wrong_is_named(self, rows, values, shape, exception, text):
        with pytest.raises(exception, match="^SparseGrad: .*" + text):
            SparseGrad(rows, values, shape)


class TestCoalescing:
    @given(gradients(), st.sampled_from(DTYPES))
    @settings(max_examples=150, deadline=None)
    def test_sums_in_the_order_given(self, gradient, dtype):
        shape, rows, values = gradient
        values = values.astype(dtype)
        named, sums = summed(rows, values)
        grad = SparseGrad(rows, values, shape)
        coalesced = grad.coalesce()
        np.testing.assert_array_equal(coalesced.rows, named)
        assert bits(coalesced.values) == bits(sums)
        dense = np.zeros(shape, dtype)
        dense[named] = sums
        assert bits(grad.to_dense()) == bits(dense)

    @pytest.mark.parametrize("threads", [1, 3, 8])
    def test_large_ones_on_any_threads(self, threads):
        _core.share_from(0)
        config.set_num_threads(threads)
        rng = np.random.default_rng(0)
        rows = rng.integers(0, 3000, 20_000) * 10**12  # digits above those of 32 bits
        values = rng.standard_normal((20_000, 3)).astype(np.float32)
        coalesced = SparseGrad(rows, values, (3000 * 10**12, 3)).coalesce()
        named, sums = summed(rows, values)
        np.testing.assert_array_equal(coalesced.rows, named)
        assert bits(coalesced.values) == bits(sums)

    def test_negative_zeros_and_nan_stay(self):
        grad = SparseGrad(np.array([2, 1, 1]), np.array([-0.0, np.nan, 1.0]), (3,)).coalesce()
        assert np.signbit(grad.values[1])
        assert np.isnan(grad.values[0])
