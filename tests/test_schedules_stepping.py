"""Stepping, jumping and looking ahead are one function of the step."""

from __future__ import annotations

import math
import random
import tracemalloc

import numpy as np
import pytest
from ravine import optim
from ravine.optim.lr_scheduler import (
    REXLR,
    ChainedScheduler,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LinearLR,
    MultiplicativeLR,
    PolynomialLR,
    StepLR,
)
from schedule_cases import CASES, make, ravine_optimizer, ravine_schedules
from schedule_cases import values as held
from schedule_helpers import IDS, lrs


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_stepping_is_looking_ahead_bit_for_bit(case):
    schedule, ahead = make(case), make(case)
    before = held(ahead.optimizer)
    for t in range(10_001):
        if t:
            schedule.step()
        expected = ahead.lr_at(t)
        momentum = ahead.momentum_at(t)
        assert lrs(schedule.optimizer) == expected, t
        assert schedule.get_last_lr() == expected
        if momentum is not None:
            assert held(schedule.optimizer)[2:] == momentum
    assert schedule.last_epoch == 10_000
    assert all(type(lr) is float and 0 <= lr < math.inf for lr in expected)
    assert held(ahead.optimizer) == before, "looking ahead has changed something"
    assert ahead.last_epoch == 0


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_looking_about_while_stepping(case):
    """In any order, and in between steps."""
    schedule, ahead = make(case), make(case)
    rng = random.Random(0)
    for t in range(60):
        for _ in range(3):
            u = rng.randrange(120)
            assert schedule.lr_at(u) == make(case).lr_at(u) if t < 3 else ahead.lr_at(u)
        assert lrs(schedule.optimizer) == ahead.lr_at(t)
        schedule.step()


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_jumping(case):
    schedule, ahead = make(case), make(case)
    for t in (7, 8, 0, 31, 5, 200):
        schedule.step(t)
        assert lrs(schedule.optimizer) == ahead.lr_at(t)
        assert schedule.last_epoch == t
        schedule.step()
        assert lrs(schedule.optimizer) == ahead.lr_at(t + 1)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_a_jump_gives_up_what_was_changed_by_hand(case):
    schedule, ahead = make(case), make(case)
    schedule.step()
    for group in schedule.optimizer.param_groups:
        group["lr"] = 7
    schedule.step(12)
    assert lrs(schedule.optimizer) == ahead.lr_at(12)


@pytest.mark.parametrize("case", CASES, ids=IDS)
@pytest.mark.parametrize("t", [-1, -0.5, math.nan, math.inf])
def test_steps_that_there_are_not(case, t):
    schedule = make(case)
    with pytest.raises(ValueError, match=rf"\w+: t={t}; expected"):
        schedule.lr_at(t)
    before = schedule.state_dict()
    with pytest.raises(ValueError, match=rf"{case.name}: epoch={t}; expected a finite number, 0 or more"):
        schedule.step(t)
    with pytest.raises(TypeError, match=rf"{case.name}: epoch='3' is a str; expected a number"):
        schedule.step("3")
    assert schedule.state_dict() == before


def test_fractions_of_a_step():
    optimizer = ravine_optimizer()
    schedule = CosineAnnealingWarmRestarts(optimizer, T_0=4, T_mult=2)
    for batch in range(48):
        schedule.step(batch / 4)
        assert lrs(optimizer) == schedule.lr_at(batch / 4)
        assert schedule.last_epoch == batch // 4
    assert (schedule.T_cur, schedule.T_i) == (7.75, 8)
    schedule.step()
    assert (schedule.T_cur, schedule.T_i, schedule.last_epoch) == (0.75, 16, 12)
    # 2 / 3 of the way down: (1 + cos(2 pi / 3)) / 2 = 1 / 4
    assert schedule.lr_at(8 / 3)[1] == pytest.approx(0.5 / 4, rel=1e-15)
    for other in (LinearLR(optimizer), ExponentialLR(optimizer, 0.5), PolynomialLR(optimizer), REXLR(optimizer, 5)):
        assert other.lr_at(2)[0] > other.lr_at(2.5)[0] > other.lr_at(3)[0] or isinstance(other, LinearLR)


@pytest.mark.parametrize(
    "schedule",
    [
        lambda o: MultiplicativeLR(o, lambda t: 0.5),
        lambda o: ChainedScheduler([CosineAnnealingLR(o, 5), StepLR(o, 2)]),
    ],
)
def test_where_there_are_no_fractions(schedule):
    optimizer = ravine_optimizer()
    with pytest.raises(ValueError, match=r"t=2.5; expected a whole number, 0 or more"):
        schedule(optimizer).step(2.5)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_a_step_allocates_nothing_that_grows_with_the_parameters(case):
    def peak(parameters):
        groups = [{"params": [np.zeros(1) for _ in range(parameters)], "lr": lr} for lr in (0.05, 0.5)]
        optimizer = optim.SGD(groups, momentum=0.9) if case.optimizer == "SGD" else optim.AdamW(groups)
        optimizer.step([np.ones(1)] * 2 * parameters)
        schedule = case.make(ravine_schedules(), optimizer)
        for _ in range(3):
            schedule.step()
        tracemalloc.start()
        schedule.step()
        result = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return result

    assert peak(500) <= peak(1) + 200
