"""What Handoff refuses."""

from __future__ import annotations

import numpy as np
import pytest
from handoffs import GRADS, pair, run
from ravine import nn, optim
from ravine.optim.lr_scheduler import HyperparameterScheduler, OneCycleLR, StepLR


class TestErrors:
    A, B = np.ones(3), np.ones(3)
    P = nn.Parameter(np.ones(3))

    @pytest.mark.parametrize(
        ("stages", "at", "exception", "text"),
        [
            (lambda a, b, p: optim.SGD([a]), None, TypeError, r"optimizers is .*SGD; expected a list of two or more"),
            (lambda a, b, p: [optim.SGD([a])], None, TypeError, r"optimizers is 1 of them; expected a list of two"),
            (lambda a, b, p: [optim.SGD([a]), a], None, TypeError, r"optimizers\[1\] is float64, shape \(3,\); expec"),
            (lambda a, b, p: [optim.SGD([a]), optim.SGD([b])], None, ValueError, r"\(SGD\) have different arrays"),
            (lambda a, b, p: [optim.SGD([a, b]), optim.SGD([b, a])], None, ValueError, r"have different arrays: par"),
            (lambda a, b, p: [optim.SGD([a, b]), optim.Adam([a])], None, ValueError, r"have 2 and 1 parameters. Cons"),
            (lambda a, b, p: [optim.SGD([p]), optim.SGD([p.data])], None, ValueError, r"in different objects, which"),
            (
                lambda a, b, p: [optim.SGD([p]), optim.SGD([nn.Parameter(p.data)])],
                None,
                ValueError,
                r"params\[0\] in different objects, which carry a gradient each",
            ),
            (lambda a, b, p: [optim.SGD({"w": a}), optim.SGD([a])], None, ValueError, r"names for one array: 'w' and"),
            (lambda a, b, p: [optim.Handoff(pair(a)), optim.SGD([a])], None, TypeError, r"\[0\] is a Handoff itself"),
            (lambda a, b, p: [optim.SGD([a])] * 2, None, ValueError, r"optimizers\[1\] is in the list twice"),
            (lambda a, b, p: pair(a), 5, TypeError, r"at=5 is a int; expected a list of steps"),
            (lambda a, b, p: pair(a), [0], ValueError, r"at\[0\]=0; expected a whole number, 1 or more"),
            (lambda a, b, p: pair(a), [1, 2], ValueError, r"has 2 step counts for 2 optimizers; expected one for"),
            (lambda a, b, p: [*pair(a), optim.Lion([a])], [4, 4], ValueError, r"expected each to be greater"),
        ],
    )
    def test_construction(self, stages, at, exception, text):
        with pytest.raises(exception, match=f"^Handoff: .*{text}"):
            optim.Handoff(stages(self.A, self.B, self.P), at=at)

    def test_the_same_parameters_in_other_groups_will_do(self):
        a, b = np.ones(2), np.ones(2)
        handoff = optim.Handoff([optim.Adam([{"params": [a]}, {"params": [b]}]), optim.SGD([a, b], lr=1)], at=[1])
        run_two = [np.ones(2), np.ones(2)]
        handoff.step(run_two)
        handoff.step(run_two)
        assert handoff.steps == 2
        with pytest.raises(ValueError, match=r"StepLR: optimizer is a Handoff, but its stages have 2, 1 parameter gr"):
            StepLR(handoff, 1)

    @pytest.mark.parametrize(("stage", "text"), [(None, "there is no next stage"), (2, "stage=2"), (-1, "stage=-1")])
    def test_there_is_no_such_stage(self, stage, text):
        handoff = optim.Handoff(pair(np.ones(2)))
        handoff.switch()
        with pytest.raises(ValueError, match=f"Handoff.switch: {text}"):
            handoff.switch(stage)
        assert handoff.stage == 1

    def test_stages_that_have_come_apart_are_found_before_the_step(self):
        w = np.ones(5)
        handoff = optim.Handoff(pair(w), at=[3])
        run(handoff, GRADS[:2])
        handoff.optimizers[1].add_param_group({"params": [np.ones(2)]})
        before = w.copy()
        with pytest.raises(ValueError, match=r"Handoff.step: .* have 1 and 2 parameters"):
            handoff.step([GRADS[2]])
        np.testing.assert_array_equal(w, before)
        assert handoff.steps == 2
        with pytest.raises(ValueError, match="a group cannot be added to all stages at once"):
            handoff.add_param_group({"params": [np.ones(2)]})

    def test_a_step_that_fails_counts_nothing(self):
        handoff = optim.Handoff(pair(np.ones(5)), at=[1])
        with pytest.raises(ValueError, match=r"Adam: params\[0\]: its gradient is float64, shape \(2,\)"):
            handoff.step([np.ones(2)])
        assert (handoff.steps, handoff.stage) == (0, 0)

    def test_not_within_a_step(self):
        p = nn.Parameter(np.ones(2))
        handoff = optim.Handoff([optim.Adam([p]), optim.SGD([p])])
        for function in (handoff.switch, handoff.step):
            with pytest.raises(RuntimeError, match="in the middle of a step"):
                handoff.step(closure=function)
        assert handoff.steps == 0

    def test_a_cycled_momentum_needs_one_in_every_stage(self):
        w = np.ones(5)
        with pytest.raises(ValueError, match="neither momentum nor betas"):
            OneCycleLR(optim.Handoff([optim.Adam([w]), optim.Adagrad([w])]), 0.1, total_steps=9)

    def test_a_driven_key_has_to_be_in_every_stage(self):
        w = np.ones(5)
        with pytest.raises(ValueError, match=r"key='eps' is in no parameter group"):
            HyperparameterScheduler(optim.Handoff(pair(w)), "eps", StepLR, step_size=1)


def test_a_schedule_free_stage_cannot_begin_again():
    w = np.ones(5)
    handoff = optim.Handoff([optim.SGDScheduleFree([w]), optim.SGD([w])])
    handoff.step([np.ones(5)])
    handoff.switch()
    with pytest.raises(ValueError, match=r"optimizers\[0\] \(SGDScheduleFree\) has been at work already"):
        handoff.switch(0)
    assert handoff.stage == 1
