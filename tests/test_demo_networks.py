"""The demo's networks: dtypes, initialisation, and gradients by finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from ravine import nn
from ravine.demo import networks
from ravine.demo.layers import Conv2d, MaxPool2d, softmax_cross_entropy
from ravine.demo.networks import Design, cnn, mlp


def test_networks_are_float32_with_he_initialisation():
    network = mlp(np.random.default_rng(0), (400, 300, 10), batch_norm=False, dropout=0)
    weight, bias, *_ = network.parameters()
    assert [p.shape for p in network.parameters()] == [(400, 300), (300,), (300, 10), (10,)]
    assert np.std(weight.data) == pytest.approx(np.sqrt(2 / 400), rel=0.02)
    assert not bias.data.any()
    kernel = Conv2d(20, 60, bias=False, rng=np.random.default_rng(0), dtype=np.float32).weight
    assert kernel.shape == (3, 3, 20, 60)
    assert np.std(kernel.data) == pytest.approx(np.sqrt(2 / 180), rel=0.02)


@pytest.mark.parametrize("model", networks.MODELS)
@pytest.mark.parametrize("batch_norm", [False, True])
def test_networks_stay_float32(model, batch_norm):
    network = Design(model, batch_norm, 0.2).build(np.random.default_rng(0))
    x = np.random.default_rng(1).random((4, 64), np.float32)
    logits = network(x)
    _, gradient = softmax_cross_entropy(logits, np.arange(4))
    assert logits.shape == (4, 10)
    assert network.backward(gradient).shape == x.shape
    assert logits.dtype == gradient.dtype == np.float32
    assert all(p.dtype == p.grad.dtype == np.float32 for p in network.parameters())
    biases = [name for name, _ in network.named_parameters() if name.endswith(".bias")]
    assert len(biases) == {"mlp": 3, "cnn": 4}[model]  # a batch norm's takes the place of that before it


def test_convolution_equals_its_formula():
    rng = np.random.default_rng(0)
    layer = Conv2d(2, 3, bias=True, rng=rng, dtype=np.float64)
    layer.bias.data[:] = rng.normal(size=3)
    x = rng.normal(size=(2, 4, 5, 2))
    expected = np.empty((2, 4, 5, 3))
    for n, i, j in np.ndindex(2, 4, 5):
        expected[n, i, j] = layer.bias.data
        for di, dj in np.ndindex(3, 3):
            h, w = i + di - 1, j + dj - 1
            if 0 <= h < 4 and 0 <= w < 5:
                expected[n, i, j] += x[n, h, w] @ layer.weight.data[di, dj]
    np.testing.assert_allclose(layer(x), expected, rtol=1e-12, atol=1e-12)


def test_pooling_shares_the_gradient_among_equals():
    pool = MaxPool2d()
    x = np.array([[1.0, 2, 5, 5], [4, 3, 5, 0]])[None, :, :, None]
    np.testing.assert_array_equal(pool(x)[0, :, :, 0], [[4, 5]])
    dx = pool.backward(np.array([6.0, 3.0]).reshape(1, 1, 2, 1))
    np.testing.assert_allclose(dx[0, :, :, 0], [[0, 0, 1, 1], [6, 0, 1, 0]])


def small_mlp(rng, **additions):
    return mlp(rng, (5, 7, 6, 4), dtype=np.float64, **additions), rng.normal(size=(9, 5)), rng.integers(0, 4, 9)


def small_cnn(rng, **additions):
    network = cnn(rng, channels=(2, 3), features=4, dtype=np.float64, **additions)
    return network, rng.normal(size=(5, 64)), rng.integers(0, 10, 5)


@pytest.mark.parametrize("make", [small_mlp, small_cnn])
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("dropout", [0, 0.3])
def test_gradients_equal_finite_differences(make, batch_norm, dropout):
    network, x, labels = make(np.random.default_rng(0), batch_norm=batch_norm, dropout=dropout)

    for parameter in network.parameters():
        parameter.data[...] += np.random.default_rng(1).normal(0, 0.1, parameter.shape)  # away from the kinks of ReLU

    def loss_and_gradient():
        for layer in network.layers:
            if isinstance(layer, nn.Dropout):
                layer.offset = 0  # the same features each time
        return softmax_cross_entropy(network(x), labels)

    def check(values, gradient):
        for i in np.ndindex(values.shape):
            value = values[i]
            values[i] = value + h
            above, _ = loss_and_gradient()
            values[i] = value - h
            below, _ = loss_and_gradient()
            values[i] = value
            assert gradient[i] == pytest.approx((above - below) / (2 * h), rel=1e-5, abs=1e-8)

    h = 1e-6
    check(x, network.backward(loss_and_gradient()[1]))
    for parameter in network.parameters():
        check(parameter.data, parameter.grad)


def test_softmax_cross_entropy_of_huge_logits():
    loss, gradient = softmax_cross_entropy(np.array([[1000.0, 0.0], [0.0, 1000.0]]), np.array([0, 0]))
    assert loss == 500
    np.testing.assert_array_equal(gradient, [[0, 0], [-0.5, 0.5]])
