"""Make the golden values of tests/test_golden.py with torch 2.13.0 in float64: python tests/golden/generate.py

One file an optimizer: the start values and gradients, and for each configuration of the table of cases the parameters
and states after 50 steps. The learning rate changes at every step, and the second parameter gets its first gradient
late.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from cases import CASES, LATE, LR_FACTOR, STEPS

HERE = Path(__file__).parent
SHAPES = {"w": (4, 3), "b": (5,)}


def problem():
    """Return start values and gradients of very different sizes."""
    rng = np.random.default_rng(20)
    start = {name: rng.standard_normal(shape) for name, shape in SHAPES.items()}
    scales = {name: 10.0 ** rng.uniform(-3, 1, shape) for name, shape in SHAPES.items()}
    grads = {name: rng.standard_normal((STEPS, *shape)) * scales[name] for name, shape in SHAPES.items()}
    return start, grads


def run_torch(name, config, start, grads):
    """Return parameters and states after the steps."""
    params = [torch.nn.Parameter(torch.from_numpy(value.copy())) for value in start.values()]
    optimizer = getattr(torch.optim, name)(params, foreach=False, **config)
    lr = optimizer.param_groups[0]["lr"]
    for t in range(STEPS):
        for key, p in zip(start, params, strict=True):
            p.grad = None if key == "b" and t < LATE else torch.from_numpy(grads[key][t].copy())
        optimizer.param_groups[0]["lr"] = lr * LR_FACTOR**t
        optimizer.step()
    result = {}
    for key, p in zip(start, params, strict=True):
        result[key] = p.detach().numpy()
        for state, value in optimizer.state[p].items():
            if state != "step" and value is not None:
                result[f"{key}.{state}"] = value.numpy()
    return result


def main():
    assert torch.__version__.split("+")[0] == "2.13.0", torch.__version__
    start, grads = problem()
    for case in CASES:
        arrays = {f"start/{key}": value for key, value in start.items()}
        arrays |= {f"grads/{key}": value for key, value in grads.items()}
        for i, config in enumerate(case.torch_configs):
            arrays |= {f"{i}/{key}": value for key, value in run_torch(case.name, config, start, grads).items()}
        np.savez_compressed(HERE / f"{case.name}.npz", configs=json.dumps(case.torch_configs), **arrays)


if __name__ == "__main__":
    main()
