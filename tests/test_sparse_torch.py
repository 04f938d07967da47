"""Sparse gradients arrive where torch does: its golden values, and its own tensors where it is installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ravine import nn, optim
from ravine.optim import SparseGrad
from sparse_cases import SHAPES, problem, torch_sparse, torch_training
from sparse_helpers import each_config, each_sparse

GOLDEN = Path(__file__).parent / "golden" / "sparse" / "torch.npz"


class TestTorch:
    @each_config
    def test_golden(self, case, i, hyper):
        golden = np.load(GOLDEN)
        for name, shape in SHAPES.items():
            table, rows, values = problem(shape)
            optimizer = case.optimizer([table], **hyper)
            for r, v in zip(rows, values, strict=True):
                optimizer.step([SparseGrad(r, v, shape)])
            np.testing.assert_allclose(table, golden[f"{case.name}/{i}/{name}"], rtol=1e-10, atol=1e-12)

    @pytest.mark.parametrize("coalesced", [False, True])
    @each_config
    def test_its_own_sparse_tensors(self, case, i, hyper, coalesced):
        pytest.importorskip("torch")
        for shape in SHAPES.values():
            table, rows, values = problem(shape)
            optimizer = case.optimizer([table], **hyper)
            theirs = torch_training(case.name, hyper, shape, coalesced)
            for r, v, expected in zip(rows, values, theirs, strict=True):
                optimizer.step([torch_sparse(r, v, shape, coalesced)])
                np.testing.assert_allclose(table, expected, rtol=1e-10, atol=1e-12)

    @each_sparse
    def test_an_embedding_is_trained_in_its_own_memory(self, case):
        torch = pytest.importorskip("torch")
        torch.manual_seed(0)
        models = [torch.nn.Embedding(20, 3, sparse=True).double() for _ in range(2)]
        models[1].load_state_dict(models[0].state_dict())
        optimizers = [case.optimizer(models[0].parameters()), getattr(torch.optim, case.name)(models[1].parameters())]
        for t in range(6):
            words = torch.randint(0, 20, (8,))
            for model, optimizer in zip(models, optimizers, strict=True):
                optimizer.zero_grad(set_to_none=t % 2 == 0)
                (model(words) ** 2).sum().backward()
                assert model.weight.grad.is_sparse
                optimizer.step()
        a, b = (model.weight.detach().numpy() for model in models)
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)

    def test_as_a_parameters_gradient(self):
        pytest.importorskip("torch")
        p = nn.Parameter(np.zeros((4, 2)))
        p.grad = torch_sparse(np.array([1, 1]), np.ones((2, 2)), (4, 2), False)
        assert isinstance(p.grad, SparseGrad)
        assert p.grad.rows.tolist() == [1, 1]

    @pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
    def test_with_more_sparse_dimensions_it_is_refused(self):
        torch = pytest.importorskip("torch")
        w = np.ones((4, 2))
        optimizer = optim.SGD([w])
        with pytest.raises(
            TypeError,
            match=r"^SGD: params\[0\]: its gradient: .*has 2 sparse dimensions; expected one.*to_sparse\(1\)",
        ):
            optimizer.step([torch.eye(4, 2, dtype=torch.float64).to_sparse()])
        with pytest.raises(TypeError, match=r"cannot see the memory of torch.Tensor"):
            optimizer.step([torch.eye(4, 2, dtype=torch.float64).to_sparse_csr()])
        assert (w == 1).all()
