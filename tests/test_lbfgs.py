"""LBFGS: results, closures, forms of parameters."""

from __future__ import annotations

import numpy as np
import pytest
from cases import id_of
from closure_cases import CLOSURE_CONFIGS, LOSSES, quadratic, rosenbrock
from lbfgs_steps import START, closure_of, each_search
from ravine import nn, optim, reference


class TestResults:
    @pytest.mark.parametrize("loss", LOSSES)
    @pytest.mark.parametrize(
        ("case", "config"), CLOSURE_CONFIGS, ids=[f"{case.name}-{id_of(config)}" for case, config in CLOSURE_CONFIGS]
    )
    def test_reference(self, case, config, loss):
        """The same recurrences; only the sums of BLAS may be in another order."""
        function, start = LOSSES[loss]
        x, y, state = start.copy(), start.copy(), {}
        optimizer = case.optimizer([x], **config)
        for _ in range(case.steps(config)):
            optimizer.step(closure_of(x, function))
            case.reference(y, lambda y=y: function(y), state, **config)
            np.testing.assert_allclose(x, y, rtol=1e-10, atol=1e-10)
            ours = optimizer.state[x]
            assert (ours["func_evals"], ours["n_iter"]) == (state["func_evals"], state["n_iter"])
            assert len(ours.get("old_dirs", ())) == len(state.get("old_dirs", ()))

    @each_search
    def test_minimum_of_a_quadratic(self, search):
        x = np.ones(8)
        optimizer = optim.LBFGS([x], max_iter=100, line_search_fn=search)
        assert optimizer.step(closure_of(x, quadratic)) == quadratic(np.ones(8))[0]
        assert np.abs(quadratic(x)[1]).max() < 1e-5

    @each_search
    def test_float32(self, search):
        """As near to the minimum as the type allows, with states of the type."""
        x = np.array([-1.2, 1.0], np.float32)
        optimizer = optim.LBFGS([x], line_search_fn=search)

        def closure():
            loss, gradient = rosenbrock(x)
            return np.float32(loss), [gradient]

        for _ in range(10):
            optimizer.step(closure)
        np.testing.assert_allclose(x, 1, atol=2e-3)
        arrays = {name: value for name, value in optimizer.state[x].items() if isinstance(value, np.ndarray)}
        assert {name for name, value in arrays.items() if value.dtype == np.float32} == arrays.keys() - {"ro"}

    def test_pieces_of_any_form_are_one_vector(self):
        """Shapes, memory orders, parameters with gradients and without: all as if it were one array."""
        expected = START.copy()
        alone = optim.LBFGS([expected], max_iter=5, line_search_fn="strong_wolfe")
        parts = [
            nn.Parameter(START[:4].reshape(2, 2).copy(order="F"), name="a"),
            nn.Parameter(START[4:9].copy(), name="b"),
            nn.Parameter(START[9:].copy(), name="c"),
        ]
        optimizer = optim.LBFGS({p.name: p for p in parts}, max_iter=5, line_search_fn="strong_wolfe")

        def vector():
            return np.concatenate([p.data.ravel() for p in parts])

        def carried():
            loss, gradient = rosenbrock(vector())
            parts[0].grad, parts[1].grad, parts[2].grad = gradient[:4].reshape(2, 2), gradient[4:9], gradient[9:]
            return loss

        def by_name():
            loss, gradient = rosenbrock(vector())
            return loss, {"c": gradient[9:], "a": gradient[:4].reshape(2, 2), "b": gradient[4:9]}

        for closure in (carried, by_name, carried):
            alone.step(closure_of(expected))
            optimizer.step(closure)
            np.testing.assert_array_equal(vector(), expected)

    def test_mixed_dtypes_make_a_vector_of_float64(self):
        a, b = np.ones(3, np.float32), np.full(2, -1.0)
        optimizer = optim.LBFGS([a, b], line_search_fn="strong_wolfe")
        optimizer.step(lambda: (float(a @ a + 10 * b @ b), [2 * a, 20 * b]))
        assert np.abs(a).max() < 1e-6
        assert np.abs(b).max() < 1e-6
        assert optimizer.state[a]["d"].dtype == np.float64

    def test_no_gradient_counts_as_zeros(self):
        a, frozen = nn.Parameter(np.ones(2)), nn.Parameter(np.ones(2), requires_grad=False)

        def closure():
            a.grad = 2 * a.data
            return a.data @ a.data

        optim.LBFGS([a, frozen], max_iter=50, lr=0.1).step(closure)
        assert np.abs(a.data).max() < 0.1
        assert frozen.data.tolist() == [1, 1]

    def test_a_gradient_may_be_the_parameter_itself(self):
        x = np.ones(3)
        optim.LBFGS([x]).step(lambda: (x @ x / 2, [x]))
        np.testing.assert_allclose(x, 0, atol=1e-12)

    def test_nothing_is_done_where_the_gradient_is_zero(self):
        x = np.zeros(8)
        optimizer = optim.LBFGS([x])
        assert optimizer.step(closure_of(x, quadratic)) == 0
        assert not x.any()
        assert dict(optimizer.state[x]) == {"func_evals": 1, "n_iter": 0}
        assert optimizer.has_stepped

    @each_search
    def test_a_learning_rate_of_zero_moves_nothing(self, search):
        """As at the end of a schedule."""
        x = START.copy()
        optimizer = optim.LBFGS([x], line_search_fn=search)
        optimizer.step(closure_of(x))
        before = x.copy()
        optimizer.param_groups[0]["lr"] = 0
        optimizer.step(closure_of(x))
        np.testing.assert_array_equal(x, before)
        optimizer.param_groups[0]["lr"] = 1
        optimizer.step(closure_of(x))
        assert rosenbrock(x)[0] < rosenbrock(before)[0]

    def test_a_smaller_history_is_used_from_the_next_step_on(self):
        x = START.copy()
        optimizer = optim.LBFGS([x], max_iter=10, line_search_fn="strong_wolfe")
        optimizer.step(closure_of(x))
        assert len(optimizer.state[x]["ro"]) > 3
        optimizer.param_groups[0]["history_size"] = 3
        optimizer.step(closure_of(x))
        assert len(optimizer.state[x]["ro"]) == 3

    @each_search
    def test_losses_that_are_not_finite_go_on_without_a_warning(self, search):
        x = np.ones(2)
        optimizer = optim.LBFGS([x], line_search_fn=search)
        assert np.isinf(optimizer.step(lambda: (np.inf, [np.full(2, 1e200)])))
        optimizer.step(lambda: (np.nan, [np.full(2, np.nan)]))
        assert optimizer.state[x]["func_evals"] > 2

    def test_the_closure_keeps_its_own_handling_of_floating_point_errors(self):
        x = np.ones(1)
        with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
            optim.LBFGS([x]).step(lambda: (1.0, [x / np.zeros(1)]))

    def test_no_elements(self):
        assert optim.LBFGS([np.zeros(0)]).step(lambda: (1.0, [np.zeros(0)])) == 1

    def test_memory_is_made_once(self):
        """Steps after the first few make no new vectors, whichever pairs come and go."""
        x = START.copy()
        optimizer = optim.LBFGS([x], max_iter=6, history_size=4, line_search_fn="strong_wolfe")
        for _ in range(3):
            optimizer.step(closure_of(x))
        space = optimizer._space
        made = []
        space.new = lambda: made.append(1) or np.empty(space.size, space.dtype)
        for _ in range(3):
            optimizer.step(closure_of(x))
        assert len(optimizer.state[x]["ro"]) == 4
        assert not made


def test_the_reference_takes_any_shape():
    x, y, state = START.reshape(2, 5).copy(), START.copy(), {}
    reference.lbfgs(x, lambda: rosenbrock(x.ravel()), state)
    reference.lbfgs(y, lambda: rosenbrock(y), {})
    np.testing.assert_array_equal(x.ravel(), y)
    assert state["n_iter"] > 1


def test_a_line_with_several_valleys():
    """The line search goes the reference's way where a point is low enough, but not as low as the best so far."""

    def wavy(x):
        return float(np.sum(np.sin(5 * x) + 0.1 * x**2)), 5 * np.cos(5 * x) + 0.2 * x

    for start in np.linspace(-4, 4, 101):
        x, y, state = np.array([start]), np.array([start]), {}
        for lr in (1.0, 5.0):
            settings = {"lr": lr, "max_iter": 6, "line_search_fn": "strong_wolfe"}
            optimizer = optim.LBFGS([x], **settings)
            optimizer.step(closure_of(x, wavy))
            state = {}
            reference.lbfgs(y, lambda y=y: wavy(y), state, **settings)
            assert optimizer.state[x]["func_evals"] == state["func_evals"], start
            np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-9, err_msg=str(start))
