"""Dynamic scaling of the loss: torch's trajectory of scales, and steps that are the optimizer's own."""

from __future__ import annotations

import copy
import gc
import json
import math
import pickle
import weakref
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from ravine import checkpoint, nn, optim
from test_engine_interrupted import Interrupting

GOLDEN = json.loads((Path(__file__).parent / "golden" / "scaler" / "torch.json").read_text(encoding="utf-8"))
RNG = np.random.default_rng(15)
GRADS = [[RNG.standard_normal((3, 4)), RNG.standard_normal(5)] for _ in range(8)]
BAD = [np.ones((3, 4)), np.array([1.0, 2.0, np.inf, 4.0, 5.0])]


def arrays(dtype=np.float64):
    return [np.linspace(-1, 1, 12, dtype=dtype).reshape(3, 4), np.ones(5, dtype)]


def parameters():
    return [nn.Parameter(array, name) for array, name in zip(arrays(), "wb", strict=True)]


def bits(params, optimizer):
    return pickle.dumps(([np.asarray(p).tobytes() for p in params], optimizer.state_dict()))


def held(scaler):
    """Return all that must be as before."""
    return scaler.state_dict(), dict(scaler._state.seen)


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: str(case["settings"]))
def test_the_scales_are_torchs(case):
    scaler = optim.GradScaler(**case["settings"])
    opt = optim.SGD([w := np.zeros(1)], lr=0.1)
    rows = []
    for found in case["found"]:
        before = w.copy()
        scaler.step(opt, [np.full(1, np.inf if found else 1.0)])
        assert (w == before).all() == found
        scaler.update()
        rows.append([scaler.get_scale(), scaler.state_dict()["_growth_tracker"]])
    assert rows == case["rows"]
    assert len({scale for scale, _ in rows}) > 5


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, optim.LAMB, optim.Adafactor])
def test_a_step_is_the_optimizers_own(kind):
    ours, theirs = arrays(), arrays()
    a, b = kind(ours, lr=0.1), kind(theirs, lr=0.1)
    scaler = optim.GradScaler(init_scale=8.0, growth_interval=2)
    for grads in [*GRADS[:3], BAD, *GRADS[3:]]:
        scale = scaler.get_scale()
        scaler.step(a, [scaler.scale(g) for g in grads], max_norm=0.5, max_value=0.3)
        b.step([scale * g for g in grads], grad_scale=scale, skip_nonfinite=True, max_norm=0.5, max_value=0.3)
        assert a.last_step == b.last_step
        scaler.update()
    assert bits(ours, a) == bits(theirs, b)
    assert scaler.get_scale() == 8 * 2 * 0.5 * 2 * 2


def test_the_users_own_scale_is_taken_beside_it():
    ours, theirs = arrays(), arrays()
    a, b = optim.SGD(ours, lr=0.1), optim.SGD(theirs, lr=0.1)
    scaler = optim.GradScaler(init_scale=8.0)
    scaler.step(a, [32 * g for g in GRADS[0]], grad_scale=4.0)
    b.step(GRADS[0])
    assert bits(ours, a) == bits(theirs, b)


def test_scaling_outputs():
    scaler = optim.GradScaler(init_scale=4.0)
    assert scaler.scale(1.5) == 6.0
    assert scaler.scale(-(10**400)) == -np.inf
    nested = scaler.scale([1, (np.ones(2), {"a": np.float32(0.5)})])
    assert nested[0] == 4.0
    assert isinstance(nested[1], tuple)
    np.testing.assert_array_equal(nested[1][0], [4.0, 4.0])
    assert nested[1][1]["a"] == 2.0
    for dtype in (np.float16, np.float32, np.float64):
        given = np.ones((2, 3), dtype)
        assert scaler.scale(given).dtype == scaler.scale(given[0, 0]).dtype == dtype
        assert (given == 1).all()
    assert scaler.scale(np.ones(2, int)).dtype == np.float64
    # The scale alone is beyond half precision, and torch multiplies in float32.
    assert optim.GradScaler().scale(np.float16(0.25)) == 16384.0
    assert optim.GradScaler().scale(np.float16(2.0)) == np.inf
    for wrong in (None, "x", [1, "x"], {1, 2}, (g for g in ()), np.array(["x"]), np.array([None])):
        with pytest.raises(TypeError, match=r"GradScaler.scale: outputs holds .*; expected numbers, arrays"):
            scaler.scale(wrong)


