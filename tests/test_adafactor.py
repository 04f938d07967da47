"""Adafactor's matrices: their bits, shapes and memory orders, and torch's results."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from ravine import config, optim, reference

# Matrices of one block and of several, stacks of both, rows and columns shorter than the lanes, and nothing at all.
SHAPES = [
    (1, 1),
    (3, 5),
    (1, 17),
    (17, 1),
    (33, 16),
    (0, 4),
    (4, 0),
    (257, 131),
    (5, 40_000),
    (40_000, 3),
    (2, 3, 3),
    (64, 32, 3, 3),
    (3, 251, 160),
]


def arrays(shape, dtype, order="C"):
    rng = np.random.default_rng(sum(shape))
    return [np.asarray(rng.standard_normal(shape).astype(dtype), order=order) for _ in range(4)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_bits_equal_the_reference(shape, order, dtype):
    if order == "F" and len(shape) > 2:
        pytest.skip("refused")
    start, *grads = arrays(shape, dtype, order)
    expected, state = start.copy(order="K"), {}
    for g in grads:
        reference.adafactor(expected, g, state, weight_decay=0.1)
    for isa, threads in itertools.product(config.available_isas(), (1, 2, 5)):
        config.set_isa(isa)
        config.set_num_threads(threads)
        p = start.copy(order="K")
        optimizer = optim.Adafactor([p], weight_decay=0.1)
        for g in grads:
            optimizer.step([g])
        np.testing.assert_array_equal(p, expected, err_msg=f"{isa} {threads}")
        for name, value in state.items():
            np.testing.assert_array_equal(optimizer.state[p][name], value, err_msg=f"{name} {isa} {threads}")


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if 0 not in shape], ids=str)
def test_torchs_results(shape):
    torch = pytest.importorskip("torch")
    start, *grads = arrays(shape, np.float64)
    q = torch.nn.Parameter(torch.from_numpy(start.copy()))
    theirs = torch.optim.Adafactor([q], lr=0.1, weight_decay=0.01)
    ours = optim.Adafactor([start], lr=0.1, weight_decay=0.01)
    for g in grads:
        q.grad = torch.from_numpy(g)
        theirs.step()
        ours.step([g])
        np.testing.assert_allclose(start, q.detach().numpy(), rtol=1e-11, atol=1e-13)


def test_the_epsilon_is_each_parameters_own():
    """torch takes that of the first parameter for the whole group."""
    params = [np.ones(2, np.float64), np.ones(2, np.float32)]
    grads = [np.full(2, 1e-9), np.full(2, 1e-9, np.float32)]
    optim.Adafactor(params).step(grads)
    for p, g in zip(params, grads, strict=True):
        expected = np.ones(2, p.dtype)
        reference.adafactor(expected, g, {})
        np.testing.assert_array_equal(p, expected)
    assert params[0][0] < params[1][0]


def test_stacks_in_fortran_order_are_refused():
    with pytest.raises(ValueError, match=r"params\[1\] \(float64, shape \(2, 3, 4\)\) is in Fortran order; expected C"):
        optim.Adafactor([np.zeros(3), np.zeros((2, 3, 4), order="F")])
    optim.Adafactor([np.zeros((1, 3, 1), order="F")])  # in both orders


def test_states_of_other_shapes_do_not_load():
    w = np.ones((3, 4))
    optimizer = optim.Adafactor([w])
    optimizer.step([w.copy()])
    saved = optimizer.state_dict()
    saved["state"][0]["row_var"] = np.zeros((3, 4))
    with pytest.raises(
        ValueError, match=r"state 'row_var' is float64, shape \(3, 4\); expected float64, shape \(3, 1\)"
    ):
        optimizer.load_state_dict(saved)
