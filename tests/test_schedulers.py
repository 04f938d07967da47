"""Every schedule: its formula, stepping, looking ahead, state. What needs torch is in test_schedulers_torch.py."""

from __future__ import annotations

import copy
import json
import math
import pickle
import random
import subprocess
import sys
import tracemalloc
import warnings
from fractions import Fraction
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from ravine import optim
from ravine.optim.lr_scheduler import (
    REXLR,
    ChainedScheduler,
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    CosineHardRestartsLR,
    CosineWarmupLR,
    CyclicLR,
    ExponentialLR,
    HyperparameterScheduler,
    InverseSqrtLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    MultiplicativeLR,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
    WarmupLR,
    WarmupStableDecayLR,
)
from ravine.optim.swa_utils import SWALR
from schedule_cases import (
    CASES,
    TOGETHER,
    TORCH_CASES,
    make,
    ravine_optimizer,
    ravine_schedules,
    sequence,
)
from schedule_cases import values as held

IDS = [case.id for case in CASES]
GOLDEN = Path(__file__).parent / "golden" / "schedules" / "torch.npz"


@pytest.fixture
def optimizer():
    return ravine_optimizer()


def one_group(lr=1.0):
    return ravine_optimizer(lrs=(lr,))


def lrs(optimizer):
    return [group["lr"] for group in optimizer.param_groups]


def first_lrs(schedule, steps):
    """Return the learning rate of the first group at steps 0, 1, ..."""
    return [values[0] for values in sequence(schedule, steps)]


def test_every_public_schedule_is_in_the_table():
    public = set(optim.lr_scheduler.__all__) | set(optim.swa_utils.__all__)
    assert {case.name for case in CASES} == public - {"LRScheduler", "HyperparameterScheduler", "ReduceLROnPlateau"}


# --- torch's values


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(GOLDEN))


def test_the_golden_values_are_of_the_table(golden):
    """Whoever adds a configuration has to run golden/schedules/generate.py."""
    assert json.loads(str(golden["names"])) == [case.name for case in TORCH_CASES]


@pytest.mark.parametrize("i", range(len(TORCH_CASES)), ids=[case.id for case in TORCH_CASES])
def test_golden_values(i, golden):
    theirs = golden[str(i)]
    assert len(theirs) >= 10
    ours = sequence(make(TORCH_CASES[i]), len(theirs))
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


def test_the_code_of_the_course():
    """As in the course, but for the import; the list is torch's (test_schedulers_torch.py)."""
    from ravine.nn import Parameter
    from ravine.optim import SGD
    from ravine.optim.lr_scheduler import LambdaLR

    model = [Parameter(np.zeros((1, 1)))]
    optimizer = SGD(model, lr=100)
    scheduler = LambdaLR(optimizer, lr_lambda=lambda epoch: 0.65**epoch)
    seen = []
    for _ in range(10):
        optimizer.step()
        seen.append(optimizer.param_groups[0]["lr"])
        scheduler.step()
    assert seen == [100 * 0.65**epoch for epoch in range(10)]


# --- one definition


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


def test_fractions_of_a_step(optimizer):
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
def test_where_there_are_no_fractions(optimizer, schedule):
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


# --- what torch does wrong (2.13.0), each with the right value by exact arithmetic