class TestUnscaling:
    def make(self, scale=8.0):
        params = parameters()
        opt = optim.Adam(params, lr=0.1)
        return params, opt, optim.GradScaler(init_scale=scale)

    def test_it_divides_in_place_and_the_step_does_not_again(self):
        params, opt, scaler = self.make()
        theirs = arrays()
        other = optim.Adam(theirs, lr=0.1)
        for grads in GRADS[:3]:
            given = [8 * g for g in grads]
            for p, g in zip(params, given, strict=True):
                p.grad = g
            scaler.unscale_(opt)
            for g, one, p in zip(grads, given, params, strict=True):
                assert p.grad is one
                np.testing.assert_array_equal(one, g)
            scaler.step(opt, max_norm=0.5)
            scaler.update()
            other.step(grads, max_norm=0.5)
            assert opt.last_step == other.last_step
            for p, q in zip(params, theirs, strict=True):
                np.testing.assert_array_equal(p.data, q)

    @pytest.mark.parametrize("mended", [False, True])
    def test_what_it_found_decides_whatever_becomes_of_the_gradients(self, mended):
        params, opt, scaler = self.make()
        params[0].grad, params[1].grad = (g.copy() for g in GRADS[0])
        params[1].grad[2] = np.nan
        before = bits(params, opt)
        scaler.unscale_(opt)
        if mended:
            np.nan_to_num(params[1].grad, copy=False)
        scaler.step(opt, zero_grad=True)
        assert bits(params, opt) == before
        assert (opt.last_step.applied, opt.last_step.skipped) == (False, 1)
        assert not any(p.grad.any() for p in params)
        scaler.update()
        assert scaler.get_scale() == 4.0

    def test_what_is_broken_after_it_is_seen_too(self):
        params, opt, scaler = self.make()
        scaler.unscale_(opt)
        params[1].grad[2] = np.inf
        before = bits(params, opt)
        scaler.step(opt)
        assert bits(params, opt) == before
        scaler.update()
        assert scaler.get_scale() == 4.0

    def test_without_a_step_it_counts_as_one(self):
        params, opt, scaler = self.make()
        params[1].grad[2] = np.inf
        scaler.unscale_(opt)
        scaler.update()
        assert scaler.get_scale() == 4.0
        scaler.unscale_(opt)

    def test_sparse_and_shared_and_missing_gradients(self):
        table, *tied, idle = [nn.Parameter(np.ones((4, 2))) for _ in range(4)]
        opt = optim.SGD([table, *tied, idle], lr=1.0)
        table.grad = optim.SparseGrad(np.array([3, 1, 3]), np.full((3, 2), 8.0), (4, 2))
        tied[0].grad = tied[1].grad = np.full((4, 2), 16.0)
        idle.grad = None
        scaler = optim.GradScaler(init_scale=8.0)
        scaler.unscale_(opt)
        assert (table.grad.values == 1).all()
        assert (tied[0].grad == 2).all()
        scaler.step(opt)
        assert table.data[:, 0].tolist() == [1.0, 0.0, 1.0, -1.0]
        assert (tied[0].data == -1).all()
        assert (idle.data == 1).all()

    def test_what_cannot_be_divided(self):
        class Other:
            def __init__(self, data, grad):
                self.data, self.grad = data, grad

        good = Other(np.ones(3), np.full(3, 8.0))
        read_only = np.ones(3)
        read_only.flags.writeable = False
        for grad, error, text in (
            (read_only, ValueError, r"GradScaler.unscale_: params\[1\]: its gradient is read-only"),
            (np.ones(3, np.float32), ValueError, r"its gradient is float32, shape \(3,\); expected float64"),
            (np.ones(4), ValueError, r"its gradient is float64, shape \(4,\)"),
            ("x", ValueError, "its gradient is str"),
            (optim.SparseGrad(np.array([0]), np.ones((1, 2)), (3, 2)), ValueError, r"its gradient is float64, shape"),
        ):
            opt = optim.SGD([good, Other(np.ones(3), grad)], lr=0.1)
            scaler = optim.GradScaler()
            before = held(scaler)
            with pytest.raises(error, match=text):
                scaler.unscale_(opt)
            assert (good.grad == 8).all()
            assert held(scaler) == before
        with pytest.raises(ValueError, match=r"params\[0\] is a plain array, which carries no gradient"):
            scaler.unscale_(optim.SGD([np.ones(3)], lr=0.1))
        for wrong in (None, [good], optim.Accumulator(opt, 2)):
            with pytest.raises(TypeError, match=r"GradScaler.unscale_: optimizer is .*; expected an optimizer"):
                scaler.unscale_(wrong)


