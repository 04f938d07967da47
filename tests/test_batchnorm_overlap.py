"""Arrays of a batch norm that share memory: refused, with every byte as before, wherever one of them is written to."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from ravine.nn import functional

N, C = 4, 3
SHAPES = dict.fromkeys(("x", "residual", "out", "dy", "dx", "dz"), (N, C))
SHAPES |= dict.fromkeys(("weight", "bias", "running_mean", "running_var", "weight.grad", "bias.grad"), (C,))
FORWARD = ("x", "residual", "out", "weight", "bias", "running_mean", "running_var")
BACKWARD = ("x", "dy", "dx", "dz", "weight.grad", "bias.grad")


def arrays(names, one, other, shift):
    """Return arrays of these names, of which `other` lies in `one`, `shift` elements further on."""
    made = {name: np.random.default_rng(i).uniform(1, 2, SHAPES[name]) for i, name in enumerate(names)}
    sizes = [made[one].size, made[other].size]
    memory = np.random.default_rng(9).uniform(1, 2, max(sizes[0], sizes[1] + shift))
    made[one] = memory[: sizes[0]].reshape(SHAPES[one])
    made[other] = memory[shift : shift + sizes[1]].reshape(SHAPES[other])
    return made


def shifts(one, other):
    """From the same beginning to one element in common."""
    size = int(np.prod(SHAPES[one]))
    return sorted({0, 1, size - 1})


def is_allowed(pair, shift, allowed):
    return shift == 0 and set(pair) in allowed


def forward(a, training):
    return functional.batch_norm_forward(
        a["x"], a["running_mean"], a["running_var"], a["weight"], a["bias"], training, residual=a["residual"],
        out=a["out"],
    )  # fmt: skip


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("pair", list(itertools.permutations(FORWARD, 2)), ids="-".join)
def test_forward(pair, training):
    written = {"out", "running_mean", "running_var"} if training else {"out"}
    for shift in shifts(*pair):
        a = arrays(FORWARD, *pair, shift)
        before = {name: value.copy() for name, value in a.items()}
        if not written & set(pair) or is_allowed(pair, shift, ({"x", "out"}, {"residual", "out"})):
            forward(a, training)
            continue
        with pytest.raises(ValueError, match="shares memory with"):
            forward(a, training)
        for name, value in a.items():
            np.testing.assert_array_equal(value, before[name], err_msg=name)


@pytest.mark.parametrize("pair", list(itertools.permutations(BACKWARD, 2)), ids="-".join)
def test_backward(pair):
    for shift in shifts(*pair):
        a = arrays(BACKWARD, *pair, shift)
        _, context = functional.batch_norm_forward(a["x"], training=True, residual=a["dy"].copy())
        before = {name: value.copy() for name, value in a.items()}
        allowed = ({"dy", "dx"}, {"dy", "dz"}, {"x", "dx"})
        if set(pair) == {"x", "dy"} or is_allowed(pair, shift, allowed):
            context.backward(a["dy"], a["dx"], a["dz"], a["weight.grad"], a["bias.grad"])
            continue
        with pytest.raises(ValueError, match="shares memory with"):
            context.backward(a["dy"], a["dx"], a["dz"], a["weight.grad"], a["bias.grad"])
        for name, value in a.items():
            np.testing.assert_array_equal(value, before[name], err_msg=name)
