"""Beside optax, where it is installed."""

from __future__ import annotations

import numpy as np
import pytest
from ravine.optim.lr_scheduler import (
    ChainedScheduler,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    CosineWarmupLR,
    ExponentialLR,
    OneCycleLR,
    PolynomialLR,
    StepLR,
    WarmupLR,
)
from schedule_cases import ravine_optimizer, ravine_schedules


class TestOptax:
    @pytest.mark.parametrize(
        ("ours", "theirs"),
        [
            (
                lambda o: CosineWarmupLR(o, 10, 60, eta_min=0.0),
                lambda x: x.warmup_cosine_decay_schedule(0.0, 0.5, 10, 60),
            ),
            (lambda o: PolynomialLR(o, 30, 2, eta_min=0.1), lambda x: x.polynomial_schedule(0.5, 0.1, 2, 30)),
            (lambda o: ExponentialLR(o, 0.9), lambda x: x.exponential_decay(0.5, 1, 0.9)),
            (lambda o: StepLR(o, 7, 0.5), lambda x: x.exponential_decay(0.5, 7, 0.5, staircase=True)),
            (
                lambda o: WarmupLR(ExponentialLR(o, 0.9), 5, 0.2),
                lambda x: x.join_schedules([x.linear_schedule(0.1, 0.5, 5), x.exponential_decay(0.5, 1, 0.9)], [5]),
            ),
            (
                lambda o: ravine_schedules().SequentialLR(
                    o, [CosineAnnealingWarmRestarts(o, 6), ChainedScheduler([CosineAnnealingLR(o, 9)])], [12]
                ),
                lambda x: x.join_schedules(
                    [x.cosine_decay_schedule(0.5, 6), x.cosine_decay_schedule(0.5, 6), x.cosine_decay_schedule(0.5, 9)],
                    [6, 12],
                ),
            ),
            (
                lambda o: ravine_schedules().WarmupStableDecayLR(o, 5, 10, 15, "linear"),
                lambda x: x.join_schedules(
                    [x.linear_schedule(0, 0.5, 5), x.constant_schedule(0.5), x.linear_schedule(0.5, 0, 15)], [5, 15]
                ),
            ),
            (
                lambda o: OneCycleLR(o, 0.5, 40, pct_start=0.3, final_div_factor=1e4),
                lambda x: x.cosine_onecycle_schedule(39, 0.5, 11 / 39, 25, 1e4),
            ),
        ],
    )
    def test_sequences(self, ours, theirs):
        optax = pytest.importorskip("optax")
        jax = pytest.importorskip("jax")
        with jax.enable_x64(True):
            schedule = theirs(optax)
            expected = [float(schedule(np.float64(t))) for t in range(21)]
        assert [ours(ravine_optimizer()).lr_at(t)[1] for t in range(21)] == pytest.approx(
            expected, rel=1e-12, abs=1e-12
        )