class TestOrder:
    def test_torchs_errors(self):
        params = parameters()
        opt, scaler = optim.Adam(params), optim.GradScaler()

        def refused(act, text):
            before = bits(params, opt), [p.grad.tobytes() for p in params], held(scaler)
            with pytest.raises(RuntimeError, match=text):
                act()
            assert (bits(params, opt), [p.grad.tobytes() for p in params], held(scaler)) == before

        for _ in range(2):
            refused(scaler.update, r"GradScaler.update: no optimizer has stepped since the last update\(\). Call step")
            scaler.unscale_(opt)
            refused(lambda: scaler.unscale_(opt), r"GradScaler.unscale_: .* are unscaled already")
            scaler.step(opt)
            refused(lambda: scaler.step(opt), r"GradScaler.step: .* has stepped since the last update\(\). Call update")
            refused(lambda: scaler.unscale_(opt), r"GradScaler.unscale_: after step\(\)")
            scaler.update()
            scaler.step(opt)  # without unscale_
            refused(lambda: scaler.step(opt), r"has stepped since the last update\(\)")
            scaler.update()

    def test_a_new_scale_needs_no_step(self):
        scaler = optim.GradScaler(growth_interval=3)
        opt = optim.SGD([np.ones(1)], lr=0.1)
        scaler.step(opt, [np.ones(1)])
        scaler.update()
        scaler.update(0.1)
        assert scaler.get_scale() == float(np.float32(0.1))
        assert scaler.state_dict()["_growth_tracker"] == 1
        scaler.step(opt, [np.ones(1)])
        scaler.update(4)
        scaler.step(opt, [np.ones(1)])  # that has been an update
        for wrong in (0, -1.0, math.nan, math.inf, 1e39, 2.0**127, "x", [1.0, 2.0]):
            before = held(scaler)
            with pytest.raises((TypeError, ValueError), match=r"GradScaler\.update: new_scale"):
                scaler.update(wrong)
            assert held(scaler) == before

    def test_a_step_that_fails_is_no_step(self):
        ours = arrays()
        opt, scaler = optim.Adam(ours), optim.GradScaler()
        before = bits(ours, opt), scaler.state_dict()
        for grads, options, error in (
            (GRADS[0][:1], {}, ValueError),
            (GRADS[0], {"max_norm": -1.0}, ValueError),
            (GRADS[0], {"grad_scale": 0.0}, ValueError),
            (GRADS[0], {"norm": 1.0}, TypeError),
            (GRADS[0], {"skip_nonfinite": False}, ValueError),
            (lambda: 1.0, {}, RuntimeError),
            (GRADS[0], {"closure": lambda: 1.0}, RuntimeError),
        ):
            with pytest.raises(error):
                scaler.step(opt, grads, **options)
            with pytest.raises(RuntimeError, match="no optimizer has stepped"):
                scaler.update()
            assert (bits(ours, opt), scaler.state_dict()) == before
        scaler.step(opt, GRADS[0])
        scaler.update()

    def test_several_optimizers(self):
        a, b = optim.SGD([np.ones(1)], lr=0.1), optim.SGD([np.ones(1)], lr=0.1)
        scaler = optim.GradScaler(init_scale=4.0)
        scaler.step(a, [np.full(1, np.inf)])
        scaler.step(b, [np.ones(1)])
        assert (a.last_step.applied, b.last_step.applied) == (False, True)
        scaler.update()
        assert scaler.get_scale() == 2.0
        scaler.step(a, [np.ones(1)])
        scaler.update()
        assert scaler.state_dict()["_growth_tracker"] == 1

    def test_from_a_hook_it_is_refused(self):
        opt, scaler = optim.SGD([np.ones(1)], lr=0.1), optim.GradScaler()
        seen = []

        def hook(*_):
            for act in (lambda: scaler.step(opt, [np.ones(1)]), scaler.update, lambda: scaler.unscale_(opt)):
                with pytest.raises(RuntimeError, match=r"GradScaler\.\w+: it is in the middle of a step"):
                    act()
                seen.append(scaler.get_scale())

        opt.register_step_post_hook(hook)
        scaler.step(opt, [np.ones(1)])
        assert len(seen) == 3
        scaler.update()


