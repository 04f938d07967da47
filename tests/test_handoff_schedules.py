"""Schedules across the hand-overs of a Handoff."""

from __future__ import annotations

import copy
import gc
import pickle

import numpy as np
import pytest
from handoffs import AT, GRADS, STEPS, pair, run
from ravine import optim
from ravine.optim.lr_scheduler import (
    ChainedScheduler,
    ConstantLR,
    CosineAnnealingLR,
    CyclicLR,
    ExponentialLR,
    HyperparameterScheduler,
    LambdaLR,
    LinearLR,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
    WarmupLR,
)
from ravine.optim.swa_utils import SWALR


def pickled(objects):
    return pickle.loads(pickle.dumps(objects))


def halved(t):
    return 0.5**t


SCHEDULES = {
    "StepLR": lambda o: [StepLR(o, 3, gamma=0.5)],
    "LambdaLR": lambda o: [LambdaLR(o, halved)],
    "CosineAnnealingLR": lambda o: [CosineAnnealingLR(o, T_max=9)],
    "LinearLR": lambda o: [LinearLR(o, 0.25, total_iters=4)],
    "SequentialLR": lambda o: [SequentialLR(o, [ConstantLR(o, 0.1), ExponentialLR(o, 0.5)], milestones=[2])],
    "ChainedScheduler": lambda o: [ChainedScheduler([ConstantLR(o, 0.1, total_iters=2), ExponentialLR(o, 0.5)])],
    "WarmupLR": lambda o: [WarmupLR(ExponentialLR(o, 0.5), 3)],
    "ReduceLROnPlateau": lambda o: [ReduceLROnPlateau(o, patience=1, factor=0.5)],
    "OneCycleLR": lambda o: [OneCycleLR(o, max_lr=1.0, total_steps=9)],
    "CyclicLR": lambda o: [CyclicLR(o, 0.1, 0.8, step_size_up=3)],
    "SWALR": lambda o: [SWALR(o, 0.05, anneal_epochs=4)],
    "two at once": lambda o: [ConstantLR(o, 0.5, total_iters=3), ExponentialLR(o, 0.9)],
    "weight decay": lambda o: [HyperparameterScheduler(o, "weight_decay", StepLR, step_size=2)],
}


def held(optimizer):
    """Return what schedules move, and keep."""
    names = ("lr", "initial_lr", "momentum", "betas", "weight_decay")
    return [{name: group[name] for name in names if name in group} for group in optimizer.param_groups]


def stages(w):
    return [optim.Adam([w], lr=0.1, weight_decay=0.2), optim.SGD([w], lr=0.5, momentum=0.9, weight_decay=0.1)]