class TestFaultsOfTorch:
    @pytest.mark.parametrize("strategy", ["linear", "cos"])
    def test_one_cycle_does_not_leave_its_end(self, strategy):
        """Stepped total_steps times; torch gives .0495 (cos) and -.143 (linear)."""
        schedule = OneCycleLR(one_group(), max_lr=1, total_steps=10, anneal_strategy=strategy)
        seen = first_lrs(schedule, 20)
        start, end = Fraction(1, 25), Fraction(1, 250_000)
        top = Fraction(3, 10) * 10 - 1
        for t, lr in enumerate(seen):
            up = min(Fraction(t) / top, 1)
            down = max(Fraction(0), min((t - top) / (9 - top), Fraction(1)))
            share = (
                [up, down] if strategy == "linear" else [Fraction((1 - math.cos(math.pi * x)) / 2) for x in (up, down)]
            )
            right = start + (1 - start) * share[0] - (1 - end) * share[1]
            assert lr == pytest.approx(float(right), rel=1e-12, abs=1e-16)
        assert seen[9:] == [float(end)] * 11

    def test_one_cycle_whose_ascent_is_one_step_long(self):
        """pct_start total_steps = 1: the ascent ends at step 0; torch divides by zero."""
        schedule = OneCycleLR(one_group(), max_lr=1, total_steps=10, pct_start=0.1, anneal_strategy="linear")
        end = Fraction(1, 250_000)
        right = [float(1 - (1 - end) * Fraction(t, 9)) for t in range(10)]
        np.testing.assert_allclose(first_lrs(schedule, 10), right, rtol=1e-13)
        assert schedule.lr_at(0) == [1.0]
        assert OneCycleLR(one_group(), 1, 1).lr_at(0) == [1 / 25 / 1e4]
        assert OneCycleLR(one_group(), 1, 10, pct_start=0.1, three_phase=True).lr_at(0) == [1.0]

    @pytest.mark.parametrize("T_mult", [2, 3, 5, 10])
    @pytest.mark.parametrize("T_0", [1, 5, 7])
    def test_warm_restarts_miss_none(self, T_0, T_mult):
        """torch finds the cycle with a logarithm: T_0=1, T_mult=3, epoch 121 gives 0 instead of initial_lr."""
        schedule = CosineAnnealingWarmRestarts(one_group(), T_0, T_mult, eta_min=0.25)
        for i in range(1, 15):
            restart = T_0 * (T_mult**i - 1) // (T_mult - 1)
            schedule.step(restart)
            assert (lrs(schedule.optimizer), schedule.T_cur, schedule.T_i) == ([1.0], 0, T_0 * T_mult**i)
            schedule.step(restart - 1)
            length = T_0 * T_mult ** (i - 1)
            assert (schedule.T_cur, schedule.T_i) == (length - 1, length)
            schedule.step()
            assert lrs(schedule.optimizer) == [1.0]

    def test_warm_restarts_continued(self):
        """last_epoch=11, T_0=5, T_mult=2: step 12 is the 7th of the cycle from 5 to 15; torch takes it for the 2nd."""
        optimizer = one_group()
        optimizer.param_groups[0]["initial_lr"] = 1.0
        schedule = CosineAnnealingWarmRestarts(optimizer, T_0=5, T_mult=2, last_epoch=11)
        assert (schedule.T_cur, schedule.T_i, schedule.last_epoch) == (7, 10, 12)
        assert lrs(optimizer) == CosineAnnealingWarmRestarts(one_group(), 5, 2).lr_at(12)
        schedule.step(15 + 20 / 3)  # a third down: (1 + cos(pi / 3)) / 2 = 3 / 4
        assert lrs(optimizer) == [pytest.approx(0.75, rel=1e-15)]

    def test_a_cyclic_state_loads_twice(self):
        """torch raises KeyError the second time."""
        make_one = lambda: CyclicLR(one_group(), 0.25, 1, 4, scale_fn=lambda cycle: 1 / cycle)  # noqa: E731
        schedule, other = make_one(), make_one()
        for _ in range(9):
            schedule.step()
        state = schedule.state_dict()
        for _ in range(2):
            other.load_state_dict(state)
            assert lrs(other.optimizer) == [float(Fraction(1, 4) + Fraction(3, 4) * Fraction(1, 4) / 2)]

    def test_compositions_as_later_stages(self):
        """torch raises NotImplementedError."""
        o = one_group()
        inner = SequentialLR(o, [ConstantLR(o, 0.5, 9), ExponentialLR(o, 0.5)], [2])
        chained = ChainedScheduler([ConstantLR(o, 0.25, 2), StepLR(o, 2, 0.5)])
        schedule = SequentialLR(o, [ConstantLR(o, 0.125, 9), inner, chained], [2, 6])
        right = [Fraction(1, 8)] * 2 + [Fraction(1, 2)] * 2 + [Fraction(1), Fraction(1, 2)]
        right += [Fraction(1, 4)] * 2 + [Fraction(1, 2)] * 2 + [Fraction(1, 4)] * 2
        assert first_lrs(schedule, 12) == [float(lr) for lr in right]

    def test_a_composition_as_first_stage_begins_at_its_beginning(self):
        """torch runs it one step early."""
        o = one_group()
        inner = SequentialLR(o, [ConstantLR(o, 0.5, 9), ExponentialLR(o, 0.5)], [2])
        schedule = SequentialLR(o, [inner, ConstantLR(o, 0.125, 9)], [5])
        assert first_lrs(schedule, 7) == [0.5, 0.5, 1.0, 0.5, 0.25, 0.125, 0.125]

    def test_multiplicative_as_a_later_stage(self):
        """torch lets it inherit what the stage before has left."""
        o = one_group()
        schedule = SequentialLR(o, [ConstantLR(o, 0.25, 9), MultiplicativeLR(o, lambda t: 0.5)], [2])
        assert first_lrs(schedule, 5) == [0.25, 0.25, 1.0, 0.5, 0.25]

    def test_plateau_as_a_stage(self):
        """torch refuses it."""
        o = one_group()
        schedule = SequentialLR(
            o, [LinearLR(o, 0.25, total_iters=3), ReduceLROnPlateau(o, factor=0.5, patience=1)], [3]
        )
        seen = []
        for _ in range(9):
            seen.append(lrs(o)[0])
            schedule.step(metrics=1.0)
        # The metric of the last step of the ramp is not the plateau's; then 1 that is best, and 2 that are not, reduce.
        assert seen == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 0.5, 0.5, 0.25]

    def test_constant_factor_0(self):
        """torch divides by zero at its end."""
        assert first_lrs(ConstantLR(one_group(), factor=0, total_iters=3), 5) == [0, 0, 0, 1, 1]
        o = one_group()
        chained = ChainedScheduler([ExponentialLR(o, 0.5), ConstantLR(o, 0, 3)])
        assert first_lrs(chained, 5) == [0, 0, 0, 0.125, 0.0625]

    @pytest.mark.parametrize(("mode", "sign"), [("min", 1), ("max", -1)])
    def test_the_plateaus_margin_for_negative_metrics(self, mode, sign):
        """Better by a tenth of |best|: below -1.1 where best is -1. torch takes -0.95 for better."""
        o = one_group()
        schedule = ReduceLROnPlateau(o, mode, factor=0.5, patience=0, threshold=0.1)
        seen = []
        for metric in (-1, -1.0625, -1.125, -1.2, -1.25):
            schedule.step(sign * metric)
            seen.append((schedule.best, lrs(o)[0]))
        best = [-1, -1, -1.125, -1.125, -1.25]
        assert seen == [(sign * b, lr) for b, lr in zip(best, (1, 0.5, 0.5, 0.25, 0.25), strict=True)]

    @pytest.mark.parametrize("eta_min", [0, 0.25])
    def test_a_new_cosine_after_a_finished_one(self, eta_min):
        """torch stays at eta_min."""
        o = one_group()
        first = CosineAnnealingLR(o, T_max=2, eta_min=eta_min)
        assert first_lrs(first, 3) == [1, pytest.approx((1 + eta_min) / 2, rel=1e-15), eta_min]
        second = CosineAnnealingLR(o, T_max=2, eta_min=eta_min)
        assert first_lrs(second, 3) == [1, pytest.approx((1 + eta_min) / 2, rel=1e-15), eta_min]

    def test_no_learning_rate_is_negative(self):
        """A cosine drives what a decay has brought below its floor further down, in torch below 0."""
        o = one_group()
        chained = ChainedScheduler([CosineAnnealingLR(o, 2, 0.25), ExponentialLR(o, 0.5)])
        # 1; (1/4 + 3/4 / 2) / 2; 1/4 / 2; then 3/8 (the way up from the minimum) is added; past the top it goes on.
        assert first_lrs(chained, 4) == pytest.approx([1, 0.3125, 0.125, 0.25], rel=1e-15)
        below = SequentialLR(o, [ConstantLR(o)], [])
        assert below.lr_at(0) == [float(Fraction(1, 3))]
        for floor in (0.25, 0.5, 0.9):
            chained = ChainedScheduler([CosineAnnealingLR(o, 3, floor), StepLR(o, 2, 0.01)])
            assert min(first_lrs(chained, 50)) == 0

    def test_functions_are_not_exchanged_for_objects(self):
        """torch fails with an AttributeError, or sets attributes of the function."""
        saved = LambdaLR(one_group(), Half()).state_dict()
        other = LambdaLR(one_group(), lambda t: 1.0)
        with pytest.raises(ValueError, match=r"holds the attributes \['by'\] of an object, .* with a plain function"):
            other.load_state_dict(saved)

    def test_ramps_of_no_length(self):
        """torch divides by zero, or stays at the first factor."""
        assert first_lrs(LinearLR(one_group(), 0.5, 0.25, total_iters=0), 3) == [0.25] * 3
        assert first_lrs(ConstantLR(one_group(), 0.5, total_iters=0), 3) == [1.0] * 3

    def test_one_cycle_does_not_change_what_comes_before_it(self):
        """In torch the first stage starts from OneCycleLR's initial learning rate."""
        o = one_group()
        schedule = SequentialLR(o, [ConstantLR(o, 0.5, 9), OneCycleLR(o, 0.75, 5)], [2])
        assert first_lrs(schedule, 3) == [0.5, 0.5, float(Fraction(3, 4) / 25)]

    def test_swalr_continued(self):
        """torch begins the annealing anew."""
        o = one_group()
        schedule = SWALR(o, swa_lr=0.5, anneal_epochs=4, anneal_strategy="linear")
        assert first_lrs(schedule, 3) == [1, 0.875, 0.75]
        again = SWALR(o, 0.5, 4, "linear", last_epoch=1)
        assert first_lrs(again, 4) == [0.75, 0.625, 0.5, 0.5]


