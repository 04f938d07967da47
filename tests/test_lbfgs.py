"""LBFGS: closures, forms of parameters, what happens to a step that fails, saving and resuming."""

from __future__ import annotations

import copy
import pickle
import threading

import numpy as np
import pytest
from cases import id_of
from closure_cases import CLOSURE_CASES, CLOSURE_CONFIGS, LOSSES, quadratic, rosenbrock
from ravine import nn, optim, reference

START = LOSSES["Rosenbrock 10"][1]
SEARCHES = [None, "strong_wolfe"]
each_search = pytest.mark.parametrize("search", SEARCHES)
ERRORS = [(case, *error) for case in CLOSURE_CASES for error in case.errors]
ERROR_IDS = [f"{case.name}-{config}" for case, config, *_ in ERRORS]


def closure_of(x, loss=rosenbrock):
    """Return a closure for a plain array."""
    return lambda: (loss(x)[0], [loss(x)[1]])


def everything(optimizer, *arrays):
    """Return all that a failed step must leave alone, as bytes."""
    return pickle.dumps([optimizer.state_dict(), *arrays])


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


def interrupt():
    raise KeyboardInterrupt


class TestErrors:
    @pytest.mark.parametrize(("case", "config", "exception", "text"), ERRORS, ids=ERROR_IDS)
    def test_hyperparameters(self, case, config, exception, text):
        with pytest.raises(exception, match=text):
            case.optimizer([np.zeros(3)], **config)
        if config.keys() <= case.optimizer._checks.keys():
            x = START.copy()
            optimizer = case.optimizer([x])
            optimizer.step(closure_of(x))
            before = everything(optimizer, x)
            optimizer.param_groups[0].update(config)
            with pytest.raises(exception, match=f"^{case.name}: {text}"):
                optimizer.step(closure_of(x))
            optimizer.param_groups[0].update(optimizer.defaults)
            assert everything(optimizer, x) == before

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            ((), r"LBFGS.step: grads is missing; expected a closure, .* Call step\(closure\)"),
            (([np.zeros(10)],), r"LBFGS.step: grads is a? ?list; expected a closure"),
            (([np.zeros(10)], lambda: 0.0), r"LBFGS.step: grads is a? ?list; expected a closure"),
        ],
    )
    def test_no_closure(self, arguments, text):
        with pytest.raises(TypeError, match=text):
            optim.LBFGS([START.copy()]).step(*arguments)

    BAD_RESULTS = {
        "nothing": (lambda g: None, TypeError, r"the closure returned None for a loss; expected a number"),
        "text": (lambda g: ("low", [g]), TypeError, r"the closure returned 'low' for a loss"),
        "losses": (lambda g: (g, [g]), TypeError, r"returned float64, shape \(10,\) for a loss"),
        "three": (lambda g: (1.0, [g], 2), TypeError, r"for a loss; .* Return the loss, or \(loss, grads\)"),
        "no gradients": (lambda g: 1.0, ValueError, r"plain array, .* Return \(loss, grads\) from the closure"),
        "too many": (lambda g: (1.0, [g, g]), ValueError, r"LBFGS.step: got 2 gradients for 1 parameters"),
        "array": (lambda g: (1.0, g), TypeError, r"grads is float64, shape \(10,\); expected a list"),
        "shape": (lambda g: (1.0, [g[:9]]), ValueError, r"LBFGS: params\[0\] \('w'\): its gradient is .*\(9,\); expec"),
        "dtype": (lambda g: (1.0, [g.astype("f4")]), ValueError, r"its gradient is float32, shape \(10,\); expected"),
        "swapped": (lambda g: (1.0, [g.astype(">f8")]), ValueError, r"its gradient is >f8"),
        "gradient": (lambda g: (1.0, [list(g)]), TypeError, r"its gradient is a list; expected an array"),
        "names": (lambda g: (1.0, {"v": g}), ValueError, r"no gradient for 'w' and no parameter named 'v'"),
        "exception": (lambda g: 1 / 0, ZeroDivisionError, "division by zero"),
        "interrupt": (lambda g: interrupt(), KeyboardInterrupt, None),
    }

    @each_search
    @pytest.mark.parametrize(("result", "exception", "text"), BAD_RESULTS.values(), ids=BAD_RESULTS)
    @pytest.mark.parametrize("evaluation", [1, 2, 7, 15])
    def test_a_step_that_fails_is_taken_back(self, result, exception, text, evaluation, search):
        """At its first evaluation or a later one; the step then does what it would have done without."""
        x, y = START.copy(), START.copy()
        config = {"history_size": 4, "max_eval": 40, "line_search_fn": search}
        optimizer, other = optim.LBFGS({"w": x}, **config), optim.LBFGS({"w": y}, **config)
        calls = []

        def closure():
            calls.append(1)
            return result(rosenbrock(x)[1]) if len(calls) == evaluation else closure_of(x)()

        for _ in range(2):
            before = everything(optimizer, x)
            calls.clear()
            with pytest.raises(exception, match=text):
                optimizer.step(closure)
            assert everything(optimizer, x) == before
            optimizer.step(closure_of(x))
            other.step(closure_of(y))
            np.testing.assert_array_equal(x, y)
        assert everything(optimizer) == everything(other)

    def test_a_parameter_that_cannot_be_written_any_more(self):
        x = START.copy()
        optimizer = optim.LBFGS([x])
        optimizer.step(closure_of(x))
        before = everything(optimizer, x)
        x.flags.writeable = False
        with pytest.raises(ValueError, match=r"LBFGS: params\[0\] has been made read-only; .*writeable = True"):
            optimizer.step(closure_of(x))
        x.flags.writeable = True
        assert everything(optimizer, x) == before
        x.resize(20, refcheck=False)
        with pytest.raises(ValueError, match=r"params\[0\] has been resized, .* Make a new optimizer"):
            optimizer.step(closure_of(x))

    def test_one_group_only(self):
        optimizer = optim.LBFGS([np.zeros(2)])
        with pytest.raises(ValueError, match=r"LBFGS: there can be only one parameter group"):
            optimizer.add_param_group({"params": [np.zeros(2)]})
        with pytest.raises(ValueError, match=r"LBFGS: there can be only one parameter group"):
            optim.LBFGS([{"params": [np.zeros(2)]}, {"params": [np.zeros(2)]}])
        assert len(optimizer.param_groups) == 1

    def test_a_step_inside_a_step_is_refused(self):
        x = START.copy()
        optimizer = optim.LBFGS([x])
        with pytest.raises(RuntimeError, match=r"LBFGS.step: this optimizer is in the middle of a step"):
            optimizer.step(lambda: optimizer.step(closure_of(x)))
        np.testing.assert_array_equal(x, START)
        inside, leave = threading.Event(), threading.Event()

        def waiting():
            inside.set()
            leave.wait(30)
            return closure_of(x)()

        thread = threading.Thread(target=optimizer.step, args=(waiting,))
        thread.start()
        assert inside.wait(30)
        with pytest.raises(RuntimeError, match="in the middle of a step"):
            optimizer.step(closure_of(x))
        leave.set()
        thread.join()