class TestDrivers:
    def test_over_a_handoff(self):
        ours, theirs = arrays(), arrays()

        def make(params):
            return optim.Handoff([optim.Adam(params), optim.SGD(params, lr=0.1)], at=[2])

        a, b = make(ours), make(theirs)
        scaler = optim.GradScaler(init_scale=8.0)
        scales = []
        for grads in (GRADS[0], BAD, GRADS[1], BAD, GRADS[2]):
            scale = scaler.get_scale()
            scaler.step(a, [scale * g for g in grads])
            b.step([scale * g for g in grads], grad_scale=scale, skip_nonfinite=True)
            scaler.update()
            scales.append(scaler.get_scale())
        assert scales == [8.0, 4.0, 4.0, 2.0, 2.0]
        assert (a.stage, a.steps) == (1, 3)
        assert bits(ours, a) == bits(theirs, b)

    @pytest.mark.parametrize("each", [True, False], ids=["update each time", "update after windows"])
    def test_with_an_accumulator(self, each):
        """The scale changes by the steps of its optimizer alone, and no window is divided by two scales."""
        ours, theirs = arrays(), arrays()
        a, b = optim.Adam(ours), optim.Adam(theirs)
        acc, plain = optim.Accumulator(a, every=2), optim.Accumulator(b, every=2)
        scaler = optim.GradScaler(init_scale=8.0, growth_interval=2)
        scales, made = [], []
        for grads in [*GRADS[:5], BAD, *GRADS[6:8]]:
            made.append(scaler.step(acc, [scaler.scale(g) for g in grads], max_norm=0.5))
            plain.step(grads, max_norm=0.5, skip_nonfinite=True)
            if each or acc.pending == 0:
                scaler.update()
            scales.append(scaler.get_scale())
        assert made == [False, True, False, True, False, False, False, True]
        assert scales == [8.0, 8.0, 8.0, 16.0, 16.0, 8.0, 8.0, 8.0]
        assert a.last_step == b.last_step
        assert bits(ours, a) == bits(theirs, b)

    def test_an_accumulators_window_is_stepped_once_an_update(self):
        opt = optim.SGD(parameters(), lr=0.1)
        acc, scaler = optim.Accumulator(opt, every=2), optim.GradScaler()
        scaler.step(acc, GRADS[0])
        assert scaler.step(acc, GRADS[1])
        with pytest.raises(RuntimeError, match="has stepped since the last update"):
            scaler.step(acc, GRADS[2])
        assert acc.pending == 0
        scaler.update()
        scaler.unscale_(opt)
        with pytest.raises(RuntimeError, match=r"after unscale_\(\) of the Accumulator's optimizer"):
            scaler.step(acc)
        assert acc.pending == 0

    @pytest.mark.parametrize(
        "make",
        [optim.LBFGS, lambda params: optim.Handoff([optim.Adam(params), optim.LBFGS(params)])],
        ids=["LBFGS", "Handoff"],
    )
    def test_lbfgs_is_refused(self, make):
        opt, scaler = make(arrays()), optim.GradScaler()
        for act in (lambda: scaler.step(opt, GRADS[0]), lambda: scaler.unscale_(opt)):
            with pytest.raises(ValueError, match="LBFGS computes gradients at several places"):
                act()
        with pytest.raises(TypeError, match=r"GradScaler.step: optimizer is list; expected an optimizer"):
            scaler.step(arrays())

    def test_it_keeps_no_optimizer_alive(self):
        scaler = optim.GradScaler()
        opt = optim.SGD([np.ones(1)], lr=0.1)
        acc = optim.Accumulator(optim.SGD([np.ones(1)], lr=0.1), every=2)
        scaler.step(opt, [np.ones(1)])
        scaler.step(acc, [np.ones(1)])
        gone = weakref.ref(opt), weakref.ref(acc)
        del opt, acc
        gc.collect()
        assert [each() for each in gone] == [None, None]