class Half:
    def __init__(self, by=0.5):
        self.by = by

    def __call__(self, t):
        return self.by**t


# --- several schedules, and hands


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


def test_a_hand_edit_of_one_group_leaves_the_others_exact(optimizer):
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


def test_a_broken_hand_edit_changes_nothing(optimizer):
    schedule = ExponentialLR(optimizer, 0.5)
    schedule.step()
    optimizer.param_groups[1]["lr"] = "fast"
    with pytest.raises(TypeError):
        schedule.step()
    assert (optimizer.param_groups[0]["lr"], schedule.last_epoch) == (0.025, 1)


def test_a_function_that_fails_changes_nothing(optimizer):
    def function(t):
        return 1 / (2 - t)

    for kind in (LambdaLR, MultiplicativeLR):
        schedule = kind(optimizer, [lambda t: 0.5, function])
        schedule.step()
        before = lrs(optimizer), schedule.last_epoch, schedule.get_last_lr()
        with pytest.raises(ZeroDivisionError):
            schedule.step()
        assert (lrs(optimizer), schedule.last_epoch, schedule.get_last_lr()) == before


def test_schedules_made_together_join(optimizer):
    LinearLR(optimizer, 0.4)
    ConstantLR(optimizer, 0.5)
    StepLR(optimizer, 3)
    assert lrs(optimizer) == [0.05 * 0.4 * 0.5, 0.5 * 0.4 * 0.5]
    assert [group["initial_lr"] for group in optimizer.param_groups] == [0.05, 0.5]


def test_a_schedule_made_later_takes_over(optimizer):
    old = ExponentialLR(optimizer, 0.5)
    old.step()
    new = StepLR(optimizer, 2, 0.5)
    assert lrs(optimizer) == [0.05, 0.5]
    assert [values[1] for values in sequence(new, 3)] == [0.5, 0.5, 0.25]


def test_a_schedule_made_later_starts_from_what_was_set_by_hand(optimizer):
    ExponentialLR(optimizer, 0.5).step()
    optimizer.param_groups[0]["lr"] = 8.0
    new = ExponentialLR(optimizer, 0.5)
    assert new.base_lrs == [8.0, 0.5]
    assert [group["initial_lr"] for group in optimizer.param_groups] == [8.0, 0.5]
    new.step()
    assert lrs(optimizer) == [4.0, 0.25]


def test_chaining_in_another_order_than_construction_is_exact():
    o = ravine_optimizer(lrs=(0.1, 0.7))
    parts = [ConstantLR(o, 0.3), LinearLR(o, 0.7), ConstantLR(o, 0.9, 3)]
    schedule = ChainedScheduler(parts[::-1])
    for t in range(9):
        assert lrs(o) == schedule.lr_at(t)
        schedule.step()


