"""Arguments of schedules that are refused, and those that are taken in other forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
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
    InverseSqrtLR,
    LinearLR,
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
from schedule_cases import ravine_optimizer
from schedule_cases import values as held
from schedule_helpers import one_group


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
def test_refused(construct, exception, text):
    optimizer = ravine_optimizer()
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


def test_whole_numbers_in_other_forms():
    optimizer = ravine_optimizer()
    assert StepLR(optimizer, np.int64(3)).step_size == 3
    assert StepLR(optimizer, 3.0).lr_at(3) == StepLR(optimizer, 3).lr_at(3)