class TestLimits:
    def test_growth_and_backoff_stop_where_a_step_would_refuse_the_scale(self):
        opt = optim.SGD([w := np.ones(1, np.float32)], lr=0.1)
        up = optim.GradScaler(init_scale=2.0**125, growth_interval=1)
        down = optim.GradScaler(init_scale=2.0**-125)
        for _ in range(3):
            up.step(opt, [np.ones(1, np.float32)])
            up.update()
            down.step(opt, [np.full(1, np.inf, np.float32)])
            down.update()
        assert (up.get_scale(), down.get_scale()) == (2.0**126, 2.0**-126)
        assert np.isfinite(w).all()

    def test_an_interval_that_has_passed_already(self):
        scaler, opt = optim.GradScaler(init_scale=4.0), optim.SGD([np.ones(1)], lr=0.1)
        for _ in range(5):
            scaler.step(opt, [np.ones(1)])
            scaler.update()
        scaler.set_growth_interval(3)
        scaler.step(opt, [np.ones(1)])
        scaler.update()
        assert scaler.get_scale() == 8.0

    def test_numbers_that_are_refused(self):
        for name, values in {
            "init_scale": (0, -1.0, math.nan, math.inf, 2.0**127, 1e-39, None, [1.0]),
            "growth_factor": (1.0, 0.5, math.inf, "2"),
            "backoff_factor": (0.0, 1.0, 2.0, math.nan),
            "growth_interval": (0, -1, 1.5, "1"),
            "enabled": (None, 2, "no"),
        }.items():
            for value in values:
                with pytest.raises((TypeError, ValueError), match=f"GradScaler: {name}="):
                    optim.GradScaler(**{name: value})
        with pytest.raises(TypeError, match=r"GradScaler: init_scale='cpu'; .* leave torch's first argument out"):
            optim.GradScaler("cpu")

    def test_getting_and_setting(self):
        scaler = optim.GradScaler(2.0, 3.0, 0.25, 7)
        assert (scaler.get_scale(), scaler.get_growth_factor()) == (2.0, 3.0)
        assert (scaler.get_backoff_factor(), scaler.get_growth_interval(), scaler.is_enabled()) == (0.25, 7, True)
        scaler.set_growth_factor(1.5)
        scaler.set_backoff_factor(0.75)
        scaler.set_growth_interval(2)
        assert (scaler.get_growth_factor(), scaler.get_backoff_factor(), scaler.get_growth_interval()) == (1.5, 0.75, 2)
        before = held(scaler)
        for act, value in (
            (scaler.set_growth_factor, 1.0),
            (scaler.set_backoff_factor, 1.0),
            (scaler.set_growth_interval, 0),
        ):
            with pytest.raises(ValueError, match="GradScaler: "):
                act(value)
        assert held(scaler) == before


