"""Going on from saved states, and from `last_epoch`."""

from __future__ import annotations

import pickle

import pytest
from ravine.optim.lr_scheduler import (
    REXLR,
    ChainedScheduler,
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    CyclicLR,
    ExponentialLR,
    InverseSqrtLR,
    LambdaLR,
    LinearLR,
    MultiplicativeLR,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    SequentialLR,
    StepLR,
    WarmupLR,
)
from ravine.optim.swa_utils import SWALR
from schedule_cases import CASES, TOGETHER, make, ravine_optimizer, ravine_schedules, sequence
from schedule_cases import values as held
from schedule_helpers import IDS, Half, first_lrs, lrs, one_group


def resumed(case, states, order):
    """Return a new schedule that goes on from saved states, constructed and loaded in one of the possible orders."""
    of_optimizer, of_schedule = pickle.loads(states)
    s = ravine_schedules()
    optimizer = ravine_optimizer(case.optimizer, lrs=(1.0, 2.0))
    if order == "optimizer, schedule":
        optimizer.load_state_dict(of_optimizer)
        schedule = case.make(s, optimizer)
        schedule.load_state_dict(of_schedule)
    elif order == "schedule first":
        schedule = case.make(s, optimizer)
        schedule.load_state_dict(of_schedule)
        optimizer.load_state_dict(of_optimizer)
    elif order == "constructed first":
        schedule = case.make(s, optimizer)
        optimizer.load_state_dict(of_optimizer)
        schedule.load_state_dict(of_schedule)
    else:
        schedule = case.make(s, optimizer)
        schedule.load_state_dict(of_schedule)
    return schedule


ORDERS = ("optimizer, schedule", "schedule first", "constructed first", "schedule only")


@pytest.mark.parametrize("edited", [False, True], ids=["untouched", "edited"])
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_saved_and_resumed_at_every_step(case, edited):
    schedule = make(case)
    optimizer = schedule.optimizer
    saved, seen = [], []
    for k in range(216):
        if edited and k % 50 == 3:
            optimizer.param_groups[0]["lr"] = 0.3  # between the last step and saving, too
        seen.append((held(optimizer), schedule.get_last_lr(), schedule.last_epoch))
        if k <= 200:
            saved.append(pickle.dumps((optimizer.state_dict(), schedule.state_dict())))
        schedule.step()
    for k, states in enumerate(saved):
        again = resumed(case, states, ORDERS[k % 4])
        assert again.lr_at(k) == schedule.lr_at(k)
        for t in range(k, k + (15 if k % 10 == 0 else 4)):
            if edited and t % 50 == 3 and t > k:
                again.optimizer.param_groups[0]["lr"] = 0.3
            assert (held(again.optimizer), again.get_last_lr(), again.last_epoch) == seen[t], (k, t)
            again.step()


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("together", range(len(TOGETHER)))
def test_several_schedules_saved_and_resumed(together, order):
    def construct():
        optimizer = ravine_optimizer()
        return optimizer, TOGETHER[together](ravine_schedules(), optimizer)

    def run(optimizer, schedules, steps):
        seen = []
        for _ in range(steps):
            seen.append(lrs(optimizer))
            for schedule in schedules:
                schedule.step()
        return seen

    optimizer, schedules = construct()
    run(optimizer, schedules, 13)
    saved = pickle.loads(pickle.dumps((optimizer.state_dict(), [s.state_dict() for s in schedules])))
    again, others = construct()
    if order in ("optimizer, schedule", "constructed first"):
        again.load_state_dict(saved[0])
    if order == "optimizer, schedule":
        others = TOGETHER[together](ravine_schedules(), again)
    for other, state in zip(others, saved[1], strict=True):
        other.load_state_dict(state)
    if order == "schedule first":
        again.load_state_dict(saved[0])
    assert run(again, others, 20) == run(optimizer, schedules, 20)


