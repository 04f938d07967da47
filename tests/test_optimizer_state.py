"""The state of every optimizer: looking at it, saving and resuming, copies."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from cases import CASES
from ravine import optim


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_states_hold_no_subnormals(case, dtype):
    """The means of a gradient that has become 0 go to 0, instead of staying where arithmetic is slow."""
    tiny = np.finfo(dtype).tiny
    for settings in case.configs:
        p = case.shaped(np.ones(40, dtype))
        optimizer = case.optimizer([p], **settings)
        optimizer.step([case.shaped(np.geomspace(float(tiny), 1, 40).astype(dtype))])
        for _ in range(50):
            optimizer.step([np.zeros_like(p)])
            for name, value in optimizer.state[p].items():
                assert np.isscalar(value) or not ((value != 0) & (np.abs(value) < tiny)).any(), name


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
class TestState:
    def train(self, optimizer, grads):
        for g in grads:
            optimizer.step([g[: p.size].reshape(p.shape).copy() for p in optimizer.param_groups[0]["params"]])

    @pytest.fixture
    def params(self, case):
        return lambda: [case.shaped(np.ones(5)), case.shaped(np.ones(2))]

    @pytest.fixture
    def grads(self):
        return np.random.default_rng(0).standard_normal((9, 5))

    @pytest.mark.parametrize("at", range(9))
    def test_resuming_is_exact(self, case, params, grads, at):
        for settings in case.configs:
            straight = params()
            self.train(case.optimizer(straight, **settings), grads)
            trained = params()
            first = case.optimizer(trained, **settings)
            self.train(first, grads[:at])
            saved = pickle.loads(pickle.dumps(first.state_dict()))
            resumed = [p.copy() for p in trained]
            second = case.optimizer(resumed)
            second.load_state_dict(saved)
            self.train(second, grads[at:])
            for p, q in zip(straight, resumed, strict=True):
                np.testing.assert_array_equal(p, q)

    def test_saved_state_is_a_copy(self, case, params, grads):
        trained = params()
        optimizer = case.optimizer(trained)
        self.train(optimizer, grads[:3])
        saved = optimizer.state_dict()
        kept = copy.deepcopy(saved)
        self.train(optimizer, grads[3:])
        np.testing.assert_equal(saved, kept)
        optimizer.load_state_dict(saved)
        self.train(optimizer, grads[3:])
        np.testing.assert_equal(saved, kept)

    @pytest.mark.parametrize("make", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))], ids=["copy", "pickle"])
    def test_copies_go_on_alone(self, case, params, grads, make):
        trained = params()
        optimizer = case.optimizer(trained)
        optimizer.register_step_post_hook(lambda *args: None)
        self.train(optimizer, grads[:3])
        other = make(optimizer)
        theirs = [p.data for p in other.param_groups[0]["params"]]
        before = [p.copy() for p in trained]
        self.train(other, grads[3:])
        for p, q in zip(trained, before, strict=True):
            np.testing.assert_array_equal(p, q)
        self.train(optimizer, grads[3:])
        for p, q in zip(trained, theirs, strict=True):
            np.testing.assert_array_equal(p, q)

    def test_extra_keys_of_groups_come_back(self, case, params, grads):
        optimizer = case.optimizer(params())
        optim.lr_scheduler.LambdaLR(optimizer, lambda t: 0.5)
        other = case.optimizer(params())
        other.load_state_dict(optimizer.state_dict())
        assert other.param_groups[0]["initial_lr"] == optimizer.param_groups[0]["initial_lr"]
        assert other.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]


def test_state_cannot_be_edited_by_accident():
    w = np.zeros(2)
    optimizer = optim.Adam([w])
    optimizer.step([np.ones(2)])
    with pytest.raises(TypeError, match="does not support item assignment"):
        optimizer.state[w]["exp_avg"] = np.zeros(2)
    with pytest.raises(KeyError, match="no parameter of this optimizer is that object"):
        optimizer.state[np.zeros(2)]
    assert list(optimizer.state) == optimizer.param_groups[0]["params"]
    assert "exp_avg" in repr(optimizer.state)
