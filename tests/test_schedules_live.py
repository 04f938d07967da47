"""Beside torch 2.13.0, where it is installed: every schedule, random ones, hand edits."""

from __future__ import annotations

import inspect
import math
import random

import numpy as np
import pytest
from ravine import nn, optim
from ravine.optim.lr_scheduler import ExponentialLR, ReduceLROnPlateau
from schedule_cases import (
    STEPS,
    TOGETHER,
    TORCH_CASES,
    half,
    make,
    random_schedule,
    ravine_optimizer,
    ravine_schedules,
    sequence,
    slow,
    torch_optimizer,
    torch_schedules,
    values,
)
from schedule_helpers import quietly

torch = pytest.importorskip("torch")

NAMES = [name for name in torch.optim.lr_scheduler.__all__ if name != "LRScheduler"] + ["SWALR"]


def assert_close(ours, theirs):
    """Assert equality within 1e-12, as long as torch's learning rates are not negative."""
    usable = next((t for t, row in enumerate(theirs) if min(row) < 0), len(theirs))
    np.testing.assert_allclose(ours[:usable], theirs[:usable], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_arguments_and_defaults_are_torchs(name):
    theirs = inspect.signature(getattr(torch_schedules(), name)).parameters
    ours = inspect.signature(getattr(ravine_schedules(), name)).parameters
    assert list(ours)[: len(theirs)] == list(theirs)
    for argument, parameter in theirs.items():
        assert ours[argument].default == parameter.default, argument
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in list(ours.values())[len(theirs) :])


@pytest.mark.parametrize("case", TORCH_CASES, ids=[case.id for case in TORCH_CASES])
def test_sequences(case):
    steps = min(100, case.torch_steps)
    theirs = sequence(case.make(torch_schedules(), torch_optimizer(case.optimizer)), steps)
    assert_close(sequence(make(case), steps), theirs)


@pytest.mark.parametrize("block", range(10))
def test_random_schedules(block):
    kinds = set()
    for seed in range(50 * block, 50 * block + 50):
        ours = random_schedule(random.Random(seed), ravine_schedules(), ravine_optimizer())
        theirs = random_schedule(random.Random(seed), torch_schedules(), torch_optimizer())
        assert type(ours).__name__ == type(theirs).__name__
        kinds.add(type(ours).__name__)
        assert_close(sequence(ours, STEPS), sequence(theirs, STEPS))
    assert len(kinds) > 8


@pytest.mark.parametrize("together", TOGETHER)
def test_several_schedules_drive_one_optimizer(together):
    optimizer, oracle = ravine_optimizer(), torch_optimizer()
    ours, theirs = together(ravine_schedules(), optimizer), together(torch_schedules(), oracle)
    seen, expected = [], []
    for _ in range(STEPS):
        seen.append(values(optimizer))
        expected.append(values(oracle))
        for schedule in ours:
            schedule.step()
        for schedule in theirs:
            quietly(schedule.step)
    assert_close(seen, expected)


