"""The table of schedules: every public one in several configurations, those of torch's own tests among them.

A configuration is a function of a namespace (ravine's schedules, or torch's) and an optimizer, so that the same line
makes both.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from ravine import optim

LRS = (0.05, 0.5)  # of the two groups, as in torch's tests
STEPS = 40  # that are kept as golden values


@dataclass(frozen=True)
class ScheduleCase:
    name: str
    make: Callable[[Any, Any], Any]
    # How many steps torch gets right; None: it has no such schedule.
    torch_steps: int | None = 10_000
    optimizer: str = "SGD"

    @property
    def id(self) -> str:
        return f"{self.name}-{CASES.index(self)}"


def ravine_schedules():
    names = {name: getattr(optim.lr_scheduler, name) for name in optim.lr_scheduler.__all__}
    return SimpleNamespace(**names, SWALR=optim.swa_utils.SWALR)


def ravine_optimizer(name="SGD", lrs=LRS):
    params = [{"params": [np.zeros(1)], "lr": lr} for lr in lrs]
    optimizer = optim.SGD(params, momentum=0.9) if name == "SGD" else getattr(optim, name)(params)
    optimizer.step([np.ones(1) for _ in lrs])
    return optimizer


def torch_schedules():
    from torch import optim as theirs

    names = {name: getattr(theirs.lr_scheduler, name) for name in theirs.lr_scheduler.__all__}
    return SimpleNamespace(**names, SWALR=theirs.swa_utils.SWALR)


def torch_optimizer(name="SGD", lrs=LRS):
    import torch

    params = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in lrs]
    return torch.optim.SGD(params, momentum=0.9) if name == "SGD" else getattr(torch.optim, name)(params)


def make(case):
    """Return the schedule of a case on a new optimizer of ours."""
    return case.make(ravine_schedules(), ravine_optimizer(case.optimizer))


def values(optimizer):
    """Return learning rate and momentum of every group."""
    key = "betas" if "betas" in optimizer.defaults else "momentum"
    momenta = [group.get(key, 0.0) for group in optimizer.param_groups]
    return [
        *(float(group["lr"]) for group in optimizer.param_groups),
        *(float(m[0] if isinstance(m, tuple | list) else m) for m in momenta),
    ]


def sequence(schedule, steps):
    """Return learning rates and momenta at steps 0, 1, ..."""
    optimizer = schedule.optimizer
    seen = [values(optimizer)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, of stepping before the optimizer
        for _ in range(steps - 1):
            schedule.step()
            seen.append(values(optimizer))
    return seen


def held_sequences(states):
    """Return the next 12 values of the cases whose states are given by number, resumed."""
    result = {}
    for i, (of_optimizer, of_schedule) in states.items():
        schedule = make(CASES[i])
        schedule.optimizer.load_state_dict(of_optimizer)
        schedule.load_state_dict(of_schedule)
        result[i] = sequence(schedule, 12)
    return result


def half(t):
    return 0.5 ** (t / 10)


def slow(t):
    return 1 - 0.5 / (1 + t)


class Decay:
    """A callable object, whose attributes are saved."""

    def __init__(self, rate):
        self.rate = rate

    def __call__(self, t):
        return self.rate ** (t / 10)


C = ScheduleCase
CASES = [
    C("LambdaLR", lambda s, o: s.LambdaLR(o, half)),
    C("LambdaLR", lambda s, o: s.LambdaLR(o, lr_lambda=[half, slow])),
    C("LambdaLR", lambda s, o: s.LambdaLR(o, Decay(0.9))),
    C("MultiplicativeLR", lambda s, o: s.MultiplicativeLR(o, lr_lambda=lambda t: 0.95)),
    C("MultiplicativeLR", lambda s, o: s.MultiplicativeLR(o, lr_lambda=[slow, lambda t: 0.8 if t % 7 == 0 else 1])),
    C("StepLR", lambda s, o: s.StepLR(o, 3)),
    C("StepLR", lambda s, o: s.StepLR(o, step_size=4, gamma=0.5)),
    C("StepLR", lambda s, o: s.StepLR(o, step_size=1, gamma=1.01)),
    C("MultiStepLR", lambda s, o: s.MultiStepLR(o, [2, 5, 9])),
    C("MultiStepLR", lambda s, o: s.MultiStepLR(o, milestones=[4, 2, 2, 30], gamma=0.3)),
    C("MultiStepLR", lambda s, o: s.MultiStepLR(o, milestones=[], gamma=0.3)),
    C("ConstantLR", lambda s, o: s.ConstantLR(o)),
    C("ConstantLR", lambda s, o: s.ConstantLR(o, factor=0.5, total_iters=5)),
    C("ConstantLR", lambda s, o: s.ConstantLR(o, factor=1, total_iters=8)),
    C("LinearLR", lambda s, o: s.LinearLR(o)),
    C("LinearLR", lambda s, o: s.LinearLR(o, start_factor=1 / 4, end_factor=3 / 5, total_iters=4)),
    C("LinearLR", lambda s, o: s.LinearLR(o, start_factor=1, end_factor=0, total_iters=30)),
    C("ExponentialLR", lambda s, o: s.ExponentialLR(o, 0.9)),
    C("ExponentialLR", lambda s, o: s.ExponentialLR(o, gamma=1.02)),
    C("PolynomialLR", lambda s, o: s.PolynomialLR(o)),
    C("PolynomialLR", lambda s, o: s.PolynomialLR(o, total_iters=5, power=0.9)),
    C("PolynomialLR", lambda s, o: s.PolynomialLR(o, total_iters=30, power=2)),
    C("PolynomialLR", lambda s, o: s.PolynomialLR(o, total_iters=9, power=2, eta_min=0.01), None),
    C("PolynomialLR", lambda s, o: s.PolynomialLR(o, total_iters=9, cycle=True), None),
    C("CosineAnnealingLR", lambda s, o: s.CosineAnnealingLR(o, T_max=10, eta_min=1e-10)),
    C("CosineAnnealingLR", lambda s, o: s.CosineAnnealingLR(o, 20)),
    C("CosineAnnealingLR", lambda s, o: s.CosineAnnealingLR(o, T_max=5, eta_min=0.1)),
    C("CosineAnnealingLR", lambda s, o: s.CosineAnnealingLR(o, T_max=1)),
    C("CosineAnnealingWarmRestarts", lambda s, o: s.CosineAnnealingWarmRestarts(o, 10, eta_min=1e-10)),
    C("CosineAnnealingWarmRestarts", lambda s, o: s.CosineAnnealingWarmRestarts(o, T_0=10, T_mult=2, eta_min=1e-10)),
    C("CosineAnnealingWarmRestarts", lambda s, o: s.CosineAnnealingWarmRestarts(o, T_0=1, T_mult=3)),
    C("CosineAnnealingWarmRestarts", lambda s, o: s.CosineAnnealingWarmRestarts(o, T_0=20)),
    C("CyclicLR", lambda s, o: s.CyclicLR(o, 0.01, 0.05, 4, base_momentum=0.1, max_momentum=0.5)),
    C("CyclicLR", lambda s, o: s.CyclicLR(o, base_lr=0.01, max_lr=0.05, step_size_up=4, cycle_momentum=False)),
    C("CyclicLR", lambda s, o: s.CyclicLR(o, [0.01, 0.03], [0.05, 0.07], 2, 6, mode="triangular2")),
    C("CyclicLR", lambda s, o: s.CyclicLR(o, 0.01, [0.05, 0.12], 4, mode="exp_range", gamma=0.9)),
    C("CyclicLR", lambda s, o: s.CyclicLR(o, 1, 5, 4, scale_fn=lambda c: 1 / c)),
    C("CyclicLR", lambda s, o: s.CyclicLR(o, 1, 5, 2, 3, scale_fn=Decay(0.99), scale_mode="iterations")),
    C(
        "CyclicLR",
        lambda s, o: s.CyclicLR(o, 1, 5, 4, base_momentum=[0.1, 0.2], max_momentum=[0.5, 0.6]),
        optimizer="Adam",
    ),
    C("OneCycleLR", lambda s, o: s.OneCycleLR(o, 0.1, total_steps=STEPS), STEPS),
    C("OneCycleLR", lambda s, o: s.OneCycleLR(o, max_lr=25, final_div_factor=2, total_steps=10), 10),
    C("OneCycleLR", lambda s, o: s.OneCycleLR(o, 25, 10, final_div_factor=2, anneal_strategy="linear"), 10),
    C(
        "OneCycleLR",
        lambda s, o: s.OneCycleLR(
            o,
            max_lr=25,
            total_steps=10,
            anneal_strategy="linear",
            pct_start=0.4,
            div_factor=25,
            final_div_factor=4,
            three_phase=True,
        ),
        10,
    ),
    C("OneCycleLR", lambda s, o: s.OneCycleLR(o, [0.1, 1], epochs=4, steps_per_epoch=9, three_phase=True), 36),
    C("OneCycleLR", lambda s, o: s.OneCycleLR(o, 0.1, 30, pct_start=0.0, cycle_momentum=False), 30),
    C("OneCycleLR", lambda s, o: s.OneCycleLR(o, 0.1, 30, pct_start=1.0), 30),
    C("OneCycleLR", lambda s, o: s.OneCycleLR(o, 0.1, 33, base_momentum=0.5, max_momentum=[0.8, 0.9]), 33, "AdamW"),
    C("OneCycleLR", lambda s, o: s.OneCycleLR(o, 0.1, 30, pct_start=1 / 30), None),
    C("SWALR", lambda s, o: s.SWALR(o, 0.01)),
    C("SWALR", lambda s, o: s.SWALR(o, swa_lr=[0.01, 0.02], anneal_epochs=4, anneal_strategy="linear")),
    C("SWALR", lambda s, o: s.SWALR(o, swa_lr=0.5, anneal_epochs=1)),
    C("SWALR", lambda s, o: s.SWALR(o, swa_lr=0.5, anneal_epochs=0)),
    C("SequentialLR", lambda s, o: s.SequentialLR(o, [s.ExponentialLR(o, 0.8), s.StepLR(o, 4)], [3])),
    C("SequentialLR", lambda s, o: s.SequentialLR(o, [s.ConstantLR(o, 0.1, 3), s.ExponentialLR(o, 0.9)], [3])),
    C(
        "SequentialLR",
        lambda s, o: s.SequentialLR(
            o, schedulers=[s.ConstantLR(o, 0.1, 3), s.ExponentialLR(o, 0.8), s.StepLR(o, 2)], milestones=[3, 6]
        ),
    ),
    C("SequentialLR", lambda s, o: s.SequentialLR(o, [s.ConstantLR(o, 1), s.ConstantLR(o, 0.1)], [10])),
    C("SequentialLR", lambda s, o: s.SequentialLR(o, [s.LinearLR(o, 0.5, 0.1), s.ExponentialLR(o, 0.9)], [5])),
    C(
        "SequentialLR",
        lambda s, o: s.SequentialLR(o, [s.LinearLR(o, 0.1), s.CosineAnnealingWarmRestarts(o, 6, 2)], [5]),
    ),
    C("SequentialLR", lambda s, o: s.SequentialLR(o, [s.LinearLR(o), s.OneCycleLR(o, 0.2, 20)], [5]), None),
    C(
        "SequentialLR",  # with a composition in later places, and a product where it is not at the beginning
        lambda s, o: s.SequentialLR(
            o,
            [
                s.SequentialLR(o, [s.ConstantLR(o, 0.5), s.LinearLR(o)], [4]),
                s.ChainedScheduler([s.LinearLR(o), s.StepLR(o, 3)]),
                s.MultiplicativeLR(o, slow),
                s.SequentialLR(o, [s.CosineAnnealingLR(o, 5), s.WarmupLR(s.ExponentialLR(o, 0.9), 3)], [3]),
            ],
            [9, 15, 25],
        ),
        None,
    ),
    C("ChainedScheduler", lambda s, o: s.ChainedScheduler([s.StepLR(o, 3)])),
    C("ChainedScheduler", lambda s, o: s.ChainedScheduler([s.LinearLR(o, 0.4, total_iters=3)])),
    C("ChainedScheduler", lambda s, o: s.ChainedScheduler([s.LinearLR(o, 0.4), s.MultiStepLR(o, [4, 8, 10])])),
    C(
        "ChainedScheduler",
        lambda s, o: s.ChainedScheduler([s.ExponentialLR(o, 0.9), s.ConstantLR(o, 0.2, 4), s.StepLR(o, 3)]),
    ),
    C("ChainedScheduler", lambda s, o: s.ChainedScheduler([s.PolynomialLR(o, 5, 0.9), s.ConstantLR(o, 0.1)], o)),
    C("ChainedScheduler", lambda s, o: s.ChainedScheduler([s.CosineAnnealingLR(o, 7, 0.01), s.StepLR(o, 5)]), 11),
    C(
        "ChainedScheduler",
        lambda s, o: s.ChainedScheduler([s.LambdaLR(o, half), s.LinearLR(o), s.MultiplicativeLR(o, slow)]),
    ),
    C(
        "ChainedScheduler",
        lambda s, o: s.ChainedScheduler(
            [s.ChainedScheduler([s.ExponentialLR(o, 0.9), s.CosineAnnealingLR(o, 9, 0.02)]), s.ConstantLR(o)]
        ),
        12,
    ),
    C("ChainedScheduler", lambda s, o: s.ChainedScheduler([s.CyclicLR(o, 0.1, 1, 4), s.ExponentialLR(o, 0.9)])),
    C("WarmupLR", lambda s, o: s.WarmupLR(s.CosineAnnealingLR(o, 20, 0.01), 8), None),
    C("WarmupLR", lambda s, o: s.WarmupLR(s.StepLR(o, 5), 6, start_factor=0.1, strategy="exponential"), None),
    C("WarmupLR", lambda s, o: s.WarmupLR(s.OneCycleLR(o, 1, 20), 3, 0.5), None),
    C("WarmupLR", lambda s, o: s.WarmupLR(s.ExponentialLR(o, 0.9), 0), None),
    C("CosineWarmupLR", lambda s, o: s.CosineWarmupLR(o, 5, 30), None),
    C("CosineWarmupLR", lambda s, o: s.CosineWarmupLR(o, 0, 30, num_cycles=1.5, eta_min=0.01), None),
    C("CosineHardRestartsLR", lambda s, o: s.CosineHardRestartsLR(o, 5, 35, num_cycles=3), None),
    C("CosineHardRestartsLR", lambda s, o: s.CosineHardRestartsLR(o, 0, 10, eta_min=0.01), None),
    C("InverseSqrtLR", lambda s, o: s.InverseSqrtLR(o, 5), None),
    C("InverseSqrtLR", lambda s, o: s.InverseSqrtLR(o, 0, timescale=4), None),
    C("WarmupStableDecayLR", lambda s, o: s.WarmupStableDecayLR(o, 5, 15, 15), None),
    C("WarmupStableDecayLR", lambda s, o: s.WarmupStableDecayLR(o, 0, 5, 9, "linear", 0.01), None),
    C("WarmupStableDecayLR", lambda s, o: s.WarmupStableDecayLR(o, 3, 0, 20, "1-sqrt"), None),
    C("REXLR", lambda s, o: s.REXLR(o, 30), None),
    C("REXLR", lambda s, o: s.REXLR(o, total_steps=50, beta=0.9), None),
]
TORCH_CASES = [case for case in CASES if case.torch_steps is not None]


# Several schedules that drive one optimizer, each by itself: lists as in torch's tests.
TOGETHER = [
    lambda s, o: [s.StepLR(o, 3), s.MultiStepLR(o, [2, 5, 9])],
    lambda s, o: [s.StepLR(o, 3), s.ExponentialLR(o, 0.9)],
    lambda s, o: [s.MultiStepLR(o, [2, 5, 9]), s.ExponentialLR(o, 0.9)],
    lambda s, o: [s.LinearLR(o, 0.4, 0.9, 4), s.ExponentialLR(o, 0.9)],
    lambda s, o: [s.StepLR(o, 3), s.ConstantLR(o, 0.4, 4)],
    lambda s, o: [s.MultiStepLR(o, [2, 5, 9]), s.LinearLR(o, 0.4, total_iters=4)],
    lambda s, o: [s.CosineAnnealingLR(o, 10, 1e-10), s.StepLR(o, 3)],
    lambda s, o: [s.CosineAnnealingLR(o, 10, 1e-10), s.MultiStepLR(o, [2, 5, 9])],
    lambda s, o: [s.LinearLR(o, 0.4, total_iters=4), s.CosineAnnealingLR(o, 10, 1e-10)],
    lambda s, o: [s.CosineAnnealingLR(o, 10, 1e-10), s.ExponentialLR(o, 0.1)],
    lambda s, o: [s.CosineAnnealingLR(o, 8, 0.02), s.MultiplicativeLR(o, slow), s.PolynomialLR(o, 30)],
    lambda s, o: [s.SWALR(o, 0.03), s.ExponentialLR(o, 0.9)],
    lambda s, o: [s.LambdaLR(o, half), s.StepLR(o, 4)],
    lambda s, o: [s.StepLR(o, 4), s.SequentialLR(o, [s.LinearLR(o), s.ExponentialLR(o, 0.9)], [6])],
]


def random_schedule(rng: random.Random, s: Any, o: Any) -> Any:
    """Return a random schedule that torch has, of which torch gets every step right."""
    simple: list[Callable[[], Any]] = [
        lambda: s.StepLR(o, rng.randint(1, 9), rng.choice([0.1, 0.5, 0.9])),
        lambda: s.MultiStepLR(o, [rng.randint(1, 30) for _ in range(4)], rng.uniform(0.3, 1)),
        lambda: s.ConstantLR(o, rng.uniform(0.1, 1), rng.randint(1, 12)),
        lambda: s.LinearLR(o, rng.uniform(0.1, 1), rng.uniform(0.1, 1), rng.randint(1, 15)),
        lambda: s.ExponentialLR(o, rng.uniform(0.8, 1.02)),
        lambda: s.PolynomialLR(o, rng.randint(1, 50), rng.uniform(0.3, 3)),
        lambda: s.CosineAnnealingLR(o, rng.randint(1, 30), rng.choice([0, 1e-3, 0.02])),
        lambda: s.LambdaLR(o, rng.choice([half, slow])),
    ]
    whole: list[Callable[[], Any]] = [
        lambda: s.MultiplicativeLR(o, rng.choice([half, slow])),
        lambda: s.CosineAnnealingWarmRestarts(o, rng.randint(1, 12), rng.randint(1, 3), rng.choice([0, 1e-3])),
        lambda: s.CyclicLR(
            o,
            rng.uniform(0, 0.1),
            rng.uniform(0.1, 1),
            rng.randint(1, 9),
            rng.choice([None, 1, 5]),
            mode=rng.choice(["triangular", "triangular2", "exp_range"]),
            gamma=rng.uniform(0.8, 1),
            cycle_momentum=rng.random() < 0.5,
        ),
        lambda: s.OneCycleLR(
            o,
            rng.uniform(0.01, 2),
            rng.randint(STEPS, 90),
            pct_start=rng.uniform(0.1, 0.45),
            anneal_strategy=rng.choice(["cos", "linear"]),
            three_phase=rng.random() < 0.5,
            cycle_momentum=rng.random() < 0.5,
        ),
        lambda: s.SWALR(o, rng.uniform(0, 1), rng.randint(0, 20), anneal_strategy=rng.choice(["cos", "linear"])),
    ]
    compositions: list[Callable[[], Any]] = [
        lambda: s.SequentialLR(o, [rng.choice(simple)() for _ in range(3)], [rng.randint(1, 9), rng.randint(10, 25)]),
        lambda: s.ChainedScheduler([rng.choice(simple)() for _ in range(rng.randint(1, 3))]),
    ]
    return rng.choice(rng.choice([simple, whole, compositions]))()
