"""Sparse gradients: what they name gets the dense rule's bits, nothing else changes, and torch arrives at the same."""

from __future__ import annotations

import copy
import itertools
import pickle
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import hypothesis.extra.numpy as npst
import hypothesis.strategies as st
import numpy as np
import pytest
from cases import CONFIG_IDS, CONFIGS, id_of
from hypothesis import given, settings
from ravine import _core, config, nn, optim
from ravine.optim import SparseGrad
from sparse_cases import DENSE, SHAPES, SPARSE, SPARSE_CONFIGS, SPARSE_IDS, problem, torch_sparse, torch_training
from test_kernels import DTYPES, GUARD, GUARD_VALUE, THREADS

GOLDEN = Path(__file__).parent / "golden" / "sparse" / "torch.npz"

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


@st.composite
def gradients(draw):
    """A table's shape, and rows in any order with their values."""
    shape = draw(npst.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=40))
    rows = draw(st.lists(st.integers(0, shape[0] - 1), max_size=60))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    return shape, np.array(rows, np.int64), rng.standard_normal((len(rows), *shape[1:]))


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


class TestForms:
    rows, values = np.array([1, 3]), np.array([[1.0, 2.0], [3.0, 4.0]])
    stepped = [[0, 0], [-1, -2], [0, 0], [-3, -4]]

    def grad(self):
        return SparseGrad(self.rows, self.values, (4, 2))

    def test_in_a_list_by_name_by_groups_and_from_a_closure(self):
        for give in (
            lambda o, g: o.step([g]),
            lambda o, g: o.step({"table": g}),
            lambda o, g: o.step(([g],)),
            lambda o, g: o.step(({"table": g},)),
            lambda o, g: o.step(iter([g])),
        ):
            table = np.zeros((4, 2))
            give(optim.SGD({"table": table}, lr=1), self.grad())
            assert table.tolist() == self.stepped

    def test_as_a_parameters_gradient(self):
        p = nn.Parameter(np.zeros((4, 2)), name="table")
        optimizer = optim.SGD([p], lr=1)
        p.grad = self.grad()
        assert isinstance(p.grad, SparseGrad)
        optimizer.step()
        assert p.data.tolist() == self.stepped
        optimizer.zero_grad()
        assert isinstance(p.grad, SparseGrad)
        assert len(p.grad) == 0
        p.grad += self.grad()
        p.grad += self.grad()
        assert p.grad.to_dense().tolist() == [[0, 0], [2, 4], [0, 0], [6, 8]]
        optimizer.zero_grad(set_to_none=True)
        assert p.grad is None

    def test_a_parameter_refuses_one_that_does_not_fit(self):
        p = nn.Parameter(np.zeros((5, 2)), name="table")
        with pytest.raises(
            ValueError, match=r"'table': grad is SparseGrad of float64, shape \(4, 2\); expected .*\(5, 2"
        ):
            p.grad = self.grad()

    def test_of_objects_with_data_and_grad(self):
        p = SimpleNamespace(data=np.zeros((4, 2)), grad=self.grad())
        optimizer = optim.SGD([p], lr=1)
        optimizer.step()
        assert p.data.tolist() == self.stepped
        optimizer.zero_grad()
        assert len(p.grad) == 0
        optimizer.step()
        assert p.data.tolist() == self.stepped

    def test_alone_it_is_no_list(self):
        with pytest.raises(TypeError, match=r"grads is .*SparseGrad; expected a list"):
            optim.SGD([np.zeros((4, 2))]).step(self.grad())

    @each_sparse
    def test_one_without_rows_is_a_step_that_touches_nothing(self, case):
        table = np.ones((4, 2))
        optimizer = case.optimizer([table])
        optimizer.step([self.grad()])
        before = snapshot(optimizer, [table])
        optimizer.step([self.grad().without_rows()])
        assert optimizer.state[table]["step"] == 2
        before[1][0]["step"] = 2
        assert snapshot(optimizer, [table]) == before

    def test_read_only_arrays(self):
        rows, values = self.rows.copy(), self.values.copy()
        rows.flags.writeable = values.flags.writeable = False
        table = np.zeros((4, 2))
        optim.SGD([table], lr=1).step([SparseGrad(rows, values, (4, 2))])
        assert table.tolist() == self.stepped

    def test_nothing_of_the_tables_size_is_made(self):
        table = np.zeros((1 << 18, 16), np.float32)
        p = nn.Parameter(table)
        optimizer = optim.SparseAdam([p])
        grad = SparseGrad(np.array([5, 1 << 17, 5]), np.ones((3, 16), np.float32), table.shape)
        p.grad = grad
        optimizer.step()  # makes the states
        tracemalloc.start()
        try:
            for _ in range(3):
                p.grad = grad
                optimizer.step()
                optimizer.zero_grad()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < table.nbytes / 100

    def test_momentum_that_was_switched_off_is_left_alone(self):
        table = np.zeros((4, 2))
        optimizer = optim.SGD([table], lr=1, momentum=0.9)
        optimizer.step([np.ones((4, 2))])
        optimizer.param_groups[0]["momentum"] = 0
        before = optimizer.state[table]["momentum_buffer"].copy()
        optimizer.step([self.grad()])
        assert (table + 1).tolist() == self.stepped
        assert bits(optimizer.state[table]["momentum_buffer"]) == bits(before)

    @each_sparse
    def test_saved_in_between_it_goes_on_to_the_same_bits(self, case):
        shape = SHAPES["matrix"]
        start, rows, values = problem(shape)
        grads = [SparseGrad(r, v, shape) for r, v in zip(rows, values, strict=True)]
        table, other = start.copy(), start.copy()
        optimizer, resumed = case.optimizer([table]), case.optimizer([other])
        for grad in grads[:10]:
            optimizer.step([grad])
        other[...] = table
        resumed.load_state_dict(pickle.loads(pickle.dumps(optimizer.state_dict())))
        copied_table, copied = copy.deepcopy((table, optimizer))
        for grad in grads[10:]:
            for one in (optimizer, resumed, copied):
                one.step([grad])
        assert snapshot(optimizer, [table]) == snapshot(resumed, [other]) == snapshot(copied, [copied_table])


