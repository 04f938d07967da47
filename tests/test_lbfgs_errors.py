"""What LBFGS refuses, and steps that fail."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from closure_cases import CLOSURE_CASES, rosenbrock
from lbfgs_steps import START, closure_of, each_search, everything
from ravine import optim

ERRORS = [(case, *error) for case in CLOSURE_CASES for error in case.errors]
ERROR_IDS = [f"{case.name}-{config}" for case, config, *_ in ERRORS]


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
