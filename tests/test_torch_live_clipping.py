"""Clipping beside torch's, where torch is installed."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from ravine import nn
from ravine.nn import utils

torch = pytest.importorskip("torch")

NAMES = ["clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm"]
SHAPES = [(3,), (70, 130), (), (20_001,), (2, 3, 1400)]
each_p = pytest.mark.parametrize("p", [1.0, 2.0, np.inf, "inf", 0.5, 3.0])


def models():
    """Two with the same gradients in float64, and the parameters of one without any."""
    rng = np.random.default_rng(0)
    arrays = [np.asarray(rng.standard_normal(shape)) for shape in SHAPES]
    both = [[torch.nn.Parameter(torch.zeros(a.shape, dtype=torch.float64)) for a in arrays] for _ in range(2)]
    for params in both:
        for parameter, a in zip(params, arrays, strict=True):
            parameter.grad = torch.from_numpy(a.copy())
        params[2].grad = None
    return both


def assert_equal_gradients(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        if b.grad is None:
            assert a.grad is None
        else:
            np.testing.assert_allclose(np.asarray(a.grad), b.grad.numpy(), rtol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_arguments_and_defaults_are_torchs(name):
    theirs = inspect.signature(getattr(torch.nn.utils, name)).parameters.values()
    ours = inspect.signature(getattr(utils, name)).parameters.values()
    assert [(a.name, a.default, a.kind) for a in ours] == [(b.name, b.default, b.kind) for b in theirs]


@pytest.mark.parametrize("most", [0.7, 1e6])
@each_p
def test_the_norm_is_clipped(p, most):
    ours, theirs = models()
    norm = torch.nn.utils.clip_grad_norm_(theirs, most, p).item()
    np.testing.assert_allclose(utils.get_total_norm([q.grad for q in ours if q.grad is not None], p), norm, rtol=1e-12)
    np.testing.assert_allclose(utils.clip_grad_norm_(iter(ours), most, p), norm, rtol=1e-12)
    assert_equal_gradients(ours, theirs)
    assert all((q == 0).all() for q in ours)


@pytest.mark.parametrize("as_tensor", [False, True])
def test_by_a_norm_that_is_known(as_tensor):
    ours, theirs = models()
    norm = torch.nn.utils.get_total_norm([q.grad for q in theirs if q.grad is not None])
    torch.nn.utils.clip_grads_with_norm_(theirs, 0.3, norm)
    assert utils.clip_grads_with_norm_(ours, 0.3, norm if as_tensor else norm.item()) is None
    assert_equal_gradients(ours, theirs)


def test_values_are_cut_off():
    ours, theirs = models()
    for q in (ours[0], theirs[0]):
        q.grad.copy_(torch.tensor([np.nan, np.inf, -np.inf]))
    torch.nn.utils.clip_grad_value_(theirs, 0.4)
    assert utils.clip_grad_value_(ours, 0.4) is None
    assert_equal_gradients(ours, theirs)


def test_one_parameter():
    ours, theirs = models()
    norm = torch.nn.utils.clip_grad_norm_(theirs[1], 0.3)
    np.testing.assert_allclose(utils.clip_grad_norm_(ours[1], 0.3), norm.item(), rtol=1e-12)
    np.testing.assert_allclose(utils.get_total_norm(theirs[1].grad), 0.3, rtol=1e-6)
    assert_equal_gradients(ours[:2], theirs[:2])


def test_parameters_of_our_own():
    theirs = models()[1]
    ours = []
    for q in theirs:
        if q.grad is not None and q.grad.ndim:
            ours.append(nn.Parameter(np.zeros(q.shape)))
            ours[-1].grad = q.grad.numpy().copy()
    norm = torch.nn.utils.clip_grad_norm_(theirs, 0.3, 1)
    np.testing.assert_allclose(utils.clip_grad_norm_(ours, 0.3, 1), norm.item(), rtol=1e-12)
    assert_equal_gradients(ours, [q for q in theirs if q.grad is not None])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@each_p
def test_what_is_not_finite(p, value):
    ours, theirs = models()
    for params in (ours, theirs):
        params[1].grad[5, 5] = value
    for functions, params in ((utils, ours), (torch.nn.utils, theirs)):
        before = [None if q.grad is None else q.grad.clone() for q in params]
        with pytest.raises(RuntimeError):
            functions.clip_grad_norm_(params, 1.0, p, error_if_nonfinite=True)
        for q, grad in zip(params, before, strict=True):
            assert q.grad is grad or torch.equal(q.grad.nan_to_num(), grad.nan_to_num())
    norm = torch.nn.utils.clip_grad_norm_(theirs, 1.0, p).item()
    np.testing.assert_equal(utils.clip_grad_norm_(ours, 1.0, p), norm)
    assert_equal_gradients(ours, theirs)


def test_a_model_in_float32():
    """torch adds in float32: our norm is the nearer one."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(30, 400), torch.nn.Tanh(), torch.nn.Linear(400, 1))
    (model(torch.randn(16, 30)) ** 2).sum().backward()
    grads = [q.grad.clone() for q in model.parameters()]
    norm = utils.clip_grad_norm_(model.parameters(), 0.1)
    np.testing.assert_allclose(norm, torch.cat([g.double().ravel() for g in grads]).norm().item(), rtol=1e-12)
    for q, g in zip(model.parameters(), grads, strict=True):
        torch.testing.assert_close(q.grad, g * (0.1 / norm), rtol=1e-5, atol=0)


