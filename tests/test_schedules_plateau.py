"""ReduceLROnPlateau, alone and as a part."""

from __future__ import annotations

import math
import pickle
import random

import numpy as np
import pytest
from ravine import optim
from ravine.optim.lr_scheduler import ChainedScheduler, ExponentialLR, ReduceLROnPlateau, SequentialLR, StepLR, WarmupLR
from schedule_cases import ravine_optimizer
from schedule_helpers import lrs, one_group


def run_plateau(schedule, metrics):
    seen = []
    for metric in metrics:
        schedule.step(metric)
        seen.append(lrs(schedule.optimizer)[0])
    return seen


def test_plateau_follows_the_metric():
    schedule = ReduceLROnPlateau(one_group(), factor=0.5, patience=1, cooldown=2, min_lr=0.2)
    assert run_plateau(schedule, [1.0] * 12) == [1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.2, 0.2]
    assert schedule.in_cooldown
    assert schedule.last_epoch == 12


def test_plateau_takes_nan_for_bad():
    schedule = ReduceLROnPlateau(one_group(), factor=0.5, patience=0)
    assert run_plateau(schedule, [1.0, math.nan, 0.5, math.nan, np.float32(0.25), np.array([0.3])]) == [
        1, 0.5, 0.5, 0.25, 0.25, 0.125,
    ]  # fmt: skip


def test_plateau_leaves_out_tiny_reductions():
    schedule = ReduceLROnPlateau(one_group(1e-8), factor=0.5, patience=0)
    assert run_plateau(schedule, [1.0, 1.0]) == [1e-8, 1e-8]


@pytest.mark.parametrize(("mode", "mode_of_threshold"), [(m, t) for m in ("min", "max") for t in ("rel", "abs")])
def test_plateau_is_the_same_upside_down(mode, mode_of_threshold):
    """The mode of the other direction, with the metrics negated, does the same."""
    rng = random.Random(0)
    metrics = [rng.gauss(0, 1) + 3 / (1 + t) for t in range(60)]
    schedules = [
        ReduceLROnPlateau(one_group(), m, 0.5, 2, 0.1, mode_of_threshold, 1)
        for m in (mode, {"min": "max"}.get(mode, "min"))
    ]
    assert run_plateau(schedules[0], metrics) == run_plateau(schedules[1], [-metric for metric in metrics])
    assert lrs(schedules[0].optimizer)[0] < 1


def test_plateau_resumes_at_every_step():
    rng = random.Random(1)
    metrics = [rng.random() for _ in range(260)]
    arguments = {"factor": 0.9, "patience": 3, "cooldown": 2}
    schedule = ReduceLROnPlateau(one_group(), **arguments)
    saved, seen = [], []
    for metric in metrics:
        saved.append(pickle.dumps((schedule.optimizer.state_dict(), schedule.state_dict())))
        seen += run_plateau(schedule, [metric])
    for k, states in enumerate(saved[:201]):
        of_optimizer, of_schedule = pickle.loads(states)
        again = ReduceLROnPlateau(one_group(), mode="max", patience=1) if k % 2 else ReduceLROnPlateau(one_group())
        again.load_state_dict(of_schedule)
        if k % 3:
            again.optimizer.load_state_dict(of_optimizer)
        assert run_plateau(again, metrics[k : k + 30]) == seen[k : k + 30]


def test_plateau_and_added_groups():
    optimizer = ravine_optimizer()
    scalar = ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
    listed = ReduceLROnPlateau(optimizer, factor=0.5, patience=0, min_lr=[0.01, 0.4])
    optimizer.add_param_group({"params": [np.zeros(1)], "lr": 2})
    run_plateau(scalar, [1.0, 1.0])
    assert lrs(optimizer) == [0.025, 0.25, 1.0]
    with pytest.raises(RuntimeError, match="3 parameter groups, min_lr 2 values; append one to min_lrs for each group"):
        listed.step(1.0)
    listed.min_lrs.append(0.9)
    run_plateau(listed, [1.0, 1.0])
    assert lrs(optimizer) == [0.0125, 0.25, 0.9]


def test_plateau_beside_another_schedule():
    o = one_group()
    plateau, other = ReduceLROnPlateau(o, factor=0.5, patience=0), ExponentialLR(o, 0.5)
    seen = []
    for metric in (3, 2, 2, 1):
        plateau.step(metric)
        other.step()
        seen.append(lrs(o)[0])
    assert seen == [0.5, 0.25, 0.0625, 0.03125]


def test_plateau_in_compositions():
    o = one_group()
    chain = ChainedScheduler([ExponentialLR(o, 0.5), ReduceLROnPlateau(o, factor=0.5, patience=0)])
    for metric in (3, 2, 2, 1):
        chain.step(metrics=metric)
    assert lrs(o) == [0.03125]
    for look in (chain.lr_at, chain.step):
        with pytest.raises(ValueError, match="ChainedScheduler: the learning rate at t=3 depends on the metrics"):
            look(3)
    assert (chain.lr_at(0), lrs(o)) == ([1.0], [0.03125])
    saved = chain.state_dict()
    p = one_group()
    again = ChainedScheduler([ExponentialLR(p, 0.5), ReduceLROnPlateau(p, factor=0.5, patience=0)])
    again.load_state_dict(saved)
    for schedule in (chain, again):
        schedule.step(metrics=2)
    assert lrs(o) == lrs(p) == [0.0078125]
    warm = WarmupLR(ReduceLROnPlateau(q := one_group(), factor=0.5, patience=0), 2)
    seen = []
    for _ in range(5):
        seen.append(lrs(q)[0])
        warm.step(metrics=1)
    assert seen == [0, 0.5, 1, 1, 0.5]
    before = warm.state_dict()
    with pytest.raises(
        TypeError, match=r"metrics=None .* Call step\(metrics=loss\) on the schedule that contains this"
    ):
        warm.step()
    with pytest.raises(ValueError, match=r"the learning rate at t=7 depends on the metrics"):
        warm.step(9)
    assert warm.state_dict() == before
    warm.step(0)
    assert (lrs(q), warm.lr_at(1)) == ([0], [0.5])
    r = one_group()
    early = SequentialLR(r, [ReduceLROnPlateau(r, factor=0.5, patience=0), StepLR(r, 2, 0.5)], [3])
    seen = []
    for _ in range(6):
        seen.append(lrs(r)[0])
        early.step(metrics=1)
    assert seen == [1, 1, 0.5, 1, 1, 0.5]


def test_what_is_better_than_a_negative_best():
    """The margin lies on the side of what is better, whatever the sign."""
    schedule = ReduceLROnPlateau(optim.SGD([np.zeros(2)]), threshold=0.1)
    found = []
    for loss in (-1.0, -1.05, -1.15):
        schedule.step(loss)
        found.append(schedule.best)
    assert found == [-1.0, -1.0, -1.15]