def test_chaining_schedules_that_have_stepped():
    o = one_group()
    parts = [ExponentialLR(o, 0.5), StepLR(o, 3, 0.5)]
    for _ in range(2):
        parts[0].step()
    schedule = ChainedScheduler(parts)
    assert first_lrs(schedule, 4) == [0.25, 0.125, 0.0625, 0.015625]
    assert [part.last_epoch for part in parts] == [5, 3]


def test_parts_know_where_they_are():
    o = one_group()
    parts = [ConstantLR(o, 0.5, 9), ExponentialLR(o, 0.5)]
    schedule = SequentialLR(o, parts, [3])
    for _ in range(5):
        schedule.step()
    assert parts[1].last_epoch == 2
    assert parts[1].get_last_lr() == schedule.get_last_lr() == [0.25]


def test_stages_give_no_warnings():
    optimizer = optim.SGD([np.zeros(1)], lr=1)
    schedule = SequentialLR(optimizer, [LinearLR(optimizer, 0.5), ExponentialLR(optimizer, 0.9)], [5])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(10):
            optimizer.step([np.ones(1)])
            schedule.step()


def test_momentum_moves_within_a_sequence():
    o = one_group()
    schedule = SequentialLR(o, [ConstantLR(o), OneCycleLR(o, 1, 10), WarmupLR(CyclicLR(o, 0.1, 1, 2), 3)], [3, 13])
    momenta = [momentum for _, momentum in sequence(schedule, 20)]
    assert momenta[3:13] == [schedule.momentum_at(t)[0] for t in range(3, 13)]
    assert min(momenta[3:13]) == 0.85
    assert momenta[13:17] == [0.9] * 4
    assert momenta[18] == pytest.approx(0.8)


def test_betas_keep_the_second():
    o = ravine_optimizer("AdamW")
    OneCycleLR(o, 1, 10).step(2)
    assert [group["betas"] for group in o.param_groups] == [(0.85, 0.999)] * 2


def test_groups_that_came_later_keep_theirs(optimizer):
    schedule = SequentialLR(optimizer, [LinearLR(optimizer), CyclicLR(optimizer, 0.1, 1, 3)], [2])
    optimizer.add_param_group({"params": [np.zeros(1)], "lr": 7})
    for t in range(1, 8):
        schedule.step()
        assert lrs(optimizer) == [*schedule.lr_at(t), 7]
    assert optimizer.param_groups[2]["momentum"] == 0.9


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


# --- state


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


def test_a_state_is_a_copy():
    function = Half()
    function.history = []
    schedule = SequentialLR(o := one_group(), [LambdaLR(o, function), MultiStepLR(o, [3])], [4])
    state = schedule.state_dict()
    before = copy.deepcopy(state)
    function.history.append(1)
    schedule._schedulers[1].milestones.append(5)
    schedule.step()
    assert state == before
    json.dumps(state)  # plain Python values throughout


def test_in_a_new_process(tmp_path):
    code = """
import pickle, sys
sys.path[:0] = {path!r}
from schedule_cases import CASES, held_sequences
pickle.dump(held_sequences(pickle.load(open({states!r}, "rb"))), open({output!r}, "wb"))
"""
    states, expected = {}, {}
    for i, case in enumerate(CASES):
        schedule = make(case)
        sequence(schedule, 12)
        states[i] = schedule.optimizer.state_dict(), schedule.state_dict()
        expected[i] = sequence(schedule, 12)
    files = [str(tmp_path / name) for name in ("states", "output")]
    Path(files[0]).write_bytes(pickle.dumps(states))
    path = [str(Path(__file__).parent), *sys.path]
    program = code.format(path=path, states=files[0], output=files[1])
    subprocess.run([sys.executable, "-c", program], check=True)
    assert pickle.loads(Path(files[1]).read_bytes()) == expected


def test_copies_go_their_own_way():
    schedule = SequentialLR(o := one_group(), [LinearLR(o), OneCycleLR(o, 1, 20)], [4])
    sequence(schedule, 7)
    for other in (copy.deepcopy(schedule), pickle.loads(pickle.dumps(schedule))):
        assert other.optimizer is not schedule.optimizer
        ahead = [schedule.lr_at(t) for t in range(6, 20)]
        assert [[lr] for lr in first_lrs(other, 14)] == ahead
    assert schedule.last_epoch == 6


def test_states_that_do_not_fit():
    two = ravine_optimizer()
    sequential = SequentialLR(two, [LinearLR(two), StepLR(two, 3)], [4])
    good = sequential.state_dict()
    inner = good["schedulers"][1]
    for change, text in (
        ({"milestones": [4, 5]}, r"SequentialLR.load_state_dict: milestones=\[4, 5\]; expected 1 of them"),
        ({"milestones": [0]}, r"milestones\[0\]=0; expected a whole number, 1 or more"),
        ({"schedulers": [inner]}, r"schedulers holds 1 states; expected 2"),
        ({"schedulers": [good["schedulers"][0], {**inner, "gamma": -1}]}, r"schedulers\[1\]: gamma=-1 is negative"),
        ({"last_epoch": -3}, r"epoch=-3; expected a finite number, 0 or more"),
        ({"step_size": 3}, r"unknown 'step_size'; load what state_dict\(\) of the same schedule returned"),
        ({"lr": [1.0]}, r"lr has 1 values; expected those of 2 groups"),
    ):
        with pytest.raises(ValueError, match=text):
            sequential.load_state_dict({**good, **change})
        assert sequential.state_dict() == good
    with pytest.raises(ValueError, match=r"StepLR.load_state_dict: 'step_size' is missing"):
        StepLR(two, 3).load_state_dict(ExponentialLR(ravine_optimizer(), 0.5).state_dict())
    cyclic = CyclicLR(ravine_optimizer(), 0.1, 1).state_dict()
    adagrad = optim.Adagrad([{"params": [np.zeros(1)]}, {"params": [np.zeros(1)]}])
    with pytest.raises(ValueError, match="cycle_momentum is True, but this optimizer has neither momentum nor betas"):
        CyclicLR(adagrad, 0.1, 1, cycle_momentum=False).load_state_dict(cyclic)