def test_not_enabled_everything_passes_through():
    scaler = optim.GradScaler(enabled=False)
    ours, theirs = arrays(), arrays()
    a, b = optim.SGD(ours, lr=0.1), optim.SGD(theirs, lr=0.1)
    loss = object()
    assert scaler.scale(loss) is loss
    scaler.unscale_(a)
    assert scaler.step(a, GRADS[0], closure=lambda: 5.0, max_value=0.3) == 5.0
    scaler.step(a, BAD)
    scaler.update()
    scaler.update(3.0)
    b.step(GRADS[0], max_value=0.3)
    b.step(BAD)
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(p, q)
    assert np.isinf(ours[1][2])
    assert (scaler.get_scale(), scaler.is_enabled(), scaler.state_dict()) == (1.0, False, {})
    scaler.load_state_dict({"scale": 3.0})
    assert scaler.get_scale() == 1.0


class TestState:
    KEYS = ("scale", "growth_factor", "backoff_factor", "growth_interval", "_growth_tracker")

    def used(self, steps):
        scaler, opt = optim.GradScaler(growth_interval=3, growth_factor=1.3), optim.SGD([np.ones(1)], lr=0.1)
        self.go_on(scaler, opt, range(steps))
        return scaler, opt

    def go_on(self, scaler, opt, steps):
        for i in steps:
            scaler.step(opt, [np.full(1, np.inf if i % 6 == 4 else 1.0)])
            scaler.update()

    @pytest.mark.parametrize("way", ["state_dict", "pickle", "copy", "checkpoint"])
    def test_resuming_gives_the_same_scales(self, way, tmp_path):
        scaler, opt = self.used(7)
        assert scaler.state_dict()["_growth_tracker"] > 0
        other = optim.GradScaler(7.0, 4.0, 0.1, 5)
        if way == "state_dict":
            other.load_state_dict(scaler.state_dict())
        elif way == "pickle":
            other = pickle.loads(pickle.dumps(scaler))
        elif way == "copy":
            other = copy.deepcopy(scaler)
        else:
            checkpoint.save(tmp_path / "a.ckpt", optimizer={"opt": opt, "scaler": scaler})
            checkpoint.load(tmp_path / "a.ckpt", optimizer={"opt": opt, "scaler": other})
        for each in (scaler, other):
            self.go_on(each, opt, range(7, 20))
        assert other.state_dict() == scaler.state_dict()
        assert tuple(scaler.state_dict()) == self.KEYS

    def test_all_that_does_not_fit_is_listed(self):
        scaler, _ = self.used(2)
        before = held(scaler)
        wrong = {"scale": -1.0, "growth_factor": 1.0, "growth_interval": "x", "_growth_tracker": -1, "more": 1}
        with pytest.raises(
            ValueError, match=r"GradScaler.load_state_dict: .* this scaler, which is unchanged"
        ) as caught:
            scaler.load_state_dict(wrong)
        for text in (
            "'backoff_factor' is missing",
            "unknown 'more'",
            "'scale'=-1.0",
            "'growth_factor'=1.0",
            "'growth_interval'='x'",
            "'_growth_tracker'=-1",
        ):
            assert f"\n  {text}" in str(caught.value)
        for wrong, text in (
            ({}, "it is empty, as that of a scaler that is not enabled"),
            ([1], "it is list; expected a dict with 'scale'"),
        ):
            with pytest.raises(ValueError, match=text):
                scaler.load_state_dict(wrong)
        assert held(scaler) == before

    def test_in_the_middle_of_an_iteration_it_is_not_copied(self):
        scaler, opt = self.used(2)
        scaler.step(opt, [np.ones(1)])
        for act in (pickle.dumps, copy.deepcopy):
            with pytest.raises(RuntimeError, match=r"only between update\(\) and the next step\(\)"):
                act(scaler)


