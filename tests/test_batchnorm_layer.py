"""What the layers do: running statistics, gradients, weights, saving and loading."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from ravine import nn


def test_running_statistics():
    x = np.random.default_rng(0).standard_normal((10, 3, 8)) + 5
    mean, var = x.mean((0, 2)), x.var((0, 2), ddof=1)
    bn = nn.BatchNorm1d(3, momentum=0.3, dtype=np.float64)
    bn(x)
    np.testing.assert_allclose(bn.running_mean, 0.3 * mean, rtol=1e-14)
    np.testing.assert_allclose(bn.running_var, 0.7 + 0.3 * var, rtol=1e-14)
    assert bn.num_batches_tracked == 1


def test_momentum_none_is_the_plain_average():
    rng = np.random.default_rng(0)
    batches = [rng.standard_normal((10, 3)) for _ in range(5)]
    bn = nn.BatchNorm1d(3, momentum=None, dtype=np.float64)
    for x in batches:
        bn(x)
    np.testing.assert_allclose(bn.running_mean, np.mean([x.mean(0) for x in batches], axis=0), rtol=1e-13)
    np.testing.assert_allclose(bn.running_var, np.mean([x.var(0, ddof=1) for x in batches], axis=0), rtol=1e-13)


def test_evaluation_uses_and_keeps_the_running_statistics():
    x = np.random.default_rng(0).standard_normal((10, 3)).astype(np.float32)
    bn = nn.BatchNorm1d(3)
    bn(x)
    state = bn.state_dict()
    y = bn.eval()(x[:1])
    np.testing.assert_allclose(y, (x[:1] - bn.running_mean) / np.sqrt(bn.running_var + 1e-5), rtol=1e-5)
    for name, value in bn.state_dict().items():
        np.testing.assert_array_equal(value, state[name])
    dx = bn.backward(np.ones_like(y))
    np.testing.assert_allclose(dx[0], 1 / np.sqrt(bn.running_var + 1e-5), rtol=1e-6)


def test_without_running_statistics_the_batch_counts_in_evaluation_too():
    x = np.random.default_rng(0).standard_normal((10, 3)).astype(np.float32)
    bn = nn.BatchNorm1d(3, track_running_stats=False)
    y = bn(x)
    np.testing.assert_array_equal(bn.eval()(x), y)
    assert bn.running_mean is None
    assert list(bn.state_dict()) == ["weight", "bias"]


def test_gradients_accumulate():
    x = np.random.default_rng(0).standard_normal((10, 3)).astype(np.float32)
    bn = nn.BatchNorm1d(3)
    bn(x)
    bn.backward(x)
    once = bn.weight.grad.copy(), bn.bias.grad.copy()
    bn.backward(x)
    np.testing.assert_array_equal(bn.weight.grad, 2 * once[0])
    np.testing.assert_array_equal(bn.bias.grad, 2 * once[1])
    bn.zero_grad()
    assert not bn.weight.grad.any()
    bn.zero_grad(set_to_none=True)
    bn.backward(x)
    np.testing.assert_array_equal(bn.weight.grad, once[0])


def test_without_weights():
    x = np.random.default_rng(0).standard_normal((10, 3)).astype(np.float32)
    plain, affine = nn.BatchNorm1d(3, affine=False), nn.BatchNorm1d(3)
    np.testing.assert_array_equal(plain(x), affine(x))
    np.testing.assert_array_equal(plain.backward(x), affine.backward(x))
    assert list(plain.parameters()) == []
    no_bias = nn.BatchNorm1d(3, bias=False)
    np.testing.assert_array_equal(no_bias(x), affine(x))
    np.testing.assert_array_equal(no_bias.backward(x), affine.backward(x))
    assert [name for name, _ in no_bias.named_parameters()] == ["weight"]


def test_the_forward_pass_counts_even_if_the_weights_change_before_backward():
    x = np.random.default_rng(0).standard_normal((10, 3)).astype(np.float32)
    bn, other = nn.BatchNorm1d(3, activation="relu"), nn.BatchNorm1d(3, activation="relu")
    bn(x)
    other(x)
    bn.weight.data[...] = 100
    bn.bias.data[...] = -100
    np.testing.assert_array_equal(bn.backward(x), other.backward(x))


def test_saving_and_resuming():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 10, 3)).astype(np.float32)
    bn, other = nn.BatchNorm1d(3, momentum=None), nn.BatchNorm1d(3, momentum=None)
    for batch in x[:2]:
        bn(batch)
    mean = other.running_mean
    other.load_state_dict(bn.state_dict())
    assert other.running_mean is mean
    for batch in x[2:]:
        np.testing.assert_array_equal(bn(batch), other(batch))
    for name, value in bn.state_dict().items():
        np.testing.assert_array_equal(value, other.state_dict()[name])


def test_reset():
    bn = nn.BatchNorm1d(3)
    fresh = bn.state_dict()
    bn(np.random.default_rng(0).standard_normal((10, 3)).astype(np.float32))
    bn.weight.data[...] += 1
    bn.bias.data[...] += 1
    bn.reset_parameters()
    for name, value in bn.state_dict().items():
        np.testing.assert_array_equal(value, fresh[name])


def test_repr():
    assert (
        repr(nn.BatchNorm2d(8))
        == "BatchNorm2d(8, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)"
    )
    layer = nn.BatchNorm3d(8, dtype=np.float64, layout="NHWC", activation="relu")
    assert repr(layer).endswith("dtype='float64', layout='NHWC', activation='relu')")


def test_an_empty_batch_in_evaluation():
    bn = nn.BatchNorm2d(3).eval()
    x = np.zeros((0, 3, 4, 4), np.float32)
    assert bn(x).shape == x.shape
    assert bn.backward(x).shape == x.shape


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("bias"), "'bias' is missing"),
        (lambda state: state.update(scale=1), "'scale' is unknown"),
        (
            lambda state: state.update(weight=np.ones(4, np.float32)),
            r"'weight' is float32, shape \(4,\); expected float32, shape \(3,\)",
        ),
        (lambda state: state.update(running_var=np.ones(3)), "'running_var' is float64"),
        (lambda state: state.update(num_batches_tracked=1.5), "num_batches_tracked=1.5; expected a whole number"),
        (lambda state: state.update(num_batches_tracked=-1), "num_batches_tracked=-1; expected a whole number"),
    ],
)
def test_states_that_do_not_fit(change, message):
    bn = nn.BatchNorm2d(3)
    bn(np.random.default_rng(0).standard_normal((4, 3, 6, 6)).astype(np.float32))
    before = bn.state_dict()
    state = nn.BatchNorm2d(3).state_dict()
    change(state)
    with pytest.raises(ValueError, match=message):
        bn.load_state_dict(state)
    for name, value in before.items():
        np.testing.assert_array_equal(bn.state_dict()[name], value)


@pytest.mark.parametrize("make_copy", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
@pytest.mark.parametrize("make", [lambda: nn.BatchNorm1d(3, dtype=np.float64), lambda: nn.Dropout(seed=3)])
def test_a_copy_goes_on_but_has_made_no_forward_pass(make, make_copy):
    layer = make()
    x = np.random.default_rng(0).standard_normal((5, 3))
    layer(x)
    other = make_copy(layer)
    with pytest.raises(RuntimeError, match="there was no forward pass"):
        other.backward(x)
    np.testing.assert_equal(other.state_dict(), layer.state_dict())
    np.testing.assert_array_equal(other(x), layer(x))
    np.testing.assert_equal(other.state_dict(), layer.state_dict())