def test_channels_last_and_other_strides():
    ours, theirs = (torch.nn.Parameter(torch.zeros(4, 3, 5, 6, dtype=torch.float64)) for _ in range(2))
    grad = torch.randn(4, 3, 5, 6, dtype=torch.float64)
    ours.grad = grad.clone(memory_format=torch.channels_last)
    theirs.grad = grad.clone()
    np.testing.assert_allclose(
        utils.clip_grad_norm_(ours, 0.5), torch.nn.utils.clip_grad_norm_(theirs, 0.5).item(), rtol=1e-12
    )
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-12, atol=0)


def test_sparse_gradients():
    """torch finds no norm of them; its dense gradients are what they stand for."""
    tables = [torch.nn.Embedding(20, 3, sparse=sparse).double() for sparse in (True, False)]
    tables[1].load_state_dict(tables[0].state_dict())
    for table in tables:
        (table(torch.tensor([3, 7, 3, 1])) ** 3).sum().backward()
    assert not tables[0].weight.grad.is_coalesced()
    norm = torch.nn.utils.clip_grad_norm_(tables[1].parameters(), 0.5)
    np.testing.assert_allclose(utils.clip_grad_norm_(tables[0].parameters(), 0.5), norm.item(), rtol=1e-12)
    torch.testing.assert_close(tables[0].weight.grad.to_dense(), tables[1].weight.grad, rtol=1e-12, atol=1e-15)


class TestErrors:
    def test_values_of_a_sparse_tensor_that_are_no_array(self):
        """What is changed would be a copy."""
        p = torch.nn.Parameter(torch.zeros(4, 2, dtype=torch.float64))
        values = torch.ones(1, 1, dtype=torch.float64).expand(2, 2)
        p.grad = torch.sparse_coo_tensor([[1, 3]], values, (4, 2), check_invariants=True)
        with pytest.raises(ValueError, match=r"of parameters\[0\]: the values of the sparse tensor do not lie"):
            utils.clip_grad_norm_([p], 0.1)
        p.grad = p.grad.coalesce()
        assert utils.clip_grad_norm_([p], 0.1) == 2

    def test_another_dtype(self):
        p = torch.nn.Parameter(torch.zeros(3, dtype=torch.bfloat16))
        p.grad = torch.ones(3, dtype=torch.bfloat16)
        with pytest.raises(TypeError, match=r"clip_grad_norm_: the gradient of parameters\[0\]: cannot see the memory"):
            utils.clip_grad_norm_([p], 0.1)
        p = torch.nn.Parameter(torch.zeros(3, dtype=torch.float16))
        p.grad = torch.ones(3, dtype=torch.float16)
        with pytest.raises(TypeError, match=r"the gradient of parameters\[0\] is float16, shape \(3,\); expected"):
            utils.clip_grad_norm_([p], 0.1)

    def test_the_lazy_negative_bit(self):
        """Its memory holds the values with another sign: it may be read, and not changed."""
        tensor = torch.complex(torch.zeros(2).double(), torch.tensor([3.0, 4.0]).double()).conj().imag
        assert tensor.is_neg()
        assert utils.get_total_norm(tensor) == 5
        p = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
        p.grad = tensor
        with pytest.raises(TypeError, match=r"parameters\[0\]: cannot see the memory of torch.Tensor: .*negative"):
            utils.clip_grad_norm_([p], 0.1)
        assert p.grad.tolist() == [-3, -4]

    def test_tensors_are_no_gradients_but_carry_them(self):
        with pytest.raises(ValueError, match="each is None"):
            utils.clip_grad_norm_([torch.ones(3)], 0.1)
