"""Where somebody else changes the learning rate, by hand or with a function that fails."""

from __future__ import annotations

import numpy as np
import pytest
from ravine import optim
from ravine.optim.lr_scheduler import (
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    MultiplicativeLR,
    PolynomialLR,
    StepLR,
    WarmupLR,
)
from schedule_cases import ravine_optimizer
from schedule_helpers import first_lrs, lrs, one_group


def test_a_hand_edit_stays_in_proportion():
    o = one_group()
    schedule = ExponentialLR(o, 0.5)
    schedule.step()
    o.param_groups[0]["lr"] = 3.0
    assert [lr for schedule.last_epoch, lr in enumerate(first_lrs(schedule, 3), 1)] == [3, 1.5, 0.75]
    assert schedule.lr_at(3) == [0.125], "looking ahead is the schedule's own view"


def test_a_hand_edit_scales_the_distance_from_the_floor():
    o = one_group()
    schedule = PolynomialLR(o, total_iters=4, eta_min=0.5)
    schedule.step()
    assert lrs(o) == [0.875]
    o.param_groups[0]["lr"] = 0.5 + 0.75
    assert first_lrs(schedule, 4) == [1.25, 1.0, 0.75, 0.5]


def test_a_hand_edit_of_one_group_leaves_the_others_exact():
    optimizer = ravine_optimizer()
    schedule, ahead = ExponentialLR(optimizer, 0.9), ExponentialLR(ravine_optimizer(), 0.9)
    optimizer.param_groups[0]["lr"] *= 2
    for t in range(1, 50):
        schedule.step()
        assert lrs(optimizer)[0] == pytest.approx(2 * ahead.lr_at(t)[0], rel=1e-13)
        assert lrs(optimizer)[1] == ahead.lr_at(t)[1]


def test_a_hand_edit_that_is_taken_back_leaves_no_trace():
    o = one_group()
    schedule = ExponentialLR(o, 0.9)
    schedule.step()
    before = lrs(o)[0]
    o.param_groups[0]["lr"] = 7
    o.param_groups[0]["lr"] = before
    schedule.step()
    assert lrs(o) == schedule.lr_at(2)


def test_warmups_carry_hand_edits_through():
    o = one_group()
    schedule = WarmupLR(PolynomialLR(o, 4, eta_min=0.5), 4, start_factor=0.5)
    o.param_groups[0]["lr"] *= 2
    assert first_lrs(schedule, 9) == [1.0, 1.25, 1.5, 1.75, 2.0, 1.625, 1.25, 0.875, 0.5]
    from_zero = WarmupLR(StepLR(one_group(), 2, 0.5), 2)
    from_zero.optimizer.param_groups[0]["lr"] = 1.0
    assert first_lrs(from_zero, 6) == [1.0, 1.5, 3.0, 3.0, 1.5, 1.5]


def test_a_broken_hand_edit_changes_nothing():
    optimizer = ravine_optimizer()
    schedule = ExponentialLR(optimizer, 0.5)
    schedule.step()
    optimizer.param_groups[1]["lr"] = "fast"
    with pytest.raises(TypeError):
        schedule.step()
    assert (optimizer.param_groups[0]["lr"], schedule.last_epoch) == (0.025, 1)


def test_a_function_that_fails_changes_nothing():
    optimizer = ravine_optimizer()

    def function(t):
        return 1 / (2 - t)

    for kind in (LambdaLR, MultiplicativeLR):
        schedule = kind(optimizer, [lambda t: 0.5, function])
        schedule.step()
        before = lrs(optimizer), schedule.last_epoch, schedule.get_last_lr()
        with pytest.raises(ZeroDivisionError):
            schedule.step()
        assert (lrs(optimizer), schedule.last_epoch, schedule.get_last_lr()) == before


def test_a_learning_rate_below_the_floor_does_not_fall_below_0():
    """The distance from the floor grows as the cosine rises again."""
    optimizer = optim.SGD([np.zeros(2)], lr=1.0)
    schedule = CosineAnnealingLR(optimizer, T_max=4, eta_min=0.5)
    optimizer.step([np.ones(2)])
    for _ in range(5):
        schedule.step()
    optimizer.param_groups[0]["lr"] = 0.1
    found = []
    for _ in range(3):
        schedule.step()
        found.append(optimizer.param_groups[0]["lr"])
    assert found == [0.0, 0.0, 0.0]