# --- compositions


LEAVES = st.sampled_from(
    [
        lambda o: StepLR(o, 3, 0.5),
        lambda o: MultiStepLR(o, [2, 2, 11], 0.7),
        lambda o: ConstantLR(o, 0.3, 4),
        lambda o: LinearLR(o, 0.2, 0.9, 6),
        lambda o: ExponentialLR(o, 0.93),
        lambda o: PolynomialLR(o, 15, 2),
        lambda o: PolynomialLR(o, 15, 2, eta_min=0.02),
        lambda o: CosineAnnealingLR(o, 6, 0.01),
        lambda o: CosineAnnealingLR(o, 4),
        lambda o: CosineAnnealingWarmRestarts(o, 3, 2),
        lambda o: LambdaLR(o, lambda t: 1 / (1 + t)),
        lambda o: MultiplicativeLR(o, lambda t: 0.9 if t % 2 else 1.0),
        lambda o: CyclicLR(o, 0.1, 1, 3, 2),
        lambda o: OneCycleLR(o, 0.5, 17),
        lambda o: SWALR(o, 0.07, 5),
        lambda o: InverseSqrtLR(o, 4),
        lambda o: WarmupStableDecayLR(o, 3, 4, 5),
        lambda o: CosineWarmupLR(o, 3, 20, eta_min=0.01),
        lambda o: CosineHardRestartsLR(o, 2, 14, 2),
        lambda o: REXLR(o, 20),
    ]
)


def chained(parts):
    return lambda o: ChainedScheduler([part(o) for part in parts])


def in_sequence(parts, gaps):
    milestones = [sum(gaps[: i + 1]) for i in range(len(parts) - 1)]
    return lambda o: SequentialLR(o, [part(o) for part in parts], milestones)


def warmed_up(part, steps, start):
    return lambda o: WarmupLR(part(o), steps, start)


COMPOSITIONS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(chained, st.lists(inner, min_size=1, max_size=3)),
        st.builds(
            in_sequence,
            st.lists(inner, min_size=1, max_size=4),
            st.lists(st.integers(1, 12), min_size=3, max_size=3),
        ),
        st.builds(warmed_up, inner, st.integers(0, 6), st.sampled_from([0.0, 0.25])),
    ),
    max_leaves=8,
)


@given(construct=COMPOSITIONS, k=st.integers(0, 45), jump=st.integers(0, 60))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
def test_random_compositions(construct, k, jump):
    schedule, ahead = construct(ravine_optimizer()), construct(ravine_optimizer())
    optimizer = schedule.optimizer
    seen = []
    for t in range(60):
        assert lrs(optimizer) == ahead.lr_at(t)
        if ahead.momentum_at(t) is not None:
            assert held(optimizer)[2:] == ahead.momentum_at(t)
        if t == k:
            states = pickle.dumps((optimizer.state_dict(), schedule.state_dict()))
        seen.append(held(optimizer))
        schedule.step()
    of_optimizer, of_schedule = pickle.loads(states)
    other = ravine_optimizer(lrs=(1.0, 1.0))
    if jump % 2:
        other.load_state_dict(of_optimizer)
        again = construct(other)
        again.load_state_dict(of_schedule)
    else:
        again = construct(other)
        again.load_state_dict(of_schedule)
        other.load_state_dict(of_optimizer)
    for t in range(k, 60):
        assert held(other) == seen[t]
        again.step()
    again.step(jump)
    assert lrs(other) == ahead.lr_at(jump)


@given(parts=st.lists(LEAVES, min_size=1, max_size=4))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_a_chain_is_its_parts_each_driving_by_itself(parts):
    together = ChainedScheduler([part(o) for o in [ravine_optimizer()] for part in parts])
    optimizer = ravine_optimizer()
    separate = [part(optimizer) for part in parts]
    for t in range(30):
        if any(schedule.lr_at(t)[0] == 0 for schedule in separate):
            return  # a factor of 0 wipes out what the others did, where nobody knows of it
        assert lrs(together.optimizer) == pytest.approx(lrs(optimizer), rel=1e-12)
        together.step()
        for schedule in separate:
            schedule.step()


@given(parts=st.lists(LEAVES, min_size=2, max_size=4), gaps=st.lists(st.integers(1, 9), min_size=3, max_size=3))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_a_sequence_is_its_parts_one_after_the_other(parts, gaps):
    schedule = in_sequence(parts, gaps)(ravine_optimizer())
    optimizer = ravine_optimizer()
    alone = [part(optimizer) for part in parts]
    t = 0
    for i, part in enumerate(alone):
        for local in range(gaps[i] if i < len(parts) - 1 else 30):
            assert lrs(schedule.optimizer) == part.lr_at(local)
            schedule.step()
            t += 1
    assert schedule.last_epoch == t


# --- formulas beyond torch