@pytest.mark.parametrize(
    "construct",
    [
        lambda s, o: s.StepLR(o, 3),
        lambda s, o: s.MultiStepLR(o, [4, 9]),
        lambda s, o: s.ConstantLR(o, 0.5, 6),
        lambda s, o: s.LinearLR(o, 0.1, 0.8, 12),
        lambda s, o: s.ExponentialLR(o, 0.9),
        lambda s, o: s.PolynomialLR(o, 12, 2),
        lambda s, o: s.CosineAnnealingLR(o, 9, 0.01),
        lambda s, o: s.MultiplicativeLR(o, slow),
        lambda s, o: s.LambdaLR(o, half),
        lambda s, o: s.CosineAnnealingWarmRestarts(o, 4, 2),
        lambda s, o: s.CyclicLR(o, 0.1, 1, 4),
        lambda s, o: s.OneCycleLR(o, 1, 40),
        lambda s, o: s.SWALR(o, 0.2, 12),
        lambda s, o: s.SequentialLR(o, [s.LinearLR(o, 0.1), s.ExponentialLR(o, 0.9)], [8]),
        lambda s, o: s.ChainedScheduler([s.LinearLR(o, 0.1), s.CosineAnnealingLR(o, 9)]),
    ],
)
def test_hand_edits(construct):
    optimizer, oracle = ravine_optimizer(), torch_optimizer()
    ours, theirs = construct(ravine_schedules(), optimizer), construct(torch_schedules(), oracle)
    rng = random.Random(0)
    seen, expected = [], []
    for t in range(30):
        if t in (2, 3, 7, 14):
            for group, other in zip(optimizer.param_groups, oracle.param_groups, strict=True):
                group["lr"] = other["lr"] = other["lr"] * rng.uniform(0.5, 3)
        seen.append(values(optimizer))
        expected.append(values(oracle))
        ours.step()
        quietly(theirs.step)
    assert_close(seen, expected)


@pytest.mark.parametrize(
    "construct",
    [
        lambda s, o: s.StepLR(o, 3),
        lambda s, o: s.MultiStepLR(o, [4, 4, 9]),
        lambda s, o: s.ConstantLR(o, 0.5, 6),
        lambda s, o: s.LinearLR(o, 0.1, 0.8, 12),
        lambda s, o: s.ExponentialLR(o, 0.9),
        lambda s, o: s.PolynomialLR(o, 12, 2),
        lambda s, o: s.CosineAnnealingLR(o, 9, 0.01),
        lambda s, o: s.LambdaLR(o, half),
        lambda s, o: s.CosineAnnealingWarmRestarts(o, 10, 3, 1e-10),
        lambda s, o: s.CosineAnnealingWarmRestarts(o, 10),
        lambda s, o: s.CyclicLR(o, 0.1, 1, 4),
        lambda s, o: s.OneCycleLR(o, 1, 40),
    ],
)
def test_step_to_an_epoch(construct):
    optimizer, oracle = ravine_optimizer(), torch_optimizer()
    ours, theirs = construct(ravine_schedules(), optimizer), construct(torch_schedules(), oracle)
    seen, expected = [], []
    for epoch in (0, 1, 2, 5, 12, 27, 3, 17.5, 18.5, 29.5, 30.5, 4, 0.1, 1.3):
        ours.step(epoch)
        quietly(theirs.step, epoch)
        seen.append(values(optimizer))
        expected.append(values(oracle))
    assert_close(seen, expected)


@pytest.mark.parametrize("seed", range(40))
def test_plateaus(seed):
    rng = random.Random(seed)
    arguments = {
        "mode": rng.choice(["min", "max"]),
        "factor": rng.uniform(0.1, 0.9),
        "patience": rng.randint(0, 4),
        "threshold": rng.choice([0, 1e-4, 0.1]),
        "threshold_mode": rng.choice(["rel", "abs"]),
        "cooldown": rng.randint(0, 3),
        "min_lr": rng.choice([0, 0.02, [0.01, 0.1]]),
        "eps": rng.choice([1e-8, 1e-2]),
    }
    optimizer, oracle = ravine_optimizer(), torch_optimizer()
    ours = [ReduceLROnPlateau(optimizer, **arguments)]
    theirs = [torch.optim.lr_scheduler.ReduceLROnPlateau(oracle, **arguments)]
    if seed % 2:
        ours.append(ExponentialLR(optimizer, 0.95))
        theirs.append(torch.optim.lr_scheduler.ExponentialLR(oracle, 0.95))
    for _ in range(60):
        # torch's margin is wrong for negative metrics.
        metric = rng.choice([rng.random(), math.nan] if rng.random() < 0.1 else [rng.uniform(0.5, 1)])
        for schedule, other in zip(ours, theirs, strict=True):
            arguments = (metric,) if schedule is ours[0] else ()
            schedule.step(*arguments)
            quietly(other.step, *arguments)
        np.testing.assert_allclose(values(optimizer), values(oracle), rtol=1e-12)
        for name in ("best", "num_bad_epochs", "cooldown_counter", "last_epoch", "in_cooldown"):
            assert getattr(ours[0], name) == getattr(theirs[0], name)