def test_continuing_by_last_epoch():
    kinds = {
        StepLR: {"step_size": 3},
        MultiStepLR: {"milestones": [2, 7]},
        LinearLR: {"total_iters": 9},
        ExponentialLR: {"gamma": 0.9},
        PolynomialLR: {"total_iters": 30},
        CosineAnnealingLR: {"T_max": 7, "eta_min": 0.01},
        CosineAnnealingWarmRestarts: {"T_0": 3, "T_mult": 2},
        LambdaLR: {"lr_lambda": lambda t: 1 / (1 + t)},
        MultiplicativeLR: {"lr_lambda": lambda t: 1 / (1 + t)},
        CyclicLR: {"base_lr": 0.1, "max_lr": 1, "step_size_up": 3},
        OneCycleLR: {"max_lr": 1, "total_steps": 20},
        SWALR: {"swa_lr": 0.3},
        InverseSqrtLR: {"warmup_steps": 4},
        REXLR: {"total_steps": 20},
    }
    for kind, arguments in kinds.items():
        optimizer = ravine_optimizer()
        schedule = kind(optimizer, **arguments)
        for _ in range(6):
            schedule.step()
        saved = optimizer.state_dict()
        other = ravine_optimizer(lrs=(1.0, 1.0))
        other.load_state_dict(saved)
        again = kind(other, **arguments, last_epoch=5)
        exact = kind is not SWALR
        for _ in range(10):
            assert again.last_epoch == schedule.last_epoch
            assert held(other) == (held(optimizer) if exact else pytest.approx(held(optimizer), rel=1e-14)), kind
            schedule.step()
            again.step()


def test_continuing_keeps_what_was_changed_by_hand():
    o = one_group()
    schedule = ExponentialLR(o, 0.5)
    schedule.step()
    o.param_groups[0]["lr"] = 3.0
    again = ExponentialLR(o, 0.5, last_epoch=0)
    assert first_lrs(again, 3) == [3, 1.5, 0.75]


def test_continuing_where_the_learning_rate_is_still_the_initial_one():
    o = one_group()
    o.param_groups[0]["initial_lr"] = 1.0
    assert first_lrs(ExponentialLR(o, 0.5, last_epoch=2), 2) == [0.125, 0.0625]


def test_continuing_compositions():
    o = one_group()
    make_parts = lambda: [ConstantLR(o, 0.5, 9), ExponentialLR(o, 0.5)]  # noqa: E731
    assert first_lrs(SequentialLR(o, make_parts(), [2], last_epoch=2), 2) == [0.5, 0.25]
    assert first_lrs(WarmupLR(ExponentialLR(o, 0.5), 2, last_epoch=2), 2) == [0.5, 0.25]


def test_resuming_restores_the_arguments_too():
    pairs = [
        (lambda o: StepLR(o, 3, 0.1), lambda o: StepLR(o, 1, 0.005)),
        (lambda o: MultiStepLR(o, [2, 5, 9]), lambda o: MultiStepLR(o, [1, 4], 0.01)),
        (lambda o: PolynomialLR(o, 9, eta_min=0.01), PolynomialLR),
        (lambda o: CosineAnnealingLR(o, 10, 1e-3), lambda o: CosineAnnealingLR(o, 5)),
        (lambda o: CosineAnnealingWarmRestarts(o, 4, 2), lambda o: CosineAnnealingWarmRestarts(o, 100)),
        (lambda o: CyclicLR(o, 0.1, [1, 2], 3), lambda o: CyclicLR(o, 1, 2, 50, cycle_momentum=False)),
        (lambda o: OneCycleLR(o, [1, 2], 30, three_phase=True), lambda o: OneCycleLR(o, 0.1, 5)),
        (lambda o: SWALR(o, [0.1, 0.2], 5), lambda o: SWALR(o, 1, anneal_strategy="linear")),
        (lambda o: WarmupLR(StepLR(o, 3), 5), lambda o: WarmupLR(StepLR(o, 1), 2)),
        (
            lambda o: SequentialLR(o, [LinearLR(o), StepLR(o, 3)], [4]),
            lambda o: SequentialLR(o, [LinearLR(o, 0.9), StepLR(o, 2)], [30]),
        ),
        (
            lambda o: ChainedScheduler([PolynomialLR(o, 30, eta_min=0.01), StepLR(o, 3)]),
            lambda o: ChainedScheduler([PolynomialLR(o), StepLR(o, 2)]),
        ),
        (lambda o: LambdaLR(o, Half(0.9)), lambda o: LambdaLR(o, Half())),
        (lambda o: MultiplicativeLR(o, Half(0.99)), lambda o: MultiplicativeLR(o, Half())),
    ]
    for construct, otherwise in pairs:
        schedule = construct(ravine_optimizer())
        for _ in range(7):
            schedule.step()
        other = otherwise(ravine_optimizer())
        other.lr_at(20)
        other.load_state_dict(schedule.state_dict())
        assert sequence(other, 12) == sequence(schedule, 12)
        assert other.state_dict() == schedule.state_dict()