@pytest.mark.parametrize(
    ("schedule", "formula"),
    [
        # the lambdas of the transformers library
        (
            lambda o: CosineWarmupLR(o, 10, 100),
            lambda t: (
                t / 10 if t < 10 else max(0, 0.5 * (1 + math.cos(math.pi * 2 * 0.5 * (t - 10) / 90))) * (t <= 100)
            ),
        ),
        (
            lambda o: CosineWarmupLR(o, 10, 100, num_cycles=2),
            lambda t: t / 10 if t < 10 else max(0, 0.5 * (1 + math.cos(math.pi * 2 * 2 * min(t - 10, 90) / 90))),
        ),
        (
            lambda o: CosineHardRestartsLR(o, 10, 100, num_cycles=4),
            lambda t: (
                t / 10
                if t < 10
                else 0
                if t >= 100
                else 0.5 * (1 + math.cos(math.pi * float(Fraction(4 * (t - 10), 90) % 1)))
            ),
        ),
        (lambda o: InverseSqrtLR(o, 10), lambda t: t / 10 if t < 10 else 1 / math.sqrt(t / 10)),
        (lambda o: InverseSqrtLR(o, 10, 30), lambda t: t / 10 if t < 10 else 1 / math.sqrt((t + 20) / 30)),
        (lambda o: InverseSqrtLR(o, 0), lambda t: 1 / math.sqrt((t + 10_000) / 10_000)),
        (
            lambda o: WarmupStableDecayLR(o, 10, 40, 50),
            lambda t: (
                t / 10 if t < 10 else 1 if t < 50 else 0.5 * (1 + math.cos(math.pi * (t - 50) / 50)) if t < 100 else 0
            ),
        ),
        (
            lambda o: WarmupStableDecayLR(o, 10, 40, 50, "1-sqrt"),
            lambda t: t / 10 if t < 10 else 1 if t < 50 else max(0, 1 - math.sqrt((t - 50) / 50)),
        ),
        (
            lambda o: WarmupLR(LinearLR(o, 1, 0, 90), 10),  # get_linear_schedule_with_warmup
            lambda t: t / 10 if t < 10 else max(0, (100 - t) / 90),
        ),
        # Vaswani et al. 2017, equation 3, with d_model = 512 and 4000 steps of warm-up
        (
            lambda o: LambdaLR(o, lambda t: InverseSqrtLR(one_group(512**-0.5 * 40**-0.5), 40).lr_at(t)[0]),
            lambda t: 512**-0.5 * min(t**-0.5, t * 40**-1.5) if t else 0,
        ),
        # Chen et al. 2022, equation 1
        (lambda o: REXLR(o, 100), lambda t: (1 - t / 100) / (0.5 + 0.5 * (1 - t / 100)) if t < 100 else 0),
        # Keras's PolynomialDecay
        (
            lambda o: PolynomialLR(o, 30, 2, eta_min=0.25, cycle=True),
            lambda t: 0.25 + 0.75 * (1 - t / (30 * max(1, math.ceil(t / 30)))) ** 2,
        ),
        (
            lambda o: WarmupLR(ExponentialLR(o, 0.9), 20, start_factor=0.01, strategy="exponential"),
            lambda t: 0.01 ** (1 - t / 20) if t < 20 else 0.9 ** (t - 20),
        ),
    ],
)
def test_formulas(schedule, formula):
    made = schedule(one_group())
    assert first_lrs(made, 130) == pytest.approx([formula(t) for t in range(130)], rel=1e-12, abs=1e-15)


def test_the_floor_of_a_warmup():
    schedule = CosineWarmupLR(one_group(), 4, 10, eta_min=0.5)
    assert first_lrs(schedule, 5) == [0.5, 0.625, 0.75, 0.875, 1.0]
    assert schedule.lr_at(10) == schedule.lr_at(99) == [0.5]


# --- the plateau


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


def test_plateau_and_added_groups(optimizer):
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


# --- any hyper-parameter


def test_hyperparameters_on_schedules():
    optimizer = optim.AdamW([{"params": [np.zeros(1)]}, {"params": [np.zeros(1)], "weight_decay": 0.5}], lr=1)
    optimizer.step([np.ones(1)] * 2)
    decay = HyperparameterScheduler(optimizer, "weight_decay", CosineAnnealingLR, T_max=4)
    beta = HyperparameterScheduler(optimizer, ("betas", 1), LambdaLR, lr_lambda=lambda t: 1 - 2.0**-t)
    eps = HyperparameterScheduler(
        optimizer, "eps", lambda o: SequentialLR(o, [ConstantLR(o, 0.5, 9), ExponentialLR(o, 0.5)], [2])
    )
    lr = ExponentialLR(optimizer, 0.5)
    for t in range(5):
        groups = optimizer.param_groups
        assert [group["weight_decay"] for group in groups] == decay.value_at(t) == decay.get_last_value()
        assert [group["betas"] for group in groups] == [(0.9, 0.999 * (1 - 2.0**-t))] * 2
        assert [group["eps"] for group in groups] == eps.value_at(t)
        assert [group["lr"] for group in groups] == [0.5**t] * 2
        optimizer.step([np.ones(1)] * 2)
        for schedule in (decay, beta, eps, lr):
            schedule.step()
            assert schedule.last_epoch == t + 1
    assert optimizer.param_groups[1]["initial_weight_decay"] == 0.5
    assert decay.value_at(2) == [pytest.approx(0.005), 0.25]
    assert eps.value_at(3) == [5e-9] * 2


