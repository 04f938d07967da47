"""The table of cases of optimizers whose steps take a closure; that of all others is in tests/cases.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from cases import COMMON_ERRORS, Config, combinations
from ravine import optim, reference

Array = np.ndarray[Any, Any]
Loss = Callable[[Array], tuple[float, Array]]

# Beyond so many iterations rounding alone leads to other places on the worst of the problems.
ITERATIONS = 20


def quadratic(x: Array) -> tuple[float, Array]:
    """Of condition 100, along no axis."""
    basis, _ = np.linalg.qr(np.random.default_rng(1).standard_normal((8, 8)))
    curvature = basis @ np.diag(np.geomspace(0.1, 10, 8)) @ basis.T
    gradient = curvature @ x
    return 0.5 * float(x @ gradient), gradient


def rosenbrock(x: Array) -> tuple[float, Array]:
    a, b = x[:-1], x[1:]
    gradient = np.zeros_like(x)
    gradient[:-1] -= 2 * (1 - a) + 400 * a * (b - a * a)
    gradient[1:] += 200 * (b - a * a)
    return float(((1 - a) ** 2 + 100 * (b - a * a) ** 2).sum()), gradient


def logistic(x: Array) -> tuple[float, Array]:
    """A regression with an L2 penalty."""
    rng = np.random.default_rng(2)
    samples, labels = rng.standard_normal((60, 6)), rng.choice([-1.0, 1.0], 60)
    margins = labels * (samples @ x)
    loss = np.logaddexp(0, -margins).mean() + 0.005 * x @ x
    return float(loss), -(samples.T @ (labels / (1 + np.exp(margins)))) / 60 + 0.01 * x


LOSSES: dict[str, tuple[Loss, Array]] = {
    "quadratic": (quadratic, np.ones(8)),
    "Rosenbrock 2": (rosenbrock, np.array([-1.2, 1.0])),
    "Rosenbrock 10": (rosenbrock, np.linspace(-1, 1, 10)),
    "logistic": (logistic, np.zeros(6)),
}


@dataclass(frozen=True)
class ClosureCase:
    optimizer: type[optim.Optimizer]
    reference: Callable[..., None]
    configs: list[Config]
    errors: list[tuple[Config, type[Exception], str]]

    @property
    def name(self) -> str:
        return self.optimizer.__name__

    def steps(self, config: Config) -> int:
        """Return how many steps the golden values are of."""
        return ITERATIONS // config.get("max_iter", 20)


NAN = float("nan")

CLOSURE_CASES = [
    ClosureCase(
        optim.LBFGS,
        reference.lbfgs,
        combinations(lr=[None, 0.5], max_iter=[None, 4], history_size=[None, 3], line_search_fn=[None, "strong_wolfe"])
        + combinations(
            max_iter=[10],
            max_eval=[1, 6],
            tolerance_grad=[None, 0.1],
            tolerance_change=[None, 0.01],
            line_search_fn=[None, "strong_wolfe"],
        )
        + combinations(max_iter=[1], history_size=[1], line_search_fn=[None, "strong_wolfe"]),
        [
            *[error for error in COMMON_ERRORS if "lr" in error[0]],
            ({"maximize": True}, TypeError, r"unexpected keyword argument 'maximize'"),
            ({"max_iter": 0}, ValueError, r"max_iter=0; expected a whole number, 1 or more"),
            ({"max_iter": "long"}, TypeError, r"max_iter='long' is a str; expected a whole number"),
            ({"max_eval": 0}, ValueError, r"max_eval=0; expected a whole number, 1 or more"),
            ({"max_eval": 2.5}, ValueError, r"max_eval=2.5; expected a whole number"),
            ({"tolerance_grad": -1}, ValueError, r"tolerance_grad=-1 is negative"),
            ({"tolerance_change": NAN}, ValueError, r"tolerance_change=nan is not finite"),
            ({"history_size": 0}, ValueError, r"history_size=0; expected a whole number, 1 or more"),
            ({"line_search_fn": "wolfe"}, ValueError, r"line_search_fn='wolfe'; expected None or 'strong_wolfe'"),
        ],
    ),
]

CLOSURE_CONFIGS = [(case, config) for case in CLOSURE_CASES for config in case.configs]
