"""What torch does wrong (2.13.0), each with the right value by exact arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from ravine.optim.lr_scheduler import (
    ChainedScheduler,
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    CyclicLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiplicativeLR,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)
from ravine.optim.swa_utils import SWALR
from schedule_helpers import Half, first_lrs, lrs, one_group


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
        with pytest.raises(ValueError, match=r"holds the attributes of an object, .* with a plain function"):
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
