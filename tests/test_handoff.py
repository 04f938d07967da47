"""Handoff: which optimizer works when, schedules across hand-overs, saving and resuming."""

from __future__ import annotations

import copy
import gc
import pickle

import numpy as np
import pytest
from ravine import nn, optim, plot
from ravine.optim.lr_scheduler import (
    ChainedScheduler,
    ConstantLR,
    CosineAnnealingLR,
    CyclicLR,
    ExponentialLR,
    HyperparameterScheduler,
    LambdaLR,
    LinearLR,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
    WarmupLR,
)
from ravine.optim.swa_utils import SWALR

AT, STEPS = 7, 16
GRADS = np.random.default_rng(0).standard_normal((STEPS, 5))


def pair(w):
    return [optim.Adam([w], lr=0.1), optim.SGD([w], lr=0.5, momentum=0.9)]


def run(handoff, grads, schedules=()):
    """Return the learning rate of each step."""
    lrs = []
    for g in grads:
        lrs.append(handoff.param_groups[0]["lr"])
        handoff.step([g.copy()])
        for schedule in schedules:
            schedule.step(*([1.0] if isinstance(schedule, ReduceLROnPlateau) else []))
    return lrs


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


def pickled(objects):
    return pickle.loads(pickle.dumps(objects))


def halved(t):
    return 0.5**t


SCHEDULES = {
    "StepLR": lambda o: [StepLR(o, 3, gamma=0.5)],
    "LambdaLR": lambda o: [LambdaLR(o, halved)],
    "CosineAnnealingLR": lambda o: [CosineAnnealingLR(o, T_max=9)],
    "LinearLR": lambda o: [LinearLR(o, 0.25, total_iters=4)],
    "SequentialLR": lambda o: [SequentialLR(o, [ConstantLR(o, 0.1), ExponentialLR(o, 0.5)], milestones=[2])],
    "ChainedScheduler": lambda o: [ChainedScheduler([ConstantLR(o, 0.1, total_iters=2), ExponentialLR(o, 0.5)])],
    "WarmupLR": lambda o: [WarmupLR(ExponentialLR(o, 0.5), 3)],
    "ReduceLROnPlateau": lambda o: [ReduceLROnPlateau(o, patience=1, factor=0.5)],
    "OneCycleLR": lambda o: [OneCycleLR(o, max_lr=1.0, total_steps=9)],
    "CyclicLR": lambda o: [CyclicLR(o, 0.1, 0.8, step_size_up=3)],
    "SWALR": lambda o: [SWALR(o, 0.05, anneal_epochs=4)],
    "two at once": lambda o: [ConstantLR(o, 0.5, total_iters=3), ExponentialLR(o, 0.9)],
    "weight decay": lambda o: [HyperparameterScheduler(o, "weight_decay", StepLR, step_size=2)],
}


def held(optimizer):
    """Return what schedules move, and keep."""
    names = ("lr", "initial_lr", "momentum", "betas", "weight_decay")
    return [{name: group[name] for name in names if name in group} for group in optimizer.param_groups]


def stages(w):
    return [optim.Adam([w], lr=0.1, weight_decay=0.2), optim.SGD([w], lr=0.5, momentum=0.9, weight_decay=0.1)]


@pytest.mark.parametrize("make", SCHEDULES.values(), ids=SCHEDULES)
class TestSchedules:
    def test_each_stage_has_the_schedule_from_its_beginning(self, make):
        """As if it had been constructed over the stage alone."""
        w, alone = np.ones(5), np.ones(5)
        handoff = optim.Handoff(stages(w), at=[AT])
        schedules = make(handoff)
        for stage, part in zip(stages(alone), (GRADS[:AT], GRADS[AT:]), strict=True):
            expected = make(stage)
            for g in part:
                assert held(handoff) == held(stage)
                handoff.step([g])
                stage.step([g])
                for schedule in (*schedules, *expected):
                    plateau = isinstance(schedule, ReduceLROnPlateau)
                    schedule.step(*([1.0] if plateau else []))
            np.testing.assert_array_equal(w, alone)

    def test_switched_after_the_schedules_step(self, make):
        w, other = np.ones(5), np.ones(5)
        by_plan, by_hand = optim.Handoff(stages(w), at=[AT]), optim.Handoff(stages(other))
        plan, hand = make(by_plan), make(by_hand)
        expected = run(by_plan, GRADS, plan)
        lrs = run(by_hand, GRADS[:AT], hand)
        by_hand.switch()
        assert lrs + run(by_hand, GRADS[AT:], hand) == expected
        np.testing.assert_array_equal(w, other)

    def test_a_stage_that_returns_starts_again(self, make):
        """From its own learning rate, or, where the schedule is made for that, from what it has come to."""
        w = np.ones(5)
        handoff = optim.Handoff(stages(w))
        schedules = make(handoff)
        first = held(handoff)
        for steps in (0, 3):
            run(handoff, GRADS[:steps], schedules)
            left = held(handoff)
            handoff.switch(1)
            run(handoff, GRADS[:2], schedules)
            handoff.switch(0)
            expected = left if isinstance(schedules[0], SWALR | ReduceLROnPlateau) else first
            assert [group["lr"] for group in held(handoff)] == [group["lr"] for group in expected]
            assert schedules[0].last_epoch == 0

    @pytest.mark.parametrize("optimizer_first", [True, False])
    @pytest.mark.parametrize("at", range(STEPS))
    def test_resuming_is_exact(self, make, at, optimizer_first):
        straight = np.ones(5)
        whole = optim.Handoff(stages(straight), at=[AT])
        run(whole, GRADS, make(whole))
        w = np.ones(5)
        first = optim.Handoff(stages(w), at=[AT])
        schedules = make(first)
        run(first, GRADS[:at], schedules)
        saved = pickle.loads(pickle.dumps([first.state_dict(), *(s.state_dict() for s in schedules)]))
        resumed = w.copy()
        second = optim.Handoff([optim.Adam([resumed]), optim.SGD([resumed], momentum=0.5)], at=[AT])
        others = make(second)
        if optimizer_first:
            second.load_state_dict(saved[0])
        for schedule, state in zip(others, saved[1:], strict=True):
            schedule.load_state_dict(state)
        if not optimizer_first:
            second.load_state_dict(saved[0])
        run(second, GRADS[at:], others)
        np.testing.assert_array_equal(resumed, straight)
        assert held(second) == held(whole)
        assert second.stage == whole.stage

    @pytest.mark.parametrize(
        "make_copy", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))], ids=["copy", "pickle"]
    )
    @pytest.mark.parametrize("at", [3, AT, 10])
    def test_copies_go_on_alone(self, make, make_copy, at):
        w = np.ones(5)
        handoff = optim.Handoff(stages(w), at=[AT])
        schedules = make(handoff)
        run(handoff, GRADS[:at], schedules)
        other, others = make_copy((handoff, schedules))
        (theirs,) = (p.data for p in other.param_groups[0]["params"])
        lrs = run(other, GRADS[at:], others)
        assert run(handoff, GRADS[at:], schedules) == lrs
        np.testing.assert_array_equal(theirs, w)
        assert theirs is not w