@pytest.mark.parametrize("kind", ["settrace", "setprofile"])
@pytest.mark.parametrize("bad", [False, True])
def test_ctrl_c_leaves_an_iteration_made_or_not(bad, kind):
    """Each of its three calls has been made, and is then refused a second time, or can be made."""
    grads = [8 * g for g in (BAD if bad else GRADS[0])]

    def make():
        params = parameters()
        for p, g in zip(params, grads, strict=True):
            p.grad = g.copy()
        return params, optim.SGD(params, lr=0.1, momentum=0.9), optim.GradScaler(init_scale=8.0, growth_interval=1)

    def acts(opt, scaler):
        return [lambda: scaler.unscale_(opt), lambda: scaler.step(opt), scaler.update]

    params, opt, scaler = make()
    for act in acts(opt, scaler):
        act()
    expected = bits(params, opt), scaler.state_dict(), [p.grad.tobytes() for p in params]
    refusals = 0
    for which in range(3):
        for n in range(1, 2000):
            params, opt, scaler = make()
            calls = acts(opt, scaler)
            for act in calls[:which]:
                act()
            interrupting = Interrupting(kind, n)
            try:
                with interrupting:
                    calls[which]()
            except KeyboardInterrupt:
                try:
                    calls[which]()
                except RuntimeError:  # it has been made
                    refusals += 1
            for act in calls[which + 1 :]:
                act()
            assert (bits(params, opt), scaler.state_dict(), [p.grad.tobytes() for p in params]) == expected, (which, n)
            if not interrupting.done:
                break
        assert not interrupting.done
    assert refusals > 0


def test_a_norm_from_elsewhere_is_refused():
    w = np.ones(3)
    with pytest.raises(ValueError, match=r"GradScaler.step: total_norm; the gradients are looked at anyway"):
        optim.GradScaler().step(optim.SGD([w]), [np.full(3, np.nan)], max_norm=1.0, total_norm=1.0)
    assert (w == 1).all()


def test_gradients_that_share_elements_are_not_divided():
    base = np.arange(6.0)
    params = [nn.Parameter(np.ones(4)), nn.Parameter(np.ones(4))]
    params[0].grad, params[1].grad = base[:4], base[2:]
    scaler, optimizer = optim.GradScaler(4.0), optim.SGD(params)
    with pytest.raises(ValueError, match=r"GradScaler.unscale_: the gradient of params\[0\] and the gradient of"):
        scaler.unscale_(optimizer)
    params[0].grad, params[1].grad = params[0].data, None
    with pytest.raises(ValueError, match=r"the gradient of params\[0\] and params\[0\] share memory"):
        scaler.unscale_(optimizer)
    np.testing.assert_array_equal(base, np.arange(6.0))
    np.testing.assert_array_equal(params[0].data, 1)
    params[0].grad = params[1].grad = base[:4]  # the same one is divided once
    scaler.unscale_(optimizer)
    np.testing.assert_array_equal(base, [0, 0.25, 0.5, 0.75, 4, 5])


def test_named_tuples_are_scaled_as_such():
    pair = namedtuple("pair", "loss more")
    scaled = optim.GradScaler(4.0).scale(pair(1.0, [np.ones(2)]))
    assert isinstance(scaled, pair)
    assert scaled.loss == 4
    np.testing.assert_array_equal(scaled.more[0], 4)