class TestRefusals:
    """Whatever is refused changes nothing, neither in the parameter before it nor in its own."""

    def refused(self, optimizer, params, grads, exception, text):
        before = snapshot(optimizer, params)
        with pytest.raises(exception, match=text):
            optimizer.step(grads)
        assert snapshot(optimizer, params) == before

    def grad(self, shape=(4, 2), dtype=np.float64):
        return SparseGrad(np.array([1, 3]), np.ones((2, *shape[1:]), dtype), shape)

    @pytest.mark.parametrize(("case", "hyper"), CONFIGS, ids=CONFIG_IDS)
    def test_what_touches_every_row(self, case, hyper):
        params = [case.shaped(np.ones(3)), np.ones((4, 2))]
        optimizer = case.optimizer(params, **hyper)
        optimizer.step([p.copy() for p in params])
        grads = [params[0].copy(), self.grad()]
        if case in DENSE or "momentum" in hyper:
            text = (
                rf"^{case.name}: params\[1\]: its gradient is sparse, and the rule '\w+' changes every row at each "
                r"step. SGD without momentum, Adagrad and SparseAdam take sparse gradients; .*grad.to_dense\(\)"
            )
            self.refused(optimizer, params, grads, ValueError, text)
        elif "weight_decay" in hyper:
            text = rf"^{case.name}: params\[1\]: its gradient is sparse, and weight_decay=0.1 changes every row .*to_d"
            self.refused(optimizer, params, grads, ValueError, text)
        else:
            assert id_of(hyper)  # a configuration that takes them
            optimizer.step(grads)
            assert (params[1][[1, 3]] != params[1][[0, 2]]).all()
            return
        optimizer.step([grads[0], grads[1].to_dense()])

    @each_sparse
    def test_what_does_not_fit(self, case):
        params = [np.ones(3), np.ones((4, 2)), np.asfortranarray(np.ones((4, 2)))]
        optimizer = case.optimizer(params)
        optimizer.step([np.ones(3), self.grad(), None])
        for k, grad, text in [
            (1, self.grad((5, 2)), r"its gradient is a SparseGrad of float64, shape \(5, 2\); expected float64, shape"),
            (1, self.grad((4, 3)), r"SparseGrad of float64, shape \(4, 3\); expected float64, shape \(4, 2\)"),
            (1, self.grad((4,)), r"SparseGrad of float64, shape \(4,\); expected"),
            (1, self.grad(dtype=np.float32), r"SparseGrad of float32, shape \(4, 2\); expected float64.*astype"),
            (2, self.grad(), r"is in Fortran order, .*np.ascontiguousarray\(...\), or pass grad.to_dense\(\)"),
        ]:
            grads = [np.ones(3), None, None]
            grads[k] = grad
            self.refused(optimizer, params, grads, ValueError, rf"^{case.name}: params\[{k}\].*" + text)

    def test_a_fortran_vector_and_a_column_are_in_c_order_too(self):
        params = [np.zeros(4), np.asfortranarray(np.zeros((4, 1)))]
        optim.SGD(params, lr=1).step([self.grad((4,)), self.grad((4, 1))])
        assert [p.ravel().tolist() for p in params] == [[0, -1, 0, -1]] * 2

    @pytest.mark.parametrize("row", [-1, 4, 2**62, -(2**63)])
    @pytest.mark.parametrize("others", [[0, 2], [2, 0], [1, 1]])
    def test_rows_changed_later(self, row, others):
        table = np.ones((4, 2))
        optimizer = optim.SparseAdam([table])
        rows = np.array([0, 1, 3])
        grad = SparseGrad(rows, np.ones((3, 2)), (4, 2))
        optimizer.step([grad])
        rows[:] = [others[0], row, others[1]]
        text = rf"params\[0\]: its gradient names row {row}; expected rows from 0 to 3"
        self.refused(optimizer, [table], [grad], ValueError, text)

    def test_arrays_resized_later(self):
        table = np.ones((4, 2))
        optimizer = optim.SparseAdam([table])
        for name, shape in (("rows", 2), ("values", (2, 2)), ("values", (3, 4))):
            grad = SparseGrad(np.array([0, 1, 3]), np.ones((3, 2)), (4, 2))
            getattr(grad, name).resize(shape, refcheck=False)
            text = "the rows or values of its gradient have been resized or retyped since the SparseGrad was made"
            self.refused(optimizer, [table], [grad], ValueError, text)

    def test_values_that_the_step_writes_to(self):
        flat = np.ones(40)
        tables = [flat[:8].reshape(4, 2), flat[8:16].reshape(4, 2)]
        optimizer = optim.SparseAdam(tables)
        for rows in (np.array([0, 1]), np.array([1, 0])):
            values = flat[10:14].reshape(2, 2)
            text = r"params\[0\]: its gradient shares memory with params\[1\], which the step writes to"
            self.refused(optimizer, tables, [SparseGrad(rows, values, (4, 2)), None], ValueError, text)
        optimizer.step([self.grad(), None])
        state = optimizer.state[tables[0]]["exp_avg"]
        text = r"shares memory with state 'exp_avg' of params\[0\]"
        self.refused(optimizer, tables, [SparseGrad(np.array([2]), state[:1], (4, 2)), None], ValueError, text)
        optimizer.step([SparseGrad(np.array([0, 1]), flat[16:20].reshape(2, 2), (4, 2)), None])

    def test_rows_that_the_step_writes_to_are_read_before(self):
        table = np.array([0, 2, 1], np.int64).view(np.float64)
        expected = table.copy()
        grad = SparseGrad(table.view(np.int64), np.ones(3), (3,))
        optim.SGD([table], lr=1).step([grad])
        assert bits(table) == bits(expected - 1)


