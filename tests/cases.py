"""The table of cases: every public optimizer, with configurations that work and some that must be refused.

The generic tests run over this table; tests/test_cases.py fails when something public is missing from it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ravine import optim, reference

Config = dict[str, Any]

# How the golden values were made: so many steps, the second parameter from step LATE on, lr times LR_FACTOR each step.
STEPS = 50
LATE = 6
LR_FACTOR = 0.98


@dataclass(frozen=True)
class Case:
    optimizer: type[optim.Optimizer]
    reference: Callable[..., None]
    configs: list[Config]
    errors: list[tuple[Config, type[Exception], str]]
    # Hyper-parameters that torch does not have.
    beyond_torch: frozenset[str] = field(default_factory=frozenset)

    @property
    def name(self) -> str:
        return self.optimizer.__name__

    @property
    def torch_configs(self) -> list[Config]:
        return [config for config in self.configs if not self.beyond_torch & config.keys()]


def combinations(**choices: list[Any]) -> list[Config]:
    """Return every combination of the choices; None leaves a hyper-parameter at its default."""
    return [
        {name: value for name, value in zip(choices, values, strict=True) if value is not None}
        for values in itertools.product(*choices.values())
    ]


def id_of(config: Config) -> str:
    return ",".join(f"{name}={value}" for name, value in config.items()) or "defaults"


NAN, INF = float("nan"), float("inf")

COMMON_ERRORS: list[tuple[Config, type[Exception], str]] = [
    ({"lr": -1}, ValueError, r"lr=-1 is negative; expected a finite number, 0 or more"),
    ({"lr": NAN}, ValueError, r"lr=nan is not finite"),
    ({"lr": INF}, ValueError, r"lr=inf is not finite"),
    ({"lr": "fast"}, TypeError, r"lr='fast' is a str; expected a finite number"),
    ({"lr": None}, TypeError, r"lr=None is a NoneType; expected a finite number"),
    ({"weight_decay": -0.1}, ValueError, r"weight_decay=-0.1 is negative"),
    ({"weight_decay": NAN}, ValueError, r"weight_decay=nan is not finite"),
    ({"maximize": "yes"}, TypeError, r"maximize='yes'; expected True or False"),
    ({"learning_rate": 1}, TypeError, r"unexpected keyword argument 'learning_rate'"),
]

ADAM_ERRORS = [
    *COMMON_ERRORS,
    ({"betas": 0.9}, TypeError, r"betas=0.9; expected a pair of decay rates"),
    ({"betas": (0.9,)}, TypeError, r"betas=\(0.9,\); expected a pair of decay rates"),
    ({"betas": (1.0, 0.999)}, ValueError, r"betas\[0\]=1.0 is out of range"),
    ({"betas": (0.9, -0.1)}, ValueError, r"betas\[1\]=-0.1 is out of range"),
    ({"betas": (0.9, NAN)}, ValueError, r"betas\[1\]=nan is not finite"),
    ({"eps": -1e-8}, ValueError, r"eps=-1e-08 is negative"),
    ({"eps_root": INF}, ValueError, r"eps_root=inf is not finite"),
    ({"amsgrad": 2}, TypeError, r"amsgrad=2; expected True or False"),
]

CASES = [
    Case(
        optim.SGD,
        reference.sgd,
        [
            *combinations(weight_decay=[None, 0.1], maximize=[None, True]),
            *combinations(
                lr=[0.05], momentum=[0.9], dampening=[None, 0.3], weight_decay=[None, 0.1], maximize=[None, True]
            ),
            *combinations(lr=[0.05], momentum=[0.9], nesterov=[True], weight_decay=[None, 0.1], maximize=[None, True]),
        ],
        [
            *COMMON_ERRORS,
            ({"momentum": -0.9}, ValueError, r"momentum=-0.9 is negative"),
            ({"momentum": INF}, ValueError, r"momentum=inf is not finite"),
            ({"dampening": NAN}, ValueError, r"dampening=nan is not finite"),
            (
                {"nesterov": True},
                ValueError,
                r"nesterov=True with momentum=0.0, dampening=0.0; expected momentum above 0",
            ),
            ({"nesterov": True, "momentum": 0.9, "dampening": 0.1}, ValueError, r"nesterov=True with momentum=0.9"),
            ({"nesterov": None}, TypeError, r"nesterov=None; expected True or False"),
        ],
    ),
    Case(
        optim.Adagrad,
        reference.adagrad,
        combinations(
            lr_decay=[None, 0.1], weight_decay=[None, 0.1], initial_accumulator_value=[None, 0.5], maximize=[None, True]
        )
        + [{"lr": 0.5, "eps": 1e-3}],
        [
            *COMMON_ERRORS,
            ({"lr_decay": -1}, ValueError, r"lr_decay=-1 is negative"),
            ({"initial_accumulator_value": -1}, ValueError, r"initial_accumulator_value=-1 is negative"),
            ({"eps": NAN}, ValueError, r"eps=nan is not finite"),
        ],
    ),
    Case(
        optim.RMSprop,
        reference.rmsprop,
        combinations(momentum=[None, 0.9], centered=[None, True], weight_decay=[None, 0.1], maximize=[None, True])
        + [{"alpha": 0.9, "eps": 1e-3}]
        + combinations(eps=[1e-3], momentum=[None, 0.9], centered=[None, True], eps_inside_sqrt=[True]),
        [
            *COMMON_ERRORS,
            ({"alpha": 1.1}, ValueError, r"alpha=1.1 is out of range; expected a number from 0 to 1"),
            ({"alpha": -0.1}, ValueError, r"alpha=-0.1 is out of range"),
            ({"momentum": -1}, ValueError, r"momentum=-1 is negative"),
            ({"eps": -1}, ValueError, r"eps=-1 is negative"),
            ({"centered": "no"}, TypeError, r"centered='no'; expected True or False"),
            ({"eps_inside_sqrt": 3}, TypeError, r"eps_inside_sqrt=3; expected True or False"),
        ],
        frozenset({"eps_inside_sqrt"}),
    ),
    Case(
        optim.Adam,
        reference.adam,
        combinations(
            amsgrad=[None, True],
            weight_decay=[None, 0.1],
            decoupled_weight_decay=[None, True],
            maximize=[None, True],
        )
        + [{"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-3}, {"betas": (0.0, 0.0), "eps": 1e-2}]
        + combinations(eps=[0.0, 1e-8], eps_root=[1e-8], amsgrad=[None, True]),
        [*ADAM_ERRORS, ({"decoupled_weight_decay": None}, TypeError, r"decoupled_weight_decay=None; expected True")],
        frozenset({"eps_root"}),
    ),
    Case(
        optim.AdamW,
        reference.adamw,
        combinations(amsgrad=[None, True], weight_decay=[None, 0.0, 0.3], maximize=[None, True])
        + [{"eps": 0.0, "eps_root": 1e-8}],
        ADAM_ERRORS,
        frozenset({"eps_root"}),
    ),
]

CONFIGS = [(case, config) for case in CASES for config in case.configs]
CONFIG_IDS = [f"{case.name}-{id_of(config)}" for case, config in CONFIGS]
