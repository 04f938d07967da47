"""Sparse gradients in every form that a step takes, and states that are saved in between."""

from __future__ import annotations

import copy
import pickle
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from ravine import nn, optim
from ravine.optim import SparseGrad
from sparse_cases import SHAPES, problem
from sparse_helpers import bits, each_sparse, snapshot


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