@pytest.mark.parametrize("make", SCHEDULES.values(), ids=SCHEDULES)
class TestSchedules:
    def test_each_stage_has_the_schedule_from_its_beginning(self, make):
        """As if it had been constructed over the stage alone."""
        w, alone = np.ones(5), np.ones(5)
        handoff = optim.Handoff(stages(w), at=[AT])
        schedules = make(handoff)
        for stage, part in zip(stages(alone), (GRADS[:AT], GRADS[AT:]), strict=True):
            expected = make(stage)
            for g in part:
                assert held(handoff) == held(stage)
                handoff.step([g])
                stage.step([g])
                for schedule in (*schedules, *expected):
                    plateau = isinstance(schedule, ReduceLROnPlateau)
                    schedule.step(*([1.0] if plateau else []))
            np.testing.assert_array_equal(w, alone)

    def test_switched_after_the_schedules_step(self, make):
        w, other = np.ones(5), np.ones(5)
        by_plan, by_hand = optim.Handoff(stages(w), at=[AT]), optim.Handoff(stages(other))
        plan, hand = make(by_plan), make(by_hand)
        expected = run(by_plan, GRADS, plan)
        lrs = run(by_hand, GRADS[:AT], hand)
        by_hand.switch()
        assert lrs + run(by_hand, GRADS[AT:], hand) == expected
        np.testing.assert_array_equal(w, other)

    def test_a_stage_that_returns_starts_again(self, make):
        """From its own learning rate, or, where the schedule is made for that, from what it has come to."""
        w = np.ones(5)
        handoff = optim.Handoff(stages(w))
        schedules = make(handoff)
        first = held(handoff)
        for steps in (0, 3):
            run(handoff, GRADS[:steps], schedules)
            left = held(handoff)
            handoff.switch(1)
            run(handoff, GRADS[:2], schedules)
            handoff.switch(0)
            expected = left if isinstance(schedules[0], SWALR | ReduceLROnPlateau) else first
            assert [group["lr"] for group in held(handoff)] == [group["lr"] for group in expected]
            assert schedules[0].last_epoch == 0

    @pytest.mark.parametrize("optimizer_first", [True, False])
    @pytest.mark.parametrize("at", range(STEPS))
    def test_resuming_is_exact(self, make, at, optimizer_first):
        straight = np.ones(5)
        whole = optim.Handoff(stages(straight), at=[AT])
        run(whole, GRADS, make(whole))
        w = np.ones(5)
        first = optim.Handoff(stages(w), at=[AT])
        schedules = make(first)
        run(first, GRADS[:at], schedules)
        saved = pickle.loads(pickle.dumps([first.state_dict(), *(s.state_dict() for s in schedules)]))
        resumed = w.copy()
        second = optim.Handoff([optim.Adam([resumed]), optim.SGD([resumed], momentum=0.5)], at=[AT])
        others = make(second)
        if optimizer_first:
            second.load_state_dict(saved[0])
        for schedule, state in zip(others, saved[1:], strict=True):
            schedule.load_state_dict(state)
        if not optimizer_first:
            second.load_state_dict(saved[0])
        run(second, GRADS[at:], others)
        np.testing.assert_array_equal(resumed, straight)
        assert held(second) == held(whole)
        assert second.stage == whole.stage

    @pytest.mark.parametrize(
        "make_copy", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))], ids=["copy", "pickle"]
    )
    @pytest.mark.parametrize("at", [3, AT, 10])
    def test_copies_go_on_alone(self, make, make_copy, at):
        w = np.ones(5)
        handoff = optim.Handoff(stages(w), at=[AT])
        schedules = make(handoff)
        run(handoff, GRADS[:at], schedules)
        other, others = make_copy((handoff, schedules))
        (theirs,) = (p.data for p in other.param_groups[0]["params"])
        lrs = run(other, GRADS[at:], others)
        assert run(handoff, GRADS[at:], schedules) == lrs
        np.testing.assert_array_equal(theirs, w)
        assert theirs is not w


def test_looking_ahead_and_jumping_count_from_the_stages_beginning():
    handoff = optim.Handoff(pair(np.ones(5)), at=[AT])
    schedule = StepLR(handoff, 2, gamma=0.5)
    assert schedule.lr_at(4) == [0.025]
    run(handoff, GRADS[: AT + 1], [schedule])
    assert schedule.last_epoch == 1
    assert schedule.lr_at(4) == [0.125]
    schedule.step(2)
    assert handoff.param_groups[0]["lr"] == 0.25


def test_schedules_once_an_epoch():
    """The hand-over is in the middle of the second epoch: the new stage begins at its own step 0 at once."""
    handoff = optim.Handoff(pair(np.ones(5)), at=[6])
    schedule = ExponentialLR(handoff, 0.5)
    lrs = []
    for epoch in range(4):
        lrs += run(handoff, GRADS[4 * epoch : 4 * epoch + 4])
        schedule.step()
    assert lrs == [0.1] * 4 + [0.05] * 2 + [0.5] * 2 + [0.25] * 4 + [0.125] * 4


def test_a_learning_rate_set_by_hand_is_where_a_stage_begins():
    w = np.ones(5)
    handoff = optim.Handoff(pair(w))
    schedule = ExponentialLR(handoff, 0.5)
    handoff.optimizers[1].param_groups[0]["lr"] = 8.0
    handoff.switch()
    assert handoff.param_groups[0]["lr"] == 8
    run(handoff, GRADS[:2], [schedule])
    handoff.switch(0)
    handoff.optimizers[1].param_groups[0]["lr"] = 6.0
    handoff.switch(1)
    run(handoff, GRADS[:1], [schedule])
    assert handoff.param_groups[0]["lr"] == 3


def test_schedules_that_nobody_holds_are_forgotten():
    handoff = optim.Handoff(pair(np.ones(5)))
    ConstantLR(handoff, 0.5)
    gc.collect()
    handoff.switch()
    assert handoff.param_groups[0]["lr"] == 0.5