def test_hyperparameters_compose_resume_and_take_metrics():
    def construct():
        optimizer = optim.SGD([np.zeros(1)], lr=1, momentum=0.5, weight_decay=1)
        optimizer.step([np.ones(1)])
        return optimizer, [
            HyperparameterScheduler(optimizer, "weight_decay", StepLR, step_size=2, gamma=0.5),
            HyperparameterScheduler(optimizer, "weight_decay", ExponentialLR, gamma=0.5),
            HyperparameterScheduler(optimizer, "momentum", ReduceLROnPlateau, factor=0.5, patience=0),
        ]

    def run(optimizer, schedules, steps):
        seen = []
        for _ in range(steps):
            seen.append((optimizer.param_groups[0]["weight_decay"], optimizer.param_groups[0]["momentum"]))
            for schedule in schedules[:2]:
                schedule.step()
            schedules[2].step(1.0)
        return seen

    optimizer, schedules = construct()
    assert run(optimizer, schedules, 4) == [(1, 0.5), (0.5, 0.5), (0.125, 0.25), (0.0625, 0.125)]
    states = [schedule.state_dict() for schedule in schedules]
    other, again = construct()
    for schedule, state in zip(again, states, strict=True):
        schedule.load_state_dict(state)
    other.load_state_dict(optimizer.state_dict())
    assert run(other, again, 5) == run(optimizer, schedules, 5)
    with pytest.raises(ValueError, match="a schedule of 'weight_decay' was saved; expected one of 'momentum'"):
        again[2].load_state_dict(states[0])


