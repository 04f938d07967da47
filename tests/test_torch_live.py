"""Beside torch, where it is installed: signatures, models, states."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from cases import CASES
from oracles import torch_gradient
from ravine import optim

torch = pytest.importorskip("torch")

# What torch has for choosing among its implementations.
TORCH_ONLY = {"foreach", "fused", "capturable", "differentiable"}

TORCHS = [case for case in CASES if case.oracle == "torch"]
each_of_torchs = pytest.mark.parametrize("case", TORCHS, ids=lambda case: case.name)
each_of_vectors = pytest.mark.parametrize("case", [c for c in TORCHS if not c.matrices], ids=lambda case: case.name)
# torch's SparseAdam takes no gradients of dense layers: tests/test_sparse.py has an embedding for it.
OF_LAYERS = [case for case in TORCHS if case.name != "SparseAdam" and not case.matrices]
each_of_layers = pytest.mark.parametrize("case", OF_LAYERS, ids=lambda case: case.name)


@each_of_torchs
def test_arguments_and_defaults_are_torchs(case):
    theirs = inspect.signature(getattr(torch.optim, case.name).__init__).parameters
    ours = inspect.signature(case.optimizer.__init__).parameters
    for name, parameter in theirs.items():
        if name not in TORCH_ONLY | {"self", "params"}:
            assert ours[name].default == parameter.default, name
    positional = [n for n, p in theirs.items() if p.kind is p.POSITIONAL_OR_KEYWORD and n not in TORCH_ONLY]
    same = [n for n, p in ours.items() if p.kind is p.POSITIONAL_OR_KEYWORD and n not in TORCH_ONLY]
    assert same == [name for name in positional if name in same]
    assert set(positional) <= set(ours)


@each_of_layers
def test_a_torch_model_is_updated_through_its_own_memory(case):
    torch.manual_seed(0)
    models = [torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1)) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    x, y = torch.randn(16, 3), torch.randn(16, 1)
    optimizers = [case.optimizer(models[0].parameters()), getattr(torch.optim, case.name)(models[1].parameters())]
    for _ in range(5):
        for model, optimizer in zip(models, optimizers, strict=True):

            def closure(model=model, optimizer=optimizer):
                optimizer.zero_grad()
                loss = ((model(x) - y) ** 2).mean()
                loss.backward()
                return loss

            assert optimizer.step(closure) > 0
    for p, q in zip(models[0].parameters(), models[1].parameters(), strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=2e-5, atol=1e-6)


@each_of_vectors
def test_torchs_state_dict_loads(case):
    rng = np.random.default_rng(0)
    p = rng.standard_normal(5)
    grads = rng.standard_normal((6, 5))
    config = {"momentum": 0.9} if case.name in ("SGD", "RMSprop") else {}
    q = torch.nn.Parameter(torch.from_numpy(p.copy()))
    oracle = getattr(torch.optim, case.name)([q], **config)
    for g in grads[:3]:
        q.grad = torch_gradient(case.name, g)
        oracle.step()
    p[:] = q.detach().numpy()
    optimizer = case.optimizer([p])
    optimizer.load_state_dict(oracle.state_dict())
    for g in grads[3:]:
        q.grad = torch_gradient(case.name, g)
        oracle.step()
        optimizer.step([g])
    # torch keeps the numbers of NAdam and ASGD in float32.
    np.testing.assert_allclose(p, q.detach().numpy(), rtol=1e-6 if case.name in ("NAdam", "ASGD") else 1e-12)


def test_a_replaced_tensor_is_noticed():
    p = torch.nn.Parameter(torch.zeros(3))
    optimizer = optim.SGD([p], lr=1)
    p.grad = torch.ones(3)
    optimizer.step()
    assert p.tolist() == [-1, -1, -1]
    p.data = torch.zeros(3)
    with pytest.raises(ValueError, match=r"SGD: the data of params\[0\] has been replaced"):
        optimizer.step()


def test_torch_tensors_as_gradients():
    w = np.zeros(3, np.float32)
    optim.SGD([w], lr=1).step([torch.ones(3)])
    assert w.tolist() == [-1, -1, -1]
    with pytest.raises(TypeError, match=r"cannot see the memory of torch.Tensor"):
        optim.SGD([w]).step([torch.ones(3, dtype=torch.bfloat16)])
