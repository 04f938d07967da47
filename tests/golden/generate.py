"""Make the golden values of tests/test_golden.py, in float64: python tests/golden/generate.py [NAME ...]

One file an optimizer: the start values and gradients, and for each configuration of the table of cases the parameters
and states that its oracle (tests/oracles.py) arrives at after 50 steps. The learning rate changes at every step, and
the second parameter gets its first gradient late.

Of the optimizers that take a closure (tests/closure_cases.py): for each configuration and loss, a row for each step:
the evaluations and iterations until then, and where the parameter is.
"""

from __future__ import annotations

import inspect
import json
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from cases import CASES, LATE, LR_FACTOR, STEPS
from closure_cases import CLOSURE_CASES, LOSSES
from oracles import ORACLES, torch_closure_steps

HERE = Path(__file__).parent
SHAPES = {"w": (4, 3), "b": (5,)}
VERSIONS = {"torch": "2.13.0", "optax": "0.2.8", "schedulefree": "1.4.1"}


def problem():
    """Return start values and gradients of very different sizes."""
    rng = np.random.default_rng(20)
    start = {name: rng.standard_normal(shape) for name, shape in SHAPES.items()}
    scales = {name: 10.0 ** rng.uniform(-3, 1, shape) for name, shape in SHAPES.items()}
    grads = {name: rng.standard_normal((STEPS, *shape)) * scales[name] for name, shape in SHAPES.items()}
    return start, grads


def run(case, config, start, grads):
    """Return parameters and states after the steps."""
    lr = config.get("lr", inspect.signature(case.optimizer).parameters["lr"].default)
    if case.together:
        # Sums over all parameters are sums over one that holds all of them.
        ends = np.cumsum([p.size for p in start.values()])
        flat = np.concatenate([p.ravel() for p in start.values()])
        flat_grads = np.concatenate([g.reshape(STEPS, -1) for g in grads.values()], axis=1)
        end, state = last(case, config, flat, lr, flat_grads, range(STEPS))
        result = {}
        for key, p, stop in zip(start, start.values(), ends, strict=True):
            part = slice(stop - p.size, stop)
            result[key] = end[part].reshape(p.shape)
            for name, value in state.items():
                result[f"{key}.{name}"] = value[part].reshape(p.shape) if np.ndim(value) else value
        return result
    result = {}
    for key, p in start.items():
        end, state = last(case, config, p, lr, grads[key], range(LATE if key == "b" else 0, STEPS))
        result[key] = end
        result |= {f"{key}.{name}": value for name, value in state.items()}
    return result


def last(case, config, p, lr, grads, steps):
    """Return the parameter and the states that the oracle arrives at."""
    lrs, shaped = [lr * LR_FACTOR**t for t in steps], [case.shaped(grads[t]) for t in steps]
    *_, end = ORACLES[case.oracle](case.name, config, case.shaped(p), lrs, shaped)
    return end


def main():
    for name, expected in VERSIONS.items():
        found = version(name).split("+")[0] if find_spec(name) else "not installed"
        if found != expected:
            raise SystemExit(f"{name} is {found}; expected {expected}: pip install '.[oracles]'")
    start, grads = problem()
    for case in CASES:
        if sys.argv[1:] and case.name not in sys.argv[1:]:
            continue
        arrays = {f"start/{key}": value for key, value in start.items()}
        arrays |= {f"grads/{key}": value for key, value in grads.items()}
        for i, config in enumerate(case.golden_configs):
            arrays |= {f"{i}/{key}": value for key, value in run(case, config, start, grads).items()}
        np.savez_compressed(HERE / f"{case.name}.npz", configs=json.dumps(case.golden_configs), **arrays)
    for case in CLOSURE_CASES:
        if sys.argv[1:] and case.name not in sys.argv[1:]:
            continue
        arrays = {
            f"{i}/{loss}": np.array(list(torch_closure_steps(case.name, config, function, start, case.steps(config))))
            for i, config in enumerate(case.configs)
            for loss, (function, start) in LOSSES.items()
        }
        np.savez_compressed(HERE / f"{case.name}.npz", configs=json.dumps(case.configs), **arrays)


if __name__ == "__main__":
    main()
