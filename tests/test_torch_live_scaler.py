"""GradScaler beside torch's, where it is installed: the same scales, the same parameters."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from ravine import optim

torch = pytest.importorskip("torch")

STEPS = 40
KINDS = {"SGD": {"lr": 0.1, "momentum": 0.9}, "AdamW": {"lr": 0.01}}


def test_arguments_and_defaults_are_torchs():
    theirs = dict(inspect.signature(torch.amp.GradScaler).parameters)
    assert theirs.pop("device")
    ours = inspect.signature(optim.GradScaler).parameters
    assert [(name, each.default) for name, each in ours.items()] == [(n, each.default) for n, each in theirs.items()]


def test_it_has_torchs_methods():
    assert {name for name in vars(torch.amp.GradScaler) if not name.startswith("_")} <= set(dir(optim.GradScaler))


@pytest.mark.parametrize("clips", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_scales_and_parameters(kind, dtype, clips):
    rng = np.random.default_rng(3)
    start = rng.standard_normal((4, 3)).astype(dtype)
    w, p = start.copy(), torch.nn.Parameter(torch.from_numpy(start.copy()))
    ours, theirs = getattr(optim, kind)([w], **KINDS[kind]), getattr(torch.optim, kind)([p], **KINDS[kind])
    settings = {"init_scale": 1024.0, "growth_interval": 3}
    a, b = optim.GradScaler(**settings), torch.amp.GradScaler("cpu", **settings)
    scales = set()
    for found in rng.random(STEPS) < 0.2:
        grad = rng.standard_normal((4, 3)).astype(dtype)
        if found:
            grad[3, 2] = np.nan
        scaled = a.scale(grad)
        p.grad = b.scale(torch.from_numpy(grad))
        np.testing.assert_array_equal(scaled, p.grad.numpy())
        if clips:
            b.unscale_(theirs)
            torch.nn.utils.clip_grad_norm_([p], 0.5)
        a.step(ours, [scaled], max_norm=0.5 if clips else None)
        b.step(theirs)
        a.update()
        b.update()
        scales.add(a.get_scale())
        assert a.state_dict() == b.state_dict()
    assert len(scales) > 3
    np.testing.assert_allclose(w, p.detach().numpy(), rtol=1e-12 if dtype == np.float64 else 1e-5)


def test_parameters_of_torch_are_unscaled_as_torch_does():
    data = torch.linspace(-1, 1, 6, dtype=torch.float64)
    p, q = (torch.nn.Parameter(data.clone()) for _ in range(2))
    table, other = (torch.nn.Parameter(torch.ones(4, 2, dtype=torch.float64)) for _ in range(2))
    ours, theirs = optim.SGD([p, table], lr=0.1), torch.optim.SGD([q, other], lr=0.1)
    a, b = optim.GradScaler(init_scale=8.0), torch.amp.GradScaler("cpu", init_scale=8.0)
    index = torch.tensor([2, 0, 2])
    for scaler, optimizer, each, rows in ((a, ours, p, table), (b, theirs, q, other)):
        loss = (each**3).sum() + torch.nn.functional.embedding(index, rows, sparse=True).sum()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
    for one, another in ((p, q), (table, other)):
        np.testing.assert_allclose(one.detach().numpy(), another.detach().numpy(), rtol=1e-14)
    np.testing.assert_array_equal(p.grad.numpy(), q.grad.numpy())
    np.testing.assert_array_equal(table.grad.to_dense().numpy(), other.grad.to_dense().numpy())


def test_torchs_state_dict_loads_and_ours_in_torch():
    a, b = optim.GradScaler(), torch.amp.GradScaler("cpu", init_scale=3.0, growth_factor=1.5, growth_interval=7)
    b.scale(torch.ones(()))
    a.load_state_dict(b.state_dict())
    assert a.state_dict() == b.state_dict()
    other = torch.amp.GradScaler("cpu")
    other.load_state_dict(a.state_dict())
    assert other.state_dict() == a.state_dict()
