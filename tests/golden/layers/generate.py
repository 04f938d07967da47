"""Make the golden values of tests/test_batchnorm_accuracy.py: run this, with torch 2.13.0.

One file: for each shape the arrays that go in, and for each configuration torch's results and gradients in float64.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import batch_norm

SHAPES = [(2, 4), (9, 3), (6, 3, 5), (2, 4, 5, 5), (1, 2, 12, 13), (2, 3, 2, 1, 4)]


def configurations():
    """Return what is combined: shape, training, affine, activation, and whether a residual is added."""
    return list(itertools.product(SHAPES, [True, False], [True, False], [None, "relu"], [False, True]))


def inputs(shape, rng):
    """Return the arrays for a shape, with channels of very different sizes."""
    c = shape[1]
    scale = 10.0 ** rng.uniform(-2, 2, (c, *(1,) * (len(shape) - 2)))
    return {
        "x": (rng.standard_normal(shape) + 2) * scale,
        "dy": rng.standard_normal(shape),
        "residual": rng.standard_normal(shape),
        "running_mean": rng.standard_normal(c),
        "running_var": rng.random(c) + 0.5,
        "weight": rng.standard_normal(c),
        "bias": rng.standard_normal(c),
    }


def run_torch(given, training, affine, activation, added):
    """Return result, running statistics and gradients."""
    t = {name: torch.from_numpy(value.copy()) for name, value in given.items()}
    wanted = ["x", *(["weight", "bias"] if affine else []), *(["residual"] if added else [])]
    for name in wanted:
        t[name].requires_grad_()
    weight, bias = (t["weight"], t["bias"]) if affine else (None, None)
    y = batch_norm(t["x"], t["running_mean"], t["running_var"], weight, bias, training, momentum=0.3, eps=1e-3)
    if added:
        y = y + t["residual"]
    if activation == "relu":
        y = y.relu()
    y.backward(t["dy"])
    results = {"y": y.detach(), "mean": t["running_mean"], "var": t["running_var"]}
    return results | {f"d{name}": t[name].grad for name in wanted}


def main():
    assert torch.__version__.split("+")[0] == "2.13.0", torch.__version__
    rng = np.random.default_rng(3)
    arrays = {"configurations": np.array(json.dumps(configurations()))}
    given = {shape: inputs(shape, rng) for shape in SHAPES}
    for i, shape in enumerate(SHAPES):
        arrays |= {f"given/{i}/{name}": value for name, value in given[shape].items()}
    for i, (shape, *rest) in enumerate(configurations()):
        arrays |= {f"torch/{i}/{name}": value.numpy() for name, value in run_torch(given[shape], *rest).items()}
    np.savez_compressed(Path(__file__).parent / "batchnorm.npz", **arrays)


if __name__ == "__main__":
    main()