@pytest.mark.parametrize("metrics", ["-0.8 then -0.234", "falling", "rising"])
def test_plateaus_of_torchs_own_tests(metrics):
    series = {
        "-0.8 then -0.234": ([-0.8] * 2 + [-0.234] * 20, {"mode": "max", "patience": 5, "cooldown": 5}),
        "falling": ([10 - i * 0.0165 for i in range(22)], {"patience": 5, "threshold": 0.1}),
        "rising": ([1.5 * 1.005**i for i in range(20)], {"mode": "max", "patience": 5, "threshold": 0.1}),
    }[metrics]
    for form in ("abs",) if metrics.startswith("-") else ("abs", "rel"):
        optimizer, oracle = ravine_optimizer(), torch_optimizer()
        ours = ReduceLROnPlateau(optimizer, threshold_mode=form, **series[1])
        theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(oracle, threshold_mode=form, **series[1])
        for metric in series[0]:
            ours.step(metric)
            theirs.step(metric)
            np.testing.assert_allclose(values(optimizer), values(oracle), rtol=1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_averaging_begins_when_it_is_stepped(seed):
    """SWALR is made at the beginning; the other schedule steps until it takes over."""
    rng = random.Random(seed)
    swa_lr, epochs, strategy = rng.uniform(0.001, 1), rng.randint(0, 9), rng.choice(["cos", "linear"])
    optimizer, oracle = ravine_optimizer(), torch_optimizer()
    ours = [s.MultiplicativeLR(o, lambda t: 0.9) for s, o in [(ravine_schedules(), optimizer)]]
    ours.append(ravine_schedules().SWALR(optimizer, swa_lr, epochs, strategy))
    theirs = [torch.optim.lr_scheduler.MultiplicativeLR(oracle, lambda t: 0.9)]
    theirs.append(torch.optim.swa_utils.SWALR(oracle, swa_lr, epochs, strategy))
    for t in range(25):
        np.testing.assert_allclose(values(optimizer), values(oracle), rtol=1e-12)
        ours[t >= 6].step()
        quietly(theirs[t >= 6].step)


def test_the_code_of_the_course_gives_torchs_list():
    def lrs(module, params):
        optimizer = module.SGD(params, lr=100)
        scheduler = module.lr_scheduler.LambdaLR(optimizer, lr_lambda=lambda epoch: 0.65**epoch)
        seen = []
        for _ in range(10):
            optimizer.step()
            seen.append(optimizer.param_groups[0]["lr"])
            scheduler.step()
        return seen

    assert lrs(optim, [nn.Parameter(np.zeros(2))]) == lrs(torch.optim, [torch.nn.Parameter(torch.zeros(2))])


@pytest.mark.parametrize(
    ("construct", "steps"),
    [
        (lambda s, o: s.StepLR(o, 3), 7),
        (lambda s, o: s.ExponentialLR(o, 0.9), 7),
        (lambda s, o: s.LinearLR(o, total_iters=12), 7),
        (lambda s, o: s.CosineAnnealingLR(o, 9, 0.01), 5),
    ],
)
def test_torchs_states_of_plain_schedules_load(construct, steps):
    oracle = torch_optimizer()
    theirs = construct(torch_schedules(), oracle)
    for _ in range(steps):
        quietly(theirs.step)
    optimizer = ravine_optimizer()
    ours = construct(ravine_schedules(), optimizer)
    ours.load_state_dict(theirs.state_dict())
    assert_close(sequence(ours, 10), sequence(theirs, 10))
