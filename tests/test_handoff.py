"""Handoff: which optimizer works when."""

from __future__ import annotations

import numpy as np
import pytest
from handoffs import AT, GRADS, STEPS, pair, run
from ravine import nn, optim, plot
from ravine.optim.lr_scheduler import ConstantLR


class TestStages:
    def test_each_stage_does_what_it_would_do_alone(self):
        w, expected = np.ones(5), np.ones(5)
        handoff = optim.Handoff(pair(w), at=[AT])
        adam, sgd = pair(expected)
        for t, g in enumerate(GRADS):
            assert handoff.stage == (t >= AT)
            handoff.step([g])
            (adam if t < AT else sgd).step([g])
            np.testing.assert_array_equal(w, expected)
        assert handoff.steps == STEPS
        assert handoff.defaults is handoff.optimizers[1].defaults
        assert handoff.state[w].keys() == {"step", "momentum_buffer"}

    def test_by_hand(self):
        w = np.ones(5)
        handoff = optim.Handoff([*pair(w), optim.Lion([w])])
        run(handoff, GRADS)
        assert handoff.stage == 0
        handoff.switch()
        assert isinstance(handoff.current, optim.SGD)
        handoff.switch(2)
        handoff.switch(2)
        run(handoff, GRADS[:3])
        handoff.switch(0)
        run(handoff, GRADS[:2])
        assert [optimizer.has_stepped for optimizer in handoff.optimizers] == [True, False, True]
        assert handoff.state[w]["step"] == STEPS + 2

    def test_a_plan_holds_only_for_its_stage(self):
        """Who has switched earlier is not switched again."""
        w = np.ones(5)
        handoff = optim.Handoff([*pair(w), optim.Lion([w])], at=[3, 5])
        handoff.switch(2)
        run(handoff, GRADS)
        assert handoff.stage == 2

    def test_closures_parameters_and_zero_grad(self):
        p = nn.Parameter(np.ones(3))
        handoff = optim.Handoff([optim.SGD([p], lr=0.1), optim.LBFGS([p], line_search_fn="strong_wolfe")], at=[2])

        def closure():
            handoff.zero_grad()
            p.grad += 2 * p.data
            return p.data @ p.data

        losses = [handoff.step(closure) for _ in range(4)]
        assert losses[:2] == [3, pytest.approx(3 * 0.64)]
        assert losses[3] < 1e-12

    def test_it_is_an_optimizer_as_any_other(self):
        """What the base class does, it does to a Handoff."""
        p = nn.Parameter(np.zeros(1))
        handoff = optim.Handoff([optim.SGD([p]), optim.Adam([p])], at=[1])
        for stage in (0, 1):
            assert handoff.stage == stage
            p.grad += 1
            optim.Optimizer.zero_grad(handoff)
            assert p.grad.tolist() == [0]
            handoff.step()

    def test_schedule_free_stages_hand_over_their_average(self):
        w, expected = np.ones(5), np.ones(5)
        handoff = optim.Handoff([optim.SGDScheduleFree([w], lr=0.1), optim.SGD([w], lr=0.1)], at=[AT])
        alone = optim.SGDScheduleFree([expected], lr=0.1)
        handoff.train()
        run(handoff, GRADS[:AT])
        for g in GRADS[:AT]:
            alone.step([g])
        alone.eval()
        np.testing.assert_array_equal(w, expected)
        handoff.eval()
        handoff.train()
        run(handoff, GRADS[AT:])
        with pytest.raises(ValueError, match=r"Handoff.switch: optimizers\[0\] \(SGDScheduleFree\) has been at work"):
            handoff.switch(0)
        assert handoff.stage == 1

    def test_train_and_eval_reach_the_stage_at_work(self):
        w = np.ones(5)
        handoff = optim.Handoff([optim.SGD([w], lr=0.1), optim.AdamWScheduleFree([w])], at=[2])
        run(handoff, GRADS[:5])
        handoff.eval()
        with pytest.raises(RuntimeError, match=r"step\(\) after eval\(\)"):
            handoff.step([GRADS[5]])
        assert handoff.steps == 5
        handoff.train()
        handoff.step([GRADS[5]])

    def test_hooks(self):
        w = np.ones(5)
        handoff = optim.Handoff(pair(w), at=[1])
        calls = []
        handoff.register_step_post_hook(lambda opt, args, kwargs: calls.append("stepped"))
        schedule = ConstantLR(handoff, 0.5)
        with handoff.register_switch_hook(lambda opt: calls.append((opt.stage, opt.param_groups[0]["lr"]))):
            run(handoff, GRADS[:2], [schedule])
        assert calls == [(1, 0.25), "stepped", "stepped"]

    def test_in_pictures(self):
        def make(p):
            return optim.Handoff([optim.SGD(p, lr=0.1), optim.LBFGS(p, line_search_fn="strong_wolfe")], at=[3])

        path = plot.trajectories("ravine", {"SGD, L-BFGS": make}, 5).paths["SGD, L-BFGS"]
        assert np.abs(path[3]).max() > 0.1
        np.testing.assert_allclose(path[5], 0, atol=1e-3)

    def test_repr(self):
        handoff = optim.Handoff(pair(np.ones(2)), at=[4])
        text = repr(handoff)
        assert text.startswith("Handoff (\nstage 0 at work after 0 steps, at=[4]\n[0] Adam (")
        assert "\n[1] SGD (" in text
