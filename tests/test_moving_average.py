"""Averages of the weights that the pass of a step renews: what a pass of its own would make of them, to the bit."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
import time
import warnings
import weakref
from contextlib import suppress

import numpy as np
import pytest
from cases import CASES
from ravine import config, nn, optim
from ravine.optim.swa_utils import ExponentialMovingAverage
from ravine.reference.averages import average
from test_engine_interrupted import Interrupting

SHAPES = [(1,), (15,), (1023,), (1025,), (33, 70), (9001,), (2, 3, 1400)]
AVERAGED = [case for case in CASES if not case.name.endswith("ScheduleFree")]
IDS = [case.name for case in AVERAGED]
EACH_WAY = [(isa, threads) for isa in config.available_isas() for threads in (1, 3)]


def arrays(case, dtype, seed):
    rng = np.random.default_rng(seed)
    shapes = [shape for shape in SHAPES if not case.matrices or len(shape) == 2]
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def share(n, decay, warmup=False):
    """Return how far the n-th update moves an average, n = 0, 1, ..."""
    return 1.0 if n == 0 else 1 - (min(decay, (1 + n) / (10 + n)) if warmup else decay)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", AVERAGED, ids=IDS)
def test_equals_a_pass_of_its_own(case, dtype):
    for isa, threads in EACH_WAY:
        config.set_isa(isa)
        config.set_num_threads(threads)
        params, alone = arrays(case, dtype, 0), arrays(case, dtype, 0)
        optimizer, other = (case.optimizer(each, **case.configs[0]) for each in (params, alone))
        ema = ExponentialMovingAverage(optimizer, 0.75)
        expected = [p.copy() for p in params]
        for step in range(4):
            grads = arrays(case, dtype, 1 + step)
            if step == 2:
                grads[0] = None
            optimizer.step(grads, max_value=1.5)
            other.step([None if g is None else np.clip(g, -1.5, 1.5) for g in grads])
            expected = [average(a, p, share(step, 0.75)) for a, p in zip(expected, alone, strict=True)]
        np.testing.assert_equal(params, alone)
        np.testing.assert_equal(ema.arrays, expected)
        assert ema.updates == 4


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.999])
@pytest.mark.parametrize("warmup", [False, True])
@pytest.mark.parametrize("every", [1, 3])
def test_decay_warmup_and_every(decay, warmup, every):
    p = np.zeros(5)
    optimizer = optim.SGD([p], lr=1.0)
    ema = ExponentialMovingAverage(optimizer, decay, warmup, every)
    expected, updates = p.copy(), 0
    for step in range(1, 20):
        optimizer.step([np.arange(5.0) * step])
        if step % every == 0:
            expected = average(expected, p, share(updates, decay, warmup))
            updates += 1
        np.testing.assert_array_equal(ema.arrays[0], expected)
        assert ema.updates == updates
    assert (ema.decay, ema.warmup, ema.every) == (decay, warmup, every)


@pytest.mark.parametrize("length", [1, 7, 1500])
@pytest.mark.parametrize("name", ["SGD", "Adagrad", "SparseAdam"])
def test_a_sparse_gradient_moves_the_average_of_every_row(name, length):
    rng = np.random.default_rng(0)
    p = rng.standard_normal((8, length)).astype(np.float32)
    optimizer = getattr(optim, name)([p], lr=0.1)
    ema = ExponentialMovingAverage(optimizer, 0.5)
    expected = p.copy()
    for step, rows in enumerate([[1, 2], [5, 2, 5]]):
        values = rng.standard_normal((len(rows), length)).astype(np.float32)
        optimizer.step([optim.SparseGrad(np.array(rows), values, p.shape)])
        expected = average(expected, p, share(step, 0.5))
        np.testing.assert_array_equal(ema.arrays[0], expected)


def test_parameter_by_parameter():
    params, alone = ([np.ones(3), np.ones(2000), np.ones(2)] for _ in range(2))
    optimizer, other = (optim.Adam(each, lr=0.1) for each in (params, alone))
    ema, expected = (ExponentialMovingAverage(each, 0.5) for each in (optimizer, other))
    for each in (optimizer, other):  # so that the average of the last lies behind it
        for _ in range(2):
            each.step([np.ones_like(p) for p in params])
    for k in range(2, 5):
        grads = [np.full_like(p, k + 1.0) for p in params]
        other.step([*grads[:2], None])
        optimizer.step_param(1, grads[1])
        optimizer.step_param(0, grads[0])
        optimizer.end_step()
        np.testing.assert_equal(ema.arrays, expected.arrays)
        assert ema.updates == expected.updates == k + 1


def test_applied_swaps_in_and_out():
    p = np.zeros(3)
    optimizer = optim.SGD([p], lr=1.0)
    ema = ExponentialMovingAverage(optimizer, 0.5)
    for _ in range(2):
        optimizer.step([-np.ones(3)])
    with ema.applied():
        np.testing.assert_array_equal(p, 1.5)
        saved = optimizer.state_dict()
        with pytest.raises(RuntimeError, match=r"SGD.step: the parameters are the averages, within applied\(\)"):
            optimizer.step([np.ones(3)])
        with pytest.raises(RuntimeError, match="within applied"), ema.applied():
            pass
        with pytest.raises(RuntimeError, match="within applied"):
            ema.remove()
        np.testing.assert_array_equal(p, 1.5)
    np.testing.assert_array_equal(p, 2)
    np.testing.assert_array_equal(ema.arrays[0], 1.5)
    np.testing.assert_equal(optimizer.state_dict(), saved)
    with pytest.raises(ZeroDivisionError), ema.applied():
        raise ZeroDivisionError
    np.testing.assert_array_equal(p, 2)
    optimizer.step([-np.ones(3)])
    np.testing.assert_array_equal(ema.arrays[0], 2.25)


def test_resumes_to_the_same_bits():
    def made():
        p = np.ones((3, 4), np.float32)
        optimizer = optim.Adam({"w": p}, lr=0.1)
        return p, optimizer, ExponentialMovingAverage(optimizer, 0.9, warmup=True, every=2)

    def go(p, optimizer, begin, end):
        for k in range(begin, end):
            optimizer.step([np.sin(np.arange(12, dtype=np.float32) + k).reshape(3, 4)])

    p, optimizer, ema = made()
    go(p, optimizer, 0, 5)
    saved, held = optimizer.state_dict(), p.copy()
    go(p, optimizer, 5, 11)
    q, resumed, again = made()
    q[...] = held
    resumed.load_state_dict(saved)
    go(q, resumed, 5, 11)
    np.testing.assert_array_equal(p, q)
    np.testing.assert_equal(ema.arrays, again.arrays)
    np.testing.assert_equal(optimizer.state_dict(), resumed.state_dict())


@pytest.mark.parametrize("copied", [copy.deepcopy, copy.copy, lambda each: pickle.loads(pickle.dumps(each))])
def test_a_copy_goes_on_with_an_average_of_its_own(copied):
    p = np.zeros(3)
    optimizer = optim.SGD([p], lr=1.0)
    ema = ExponentialMovingAverage(optimizer, 0.5)
    for _ in range(2):
        optimizer.step([-np.ones(3)])
    other = copied(optimizer)
    theirs = ExponentialMovingAverage.of(other)
    other.step([-np.ones(3)])
    np.testing.assert_array_equal(theirs.arrays[0], 2.25)
    np.testing.assert_array_equal(ema.arrays[0], 1.5)
    assert "averages" in other.state_dict()


def test_a_group_that_is_added_gets_an_average():
    p, q = np.zeros(3), np.full(2, 5.0)
    optimizer = optim.SGD([p], lr=1.0)
    ema = ExponentialMovingAverage(optimizer, 0.5)
    optimizer.step([-np.ones(3)])
    optimizer.add_param_group({"params": q})
    np.testing.assert_array_equal(ema.arrays[1], q)
    optimizer.load_state_dict(optimizer.state_dict())
    optimizer.step([[-np.ones(3)], [-np.ones(2)]])
    np.testing.assert_equal(ema.arrays, [np.full(3, 1.5), np.full(2, 5.5)])


def test_a_handoff_renews_it_in_every_stage():
    p = np.zeros(3)
    optimizer = optim.Handoff([optim.SGD([p], lr=1.0), optim.SGD([p], lr=2.0)], at=[2])
    ema = ExponentialMovingAverage(optimizer, 0.5)
    expected = p.copy()
    for step in range(4):
        optimizer.step([-np.ones(3)])
        expected = average(expected, p, share(step, 0.5))
    np.testing.assert_array_equal(p, 6)
    np.testing.assert_array_equal(ema.arrays[0], expected)
    saved = optimizer.state_dict()
    assert saved["averages"]["steps"] == 4
    assert not any("averages" in stage for stage in saved["optimizers"])
    optimizer.load_state_dict(saved)
    with ema.applied():
        np.testing.assert_array_equal(p, expected)
        with pytest.raises(RuntimeError, match="within applied"):
            optimizer.step([np.ones(3)])


def test_remove():
    p = np.zeros(3)
    optimizer = optim.SGD([p], lr=1.0)
    ema = ExponentialMovingAverage(optimizer, 0.5)
    optimizer.step([-np.ones(3)])
    ema.remove()
    optimizer.step([-np.ones(3)])
    np.testing.assert_array_equal(ema.arrays[0], 1)
    assert "averages" not in optimizer.state_dict()
    ExponentialMovingAverage(optimizer, 0.5)


def test_parameters_with_gradients_and_in_another_order():
    array = np.asfortranarray(np.zeros((40, 60)))
    p = nn.Parameter(array)
    optimizer = optim.SGD([p], lr=1.0)
    ema = ExponentialMovingAverage(optimizer, 0.5)
    p.grad[...] = np.arange(2400.0).reshape(40, 60)
    for _ in range(2):
        optimizer.step()
    np.testing.assert_array_equal(ema.arrays[0], -1.5 * p.grad)


def test_what_has_no_average():
    with pytest.raises(ValueError, match=r"LBFGS: its steps are no pass .* Use swa_utils.AveragedModel"):
        ExponentialMovingAverage(optim.LBFGS([np.ones(2)]))
    for optimizer in (
        optim.SGDScheduleFree([np.ones(2)]),
        optim.Handoff([optim.SGD([p := np.ones(2)]), optim.AdamWScheduleFree([p])]),
    ):
        with pytest.raises(ValueError, match=r"ScheduleFree: it keeps an average of its own"):
            ExponentialMovingAverage(optimizer)
        with pytest.raises(ValueError, match=r"has no average"):
            ExponentialMovingAverage.of(optimizer)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"decay": 1.0}, ValueError, r"ExponentialMovingAverage: decay=1.0 is out of range"),
        ({"decay": -0.1}, ValueError, r"decay=-0.1"),
        ({"decay": np.nan}, ValueError, r"decay=nan is not finite"),
        ({"decay": None}, TypeError, r"decay=None"),
        ({"warmup": "yes"}, TypeError, r"warmup='yes'"),
        ({"every": 0}, ValueError, r"every=0; expected a whole number, 1 or more"),
        ({"every": 1.5}, ValueError, r"every=1.5"),
    ],
)
def test_bad_arguments(arguments, error, message):
    optimizer = optim.SGD([np.ones(2)])
    with pytest.raises(error, match=message):
        ExponentialMovingAverage(optimizer, **arguments)
    ExponentialMovingAverage(optimizer)
    with pytest.raises(ValueError, match=r"this SGD has an average already. Call its remove\(\) first"):
        ExponentialMovingAverage(optimizer)
    with pytest.raises(TypeError, match=r"optimizer is list; expected an optimizer"):
        ExponentialMovingAverage([])


def test_states_that_do_not_fit():
    p = np.ones(2)
    plain, averaged = optim.SGD([p]), optim.SGD([p])
    ExponentialMovingAverage(averaged)
    whole = averaged.state_dict()
    with pytest.raises(ValueError, match=r"it holds averages; make an ExponentialMovingAverage of this optimizer"):
        plain.load_state_dict(whole)
    with pytest.raises(ValueError, match=r"it holds no averages; load it before the ExponentialMovingAverage is made"):
        averaged.load_state_dict(plain.state_dict())
    for damage, message in [
        ({"averages": 7}, r"averages: expected a dict of 'steps' and 'arrays'"),
        ({"averages": {"steps": -1, "arrays": [p]}}, r"averages: 'steps'=-1"),
        ({"averages": {"steps": 1, "arrays": []}}, r"averages: 'arrays' is not a list of 1 arrays"),
        ({"averages": {"steps": 1, "arrays": [np.ones(3)]}}, r"averages: that of params\[0\] is .* shape \(2,\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            averaged.load_state_dict({**whole, **damage})
        np.testing.assert_equal(averaged.state_dict(), whole)


@pytest.mark.parametrize("change", ["flags", "dtype"])
def test_an_average_that_cannot_take_new_values_is_seen_before_any_does(change):
    params = [np.ones(2), np.ones(3)]
    optimizer = optim.SGD(params, lr=1.0)
    ema = ExponentialMovingAverage(optimizer, 0.5)
    saved = optimizer.state_dict()
    optimizer.step([np.ones(2), np.ones(3)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if change == "flags":
            ema.arrays[1].flags.writeable = False
        else:
            ema.arrays[1].dtype = np.int64
    with pytest.raises(ValueError, match=r"ExponentialMovingAverage: the average of params\[1\] is"):
        optimizer.load_state_dict(saved)
    with pytest.raises(ValueError, match=r"ExponentialMovingAverage: the average of params\[1\] is"), ema.applied():
        pass
    assert not any(p.any() for p in params)
    assert not ema.arrays[0].any()
    assert ema.updates == 1


def test_an_average_that_has_been_reshaped_is_refused():
    p = np.ones(2)
    optimizer = optim.SGD([p], lr=1.0)
    ema = ExponentialMovingAverage(optimizer)
    optimizer.step([np.ones(2)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ema.arrays[0].shape = (1, 2)
    with pytest.raises(ValueError, match=r"the average of params\[0\]"):
        optimizer.step([np.ones(2)])
    assert (p == 0).all()


@pytest.mark.parametrize("kind", ["settrace", "setprofile"])
@pytest.mark.parametrize("handoff", [False, True])
def test_ctrl_c_anywhere_leaves_the_parameters(handoff, kind):
    p = np.zeros(3)
    optimizer = optim.SGD([p], lr=1.0)
    if handoff:
        optimizer = optim.Handoff([optimizer, optim.Adam([p])])
    ema = ExponentialMovingAverage(optimizer, 0.5)
    for _ in range(2):
        optimizer.step([-np.ones(3)])
    for n in range(1, 1000):
        try:
            with Interrupting(kind, n) as interrupting, ema.applied():
                np.testing.assert_array_equal(p, 1.5)
        except KeyboardInterrupt:
            pass
        np.testing.assert_array_equal(p, 2, err_msg=f"interrupted at event {n}")
        if not interrupting.done:
            break
    assert n > 10
    optimizer.step([-np.ones(3)])
    np.testing.assert_array_equal(ema.arrays[0], 2.25)


def test_leaving_waits_for_a_step_of_another_thread():
    p = np.zeros(3)
    optimizer = optim.SGD([p], lr=1.0)
    ema = ExponentialMovingAverage(optimizer, 0.5)
    optimizer.step([-np.ones(3)])
    ended = threading.Event()

    def refused():
        while not ended.is_set():
            with suppress(RuntimeError):
                optimizer.step([np.zeros(3)])

    thread = threading.Thread(target=refused)
    thread.start()
    try:
        for _ in range(50):
            with suppress(RuntimeError), ema.applied():  # entering may be refused in the middle of a step
                time.sleep(1e-4)
    finally:
        ended.set()
        thread.join()
    np.testing.assert_array_equal(p, 1)


def test_a_parameter_made_read_only_within_can_be_restored():
    p = np.zeros(3)
    optimizer = optim.SGD([p], lr=1.0)
    ema = ExponentialMovingAverage(optimizer, 0.5)
    for _ in range(2):
        optimizer.step([-np.ones(3)])
    with pytest.raises(ValueError, match="read-only"), ema.applied():
        p.flags.writeable = False
    p.flags.writeable = True
    np.testing.assert_array_equal(p, 1.5)
    ema.restore()
    np.testing.assert_array_equal(p, 2)
    ema.restore()  # there is nothing to do


def test_a_removed_average_acts_on_nothing():
    optimizer = optim.SGD([np.ones(2)])
    first = ExponentialMovingAverage(optimizer)
    first.remove()
    second = ExponentialMovingAverage(optimizer)
    first.remove()
    assert optimizer.state_dict()["averages"]["steps"] == 0
    with pytest.raises(RuntimeError, match="this average has been removed"), first.applied():
        pass
    second.remove()


def test_within_applied_nothing_is_added_or_copied():
    optimizer = optim.SGD([np.ones(2)])
    ema = ExponentialMovingAverage(optimizer)
    with ema.applied():
        with pytest.raises(RuntimeError, match=r"SGD\.add_param_group: the parameters are the averages"):
            optimizer.add_param_group({"params": [np.ones(3)]})
        for copied in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(RuntimeError, match="ExponentialMovingAverage: a copy: the parameters are the averages"):
                copied(optimizer)


def test_stages_of_a_handoff():
    p = np.ones(2)
    stages = [optim.Adam([p]), optim.SGD([p])]
    optimizer = optim.Handoff(stages)
    alone = ExponentialMovingAverage(stages[0])
    with pytest.raises(ValueError, match="this Adam has an average already"):
        ExponentialMovingAverage(optimizer)
    alone.remove()
    stages[1].step_param(0, np.ones(2))
    with pytest.raises(RuntimeError, match=r"Call end_step\(\) first"):
        ExponentialMovingAverage(optimizer)
    assert stages[0]._averages is None
    stages[1].end_step()
    ExponentialMovingAverage(optimizer)
    with pytest.raises(ValueError, match="this Adam is a stage; the average is that of its Handoff"):
        ExponentialMovingAverage.of(stages[0])
    for copied in (copy.copy, copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))):
        copied(stages[0]).step([np.ones(2)])
        copied(optimizer).step([np.ones(2)])


def test_an_optimizer_with_an_average_dies_at_once():
    optimizer = optim.SGD([np.ones(2)])
    ema = ExponentialMovingAverage(optimizer)
    optimizer.step([np.ones(2)])
    gc.disable()
    try:
        alive = weakref.ref(optimizer)
        del optimizer, ema
        assert alive() is None
    finally:
        gc.enable()


def test_a_group_that_one_stage_alone_has():
    p = np.ones(2)
    stages = [optim.Adam([p]), optim.SGD([p])]
    optimizer = optim.Handoff(stages)
    ema = ExponentialMovingAverage(optimizer)
    stages[1].add_param_group({"params": [q := np.ones(3)]})
    for call in (lambda: optimizer.step([np.ones(2)]), lambda: ema.applied().__enter__()):
        with pytest.raises(ValueError, match=r"there are 1 parameters, and averages of 2. Add a group to every stage"):
            call()
    assert (p == 1).all()
    stages[0].add_param_group({"params": [q]})
    optimizer.step([[np.ones(2)], [np.ones(3)]])
    assert ema.updates == 1
