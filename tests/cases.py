"""The table of cases: every public optimizer, with configurations that work and some that must be refused.

The generic tests run over this table; tests/test_cases.py fails when something public is missing from it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ravine import optim, reference

Config = dict[str, Any]
Array = np.ndarray[Any, Any]
State = dict[str, Any]

# How the golden values are made: so many steps, the second parameter from step LATE on, lr times LR_FACTOR each step.
STEPS = 50
LATE = 6
LR_FACTOR = 0.98


@dataclass(frozen=True)
class Case:
    optimizer: type[optim.Optimizer]
    reference: Callable[..., Any]
    configs: list[Config]
    errors: list[tuple[Config, type[Exception], str]]
    together: bool = (
        False  # whether sums over all parameters of a group decide, so that the reference takes them at once
    )
    norms: bool = False  # whether sums over a parameter decide; their last bits depend on its order in memory
    matrices: bool = False  # whether the parameters are matrices, with products of which the bits are not fixed
    # Who says what is right (a function of tests/oracles.py), and the hyper-parameters that it does not have.
    oracle: str = "torch"
    beyond_oracle: frozenset[str] = field(default_factory=frozenset)

    @property
    def name(self) -> str:
        return self.optimizer.__name__

    def shaped(self, array: Array) -> Array:
        """Return a vector as this optimizer takes it."""
        return array.reshape(1, -1) if self.matrices and array.ndim == 1 else array

    def run_reference(
        self, settings: Config, params: Sequence[Array], gradients: Iterable[Sequence[Array]], states: Sequence[State]
    ) -> None:
        """Make a step of the reference for each list of gradients."""
        for grads in gradients:
            if self.together:
                settings = {**settings, **(self.reference(params, grads, states, **settings) or {})}
            else:
                for p, g, state in zip(params, grads, states, strict=True):
                    self.reference(p, g, state, **settings)

    @property
    def golden_configs(self) -> list[Config]:
        return [config for config in self.configs if not self.beyond_oracle & config.keys()]


def combinations(**choices: list[Any]) -> list[Config]:
    """Return every combination of the choices; None leaves a hyper-parameter at its default."""
    return [
        {name: value for name, value in zip(choices, values, strict=True) if value is not None}
        for values in itertools.product(*choices.values())
    ]


def id_of(config: Config) -> str:
    return ",".join(f"{name}={value}" for name, value in config.items()) or "defaults"


NAN, INF = float("nan"), float("inf")

ERRORS: list[tuple[Config, type[Exception], str]] = [
    ({"lr": -1}, ValueError, r"lr=-1 is negative; expected a finite number, 0 or more"),
    ({"lr": NAN}, ValueError, r"lr=nan is not finite"),
    ({"lr": INF}, ValueError, r"lr=inf is not finite"),
    ({"lr": "fast"}, TypeError, r"lr='fast' is a str; expected a finite number"),
    ({"lr": None}, TypeError, r"lr=None is a NoneType; expected a finite number"),
    ({"maximize": "yes"}, TypeError, r"maximize='yes'; expected True or False"),
    ({"learning_rate": 1}, TypeError, r"unexpected keyword argument 'learning_rate'"),
]

COMMON_ERRORS = [
    *ERRORS,
    ({"weight_decay": -0.1}, ValueError, r"weight_decay=-0.1 is negative"),
    ({"weight_decay": NAN}, ValueError, r"weight_decay=nan is not finite"),
]

EPS_ERRORS: list[tuple[Config, type[Exception], str]] = [
    ({"eps": -1e-8}, ValueError, r"eps=-1e-08 is negative"),
    ({"eps": NAN}, ValueError, r"eps=nan is not finite"),
]

BETAS_ERRORS: list[tuple[Config, type[Exception], str]] = [
    ({"betas": 0.9}, TypeError, r"betas=0.9; expected a pair of decay rates"),
    ({"betas": (0.9,)}, TypeError, r"betas=\(0.9,\); expected a pair of decay rates"),
    ({"betas": (1.0, 0.999)}, ValueError, r"betas\[0\]=1.0 is out of range"),
    ({"betas": (0.9, -0.1)}, ValueError, r"betas\[1\]=-0.1 is out of range"),
    ({"betas": (0.9, NAN)}, ValueError, r"betas\[1\]=nan is not finite"),
]

DECOUPLED_ERROR: tuple[Config, type[Exception], str] = (
    {"decoupled_weight_decay": None},
    TypeError,
    r"decoupled_weight_decay=None; expected True",
)

THREE_BETAS_ERRORS: list[tuple[Config, type[Exception], str]] = [
    ({"betas": (0.9, 0.99)}, TypeError, r"betas=\(0.9, 0.99\); expected three decay rates"),
    ({"betas": (0.9, 0.99, 1.0)}, ValueError, r"betas\[2\]=1.0 is out of range"),
]

SCHEDULE_FREE_ERRORS: list[tuple[Config, type[Exception], str]] = [
    ({"warmup_steps": 1.5}, ValueError, r"warmup_steps=1.5; expected a whole number, 0 or more"),
    ({"warmup_steps": -1}, ValueError, r"warmup_steps=-1; expected a whole number, 0 or more"),
    ({"r": -1}, ValueError, r"r=-1 is negative"),
    ({"weight_lr_power": NAN}, ValueError, r"weight_lr_power=nan is not finite"),
    ({"train_mode": 2}, TypeError, r"(unexpected keyword argument 'train_mode'|train_mode=2; expected True or False)"),
]

ADAM_ERRORS = [
    *COMMON_ERRORS,
    *BETAS_ERRORS,
    *EPS_ERRORS,
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
            *EPS_ERRORS,
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
        beyond_oracle=frozenset({"eps_inside_sqrt"}),
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
        [*ADAM_ERRORS, DECOUPLED_ERROR],
        beyond_oracle=frozenset({"eps_root"}),
    ),
    Case(
        optim.AdamW,
        reference.adamw,
        combinations(amsgrad=[None, True], weight_decay=[None, 0.0, 0.3], maximize=[None, True])
        + [{"eps": 0.0, "eps_root": 1e-8}],
        ADAM_ERRORS,
        beyond_oracle=frozenset({"eps_root"}),
    ),
    Case(
        optim.SparseAdam,
        reference.sparseadam,
        combinations(lr=[None, 0.1], betas=[None, (0.5, 0.9)], maximize=[None, True])
        + [{"eps": 1e-3}, {"betas": (0.0, 0.0), "eps": 1e-2}],
        [*ERRORS, *BETAS_ERRORS, *EPS_ERRORS],
    ),
    Case(
        optim.Adadelta,
        reference.adadelta,
        combinations(weight_decay=[None, 0.1], maximize=[None, True])
        + [{"lr": 0.3, "rho": 0.5, "eps": 1e-3}, {"rho": 0.99, "weight_decay": 0.01}],
        [
            *COMMON_ERRORS,
            *EPS_ERRORS,
            ({"rho": 1.1}, ValueError, r"rho=1.1 is out of range; expected a number from 0 to 1"),
        ],
    ),
    Case(
        optim.Adamax,
        reference.adamax,
        combinations(weight_decay=[None, 0.1], maximize=[None, True])
        + [{"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-3}, {"betas": (0.0, 0.0)}],
        [*COMMON_ERRORS, *BETAS_ERRORS, *EPS_ERRORS],
    ),
    Case(
        optim.NAdam,
        reference.nadam,
        combinations(weight_decay=[None, 0.1], decoupled_weight_decay=[None, True], maximize=[None, True])
        + [
            {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-3, "momentum_decay": 0.3},
            {"betas": (0.0, 0.0), "eps": 1e-2},
            {"momentum_decay": 0.0},
        ],
        [
            *COMMON_ERRORS,
            *BETAS_ERRORS,
            *EPS_ERRORS,
            DECOUPLED_ERROR,
            ({"momentum_decay": -1}, ValueError, r"momentum_decay=-1 is negative"),
        ],
    ),
    Case(
        optim.RAdam,
        reference.radam,
        combinations(weight_decay=[None, 0.1], decoupled_weight_decay=[None, True], maximize=[None, True])
        # The rectification begins at the sixth step, at another one, or never.
        + [{"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-3}, {"betas": (0.0, 0.5)}, {"betas": (0.9, 0.0)}],
        [*COMMON_ERRORS, *BETAS_ERRORS, *EPS_ERRORS, DECOUPLED_ERROR],
    ),
    Case(
        optim.Rprop,
        reference.rprop,
        combinations(lr=[None, 1e-5, 100], maximize=[None, True])
        + [{"etas": (0.3, 1.9), "step_sizes": (0.005, 0.1)}, {"step_sizes": (0.0, 0.0)}],
        [
            *ERRORS,
            ({"etas": 0.5}, TypeError, r"etas=0.5; expected a pair of factors such as \(0.5, 1.2\)"),
            ({"etas": (0.0, 1.2)}, ValueError, r"etas\[0\]=0.0 is out of range; expected a number between 0 and 1"),
            ({"etas": (0.5, 1.0)}, ValueError, r"etas\[1\]=1.0 is out of range; expected a number above 1"),
            ({"step_sizes": (1e-6, INF)}, ValueError, r"step_sizes\[1\]=inf is not finite"),
            ({"step_sizes": (2, 1)}, ValueError, r"step_sizes=\(2, 1\); expected the lower limit first"),
            ({"step_sizes": None}, TypeError, r"step_sizes=None; expected a pair of limits"),
        ],
    ),
    Case(
        optim.ASGD,
        reference.asgd,
        combinations(weight_decay=[None, 0.1], maximize=[None, True])
        + combinations(lr=[0.3], lambd=[None, 0.1], alpha=[None, 1.0], t0=[0.0, 10.0]),
        [
            *COMMON_ERRORS,
            ({"lambd": -1}, ValueError, r"lambd=-1 is negative"),
            ({"alpha": NAN}, ValueError, r"alpha=nan is not finite"),
            ({"t0": "late"}, TypeError, r"t0='late' is a str"),
        ],
    ),
    Case(
        optim.Lion,
        reference.lion,
        combinations(weight_decay=[None, 0.0, 0.1], maximize=[None, True])
        + [{"lr": 0.03, "betas": (0.5, 0.8)}, {"betas": (0.0, 0.0)}],
        [*COMMON_ERRORS, *BETAS_ERRORS],
        oracle="optax",
    ),
    Case(
        optim.AdaBelief,
        reference.adabelief,
        combinations(
            nesterov=[None, True],
            weight_decay=[None, 0.1],
            decoupled_weight_decay=[None, True],
            maximize=[None, True],
        )
        + combinations(lr=[0.1], betas=[(0.5, 0.9)], eps=[1e-3], eps_root=[0.0, 1e-4], nesterov=[None, True]),
        [
            *COMMON_ERRORS,
            *BETAS_ERRORS,
            *EPS_ERRORS,
            DECOUPLED_ERROR,
            ({"eps_root": -1}, ValueError, r"eps_root=-1 is negative"),
            ({"nesterov": 3}, TypeError, r"nesterov=3; expected True or False"),
        ],
        oracle="optax",
    ),
    Case(
        optim.Yogi,
        reference.yogi,
        combinations(weight_decay=[None, 0.1], decoupled_weight_decay=[None, True], maximize=[None, True])
        + [{"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-2, "initial_accumulator_value": 0.1}],
        [
            *COMMON_ERRORS,
            *BETAS_ERRORS,
            *EPS_ERRORS,
            DECOUPLED_ERROR,
            ({"initial_accumulator_value": -1}, ValueError, r"initial_accumulator_value=-1 is negative"),
        ],
        oracle="optax",
    ),
    Case(
        optim.Adan,
        reference.adan,
        combinations(weight_decay=[None, 0.1], maximize=[None, True])
        + [{"lr": 0.1, "betas": (0.5, 0.7, 0.9), "eps": 1e-3, "eps_root": 1e-4}, {"betas": (0.0, 0.0, 0.0)}],
        [*COMMON_ERRORS, *THREE_BETAS_ERRORS, *EPS_ERRORS, ({"eps_root": INF}, ValueError, r"eps_root=inf")],
        oracle="paper",
    ),
    Case(
        optim.AdEMAMix,
        reference.ademamix,
        combinations(weight_decay=[None, 0.1], alpha_warmup=[None, 30], beta3_warmup=[None, 40], maximize=[None, True])
        + [{"lr": 0.1, "betas": (0.5, 0.9, 0.99), "eps": 1e-3, "eps_root": 1e-4, "alpha": 2.0}, {"alpha": 0.0}],
        [
            *COMMON_ERRORS,
            *THREE_BETAS_ERRORS,
            *EPS_ERRORS,
            ({"alpha": -1}, ValueError, r"alpha=-1 is negative"),
            ({"alpha_warmup": 0.5}, ValueError, r"alpha_warmup=0.5; expected a whole number"),
            ({"beta3_warmup": "long"}, TypeError, r"beta3_warmup='long' is a str; expected a whole number"),
            (
                {"beta3_warmup": 10, "betas": (0.9, 0.999, 0.5)},
                ValueError,
                r"beta3_warmup=10 with betas=\(0.9, 0.999, 0.5\); expected a betas\[0\] above 0",
            ),
        ],
        oracle="optax",
    ),
    Case(
        optim.ADOPT,
        reference.adopt,
        combinations(
            nesterov=[None, True],
            use_clipping=[None, False],
            weight_decay=[None, 0.1],
            decoupled_weight_decay=[None, True],
            maximize=[None, True],
        )
        + [{"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-2}],
        [
            *COMMON_ERRORS,
            *BETAS_ERRORS,
            *EPS_ERRORS,
            DECOUPLED_ERROR,
            ({"use_clipping": "no"}, TypeError, r"use_clipping='no'; expected True or False"),
        ],
        oracle="optax",
    ),
    Case(
        optim.SGDScheduleFree,
        reference.sgdschedulefree,
        combinations(weight_decay=[None, 0.1], warmup_steps=[None, 20], maximize=[None, True])
        + [
            {"lr": 0.1, "momentum": 0.5, "r": 1.0},
            {"lr": 0.1, "weight_lr_power": 0.0},
            {"lr": 0.0},
            {"lr": 0.0, "weight_lr_power": 0.0},
        ],
        [
            *COMMON_ERRORS,
            *SCHEDULE_FREE_ERRORS,
            ({"momentum": 0}, ValueError, r"momentum=0 is out of range; expected a number between 0 and 1"),
            ({"momentum": 1.0}, ValueError, r"momentum=1.0 is out of range"),
        ],
        oracle="schedulefree",
    ),
    Case(
        optim.AdamWScheduleFree,
        reference.adamwschedulefree,
        combinations(weight_decay=[None, 0.1], warmup_steps=[None, 20], maximize=[None, True])
        + [{"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-3, "r": 1.0, "weight_lr_power": 1.0}, {"lr": 0.0}],
        [
            *COMMON_ERRORS,
            *SCHEDULE_FREE_ERRORS,
            *EPS_ERRORS,
            ({"betas": (0.0, 0.999)}, ValueError, r"betas\[0\]=0.0 is out of range; expected a number between 0 and 1"),
            ({"betas": (0.9, 1.0)}, ValueError, r"betas\[1\]=1.0 is out of range"),
        ],
        oracle="schedulefree",
    ),
    Case(
        optim.LARS,
        reference.lars,
        combinations(nesterov=[None, True], weight_decay=[None, 0.1], maximize=[None, True])
        + [{"lr": 0.3, "momentum": 0.5, "trust_coefficient": 0.1, "eps": 1e-3}, {"momentum": 0.0}],
        [
            *COMMON_ERRORS,
            *EPS_ERRORS,
            ({"momentum": -1}, ValueError, r"momentum=-1 is negative"),
            ({"trust_coefficient": INF}, ValueError, r"trust_coefficient=inf is not finite"),
            ({"nesterov": "yes"}, TypeError, r"nesterov='yes'; expected True or False"),
        ],
        oracle="optax",
        norms=True,
    ),
    Case(
        optim.LAMB,
        reference.lamb,
        combinations(weight_decay=[None, 0.1], maximize=[None, True])
        + [{"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-3, "eps_root": 1e-4, "weight_decay": 0.01}],
        [*COMMON_ERRORS, *BETAS_ERRORS, *EPS_ERRORS, ({"eps_root": -1}, ValueError, r"eps_root=-1 is negative")],
        oracle="optax",
        norms=True,
    ),
    Case(
        optim.Adafactor,
        reference.adafactor,
        combinations(weight_decay=[None, 0.1], maximize=[None, True])
        + [
            {"lr": 0.3, "beta2_decay": -0.5, "eps": (1e-3, 1e-2), "d": 2.0},
            {"eps": (1e-12, 0.0), "beta2_decay": 0.0},
            {"eps": (0.1, 1e-3)},
        ],
        [
            *COMMON_ERRORS,
            ({"beta2_decay": 0.8}, ValueError, r"beta2_decay=0.8 is above 0; expected a finite number, 0 or less"),
            ({"eps": 1e-3}, TypeError, r"eps=0.001; expected a pair such as \(None, 1e-3\)"),
            ({"eps": (-1, 1e-3)}, ValueError, r"eps\[0\]=-1 is negative"),
            ({"eps": (None, None)}, TypeError, r"eps\[1\]=None is a NoneType"),
            ({"d": 0.5}, ValueError, r"d=0.5 is out of range; expected a finite number, 1 or more"),
        ],
        norms=True,
    ),
    Case(
        optim.Prodigy,
        reference.prodigy,
        combinations(weight_decay=[None, 0.1], safeguard_warmup=[None, True], maximize=[None, True])
        + [
            {"lr": 0.5, "betas": (0.5, 0.9), "beta3": 0.8, "eps": 1e-3, "d0": 1e-2, "d_coef": 2.0},
            {"betas": (0.0, 0.0)},
        ],
        [
            *COMMON_ERRORS,
            *BETAS_ERRORS,
            *EPS_ERRORS,
            ({"beta3": 1.0}, ValueError, r"beta3=1.0 is out of range"),
            ({"d0": 0}, ValueError, r"d0=0; expected a finite number above 0"),
            ({"d_coef": -1}, ValueError, r"d_coef=-1; expected a finite number above 0"),
            ({"safeguard_warmup": "no"}, TypeError, r"safeguard_warmup='no'; expected True or False"),
        ],
        oracle="optax",
        together=True,
        norms=True,
    ),
    Case(
        optim.SWATS,
        reference.swats,
        combinations(tolerance=[None, 1e-4, 1.0], weight_decay=[None, 0.1], maximize=[None, True])
        + [{"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-3, "tolerance": 0.01}, {"lr": 0.0}],
        [
            *COMMON_ERRORS,
            *BETAS_ERRORS,
            *EPS_ERRORS,
            ({"tolerance": -1}, ValueError, r"tolerance=-1 is negative"),
            (
                {"sgd_scale": -1},
                (TypeError, ValueError),
                r"(unexpected keyword argument 'sgd_scale'|sgd_scale=-1 is negative)",
            ),
        ],
        oracle="paper",
        together=True,
        norms=True,
    ),
    Case(
        optim.Muon,
        reference.muon,
        combinations(nesterov=[None, False], weight_decay=[None, 0.0], adjust_lr_fn=[None, "match_rms_adamw"])
        + [
            {"maximize": True},
            {"lr": 0.1, "momentum": 0.5, "ns_steps": 3, "eps": 1e-3, "adjust_lr_fn": "original"},
            {"ns_coefficients": (1.5, -0.5, 0.0), "ns_steps": 12},
            {"ns_steps": 0},
        ],
        [
            *COMMON_ERRORS,
            ({"momentum": 1.1}, ValueError, r"momentum=1.1 is out of range"),
            ({"nesterov": None}, TypeError, r"nesterov=None; expected True or False"),
            ({"ns_coefficients": (1, 2)}, TypeError, r"ns_coefficients=\(1, 2\); expected three numbers such as"),
            ({"eps": 0}, ValueError, r"eps=0; expected a finite number above 0"),
            ({"ns_steps": -1}, ValueError, r"ns_steps=-1; expected a whole number, 0 or more"),
            ({"adjust_lr_fn": "mine"}, ValueError, r"adjust_lr_fn='mine'; expected None or 'original' or"),
        ],
        beyond_oracle=frozenset({"maximize"}),
        matrices=True,
    ),
]

CONFIGS = [(case, config) for case in CASES for config in case.configs]
CONFIG_IDS = [f"{case.name}-{id_of(config)}" for case, config in CONFIGS]
