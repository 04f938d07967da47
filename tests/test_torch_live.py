"""Beside torch, where it is installed: signatures, models, states."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from cases import CASES
from closure_cases import CLOSURE_CASES
from oracles import torch_gradient
from ravine import optim

torch = pytest.importorskip("torch")

# What torch has for choosing among its implementations.
TORCH_ONLY = {"foreach", "fused", "capturable", "differentiable"}

TORCHS = [case for case in CASES if case.oracle == "torch"]
each_of_all_torchs = pytest.mark.parametrize("case", [*TORCHS, *CLOSURE_CASES], ids=lambda case: case.name)
each_of_torchs = pytest.mark.parametrize("case", TORCHS, ids=lambda case: case.name)
each_of_vectors = pytest.mark.parametrize("case", [c for c in TORCHS if not c.matrices], ids=lambda case: case.name)
# torch's SparseAdam takes no gradients of dense layers: tests/test_sparse_torch.py has an embedding for it.
OF_LAYERS = [case for case in TORCHS if case.name != "SparseAdam" and not case.matrices]
each_of_layers = pytest.mark.parametrize("case", OF_LAYERS, ids=lambda case: case.name)


@each_of_all_torchs
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


class TestLBFGS:
    """Beside torch's, on random problems."""

    def problem(self, seed):
        """Return a start and a loss that is not convex: how well a small network fits noise."""
        rng = np.random.default_rng(seed)
        inputs, targets = rng.standard_normal((30, 4)), rng.standard_normal(30)

        def loss(x):
            first, second = x[:24].reshape(4, 6), x[24:]
            hidden = np.tanh(inputs @ first)
            error = hidden @ second - targets
            back = np.outer(error, second) * (1 - hidden * hidden)
            gradient = np.concatenate([(inputs.T @ back).ravel(), hidden.T @ error]) / 30
            return float(error @ error) / 60, gradient

        return rng.standard_normal(30), loss

    @pytest.mark.parametrize("search", [None, "strong_wolfe"])
    @pytest.mark.parametrize("seed", range(10))
    def test_each_step_goes_where_torchs_goes(self, seed, search):
        """Each from torch's place and state, so that rounding does not add up; then some steps in a row."""
        start, loss = self.problem(seed)
        q = torch.nn.Parameter(torch.from_numpy(start.copy()))
        rng = np.random.default_rng(seed)
        config = {
            "lr": float(rng.uniform(0.1, 1.5)),
            "max_iter": int(rng.integers(2, 9)),
            "history_size": int(rng.integers(1, 8)),
            "line_search_fn": search,
        }
        oracle = torch.optim.LBFGS([q], **config)
        x, straight = start.copy(), start.copy()
        optimizer, on_its_own = optim.LBFGS([x], **config), optim.LBFGS([straight], **config)

        def closure():
            value, gradient = loss(q.detach().numpy())
            q.grad = torch.from_numpy(gradient)
            return torch.tensor(value, dtype=torch.float64)

        for step in range(8):
            x[...] = q.detach().numpy()
            optimizer.load_state_dict(oracle.state_dict())
            oracle.step(closure)
            optimizer.step(lambda: (loss(x)[0], [loss(x)[1]]))
            on_its_own.step(lambda: (loss(straight)[0], [loss(straight)[1]]))
            theirs = oracle.state[q]
            np.testing.assert_allclose(x, q.detach().numpy(), rtol=1e-9, atol=1e-9)
            if step < 2:
                np.testing.assert_allclose(straight, q.detach().numpy(), rtol=1e-8, atol=1e-8)
            for count in ("func_evals", "n_iter"):
                assert optimizer.state[x][count] == theirs[count]
            assert len(optimizer.state[x]["ro"]) == len(theirs["ro"])
            for name in ("t", "H_diag", "prev_loss"):
                assert optimizer.state[x][name] == pytest.approx(float(theirs[name]), rel=1e-6)

    def test_torchs_closures_and_parameters(self):
        """A torch model's parameters are moved through their own memory, by a closure as torch has it."""
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1)).double()
        inputs, targets = torch.randn(20, 3).double(), torch.randn(20, 1).double()
        optimizer = optim.LBFGS(model.parameters(), line_search_fn="strong_wolfe")

        def closure():
            optimizer.zero_grad()
            loss = ((model(inputs) - targets) ** 2).mean()
            loss.backward()
            return loss

        first = optimizer.step(closure)
        assert isinstance(first, torch.Tensor)
        assert closure() < 0.7 * first