def test_looking_ahead_and_jumping_count_from_the_stages_beginning():
    handoff = optim.Handoff(pair(np.ones(5)), at=[AT])
    schedule = StepLR(handoff, 2, gamma=0.5)
    assert schedule.lr_at(4) == [0.025]
    run(handoff, GRADS[: AT + 1], [schedule])
    assert schedule.last_epoch == 1
    assert schedule.lr_at(4) == [0.125]
    schedule.step(2)
    assert handoff.param_groups[0]["lr"] == 0.25


def test_schedules_once_an_epoch():
    """The hand-over is in the middle of the second epoch: the new stage begins at its own step 0 at once."""
    handoff = optim.Handoff(pair(np.ones(5)), at=[6])
    schedule = ExponentialLR(handoff, 0.5)
    lrs = []
    for epoch in range(4):
        lrs += run(handoff, GRADS[4 * epoch : 4 * epoch + 4])
        schedule.step()
    assert lrs == [0.1] * 4 + [0.05] * 2 + [0.5] * 2 + [0.25] * 4 + [0.125] * 4


def test_a_learning_rate_set_by_hand_is_where_a_stage_begins():
    w = np.ones(5)
    handoff = optim.Handoff(pair(w))
    schedule = ExponentialLR(handoff, 0.5)
    handoff.optimizers[1].param_groups[0]["lr"] = 8.0
    handoff.switch()
    assert handoff.param_groups[0]["lr"] == 8
    run(handoff, GRADS[:2], [schedule])
    handoff.switch(0)
    handoff.optimizers[1].param_groups[0]["lr"] = 6.0
    handoff.switch(1)
    run(handoff, GRADS[:1], [schedule])
    assert handoff.param_groups[0]["lr"] == 3


def test_schedules_that_nobody_holds_are_forgotten():
    handoff = optim.Handoff(pair(np.ones(5)))
    ConstantLR(handoff, 0.5)
    gc.collect()
    handoff.switch()
    assert handoff.param_groups[0]["lr"] == 0.5


class TestState:
    def test_what_is_saved(self):
        w = np.ones(5)
        handoff = optim.Handoff(pair(w), at=[AT])
        run(handoff, GRADS[:10])
        saved = handoff.state_dict()
        assert (saved["stage"], saved["steps"], saved["stage_steps"]) == (1, 10, 3)
        np.testing.assert_equal(saved["optimizers"], [optimizer.state_dict() for optimizer in handoff.optimizers])
        kept = copy.deepcopy(saved)
        run(handoff, GRADS[10:])
        np.testing.assert_equal(saved, kept)

    @pytest.mark.parametrize(
        ("change", "text"),
        [
            (lambda s: {}, "it is not a dict with 'stage', 'steps', 'stage_steps', 'optimizers'"),
            (lambda s: {**s, "stage": 2}, "stage=2; expected one of 0 to 1"),
            (lambda s: {**s, "steps": -1}, "steps=-1; expected a whole number"),
            (lambda s: {**s, "optimizers": s["optimizers"][:1]}, "it has 1 optimizers; expected 2"),
            (
                lambda s: {**s, "optimizers": [s["optimizers"][0], {"state": {}}]},
                r"optimizers\[1\] \(SGD\): it is not a dict with 'state' and 'param_groups'",
            ),
            (
                lambda s: {**s, "optimizers": s["optimizers"][::-1]},
                r"optimizers\[0\] \(Adam\): .*\n  optimizers\[1\] \(SGD\): ",
            ),
        ],
    )
    def test_all_or_nothing(self, change, text):
        w = np.ones(5)
        handoff = optim.Handoff(pair(w), at=[AT])
        run(handoff, GRADS[:10])
        other = optim.Handoff(pair(w.copy()), at=[AT])
        run(other, GRADS[:2])
        before = pickle.dumps(other.state_dict())
        with pytest.raises(ValueError, match=rf"(?s)Handoff.load_state_dict: .* is unchanged:\n  .*{text}"):
            other.load_state_dict(change(handoff.state_dict()))
        assert pickle.dumps(other.state_dict()) == before
        assert other.stage == 0
