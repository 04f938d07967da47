"""The numbers that some rules carry from step to step beside each parameter."""

from __future__ import annotations

import numpy as np
import pytest
from cases import CASES
from ravine import _core, config, optim

CARRYING = [case for case in CASES if any(_core.rules()[rule][1] for rule in case.optimizer._rules)]
each_carrying = pytest.mark.parametrize("case", CARRYING, ids=lambda case: case.name)


def scalars(optimizer, p):
    return {key: value for key, value in optimizer.state[p].items() if np.isscalar(value)}


def test_some_rules_carry_numbers():
    assert {case.name for case in CARRYING} == {"ASGD", "NAdam", "SGDScheduleFree", "AdamWScheduleFree"}


@each_carrying
def test_they_are_floats_and_advance(case):
    p = np.ones(3)
    optimizer = case.optimizer([p], lr=0.1)
    optimizer.step([np.ones(3)])
    before = scalars(optimizer, p)
    optimizer.param_groups[0]["lr"] = 0.2
    optimizer.step([np.ones(3)])
    after = scalars(optimizer, p)
    assert all(type(value) is float for key, value in after.items() if key != "step")
    assert before != {**after, "step": 1}


@each_carrying
def test_a_refused_step_leaves_them(case):
    p, q = np.ones(3), np.ones(2)
    optimizer = case.optimizer([p, q])
    optimizer.step([np.ones(3), np.ones(2)])
    before = optimizer.state_dict()
    with pytest.raises(ValueError, match="its gradient is"):
        optimizer.step([np.ones(3), np.ones(3)])
    np.testing.assert_equal(optimizer.state_dict(), before)


@each_carrying
def test_parameters_that_came_at_different_times(case):
    """In one optimizer as in one each, although they share coefficients where their numbers are the same."""
    rng = np.random.default_rng(0)
    together, alone = [np.ones(4) for _ in range(6)], [np.ones(4) for _ in range(6)]
    optimizer, optimizers = case.optimizer(together), [case.optimizer([p]) for p in alone]
    config.set_num_threads(2)
    for t in range(8):
        lr = 0.1 * 0.8**t
        grads = [rng.standard_normal(4) if t >= i // 2 * 3 else None for i in range(6)]
        for other in (optimizer, *optimizers):
            other.param_groups[0]["lr"] = lr
        optimizer.step(grads)
        for other, g in zip(optimizers, grads, strict=True):
            other.step([g])
    for p, q, other in zip(together, alone, optimizers, strict=True):
        np.testing.assert_array_equal(p, q)
        assert scalars(optimizer, p) == scalars(other, q)


@each_carrying
def test_equal_step_counts_with_unequal_numbers(case):
    """As after loading states that were trained apart, with other learning rates."""
    rng = np.random.default_rng(0)
    params, lrs = [np.ones(4), np.ones(4)], (0.1, 0.01)
    apart = [case.optimizer([p], lr=lr) for p, lr in zip(params, lrs, strict=True)]
    if case.name == "NAdam":
        apart[1].param_groups[0]["momentum_decay"] = 0.5
    for _ in range(4):
        for optimizer in apart:
            optimizer.step([rng.standard_normal(4)])
    copies = [p.copy() for p in params]
    together = case.optimizer(copies, lr=0.5)  # greater than any before
    saved = together.state_dict()
    saved["state"] = {i: optimizer.state_dict()["state"][0] for i, optimizer in enumerate(apart)}
    together.load_state_dict(saved)
    assert scalars(together, copies[0]) != scalars(together, copies[1])
    g = rng.standard_normal(4)
    together.step([g, g])
    for p, q, optimizer in zip(params, copies, apart, strict=True):
        optimizer.param_groups[0].update(together.defaults)
        optimizer.step([g])
        np.testing.assert_array_equal(p, q)


def test_asgd_feels_a_changed_learning_rate_a_step_later():
    p = np.zeros(1)
    optimizer = optim.ASGD([p], lr=1.0, lambd=0.0)
    for lr, expected in ((1.0, -1.0), (10.0, -2.0), (10.0, -12.0)):
        optimizer.param_groups[0]["lr"] = lr
        optimizer.step([np.ones(1)])
        assert p[0] == expected
