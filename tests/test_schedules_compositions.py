"""SequentialLR, ChainedScheduler and WarmupLR of any parts."""

from __future__ import annotations

import pickle
import warnings

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
    WarmupStableDecayLR,
)
from ravine.optim.swa_utils import SWALR
from schedule_cases import ravine_optimizer, sequence
from schedule_cases import values as held
from schedule_helpers import first_lrs, lrs, one_group


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


def test_a_chain_of_a_schedule_that_has_stepped_goes_on_from_there():
    optimizer = optim.SGD([np.zeros(2)], lr=1.0)
    schedule = ExponentialLR(optimizer, gamma=0.5)
    optimizer.step([np.ones(2)])
    schedule.step()
    schedule.step()
    chain = ChainedScheduler([schedule])
    assert [chain.lr_at(t) for t in range(3)] == [[0.25], [0.125], [0.0625]]
