"""Any hyper-parameter on any schedule."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from ravine import optim
from ravine.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    CyclicLR,
    ExponentialLR,
    HyperparameterScheduler,
    LambdaLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)
from schedule_cases import ravine_optimizer
from schedule_helpers import one_group


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
