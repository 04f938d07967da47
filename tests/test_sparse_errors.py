"""Sparse gradients that a step refuses."""

from __future__ import annotations

import numpy as np
import pytest
from cases import CONFIG_IDS, CONFIGS, id_of
from ravine import optim
from ravine.optim import SparseGrad
from sparse_cases import DENSE
from sparse_helpers import bits, each_sparse, snapshot


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