@pytest.mark.parametrize(
    ("arguments", "exception", "text"),
    [
        (("decay", StepLR), ValueError, r"key='decay' is in no parameter group; expected one of lr, eps, weight_decay"),
        (
            ("betas", StepLR),
            ValueError,
            r"the value there is \(0.9, 0.999\); expected key=\('betas', 0\) or \('betas', 1\)",
        ),
        ((("betas", 2), StepLR), ValueError, r"expected key=\('betas', 0\)"),
        (("amsgrad", StepLR), ValueError, r"\['amsgrad'\] is False; expected the key of a number"),
        (
            ("eps", lambda o: 3),
            TypeError,
            r"schedule made a int; expected a schedule of the optimizer that it was given",
        ),
        (("eps", lambda o: StepLR(one_group(), 3)), TypeError, r"schedule made a StepLR; expected a schedule of the"),
        (("eps", lambda o: CyclicLR(o, 0, 1)), ValueError, r"neither momentum nor betas; pass cycle_momentum=False"),
    ],
)
def test_hyperparameters_that_cannot_be_driven(arguments, exception, text):
    optimizer = ravine_optimizer("Adam")
    before = copy.deepcopy([{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups])
    with pytest.raises(exception, match=text):
        HyperparameterScheduler(optimizer, *arguments)
    assert [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups] == before
    with pytest.raises(TypeError, match="HyperparameterScheduler: optimizer is a int"):
        HyperparameterScheduler(3, *arguments)


# --- what is refused


@pytest.mark.parametrize(
    ("construct", "exception", "text"),
    [
        (lambda o: StepLR(o, 0), ValueError, r"StepLR: step_size=0; expected a whole number, 1 or more"),
        (lambda o: StepLR(o, 2.5), ValueError, r"step_size=2.5; expected a whole number, 1 or more"),
        (lambda o: StepLR(o, True), ValueError, r"step_size=True; expected a whole number"),
        (lambda o: StepLR(o, "3"), TypeError, r"step_size='3' is a str; expected a whole number"),
        (lambda o: StepLR(o, 3, -1), ValueError, r"gamma=-1 is negative; expected a finite number, 0 or more"),
        (lambda o: StepLR(o, 3, math.nan), ValueError, r"gamma=nan is not finite"),
        (lambda o: MultiStepLR(o, 3), TypeError, r"milestones=3 is a int; expected a list"),
        (lambda o: MultiStepLR(o, [3, -1]), ValueError, r"milestones\[1\]=-1; expected a whole number, 0 or more"),
        (lambda o: ConstantLR(o, 1.5), ValueError, r"factor=1.5 is out of range; expected a number from 0 to 1"),
        (lambda o: LinearLR(o, 0), ValueError, r"start_factor=0 is out of range; expected a number above 0, up to 1"),
        (lambda o: LinearLR(o, 1.1), ValueError, r"start_factor=1.1 is out of range"),
        (lambda o: LinearLR(o, end_factor=-0.1), ValueError, r"end_factor=-0.1 is out of range"),
        (lambda o: PolynomialLR(o, 0), ValueError, r"total_iters=0; expected a whole number, 1 or more"),
        (lambda o: PolynomialLR(o, power=-1), ValueError, r"power=-1 is negative"),
        (lambda o: CosineAnnealingLR(o, 0), ValueError, r"T_max=0; expected a finite number above 0"),
        (lambda o: CosineAnnealingWarmRestarts(o, 1.5), ValueError, r"T_0=1.5; expected a whole number, 1 or more"),
        (lambda o: CosineAnnealingWarmRestarts(o, 3, 0), ValueError, r"T_mult=0; expected a whole number, 1 or more"),
        (lambda o: CyclicLR(o, 0, 1, mode="cats"), ValueError, r"mode='cats'; expected 'triangular' or 'triangular2'"),
        (lambda o: CyclicLR(o, 0, 1, 0), ValueError, r"step_size_up=0; expected a finite number above 0"),
        (lambda o: CyclicLR(o, [0], 1), ValueError, r"base_lr has 1 values for 2 parameter groups; give one for each"),
        (lambda o: CyclicLR(o, 0, [1, -1]), ValueError, r"max_lr\[1\]=-1 is negative"),
        (lambda o: CyclicLR(o, 0, 1, scale_fn=3), TypeError, r"scale_fn is a int; expected a function of the step"),
        (lambda o: CyclicLR(o, 0, 1, scale_mode="step"), ValueError, r"expected 'cycle' or 'iterations'"),
        (lambda o: CyclicLR(o, 0, 1, max_momentum=-1), ValueError, r"max_momentum=-1 is negative"),
        (lambda o: OneCycleLR(o, 1), ValueError, r"total_steps is missing; give total_steps, or both epochs and"),
        (lambda o: OneCycleLR(o, 1, epochs=2), ValueError, r"total_steps is missing"),
        (lambda o: OneCycleLR(o, 1, epochs=0, steps_per_epoch=3), ValueError, r"epochs=0; expected a whole number"),
        (lambda o: OneCycleLR(o, 1, 0), ValueError, r"total_steps=0; expected a whole number, 1 or more"),
        (lambda o: OneCycleLR(o, 1, 10, pct_start=1.1), ValueError, r"pct_start=1.1 is out of range"),
        (lambda o: OneCycleLR(o, 1, 10, anneal_strategy="x"), ValueError, r"anneal_strategy='x'; expected 'cos' or"),
        (lambda o: OneCycleLR(o, 1, 10, div_factor=0), ValueError, r"div_factor=0; expected a finite number above 0"),
        (lambda o: ReduceLROnPlateau(o, "median"), ValueError, r"mode='median'; expected 'min' or 'max'"),
        (lambda o: ReduceLROnPlateau(o, factor=1), ValueError, r"factor=1 is out of range"),
        (lambda o: ReduceLROnPlateau(o, min_lr=[1]), ValueError, r"min_lr has 1 values for 2 parameter groups"),
        (lambda o: SWALR(o, [1, 2, 3]), ValueError, r"SWALR: swa_lr has 3 values for 2 parameter groups"),
        (
            lambda o: SWALR(o, 1, anneal_epochs=1.7),
            ValueError,
            r"anneal_epochs=1.7; expected a whole number, 0 or more",
        ),
        (
            lambda o: SWALR(o, 1, anneal_strategy="exp"),
            ValueError,
            r"anneal_strategy='exp'; expected 'cos' or 'linear'",
        ),
        (lambda o: SequentialLR(o, [], []), TypeError, r"schedulers=\[\]; expected a list of schedules"),
        (lambda o: SequentialLR(o, [3], []), TypeError, r"schedulers\[0\] is a int; expected a schedule, constructed"),
        (lambda o: SequentialLR(o, [StepLR(o, 3)], [1]), ValueError, r"1 schedulers and 1 milestones; expected one"),
        (
            lambda o: SequentialLR(o, [StepLR(o, 3) for _ in range(3)], [4, 4]),
            ValueError,
            r"milestones=\[4, 4\]; expected each to be greater than the one before",
        ),
        (lambda o: SequentialLR(o, [StepLR(o, 3)] * 2, [4]), ValueError, r"schedulers\[1\] is in the list twice"),
        (
            lambda o: SequentialLR(o, [StepLR(one_group(), 3)], []),
            ValueError,
            r"schedulers\[0\] \(StepLR\) drives another optimizer; construct it with the same",
        ),
        (lambda o: SequentialLR(o, [StepLR(o, 3)], 4), TypeError, r"milestones=4 is a int; expected a list of steps"),
        (lambda o: ChainedScheduler([]), TypeError, r"ChainedScheduler: schedulers=\[\]; expected a list of schedules"),
        (lambda o: ChainedScheduler([StepLR(o, 3)], one_group()), ValueError, r"drives another optimizer"),
        (lambda o: WarmupLR(3, 5), TypeError, r"WarmupLR: schedulers\[0\] is a int"),
        (lambda o: WarmupLR(StepLR(o, 3), -1), ValueError, r"warmup_steps=-1; expected a whole number, 0 or more"),
        (
            lambda o: WarmupLR(StepLR(o, 3), 5, strategy="exponential"),
            ValueError,
            r"start_factor=0.0 is out of range; expected a number above 0, up to 1",
        ),
        (lambda o: CosineWarmupLR(o, 5, 5), ValueError, r"total_steps=5; expected more than warmup_steps=5"),
        (lambda o: CosineHardRestartsLR(o, 1, 5, 0), ValueError, r"num_cycles=0; expected a whole number, 1 or more"),
        (lambda o: InverseSqrtLR(o, 5, 0), ValueError, r"timescale=0; expected a finite number above 0"),
        (lambda o: WarmupStableDecayLR(o, 1, 1, 0), ValueError, r"decay_steps=0; expected a whole number, 1 or more"),
        (lambda o: WarmupStableDecayLR(o, 1, 1, 1, "step"), ValueError, r"decay='step'; expected 'cosine' or 'linear'"),
        (lambda o: REXLR(o, 10, beta=2), ValueError, r"beta=2 is out of range; expected a number from 0 to 1"),
        (lambda o: StepLR(3, 3), TypeError, r"StepLR: optimizer is a int; expected a ravine.optim optimizer"),
        (lambda o: StepLR(o, 3, last_epoch=-2), ValueError, r"last_epoch=-2; expected -1 to start anew"),
    ],
)
def test_refused(optimizer, construct, exception, text):
    before = held(optimizer)
    with pytest.raises(exception, match=text):
        construct(optimizer)
    assert held(optimizer) == before


def test_optimizers_without_momentum_are_refused():
    optimizer = optim.Adagrad([np.zeros(1)])
    for kind, arguments in ((CyclicLR, (0, 1)), (OneCycleLR, (1, 10))):
        with pytest.raises(ValueError, match="the optimizer has neither momentum nor betas; pass cycle_momentum=False"):
            kind(optimizer, *arguments)
        assert kind(optimizer, *arguments, cycle_momentum=False).momentum_at(3) is None
    with pytest.raises(ValueError, match=r"max_momentum\[0\]=1.5 is out of range"):
        OneCycleLR(optim.Adam([np.zeros(1)]), 1, 10, max_momentum=1.5)


def test_whole_numbers_in_other_forms(optimizer):
    assert StepLR(optimizer, np.int64(3)).step_size == 3
    assert StepLR(optimizer, 3.0).lr_at(3) == StepLR(optimizer, 3).lr_at(3)
