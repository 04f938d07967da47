"""Several schedules on one optimizer, and schedules of one's own."""

from __future__ import annotations

import numpy as np
import pytest
from ravine.optim.lr_scheduler import (
    ChainedScheduler,
    ConstantLR,
    CyclicLR,
    ExponentialLR,
    LinearLR,
    LRScheduler,
    OneCycleLR,
    SequentialLR,
    StepLR,
)
from schedule_cases import ravine_optimizer, sequence
from schedule_helpers import first_lrs, lrs, one_group


def test_schedules_made_together_join():
    optimizer = ravine_optimizer()
    LinearLR(optimizer, 0.4)
    ConstantLR(optimizer, 0.5)
    StepLR(optimizer, 3)
    assert lrs(optimizer) == [0.05 * 0.4 * 0.5, 0.5 * 0.4 * 0.5]
    assert [group["initial_lr"] for group in optimizer.param_groups] == [0.05, 0.5]


def test_a_schedule_made_later_takes_over():
    optimizer = ravine_optimizer()
    old = ExponentialLR(optimizer, 0.5)
    old.step()
    new = StepLR(optimizer, 2, 0.5)
    assert lrs(optimizer) == [0.05, 0.5]
    assert [values[1] for values in sequence(new, 3)] == [0.5, 0.5, 0.25]


def test_a_schedule_made_later_starts_from_what_was_set_by_hand():
    optimizer = ravine_optimizer()
    ExponentialLR(optimizer, 0.5).step()
    optimizer.param_groups[0]["lr"] = 8.0
    new = ExponentialLR(optimizer, 0.5)
    assert new.base_lrs == [8.0, 0.5]
    assert [group["initial_lr"] for group in optimizer.param_groups] == [8.0, 0.5]
    new.step()
    assert lrs(optimizer) == [4.0, 0.25]


def test_groups_that_came_later_keep_theirs():
    optimizer = ravine_optimizer()
    schedule = SequentialLR(optimizer, [LinearLR(optimizer), CyclicLR(optimizer, 0.1, 1, 3)], [2])
    optimizer.add_param_group({"params": [np.zeros(1)], "lr": 7})
    for t in range(1, 8):
        schedule.step()
        assert lrs(optimizer) == [*schedule.lr_at(t), 7]
    assert optimizer.param_groups[2]["momentum"] == 0.9


def test_betas_keep_the_second():
    o = ravine_optimizer("AdamW")
    OneCycleLR(o, 1, 10).step(2)
    assert [group["betas"] for group in o.param_groups] == [(0.85, 0.999)] * 2


def test_schedules_of_ones_own():
    class OfTorch(LRScheduler):
        def get_lr(self):
            if self.last_epoch == 0:
                return [group["lr"] for group in self.optimizer.param_groups]
            return [group["lr"] * 0.5 for group in self.optimizer.param_groups]

    class OfRavine(LRScheduler):
        def lr_at(self, t):
            return [base / 2**t for base in self.base_lrs]

    for kind in (OfTorch, OfRavine):
        schedule = kind(one_group())
        assert first_lrs(schedule, 4) == [1, 0.5, 0.25, 0.125]
        state = schedule.state_dict()
        again = kind(one_group())
        again.load_state_dict(state)
        assert first_lrs(again, 2) == [0.125, 0.0625]
    o = one_group()
    assert first_lrs(SequentialLR(o, [OfRavine(o), OfRavine(o)], [2]), 4) == [1, 0.5, 1, 0.5]
    with pytest.raises(TypeError, match=r"schedulers\[1\] is a OfTorch, which overrides get_lr; define lr_at"):
        ChainedScheduler([OfRavine(o), OfTorch(o)])
    with pytest.raises(NotImplementedError, match="OfTorch: lr_at is not defined, so the schedule cannot look ahead"):
        OfTorch(o).lr_at(1)
