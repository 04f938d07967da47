"""The forms in which gradients come."""

from __future__ import annotations

import weakref

import numpy as np
from arrays import ones
from ravine import nn, optim


class TestFormsOfGradients:
    def test_groups(self):
        a, b, c = np.zeros(1), np.zeros(1), np.zeros(1)
        groups = [{"params": {"a": a}}, {"params": {"b": b, "c": c}}]
        for grads in (
            ones(1, 1, 1),
            tuple(ones(1, 1, 1)),
            iter(ones(1, 1, 1)),
            [ones(1), ones(1, 1)],
            {"a": np.ones(1), "b": np.ones(1), "c": np.ones(1)},
            [{"a": np.ones(1)}, {"b": np.ones(1), "c": np.ones(1)}],
        ):
            for p in (a, b, c):
                p.fill(0)
            optim.SGD(groups, lr=1).step(grads)
            assert (a[0], b[0], c[0]) == (-1, -1, -1)

    def test_none_leaves_parameter_and_state_alone(self):
        a, b = np.zeros(2), np.zeros(2)
        optimizer = optim.Adam({"a": a, "b": b})
        optimizer.step({"a": np.ones(2), "b": None})
        assert not b.any()
        assert optimizer.state[b] == {}
        assert len(optimizer.state) == 1
        assert list(optimizer.state_dict()["state"]) == [0]
        optimizer.step([None, np.ones(2)])
        np.testing.assert_array_equal(a, b)
        assert optimizer.state[a]["step"] == optimizer.state[b]["step"] == 1

    def test_parameters_carry_gradients(self):
        p, frozen = nn.Parameter(np.zeros(2)), nn.Parameter(np.zeros(2), requires_grad=False)
        optimizer = optim.SGD([p, frozen], lr=1)
        p.grad += 1
        optimizer.step()
        assert p.data.tolist() == [-1, -1]
        assert frozen.grad is None
        optimizer.zero_grad()
        assert p.grad.tolist() == [0, 0]
        optimizer.zero_grad(set_to_none=True)
        assert p.grad is None
        optimizer.step()
        assert p.data.tolist() == [-1, -1]
        p.grad = np.ones(2)
        optimizer.step()
        assert p.data.tolist() == [-2, -2]

    def test_zero_grad_replaces_a_read_only_gradient(self):
        p = nn.Parameter(np.zeros(2))
        gradient = np.ones(2)
        gradient.flags.writeable = False
        p.grad = gradient
        optim.SGD([p]).zero_grad()
        assert p.grad.tolist() == [0, 0]
        assert gradient.tolist() == [1, 1]


def test_a_gradient_is_held_until_the_step_is_over():
    """One that nobody else holds, since it is made anew from the object that was given."""
    n = 1 << 13  # elements enough for the interpreter lock to be released
    p = np.zeros(n)
    at_the_end = []

    class Fresh:
        def __dlpack__(self, **options):
            gradient = np.ones(n)
            weakref.finalize(gradient, lambda: at_the_end.append(p[0]))
            return gradient.__dlpack__(**options)

        def __dlpack_device__(self):
            return (1, 0)

    optim.SGD([p], lr=1).step([Fresh()])
    assert at_the_end == [-1]


class TestClosures:
    def test_by_position_and_by_name(self):
        p = nn.Parameter(np.zeros(1))
        optimizer = optim.SGD([p], lr=1)

        def closure():
            p.grad = p.data - 1
            return 0.5

        assert optimizer.step(closure) == 0.5
        assert optimizer.step(closure=closure) == 0.5
        assert optimizer.step() is None
        assert p.data.tolist() == [1]
