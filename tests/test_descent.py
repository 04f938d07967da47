"""Every optimizer descends, with the settings that docs/optimizers.md gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cases import CASES
from closure_cases import CLOSURE_CASES
from ravine.optim.schedule_free import ScheduleFree

DOCS = (Path(__file__).parents[1] / "docs" / "optimizers.md").read_text(encoding="utf-8")
STEPS = 4000


def ravine(x):
    scales = np.array([100.0, 1.0])
    return (scales * x * x).sum() / 2, scales * x


def rosenbrock(x):
    a, b = x
    return (1 - a) ** 2 + 100 * (b - a * a) ** 2, np.array([-2 * (1 - a) - 400 * a * (b - a * a), 200 * (b - a * a)])


def saddle(x):
    a, b = x
    return a * a - b * b + b**4 / 4, np.array([2 * a, b**3 - 2 * b])


PROBLEMS = {
    "ravine": (ravine, [(1, 1), (-2, 3), (0.5, -4)], 0),
    "Rosenbrock": (rosenbrock, [(-1.2, 1), (0, 0), (1.5, 2)], 0),
    "saddle": (saddle, [(1, 1e-3), (-2, 1e-2), (0.5, -1e-3)], -1),
}


def documented():
    """Return the settings of the table, by optimizer and problem."""
    table = DOCS[DOCS.index("| optimizer | ravine | Rosenbrock | saddle |") :].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:] if line.startswith("|")]
    return {
        name: {
            problem: {} if cell == "defaults" else eval(f"dict({cell.strip('`')})")
            for problem, cell in zip(PROBLEMS, cells, strict=True)
        }
        for name, *cells in rows
    }


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("case", [*CASES, *CLOSURE_CASES], ids=lambda case: case.name)
def test_descends(case, problem):
    function, starts, least = PROBLEMS[problem]
    settings = documented()[case.name][problem]
    for start in starts:
        x = np.array(start, float)
        before = function(x)[0] - least
        optimizer = case.optimizer([x if case in CLOSURE_CASES else case.shaped(x)], **settings)
        if case in CLOSURE_CASES:
            optimizer.step(lambda x=x: (function(x)[0], [function(x)[1]]))
        for _ in range(0 if case in CLOSURE_CASES else STEPS):
            optimizer.step([case.shaped(function(x)[1])])
        if isinstance(optimizer, ScheduleFree):
            optimizer.eval()
        assert function(x)[0] - least < 0.01 * before, start


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_gradients_are_right(problem):
    function, starts, _ = PROBLEMS[problem]
    for start in starts:
        x = np.array(start, float)
        numerical = [(function(x + d)[0] - function(x - d)[0]) / 2e-6 for d in 1e-6 * np.eye(2)]
        np.testing.assert_allclose(function(x)[1], numerical, rtol=1e-6, atol=1e-6)
