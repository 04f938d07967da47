"""The phases of a step, and the seams between them at which others take part."""

from __future__ import annotations

import math

import numpy as np
import pytest
from ravine import config, optim
from ravine.optim._step_options import StepOptions
from ravine.reference.clipping import total_norm

NORM = StepOptions(finds_norm=True)


def plan_of(optimizer):
    return optimizer._plan or optimizer._make_plan()


def gradients(dtype, rng):
    return [rng.standard_normal(shape).astype(dtype) for shape in [(3,), (70, 130), (0,), (20_001,)]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1.0, 12.0])
def test_the_norm_of_all_gradients(dtype, scale):
    """Of the unscaled ones, with the same bits whatever does it; a step after it is as one without."""
    grads = gradients(dtype, np.random.default_rng(0))
    params = [np.zeros_like(g) for g in grads]
    optimizer = optim.SGD(params, lr=1.0)
    plan = plan_of(optimizer)
    factor = 1 / scale
    expected = total_norm([dtype(factor) * g for g in grads])
    for isa in config.available_isas():
        for threads in (1, 2, 5):
            config.set_isa(isa)
            config.set_num_threads(threads)
            for p in params:
                p[...] = 0
            plan.step_as_set(grads, StepOptions(grad_scale=scale, finds_norm=True))
            assert plan.outcome == (expected, 1.0, True, [])
            for p, g in zip(params, grads, strict=True):
                np.testing.assert_array_equal(p, -(dtype(factor) * g))
    np.testing.assert_allclose(expected**2, sum(float(((factor * g) ** 2).sum()) for g in grads), rtol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_elements_that_are_not_finite_are_found(value):
    grads = gradients(np.float32, np.random.default_rng(0))
    grads[-1][-1] = value
    grads[1][5, 5] = value
    optimizer = optim.SGD([np.zeros_like(g) for g in grads])
    plan_of(optimizer).step_as_set(grads, NORM)
    norm, clip, applied, nonfinite = plan_of(optimizer).outcome
    assert np.isnan(norm) if np.isnan(value) else norm == np.inf
    assert (clip, applied, nonfinite) == (1.0, True, [1, 3])


def test_sums_have_their_places_whatever_has_a_gradient():
    """Another process may have gradients for other parameters."""
    places = []
    for grads in ([np.ones(5000), np.full(3, 2.0)], [None, np.full(3, 2.0)]):
        optimizer = optim.SGD([np.zeros(5000), np.zeros(3)], lr=1.0)
        plan = plan_of(optimizer)
        plan.set_reduce(places.append)
        plan.step_as_set(grads, NORM)
    np.testing.assert_array_equal(places[0][:, 0], [4096, 904, 12])
    np.testing.assert_array_equal(places[1][:, 0], [0, 0, 12])


def test_the_norm_of_sparse_gradients_is_of_their_sums():
    p = np.zeros((6, 3))
    optimizer = optim.SGD([p], lr=1.0)
    grad = optim.SparseGrad(np.array([4, 1, 4]), np.array([[1.0, 0, 0], [2.0, 0, 0], [3.0, 0, 0]]), (6, 3))
    plan_of(optimizer).step_as_set([grad], NORM)
    assert plan_of(optimizer).outcome[0] == math.sqrt(4.0 + 16.0)


def test_others_take_part_in_the_norm_before_it_is_known():
    optimizer = optim.SGD([np.zeros(5000), np.zeros(3)])
    plan = plan_of(optimizer)
    seen = []

    def reduce(sums):
        seen.append(sums.copy())
        sums *= 4  # as if four processes had the same gradients

    plan.set_reduce(reduce)
    plan.step_as_set([np.ones(5000), np.ones(3)], NORM)
    np.testing.assert_array_equal(seen, [[[4096, 0], [904, 0], [3, 0]]])
    assert plan.outcome[0] == math.sqrt(4 * 5003)
    plan.set_reduce(None)
    plan.step_as_set([np.ones(5000), np.ones(3)], NORM)
    assert plan.outcome[0] == math.sqrt(5003)


def test_others_take_part_in_the_sums_of_a_tensor():
    """LAMB's ratio of norms: twice the norm of the parameter makes the step twice as long."""
    rng = np.random.default_rng(0)
    start, gradient = rng.standard_normal(5000), rng.standard_normal(5000)
    steps = []
    for factor in (1.0, 2.0):
        p = start.copy()
        optimizer = optim.LAMB([p, np.ones(7)], lr=0.1)
        plan = plan_of(optimizer)
        blocks = []
        plan.step_as_set([None, np.ones(7)])

        def reduce(sums, factor=factor, blocks=blocks):
            blocks.append(len(sums))
            assert (sums[2] == 0).all()  # of the parameter without a gradient, which keeps its place
            sums[:, 0] *= factor**2

        plan.set_reduce(reduce)
        plan.step_as_set([gradient, None])
        assert blocks == [3]
        steps.append(p - start)
    np.testing.assert_allclose(steps[1], 2 * steps[0], rtol=1e-9)


def test_others_take_part_in_the_sums_of_a_group():
    """Prodigy's estimate comes from the sums over all parameters."""
    estimates = []
    for factor in (1.0, 3.0):
        p, q = np.ones(3), np.ones(4)
        optimizer = optim.Prodigy([p, q], lr=1.0)
        plan = plan_of(optimizer)
        plan.set_reduce(lambda sums, factor=factor: sums.__imul__(np.array([factor, 1.0])))
        for _ in range(3):
            plan.step_as_set([np.ones(3), np.ones(4)])
        assert optimizer.state[p]["d"] == optimizer.state[q]["d"]
        estimates.append(optimizer.state[p]["d"])
    assert estimates[1] > estimates[0]


def test_what_a_seam_is_given_may_be_kept_and_a_step_within_a_step_is_refused():
    optimizer = optim.LAMB([np.ones(5)])
    kept, refused = [], []

    def reduce(sums):
        kept.append(sums)
        with pytest.raises(RuntimeError, match="a step is under way") as raised:
            plan_of(optimizer).step_as_set([np.ones(5)])
        refused.append(raised)

    plan_of(optimizer).set_reduce(reduce)
    plan_of(optimizer).step_as_set([np.ones(5)])
    expected = kept[0].copy()
    optimizer._drop_plan()
    np.testing.assert_array_equal(kept[0], expected)
    assert len(refused) == 1


def test_an_error_at_a_seam_ends_the_step_before_parameters_change():
    p = np.ones(5000)
    optimizer = optim.SGD([p])

    def refuse(sums):
        raise ConnectionError("the other rank is gone")

    plan_of(optimizer).set_reduce(refuse)
    with pytest.raises(ConnectionError, match="the other rank"):
        plan_of(optimizer).step_as_set([np.ones(5000)], NORM)
    assert (p == 1).all()
    assert optimizer.state_dict()["state"] == {}


def test_directions_are_changed_between_proposing_and_taking_them(monkeypatch):
    """Muon's products come between two phases of one step; an error there leaves everything as it was."""
    from ravine.optim import muon

    p, q = np.eye(3), np.eye(4)
    optimizer = optim.Muon([p, q], lr=1.0, weight_decay=0.0)
    monkeypatch.setattr(muon, "_make_orthogonal", lambda u, group: u.fill(2))
    optimizer.step([None, np.ones((4, 4))])
    np.testing.assert_array_equal(p, np.eye(3))
    np.testing.assert_array_equal(q, np.eye(4) - 2)

    def interrupt(u, group):
        raise KeyboardInterrupt

    monkeypatch.setattr(muon, "_make_orthogonal", interrupt)
    before = q.copy(), optimizer.state_dict()["state"]
    with pytest.raises(KeyboardInterrupt):
        optimizer.step([None, np.ones((4, 4))])
    np.testing.assert_equal((q, optimizer.state_dict()["state"]), before)