@pytest.mark.parametrize("config", CLOSURE_CASES[0].configs, ids=id_of)
@pytest.mark.parametrize("at", range(4))
def test_resuming_is_exact(config, at):
    straight, x = START.copy(), START.copy()
    whole, first = optim.LBFGS([straight], **config), optim.LBFGS([x], **config)
    for _ in range(4):
        whole.step(closure_of(straight))
    for _ in range(at):
        first.step(closure_of(x))
    saved = pickle.loads(pickle.dumps(first.state_dict()))
    y = x.copy()
    second = optim.LBFGS([y])
    second.load_state_dict(saved)
    assert second.has_stepped == (at > 0)
    np.testing.assert_equal(second.state_dict(), saved)
    for _ in range(4 - at):
        second.step(closure_of(y))
    np.testing.assert_array_equal(y, straight)
    np.testing.assert_equal(second.state_dict(), whole.state_dict())


class TestState:
    @pytest.fixture
    def stepped(self):
        x = START.copy()
        optimizer = optim.LBFGS([x], history_size=5, line_search_fn="strong_wolfe")
        optimizer.step(closure_of(x))
        return optimizer, x

    def test_plain_arrays_and_numbers(self, stepped):
        optimizer, x = stepped
        saved = optimizer.state_dict()
        assert list(saved["state"]) == [0]
        kinds = {name: type(value) for name, value in saved["state"][0].items()}
        numbers = {"func_evals": int, "n_iter": int, "t": float, "H_diag": float, "prev_loss": float}
        assert kinds == {**numbers, **dict.fromkeys(("d", "old_dirs", "old_stps", "ro", "prev_flat_grad"), np.ndarray)}
        assert saved["state"][0]["old_dirs"].shape == (5, 10)
        kept = copy.deepcopy(saved)
        optimizer.step(closure_of(x))
        np.testing.assert_equal(saved, kept)

    def test_a_saved_state_that_does_not_fit(self, stepped):
        optimizer, x = stepped
        saved = optimizer.state_dict()

        def broken(**changes):
            entry = {name: value for name, value in {**saved["state"][0], **changes}.items() if value is not None}
            return {**saved, "state": {0: entry}}

        state = saved["state"][0]
        cases = [
            (broken(d=None), "state 'd' is missing"),
            (broken(d=state["d"][:9]), r"state 'd' is float64, shape \(9,\); expected float64, shape \(10,\)"),
            (broken(old_dirs=state["old_dirs"].astype("f4")), r"state 'old_dirs' is float32, shape \(10,\)"),
            (broken(ro=state["ro"][:3]), "'old_dirs', 'old_stps' and 'ro' have 5, 5 and 3 entries"),
            (broken(n_iter=-1), "state 'n_iter' value=-1; expected a whole number"),
            (broken(t="far"), "state 't' could not convert"),
            (broken(momentum_buffer=state["d"]), "LBFGS keeps no state 'momentum_buffer'"),
            ({**saved, "state": {0: state, 1: state}}, "it has a state for parameter 1; LBFGS keeps all under 0"),
            ({**saved, "param_groups": [{**saved["param_groups"][0], "lr": -1}]}, "lr=-1 is negative"),
            ({"state": {}}, "it is not a dict with 'state' and 'param_groups'"),
        ]
        other = optim.LBFGS([x.copy()])
        before = everything(other)
        for state_dict, text in cases:
            with pytest.raises(ValueError, match=rf"(?s)LBFGS.load_state_dict: .* is unchanged:.*{text}"):
                other.load_state_dict(state_dict)
            assert everything(other) == before

    @pytest.mark.parametrize("make", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))], ids=["copy", "pickle"])
    def test_copies_go_on_alone(self, stepped, make):
        optimizer, x = stepped
        other = make(optimizer)
        (theirs,) = (p.data for p in other.param_groups[0]["params"])
        before = x.copy()
        for _ in range(2):
            other.step(closure_of(theirs))
        np.testing.assert_array_equal(x, before)
        for _ in range(2):
            optimizer.step(closure_of(x))
        np.testing.assert_array_equal(x, theirs)

    def test_repr(self):
        assert repr(optim.LBFGS([np.zeros(1)])) == (
            "LBFGS (\nParameter Group 0\n    history_size: 100\n    line_search_fn: None\n    lr: 1.0\n"
            "    max_eval: 25\n    max_iter: 20\n    tolerance_change: 1e-09\n    tolerance_grad: 1e-07\n)"
        )

    def test_hooks(self, stepped):
        optimizer, x = stepped
        calls = []
        optimizer.register_step_pre_hook(lambda opt, args, kwargs: calls.append("before"))
        optimizer.register_step_post_hook(lambda opt, args, kwargs: calls.append("after"))
        optimizer.register_load_state_dict_post_hook(lambda opt: calls.append("loaded"))
        optimizer.step(closure=closure_of(x))
        optimizer.load_state_dict(optimizer.state_dict())
        assert calls == ["before", "after", "loaded"]

    def test_schedules_drive_it(self, stepped):
        optimizer, x = stepped
        schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=4)
        for _ in range(4):
            optimizer.step(closure_of(x))
            schedule.step()
        assert optimizer.param_groups[0]["lr"] == 0
        assert np.isfinite(x).all()


def test_the_reference_takes_any_shape():
    x, y, state = START.reshape(2, 5).copy(), START.copy(), {}
    reference.lbfgs(x, lambda: rosenbrock(x.ravel()), state)
    reference.lbfgs(y, lambda: rosenbrock(y), {})
    np.testing.assert_array_equal(x.ravel(), y)
    assert state["n_iter"] > 1
