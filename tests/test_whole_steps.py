"""What a step is asked for beside the update: the same as separate operations, or nothing at all."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
from cases import CASES, id_of
from ravine import config, nn, optim
from ravine.optim import LastStep

SHAPES = [(1,), (15,), (1023,), (1025,), (33, 70), (9001,), (2, 3, 1400)]
EACH_WAY = [(isa, threads) for isa in config.available_isas() for threads in (1, 3)]
FIRST = [(case, case.configs[0]) for case in CASES]
FIRST_IDS = [case.name for case in CASES]
ALL = [(case, settings) for case in CASES for settings in case.configs]
ALL_IDS = [f"{case.name}-{id_of(settings)}" for case, settings in ALL]


def arrays(case, dtype, seed):
    rng = np.random.default_rng(seed)
    shapes = [shape for shape in SHAPES if not case.matrices or len(shape) == 2]
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def stepped(case, settings, dtype):
    """Return parameters and an optimizer of them that has made a step."""
    params = arrays(case, dtype, 0)
    optimizer = case.optimizer(params, **settings)
    optimizer.step(arrays(case, dtype, 1))
    return params, optimizer


def bits(optimizer, params):
    return [p.copy() for p in params], optimizer.state_dict()


def in_each_way(optimizer, params, begun, state):
    """Yield the name of each instruction set and number of threads, with everything as it was."""
    for isa, threads in EACH_WAY:
        config.set_isa(isa)
        config.set_num_threads(threads)
        for p, q in zip(params, begun, strict=True):
            p[...] = q
        optimizer.load_state_dict(copy.deepcopy(state))
        yield f"{isa}, {threads} threads"


def unscaled(grads, scale):
    return [g.dtype.type(1 / scale) * g for g in grads]


def norm_of(grads, p=2.0):
    return float(np.linalg.norm(np.concatenate([g.ravel() for g in grads]).astype(np.float64), p))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("case", "settings"), ALL, ids=ALL_IDS)
def test_equals_operations_one_by_one_to_the_bit(case, settings, dtype):
    """Unscaling, cutting off and zeroing."""
    params, optimizer = stepped(case, settings, dtype)
    begun, state = bits(optimizer, params)
    raw = [20 * g for g in arrays(case, dtype, 2)]
    optimizer.step([np.clip(g, -0.7, 0.7) for g in unscaled(raw, 12)])
    expected = bits(optimizer, params)
    for way in in_each_way(optimizer, params, begun, state):
        grads = [g.copy() for g in raw]
        optimizer.step(grads, grad_scale=12, max_value=0.7, zero_grad=True)
        np.testing.assert_equal(bits(optimizer, params), expected, err_msg=way)
        assert not any(g.any() for g in grads)
        assert optimizer.last_step == LastStep()


@pytest.mark.parametrize("p", [1, 2.0, 3.5, np.inf, "inf"])
@pytest.mark.parametrize(("case", "settings"), FIRST, ids=FIRST_IDS)
def test_the_norm_is_clipped_with_the_same_bits_everywhere(case, settings, p):
    params, optimizer = stepped(case, settings, np.float64)
    begun, state = bits(optimizer, params)
    raw = arrays(case, np.float64, 2)
    plain = unscaled(raw, 3)
    norm = norm_of(plain, float(p))
    clip = min(1, 0.5 / (norm + 1e-6))
    optimizer.step([clip * g for g in plain])
    expected = bits(optimizer, params)
    seen = []
    for _ in in_each_way(optimizer, params, begun, state):
        optimizer.step(raw, grad_scale=3.0, max_norm=0.5, norm_type=p, skip_nonfinite=True)
        seen.append((bits(optimizer, params), optimizer.last_step))
    for array, wanted in zip(seen[0][0][0], expected[0], strict=True):
        np.testing.assert_allclose(array, wanted, rtol=1e-12, atol=1e-12)
    last = seen[0][1]
    np.testing.assert_allclose([last.norm, last.clip_coefficient], [norm, clip], rtol=1e-12)
    assert last[2:] == (True, 0, ())
    for other in seen[1:]:
        np.testing.assert_equal(other, seen[0])


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("case", "settings"), FIRST, ids=FIRST_IDS)
def test_a_step_that_is_skipped_leaves_every_byte(case, settings, value, threads):
    """With NaN in the last lane of the last tensor."""
    config.set_num_threads(threads)
    params, optimizer = stepped(case, settings, np.float32)
    if not case.name.endswith("ScheduleFree"):
        optim.swa_utils.ExponentialMovingAverage(optimizer, 0.9)
    before = bits(optimizer, params)
    grads = arrays(case, np.float32, 2)
    grads[-1].reshape(-1)[-1] = value
    for skipped in (1, 2):
        optimizer.step(grads, skip_nonfinite=True, max_norm=1.0)
        np.testing.assert_equal(bits(optimizer, params), before)
        norm, clip, *rest = optimizer.last_step
        assert np.isnan(norm) if np.isnan(value) else norm == np.inf
        assert (clip, rest) == (1.0, [False, skipped, (f"params[{len(params) - 1}]",)])
    grads[-1].reshape(-1)[-1] = 0
    optimizer.step(grads, skip_nonfinite=True)
    assert optimizer.last_step.applied
    assert optimizer.last_step.skipped == 0


def test_a_skipped_step_sets_gradients_to_zero_where_asked():
    p, grad = np.ones(5), np.full(5, np.nan)
    optimizer = optim.Adam({"w": p})
    optimizer.step([grad], skip_nonfinite=True, zero_grad=True)
    assert optimizer.last_step.nonfinite == ("w",)
    assert not grad.any()
    assert (p == 1).all()


def test_nan_goes_on_where_nothing_is_said_of_it():
    for options in ({"max_norm": 1.0}, {"max_value": 1.0}, {"grad_scale": 2.0}):
        p, q = np.ones(3), np.ones(2)
        optimizer = optim.SGD([p, q], lr=1.0)
        optimizer.step([np.array([np.nan, 1.0, 2.0]), np.ones(2)], **options)
        assert np.isnan(p[0])
        assert np.isnan(q).all() == ("max_norm" in options)  # as in torch: the coefficient is NaN
        assert optimizer.last_step.applied


def test_a_norm_too_large_for_a_number_is_no_reason_to_skip():
    p = np.zeros(3)
    optimizer = optim.SGD([p], lr=1e-200)
    optimizer.step([np.full(3, 1e200)], skip_nonfinite=True)
    assert optimizer.last_step == LastStep(norm=np.inf)
    np.testing.assert_allclose(p, -1)
    optimizer.step([np.full(3, 1e200)], skip_nonfinite=True, max_norm=1.0)  # by which gradients would become 0
    assert not optimizer.last_step.applied


def test_a_bad_number_leaves_what_is_known_of_the_last_step():
    p = np.zeros(3)
    optimizer = optim.SGD([p], lr=1.0)
    optimizer.step([np.full(3, np.nan)], skip_nonfinite=True)
    optimizer.param_groups[0]["lr"] = "bad"
    with pytest.raises(TypeError, match="lr='bad'"):
        optimizer.step([np.ones(3)])
    assert optimizer.last_step.skipped == 1
    optimizer.param_groups[0]["lr"] = 1.0
    optimizer.step([np.ones(3)])
    np.testing.assert_array_equal(p, -1)


def test_a_norm_computed_elsewhere():
    p = np.zeros(2)
    optimizer = optim.SGD([p], lr=1.0)
    optimizer.step([np.array([3.0, 4.0])], max_norm=1.0, total_norm=10.0)
    np.testing.assert_allclose(p, [-0.3, -0.4], rtol=1e-6)
    assert optimizer.last_step.norm == 10
    before = p.copy()
    for norm in (np.nan, np.inf):
        optimizer.step([np.array([3.0, 4.0])], total_norm=norm, skip_nonfinite=True)
        assert not optimizer.last_step.applied
        np.testing.assert_array_equal(p, before)


def test_infinity_finds_the_norm_and_clips_nothing():
    p = np.zeros(2)
    optimizer = optim.SGD([p], lr=1.0)
    optimizer.step([np.array([3.0, 4.0])], max_norm=np.inf)
    np.testing.assert_array_equal(p, [-3, -4])
    assert optimizer.last_step == LastStep(norm=5.0)


def test_sparse_gradients_are_coalesced_before_the_norm():
    rows = np.array([4, 1, 4])
    values = np.array([[1.0, 0, 0], [2.0, 0, 0], [3.0, 0, 0]])
    for name in ("SGD", "Adagrad", "SparseAdam"):
        p, q = np.zeros((6, 3)), np.zeros((6, 3))
        optimizer, other = (getattr(optim, name)([array], lr=1.0) for array in (p, q))
        optimizer.step([optim.SparseGrad(rows, values, (6, 3))], max_norm=1.0, max_value=0.5)
        norm = np.hypot(4, 2)
        assert optimizer.last_step.norm == norm
        clip = 1 / (norm + 1e-6)
        summed = optim.SparseGrad(np.array([1, 4]), np.array([[2.0 * clip, 0, 0], [0.5, 0, 0]]), (6, 3))
        other.step([summed])
        np.testing.assert_array_equal(p, q)


def test_gradients_of_parameters_are_set_to_zero():
    p = nn.Parameter(np.zeros(3))
    p.grad += 2
    held = p.grad
    optimizer = optim.SGD([p], lr=0.5)
    optimizer.step(zero_grad=True)
    np.testing.assert_array_equal(p.data, -1)
    assert p.grad is held
    assert not held.any()


BAD = [
    ({"max_norm": 0}, ValueError, r"SGD.step: max_norm=0; expected a number above 0"),
    ({"max_norm": -1.0}, ValueError, r"max_norm=-1.0; expected a number above 0"),
    ({"max_norm": np.nan}, ValueError, r"max_norm=nan; expected"),
    ({"max_norm": "1"}, TypeError, r"max_norm='1' is a str; expected a number above 0"),
    ({"max_norm": [1.0]}, TypeError, r"max_norm=\[1.0\] is a list"),
    ({"max_norm": np.ones(2)}, TypeError, r"max_norm=array"),
    ({"max_value": 0.0}, ValueError, r"max_value=0.0; expected a number above 0"),
    ({"max_value": np.nan}, ValueError, r"max_value=nan"),
    ({"norm_type": 0, "max_norm": 1}, ValueError, r"norm_type=0; expected a number above 0"),
    ({"norm_type": "two", "max_norm": 1}, TypeError, r"norm_type='two' is a str"),
    ({"grad_scale": 0}, ValueError, r"grad_scale=0; expected a finite number other than 0"),
    ({"grad_scale": np.inf}, ValueError, r"grad_scale=inf; expected a finite number"),
    ({"grad_scale": np.nan}, ValueError, r"grad_scale=nan; expected a finite number"),
    ({"grad_scale": 1e-320}, ValueError, r"grad_scale=.* of which 1 / grad_scale is one in float32"),
    ({"skip_nonfinite": "yes"}, TypeError, r"skip_nonfinite='yes'; expected True or False"),
    ({"zero_grad": 2}, TypeError, r"zero_grad=2; expected True or False"),
    ({"total_norm": 1.0}, ValueError, r"total_norm=1.0 has no use without max_norm or skip_nonfinite"),
    ({"total_norm": 1.0, "skip_nonfinite": np.ones(2)}, TypeError, r"skip_nonfinite=.*; expected True or False"),
    ({"total_norm": -1.0, "max_norm": 1}, ValueError, r"total_norm=-1.0 is negative"),
    ({"max_nrom": 1.0}, TypeError, r"SGD.step: unexpected keyword argument 'max_nrom'; expected some of max_norm"),
]


@pytest.mark.parametrize(("options", "error", "message"), BAD)
def test_bad_options_change_nothing(options, error, message):
    p, grad = np.ones(3), np.ones(3)
    optimizer = optim.SGD([p], lr=0.5, momentum=0.9)
    optimizer.step([grad])
    before = bits(optimizer, [p])
    with pytest.raises(error, match=message):
        optimizer.step([grad], **options)
    np.testing.assert_equal(bits(optimizer, [p]), before)
    assert (grad == 1).all()


def test_the_norm_of_no_gradients():
    p = np.ones(3)
    optimizer = optim.SGD([p])
    with pytest.raises(ValueError, match=r"SGD.step: max_norm needs a gradient, and no parameter has one"):
        optimizer.step([None], max_norm=1.0)
    optimizer.step([None], skip_nonfinite=True)  # which all of none are not


def test_a_read_only_gradient_is_not_set_to_zero():
    p, grad = np.ones(3), np.ones(3)
    grad.flags.writeable = False
    optimizer = optim.SGD([p])
    with pytest.raises(ValueError, match=r"read-only and cannot be set to zero"):
        optimizer.step([grad], zero_grad=True)
    assert (p == 1).all()


def test_last_step_is_none_until_there_is_one():
    p = np.ones(3)
    optimizer = optim.Adam([p])
    assert optimizer.last_step is None
    optimizer.step([np.ones(3)], max_norm=1.0)
    last = optimizer.last_step
    optimizer.add_param_group({"params": [np.ones(2)]})
    assert optimizer.last_step == last
    optimizer.load_state_dict(optimizer.state_dict())
    assert optimizer.last_step is None


def test_hooks_see_and_change_what_is_asked_for():
    p = np.zeros(2)
    optimizer = optim.SGD([p], lr=1.0)
    seen = []
    optimizer.register_step_pre_hook(lambda _, args, kwargs: (args, {**kwargs, "max_value": 0.5}))
    optimizer.register_step_post_hook(lambda o, args, kwargs: seen.append((kwargs, o.last_step.norm)))
    optimizer.step([np.array([3.0, 4.0])], max_norm=np.inf)
    np.testing.assert_array_equal(p, -0.5)
    assert seen[0][0]["max_value"] == 0.5
    assert seen[0][1] == 5


def test_a_handoff_passes_it_on():
    p = np.zeros(2)
    optimizer = optim.Handoff([optim.SGD([p], lr=1.0), optim.Adam([p])], at=[1])
    optimizer.step([np.array([np.nan, 4.0])], skip_nonfinite=True)
    assert optimizer.stage == 0
    assert optimizer.last_step.skipped == 1
    optimizer.step([np.array([3.0, 4.0])], max_norm=1.0)
    assert optimizer.stage == 1
    assert optimizer.last_step.norm == 5
    with pytest.raises(ValueError, match="max_norm=0"):
        optimizer.step([np.ones(2)], max_norm=0)


def test_schedules_may_follow_a_skipped_first_step():
    optimizer = optim.SGD([np.zeros(2)], lr=1.0)
    schedule = optim.lr_scheduler.StepLR(optimizer, 1)
    optimizer.step([np.full(2, np.nan)], skip_nonfinite=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        schedule.step()


class TestLBFGS:
    def closure(self, p, gradient):
        return lambda: (float((p**2).sum()), [gradient(p)])

    def test_what_is_not_finite_is_skipped(self):
        p = np.ones(3)
        optimizer = optim.LBFGS({"w": p})
        assert optimizer.step(lambda: (7.0, [np.full(3, np.nan)]), skip_nonfinite=True) == 7
        assert (p == 1).all()
        assert optimizer.last_step == LastStep(applied=False, skipped=1, nonfinite=("w",))
        assert optimizer.state_dict()["state"] == {}
        optimizer.step(lambda: (np.inf, [np.ones(3)]), skip_nonfinite=True)
        assert optimizer.last_step == LastStep(applied=False, skipped=2)
        optimizer.step(self.closure(p, lambda p: 2 * p), skip_nonfinite=True)
        assert optimizer.last_step == LastStep()
        assert abs(p).max() < 1

    def test_parameters_that_would_not_be_finite(self):
        p = np.array([1e308])
        optimizer = optim.LBFGS([p], lr=1.7e308)
        optimizer.step(lambda: (1.0, [np.array([-1.0])]), skip_nonfinite=True)
        assert not optimizer.last_step.applied
        assert p == 1e308

    def test_gradients_are_set_to_zero(self):
        p = nn.Parameter(np.ones(3))

        def closure():
            p.grad[...] = 2 * p.data
            return float((p.data**2).sum())

        optim.LBFGS([p]).step(closure, zero_grad=True)
        assert not p.grad.any()

    @pytest.mark.parametrize("options", [{"max_norm": 1.0}, {"max_value": 1.0}, {"grad_scale": 2.0}])
    def test_what_changes_gradients_is_refused(self, options):
        p = np.ones(3)
        with pytest.raises(ValueError, match=r"LBFGS.step: it compares gradients and losses of several places"):
            optim.LBFGS([p]).step(self.closure(p, lambda p: 2 * p), **options)
        assert (p == 1).all()


class TestOneByOne:
    @pytest.mark.parametrize(("case", "settings"), FIRST, ids=FIRST_IDS)
    def test_the_bits_of_a_step(self, case, settings):
        params, optimizer = stepped(case, settings, np.float32)
        begun, state = bits(optimizer, params)
        grads = arrays(case, np.float32, 2)
        if case.together:
            with pytest.raises(ValueError, match=r"step_param: the step of params\[0\] depends on sums over all of"):
                optimizer.step_param(0, grads[0])
            np.testing.assert_equal(bits(optimizer, params), (begun, state))
            return
        optimizer.step(grads, grad_scale=2.0)
        expected, made = bits(optimizer, params), optimizer._made
        for p, q in zip(params, begun, strict=True):
            p[...] = q
        optimizer.load_state_dict(state)
        for i in reversed(range(len(params))):
            optimizer.step_param(i, grads[i], grad_scale=2.0, zero_grad=True)
        optimizer.end_step()
        np.testing.assert_equal(bits(optimizer, params), expected)
        assert optimizer._made == made + 1
        assert not any(g.any() for g in grads)

    def test_each_once(self):
        w, b = np.zeros(3), np.zeros(2)
        optimizer = optim.Adam({"w": w, "b": b})
        optimizer.step_param("w", np.ones(3))
        before = [w.copy(), b.copy()]
        with pytest.raises(RuntimeError, match=r"Adam.step_param: .*'w'.* has been updated since the last end_step"):
            optimizer.step_param("w", np.ones(3))
        with pytest.raises(RuntimeError, match=r"Adam.step: in the middle of a step .* Call end_step\(\) first"):
            optimizer.step([np.ones(3), np.ones(2)])
        with pytest.raises(RuntimeError, match=r"in the middle of a step"):
            optimizer.add_param_group({"params": [np.ones(2)]})
        for look in (optimizer.state_dict, lambda: copy.copy(optimizer), lambda: copy.deepcopy(optimizer)):
            with pytest.raises(RuntimeError, match=r"made parameter by parameter. Call end_step\(\) first"):
                look()
        optimizer.param_groups[0]["lr"] = "bad"
        with pytest.raises(TypeError, match="lr='bad'"):
            optimizer.step_param("b", np.ones(2))
        optimizer.param_groups[0]["lr"] = 1e-3
        with pytest.raises(RuntimeError, match="has been updated"):  # which a bad number does not forget
            optimizer.step_param("w", np.ones(3))
        np.testing.assert_equal([w, b], before)
        optimizer.end_step()
        optimizer.step([np.ones(3), np.ones(2)])
        assert optimizer.state[w]["step"] == 2
        assert optimizer.state[b]["step"] == 1

    def test_what_cannot_be_found(self):
        optimizer = optim.Adam({"w": np.zeros(3)})
        for param, error, message in [
            ("v", ValueError, r"step_param: param='v'; no parameter has that name. The names are 'w'"),
            (1, ValueError, r"param=1; the positions are 0 to 0"),
            (-1, ValueError, r"param=-1"),
            (None, TypeError, r"param=None"),
        ]:
            with pytest.raises(error, match=message):
                optimizer.step_param(param, np.ones(3))
        with pytest.raises(RuntimeError, match=r"Adam.end_step: no parameter has been updated"):
            optimizer.end_step()

    def test_what_needs_all_gradients(self):
        with pytest.raises(TypeError, match="max_norm"):
            optim.Adam([np.zeros(3)]).step_param(0, np.ones(3), max_norm=1.0)
        with pytest.raises(ValueError, match=r"LBFGS.step_param: its step needs all gradients at once"):
            optim.LBFGS([np.zeros(3)]).step_param(0, np.ones(3))

    def test_a_handoff_counts_steps_that_have_ended(self):
        p = np.zeros(2)
        optimizer = optim.Handoff([optim.SGD([p], lr=1.0), optim.Adam([p])], at=[1])
        optimizer.step_param(0, np.ones(2))
        assert (optimizer.stage, optimizer.steps) == (0, 0)
        with pytest.raises(RuntimeError, match=r"Call end_step\(\) first"):
            optimizer.switch(1)
        optimizer.end_step()
        assert (optimizer.stage, optimizer.steps) == (1, 1)
