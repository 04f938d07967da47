"""Averages that are renewed when asked for, and batch norm's statistics for them."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from ravine import config, nn, optim
from ravine.optim.swa_utils import (
    AveragedModel,
    get_ema_avg_fn,
    get_ema_multi_avg_fn,
    get_swa_avg_fn,
    get_swa_multi_avg_fn,
    update_bn,
)
from ravine.reference.averages import average

EACH_WAY = [(isa, threads) for isa in config.available_isas() for threads in (1, 3)]


def walk(dtype, steps=6):
    rng = np.random.default_rng(0)
    return [[rng.standard_normal(shape).astype(dtype) for shape in [(3,), (70, 130), (20_001,)]] for _ in range(steps)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("function", "share"),
    [
        (None, lambda n: 1 / (n + 1)),
        (get_swa_multi_avg_fn(), lambda n: 1 / (n + 1)),
        (get_ema_multi_avg_fn(0.9), lambda n: 1.0 if n == 0 else 1 - 0.9),
        (get_ema_multi_avg_fn(0.25), lambda n: 1.0 if n == 0 else 1 - 0.25),
    ],
    ids=["default", "mean", "moving", "moving quickly"],
)
def test_a_compiled_pass_gives_the_bits_of_the_reference(function, share, dtype):
    seen = walk(dtype)
    for isa, threads in EACH_WAY:
        config.set_isa(isa)
        config.set_num_threads(threads)
        params = [np.zeros_like(p) for p in seen[0]]
        model = AveragedModel(params, multi_avg_fn=function)
        expected = [p.copy() for p in params]
        for n, values in enumerate(seen):
            for p, value in zip(params, values, strict=True):
                p[...] = value
            assert model.n_averaged == n
            model.update_parameters()
            expected = [average(a, p, share(n)) for a, p in zip(expected, params, strict=True)]
            np.testing.assert_equal(model.arrays, expected)
        np.testing.assert_equal(params, seen[-1])


@pytest.mark.parametrize(
    ("compiled", "arguments"),
    [
        (get_swa_multi_avg_fn(), {"avg_fn": get_swa_avg_fn()}),
        (get_ema_multi_avg_fn(0.9), {"avg_fn": get_ema_avg_fn(0.9)}),
        (get_ema_multi_avg_fn(0.9), {"multi_avg_fn": get_ema_multi_avg_fn(0.9).__call__}),
        (get_swa_multi_avg_fn(), {"multi_avg_fn": get_swa_multi_avg_fn().__call__}),
    ],
)
def test_functions_say_the_same_as_the_compiled_pass(compiled, arguments):
    seen = walk(np.float64)
    params = [p.copy() for p in seen[0]]
    one, other = AveragedModel(params, multi_avg_fn=compiled), AveragedModel(params, **arguments)
    for values in seen:
        one.update_parameters(values)
        other.update_parameters(values)
        for a, b in zip(one.arrays, other.arrays, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)
    np.testing.assert_equal(params, seen[0])


def test_of_an_optimizer_and_of_names():
    p = nn.Parameter(np.ones(3))
    for params in (optim.LBFGS([p]), {"w": p.data}, [p], [("w", p.data)]):
        model = AveragedModel(params)
        model.update_parameters()
        assert model.arrays[0] is not p.data
        np.testing.assert_array_equal(model.arrays[0], p.data)


def test_a_function_that_fails_changes_nothing():
    params = [np.ones(3), np.ones(2)]

    def failing(a, p, n):
        if p.size == 2:
            return np.ones(7)
        return a + n

    model = AveragedModel(params, avg_fn=failing)
    model.update_parameters()
    before = model.state_dict()
    with pytest.raises(ValueError, match=r"avg_fn made float64, shape \(7,\) of averages\[1\]; expected .* \(2,\)"):
        model.update_parameters()
    np.testing.assert_equal(model.state_dict(), before)


def test_a_function_may_answer_what_only_shows_its_memory():
    class Shown:
        def __init__(self, array):
            self.__array_interface__ = array.__array_interface__
            self.held = array

    answer = Shown
    model = AveragedModel([np.ones(3)], avg_fn=lambda a, p, n: answer(a + n))
    model.update_parameters()
    model.update_parameters()
    np.testing.assert_array_equal(model.arrays[0], 2.0)

    class Nothing:
        __array_interface__ = {"version": 3, "shape": (), "typestr": "<f8", "data": None}

    answer = lambda _: Nothing()  # noqa: E731
    with pytest.raises(TypeError, match=r"AveragedModel: what avg_fn made of averages\[0\]: cannot see the memory"):
        model.update_parameters()
    np.testing.assert_array_equal(model.arrays[0], 2.0)


def test_an_average_that_is_read_only_is_seen_before_any_changes():
    params = [np.ones(3), np.ones(2)]
    model = AveragedModel(params, avg_fn=lambda a, p, n: p)
    model.update_parameters()
    model.arrays[1].flags.writeable = False
    params[0] += 1
    before = model.state_dict()
    with pytest.raises(ValueError, match=r"AveragedModel: the average of params\[1\] is read-only"):
        model.update_parameters()
    np.testing.assert_equal(model.state_dict(), before)


def test_saving():
    seen = walk(np.float32)
    one, other = (AveragedModel([p.copy() for p in seen[0]]) for _ in range(2))
    for values in seen[:3]:
        one.update_parameters(values)
    other.load_state_dict(one.state_dict())
    for model in (one, other):
        model.update_parameters(seen[3])
    np.testing.assert_equal(one.state_dict(), other.state_dict())
    with pytest.raises(ValueError, match=r"AveragedModel.load_state_dict: .*\n.*'arrays' is not a list of 3 arrays"):
        one.load_state_dict({"steps": 1, "arrays": []})


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: AveragedModel([np.ones(2)], abs, abs), ValueError, "expected one of them"),
        (lambda m: AveragedModel([np.ones(2)], 0.9), TypeError, "avg_fn is .*; expected a function"),
        (lambda m: AveragedModel([np.ones(2, int)]), TypeError, r"AveragedModel: params\[0\]"),
        (lambda m: m.update_parameters([np.ones(2), np.ones(2)]), ValueError, "got 2 parameters; expected 1"),
        (lambda m: m.update_parameters([np.ones(3)]), ValueError, r"params\[0\] is float64, shape \(3,\); its average"),
        (lambda m: get_ema_avg_fn(1.0), ValueError, "get_ema_avg_fn: decay=1.0"),
        (lambda m: get_ema_multi_avg_fn(-1), ValueError, "get_ema_multi_avg_fn: decay=-1"),
    ],
)
def test_bad_arguments(call, error, message):
    model = AveragedModel([np.ones(2)])
    with pytest.raises(error, match=message):
        call(model)
    assert model.n_averaged == 0


def test_batch_norm_sees_every_batch_the_same():
    rng = np.random.default_rng(0)
    batches = [rng.standard_normal((8, 3)).astype(np.float32) for _ in range(4)]
    layer, other = nn.BatchNorm1d(3, momentum=0.3), nn.Dropout(0.5)
    layer.eval()
    layer.running_mean[...] = 7
    update_bn([(x, "label") for x in batches], layer, [layer, other])
    np.testing.assert_allclose(layer.running_mean, np.mean([x.mean(0) for x in batches], 0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer.running_var, np.mean([x.var(0, ddof=1) for x in batches], 0), rtol=1e-5)
    assert (layer.training, layer.momentum, layer.num_batches_tracked) == (False, 0.3, 4)
    with pytest.raises(TypeError, match="update_bn: layers holds"):
        update_bn(batches, layer, [3])

    def failing(_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        update_bn(batches, failing, [layer])
    assert (layer.training, layer.momentum) == (False, 0.3)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
@pytest.mark.parametrize("of", [lambda p: [p], lambda p: optim.Adam([p])], ids=["arrays", "optimizer"])
def test_a_copy_goes_on_by_itself(of, copied):
    p = np.ones(3)
    model = AveragedModel(of(p))
    model.update_parameters()
    other = copied(model)
    other.update_parameters([np.full(3, 3.0)])
    np.testing.assert_array_equal(other.arrays[0], 2)
    np.testing.assert_array_equal(model.arrays[0], 1)
    other.update_parameters()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((5, lambda x: x), TypeError, "update_bn: loader is"),
        (([np.ones((4, 3), np.float32)], None), TypeError, "update_bn: forward is"),
        (([], lambda x: x), ValueError, "update_bn: loader gave no batch"),
        (([np.ones((4, 7), np.float32)], None), TypeError, "update_bn: forward is"),
    ],
)
def test_what_cannot_be_passed_through_leaves_the_statistics(arguments, error, message):
    layer = nn.BatchNorm1d(3)
    layer(np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32))
    before = layer.state_dict()
    with pytest.raises(error, match=message):
        update_bn(*arguments, [layer])
    with pytest.raises(ValueError, match="7 channels"):
        update_bn([np.ones((4, 7), np.float32)], layer, [layer])
    with pytest.raises(TypeError, match="update_bn: layers is"):
        update_bn([np.ones((4, 3), np.float32)], layer, 5)
    np.testing.assert_equal(layer.state_dict(), before)
