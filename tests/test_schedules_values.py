"""Each schedule's learning rates: torch's golden values, and formulas of papers and other libraries."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from ravine import optim
from ravine.optim.lr_scheduler import (
    REXLR,
    CosineHardRestartsLR,
    CosineWarmupLR,
    CyclicLR,
    ExponentialLR,
    InverseSqrtLR,
    LambdaLR,
    LinearLR,
    PolynomialLR,
    WarmupLR,
    WarmupStableDecayLR,
)
from schedule_cases import CASES, TORCH_CASES, make, sequence
from schedule_helpers import first_lrs, one_group

GOLDEN = Path(__file__).parent / "golden" / "schedules" / "torch.npz"


def test_every_public_schedule_is_in_the_table():
    public = set(optim.lr_scheduler.__all__) | {"SWALR"}
    assert {case.name for case in CASES} == public - {"LRScheduler", "HyperparameterScheduler", "ReduceLROnPlateau"}


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
    """As in the course, but for the import; the list is torch's (test_schedules_live.py)."""
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


@pytest.mark.parametrize("between", [2.5, 2.0, 3.25])
def test_a_cycle_looked_at_between_two_steps(between):
    """What was computed last is kept for the momentum of the same step, and of no other."""
    for t in (2, 3):
        schedules = [CyclicLR(optim.SGD([np.zeros(2)], momentum=0.9), 0.1, 1.0, 4) for _ in range(2)]
        schedules[0].lr_at(between)
        assert schedules[0].lr_at(t) == schedules[1].lr_at(t)
        assert schedules[0].momentum_at(t) == schedules[1].momentum_at(t)
