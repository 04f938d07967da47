"""The numbers that some rules carry from step to step beside each parameter."""

from __future__ import annotations

import numpy as np
import pytest
from cases import CASES
from ravine import _core, config, optim

CARRYING = [case for case in CASES if any(_core.rules()[rule]["carried"] for rule in case.optimizer._rules)]
each_carrying = pytest.mark.parametrize("case", CARRYING, ids=lambda case: case.name)
# Numbers of a parameter, and numbers of all parameters of a group.
each_alone = pytest.mark.parametrize(
    "case", [case for case in CARRYING if not case.together], ids=lambda case: case.name
)
each_together = pytest.mark.parametrize(
    "case", [case for case in CARRYING if case.together], ids=lambda case: case.name
)


def carried(optimizer, p):
    return {key: value for key, value in optimizer.state[p].items() if np.isscalar(value)}


def test_some_rules_carry_numbers():
    names = {"ASGD", "NAdam", "SGDScheduleFree", "AdamWScheduleFree", "Prodigy", "SWATS"}
    assert {case.name for case in CARRYING} == names


@each_carrying
def test_they_are_floats_and_advance(case):
    p = np.ones(3)
    optimizer = case.optimizer([p], lr=0.1)
    optimizer.step([np.ones(3)])
    before = carried(optimizer, p)
    optimizer.param_groups[0]["lr"] = 0.2
    optimizer.step([np.ones(3)])
    after = carried(optimizer, p)
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


@each_alone
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
        assert carried(optimizer, p) == carried(other, q)


@each_alone
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
    assert carried(together, copies[0]) != carried(together, copies[1])
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


@each_together
def test_sums_go_over_the_parameters_of_a_group(case):
    """Cut in two, in any order of missing gradients, as in one piece; other groups have numbers of their own."""
    rng = np.random.default_rng(0)
    start, grads = rng.standard_normal(9), rng.standard_normal((6, 9))
    whole = start.copy()
    parts = [start[:4].copy(), start[4:].copy()]
    other = start.copy()
    optimizer = case.optimizer([{"params": parts}, {"params": [other], "lr": 0.01}], lr=0.1)
    alone = case.optimizer([whole], lr=0.1)
    for g in grads:
        optimizer.step([g[:4], g[4:], 2 * g])
        alone.step([g])
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-13)
    numbers = [carried(optimizer, p) for p in (*parts, other)]
    assert numbers[0] == numbers[1] != numbers[2]
    assert numbers[0].keys() == carried(alone, whole).keys()
    for name, value in carried(alone, whole).items():
        np.testing.assert_allclose(numbers[0][name], value, rtol=1e-12)


@each_together
def test_a_parameter_that_comes_late_joins_the_others(case):
    rng = np.random.default_rng(0)
    params = [rng.standard_normal(n) for n in (3, 4)]
    expected, states = [p.copy() for p in params], [{}, {}]
    optimizer = case.optimizer(params, lr=0.1)
    for t in range(6):
        grads = [rng.standard_normal(p.size) for p in params]
        given = [0] if t < 3 else [0, 1]
        optimizer.step([g if i in given else None for i, g in enumerate(grads)])
        case.run_reference(
            {"lr": 0.1},
            [expected[i] for i in given],
            [[grads[i] for i in given]],
            [states[i] for i in given],
        )
        for p, q in zip(params, expected, strict=True):
            np.testing.assert_array_equal(p, q)
    assert {**carried(optimizer, params[0]), "step": 3} == carried(optimizer, params[1])
    resumed = [p.copy() for p in params]
    other = case.optimizer(resumed)
    other.load_state_dict(optimizer.state_dict())
    for each in (optimizer, other):
        each.step(grads)
    for p, q in zip(params, resumed, strict=True):
        np.testing.assert_array_equal(p, q)


@each_together
def test_states_whose_numbers_differ_do_not_load(case):
    optimizer = case.optimizer([np.ones(2), np.ones(3)])
    optimizer.step([np.ones(2), np.ones(3)])
    saved = optimizer.state_dict()
    name = next(key for key, value in saved["state"][1].items() if isinstance(value, float))
    saved["state"][1][name] += 1
    before = optimizer.state_dict()
    with pytest.raises(ValueError, match=r"param_groups\[0\]: its parameters differ in "):
        optimizer.load_state_dict(saved)
    np.testing.assert_equal(optimizer.state_dict(), before)


def test_prodigy_keeps_its_estimate_while_nothing_moves():
    p = np.ones(3)
    optimizer = optim.Prodigy([p], lr=0.0, d0=1e-3)
    optimizer.step([np.ones(3)])
    assert p.tolist() == [1, 1, 1]
    assert optimizer.state[p]["d"] == 1e-3


def test_swats_goes_on_where_a_schedule_has_changed_the_learning_rate():
    """The schedule's factor since the switch is a factor of gradient descent's learning rate."""
    p = np.ones(3)
    optimizer = optim.SWATS([p], lr=0.1)
    while optimizer.param_groups[0]["sgd_scale"] == 0:
        optimizer.step([np.ones(3)])
    rate = 0.1 * optimizer.param_groups[0]["sgd_scale"]
    assert set(optimizer.state[p]) == {"step", "momentum_buffer"}
    optimizer.param_groups[0]["lr"] /= 2
    before = p.copy()
    optimizer.step([np.ones(3)])
    np.testing.assert_allclose(before - p, 0.1 * rate / 2, rtol=1e-12)


def test_prodigy_estimates_nothing_where_its_sum_is_zero():
    """A gradient that makes s exactly 0 while the numerator is above 0: powers of 2, so that nothing is rounded."""
    p, d = np.zeros(1), 2.0**-20
    optimizer = optim.Prodigy([p], betas=(0.0, 0.0), beta3=0.5, eps=0.0, d0=d, d_coef=2.0**-30)
    for g in (1, 1, -(2.0**-6), -(2.0**-6), -(2.0**-6)):
        optimizer.step([np.array([g], float)])
    optimizer.step([optimizer.state[p]["s"] * -0.5 / d])
    state = optimizer.state[p]
    assert state["s"] == 0
    assert state["d_numerator"] > 0
    assert state["d"] == d