class TestTorch:
    @each_config
    def test_golden(self, case, i, hyper):
        golden = np.load(GOLDEN)
        for name, shape in SHAPES.items():
            table, rows, values = problem(shape)
            optimizer = case.optimizer([table], **hyper)
            for r, v in zip(rows, values, strict=True):
                optimizer.step([SparseGrad(r, v, shape)])
            np.testing.assert_allclose(table, golden[f"{case.name}/{i}/{name}"], rtol=1e-10, atol=1e-12)

    @pytest.mark.parametrize("coalesced", [False, True])
    @each_config
    def test_its_own_sparse_tensors(self, case, i, hyper, coalesced):
        pytest.importorskip("torch")
        for shape in SHAPES.values():
            table, rows, values = problem(shape)
            optimizer = case.optimizer([table], **hyper)
            theirs = torch_training(case.name, hyper, shape, coalesced)
            for r, v, expected in zip(rows, values, theirs, strict=True):
                optimizer.step([torch_sparse(r, v, shape, coalesced)])
                np.testing.assert_allclose(table, expected, rtol=1e-10, atol=1e-12)

    @each_sparse
    def test_an_embedding_is_trained_in_its_own_memory(self, case):
        torch = pytest.importorskip("torch")
        torch.manual_seed(0)
        models = [torch.nn.Embedding(20, 3, sparse=True).double() for _ in range(2)]
        models[1].load_state_dict(models[0].state_dict())
        optimizers = [case.optimizer(models[0].parameters()), getattr(torch.optim, case.name)(models[1].parameters())]
        for t in range(6):
            words = torch.randint(0, 20, (8,))
            for model, optimizer in zip(models, optimizers, strict=True):
                optimizer.zero_grad(set_to_none=t % 2 == 0)
                (model(words) ** 2).sum().backward()
                assert model.weight.grad.is_sparse
                optimizer.step()
        a, b = (model.weight.detach().numpy() for model in models)
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)

    def test_as_a_parameters_gradient(self):
        pytest.importorskip("torch")
        p = nn.Parameter(np.zeros((4, 2)))
        p.grad = torch_sparse(np.array([1, 1]), np.ones((2, 2)), (4, 2), False)
        assert isinstance(p.grad, SparseGrad)
        assert p.grad.rows.tolist() == [1, 1]

    @pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
    def test_with_more_sparse_dimensions_it_is_refused(self):
        torch = pytest.importorskip("torch")
        w = np.ones((4, 2))
        optimizer = optim.SGD([w])
        with pytest.raises(
            TypeError,
            match=r"^SGD: params\[0\]: its gradient: .*has 2 sparse dimensions; expected one.*to_sparse\(1\)",
        ):
            optimizer.step([torch.eye(4, 2, dtype=torch.float64).to_sparse()])
        with pytest.raises(TypeError, match=r"cannot see the memory of torch.Tensor"):
            optimizer.step([torch.eye(4, 2, dtype=torch.float64).to_sparse_csr()])
        assert (w == 1).all()
