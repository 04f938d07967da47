"""Averages beside torch's own, where that is installed."""

from __future__ import annotations

import numpy as np
import pytest
from ravine import nn, optim
from ravine.optim import swa_utils

torch = pytest.importorskip("torch")
theirs = pytest.importorskip("torch.optim.swa_utils")


def models(dtype):
    """Return a torch model, arrays that begin as its parameters, and gradients for both."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Linear(7, 3)).to(dtype)
    params = {name: p.detach().numpy().copy() for name, p in model.named_parameters()}
    rng = np.random.default_rng(0)
    grads = [[rng.standard_normal(p.shape).astype(p.dtype) for p in params.values()] for _ in range(8)]
    return model, params, grads


FUNCTIONS = {
    "default": ({}, {}),
    "swa": (
        {"multi_avg_fn": theirs.get_swa_multi_avg_fn()},
        {"multi_avg_fn": swa_utils.get_swa_multi_avg_fn()},
    ),
    "ema": (
        {"multi_avg_fn": theirs.get_ema_multi_avg_fn(0.9)},
        {"multi_avg_fn": swa_utils.get_ema_multi_avg_fn(0.9)},
    ),
    "swa alone": ({"avg_fn": theirs.get_swa_avg_fn()}, {"avg_fn": swa_utils.get_swa_avg_fn()}),
    "ema alone": ({"avg_fn": theirs.get_ema_avg_fn(0.9)}, {"avg_fn": swa_utils.get_ema_avg_fn(0.9)}),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_averaged_model(name):
    model, params, grads = models(torch.float64)
    their_arguments, our_arguments = FUNCTIONS[name]
    their_average = theirs.AveragedModel(model, **their_arguments)
    our_average = swa_utils.AveragedModel(params, **our_arguments)
    their_optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    our_optimizer = optim.SGD(params, lr=0.1)
    for each in grads:
        for p, grad in zip(model.parameters(), each, strict=True):
            p.grad = torch.from_numpy(grad)
        their_optimizer.step()
        our_optimizer.step(each)
        their_average.update_parameters(model)
        our_average.update_parameters()
        assert our_average.n_averaged == int(their_average.n_averaged)
        # torch's multi_avg_fn of the mean computes 1 / (n + 1) in float32.
        tolerance = 1e-7 if name == "swa" else 1e-12
        for p, a in zip(their_average.module.parameters(), our_average.arrays, strict=True):
            np.testing.assert_allclose(a, p.detach().numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_moving_average_of_each_step(dtype):
    model, params, grads = models(dtype)
    their_average = theirs.AveragedModel(model, multi_avg_fn=theirs.get_ema_multi_avg_fn(0.9))
    their_optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    our_optimizer = optim.Adam(params, lr=0.1)
    ema = swa_utils.ExponentialMovingAverage(our_optimizer, 0.9)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    for each in grads:
        for p, grad in zip(model.parameters(), each, strict=True):
            p.grad = torch.from_numpy(grad.copy())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        their_optimizer.step()
        their_average.update_parameters(model)
        our_optimizer.step(each, max_norm=0.5)
        for p, a in zip(their_average.module.parameters(), ema.arrays, strict=True):
            np.testing.assert_allclose(a, p.detach().numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.5, float("inf")])
def test_clipping(p):
    model, params, grads = models(torch.float64)
    their_optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    our_optimizer = optim.SGD(params, lr=0.1)
    for each in grads:
        for param, grad in zip(model.parameters(), each, strict=True):
            param.grad = torch.from_numpy(grad.copy())
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5, norm_type=p)
        torch.nn.utils.clip_grad_value_(model.parameters(), 0.05)
        their_optimizer.step()
        our_optimizer.step(each, max_norm=0.5, norm_type=p, max_value=0.05)
        np.testing.assert_allclose(our_optimizer.last_step.norm, float(norm), rtol=1e-12)
        for param, ours in zip(model.parameters(), params.values(), strict=True):
            np.testing.assert_allclose(ours, param.detach().numpy(), rtol=1e-12, atol=1e-15)


def test_torch_parameters():
    """Their memory is updated, and averaged."""
    model, _, grads = models(torch.float32)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    ema = swa_utils.ExponentialMovingAverage(optimizer, 0.5)
    for p, grad in zip(model.parameters(), grads[0], strict=True):
        p.grad = torch.from_numpy(grad.copy())
    optimizer.step(max_norm=1.0, zero_grad=True)
    assert all(not p.grad.any() for p in model.parameters())
    for a, p in zip(ema.arrays, model.parameters(), strict=True):
        np.testing.assert_array_equal(a, p.detach().numpy())


def test_update_bn():
    torch.manual_seed(0)
    batches = [torch.randn(8, 3) for _ in range(4)]
    their_layer, our_layer = torch.nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    theirs.update_bn([(x, 0) for x in batches], their_layer)
    swa_utils.update_bn([(x.numpy(), 0) for x in batches], our_layer, [our_layer])
    np.testing.assert_allclose(our_layer.running_mean, their_layer.running_mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(our_layer.running_var, their_layer.running_var, rtol=1e-5)
    assert our_layer.num_batches_tracked == int(their_layer.num_batches_tracked)
