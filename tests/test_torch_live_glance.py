"""Torch tensors seen through the table of C functions that their type offers: the same steps, in nanoseconds."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from ravine import _sparse, optim

torch = pytest.importorskip("torch")

SHAPES = [(7,), (3, 5), (1,), (2, 3, 4), (0, 2)]


@pytest.fixture
def no_conversion(monkeypatch):
    def refuse(value, label):
        raise AssertionError(f"{label} was converted by Python")

    monkeypatch.setattr(_sparse, "as_gradient", refuse)


def parameters(dtype=torch.float32, shapes=SHAPES):
    generator = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator, dtype=dtype)) for shape in shapes]


def gradients(parameters, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]


def refused(parameter, gradient, error, message):
    """A step with this gradient, and with a good one for a parameter before it, raises and changes nothing."""
    first = torch.nn.Parameter(torch.ones(3))
    first.grad = torch.ones(3)
    optimizer = optim.Adam([first, parameter])
    before = parameter.detach().clone()
    with pytest.raises(error, match=message):
        optimizer.step([first.grad, gradient])
    assert torch.equal(first, torch.ones(3))
    assert torch.equal(parameter, before)
    assert not optimizer.state


@pytest.mark.usefixtures("no_conversion")
@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shapes", [SHAPES, [*SHAPES, (50, 200)]], ids=["small", "so large that the lock is released"])
def test_the_bits_of_numpy_arrays_without_converting_anything(shapes, dtype, kept):
    theirs = parameters(dtype, shapes)
    ours = [p.detach().numpy().copy() for p in theirs]
    on_tensors, on_arrays = optim.Adam(theirs), optim.Adam(ours)
    for p in theirs:
        p.grad = torch.zeros_like(p)
    for seed in range(3):
        new = gradients(theirs, seed)
        for p, grad in zip(theirs, new, strict=True):
            if kept:
                p.grad.copy_(grad)
            else:
                p.grad = grad.clone()
        on_tensors.step()
        on_arrays.step([grad.numpy() for grad in new])
    for p, array in zip(theirs, ours, strict=True):
        np.testing.assert_array_equal(p.detach().numpy(), array)


@pytest.mark.usefixtures("no_conversion")
@pytest.mark.parametrize("by_step", [True, False])
def test_gradients_are_set_to_zero(by_step):
    theirs = parameters()
    expected = [p.detach().clone() for p in theirs]
    for p, grad in zip(theirs, gradients(theirs), strict=True):
        p.grad = grad
    expected = [value if i == 1 else value - p.grad for i, (value, p) in enumerate(zip(expected, theirs, strict=True))]
    optimizer = optim.SGD({f"p{i}": p for i, p in enumerate(theirs)}, lr=1.0)
    optimizer.freeze("p1")
    optimizer.step(zero_grad=by_step)
    if not by_step:
        optimizer.zero_grad()
    for p, value in zip(theirs, expected, strict=True):
        assert torch.equal(p.detach(), value)
        assert torch.equal(p.grad, torch.zeros_like(p))


def test_gradients_that_share_memory_are_not_set_to_zero():
    whole = torch.ones(6)
    pair = parameters(shapes=[(4,), (4,)])
    before = [p.detach().clone() for p in pair]
    pair[0].grad, pair[1].grad = whole[:4], whole[2:]
    with pytest.raises(ValueError, match=r"gradients of params\[0\] and params\[1\] share memory"):
        optim.SGD(pair, lr=1.0).step(zero_grad=True)
    assert torch.equal(whole, torch.ones(6))
    assert all(torch.equal(p, old) for p, old in zip(pair, before, strict=True))


@pytest.mark.usefixtures("no_conversion")
def test_tensors_as_gradients_of_arrays():
    arrays = [p.detach().numpy().copy() for p in parameters()]
    expected = [array.copy() for array in arrays]
    new = gradients(parameters())
    optim.SGD(arrays, lr=0.5).step(new)
    optim.SGD(expected, lr=0.5).step([grad.numpy() for grad in new])
    for array, other in zip(arrays, expected, strict=True):
        np.testing.assert_array_equal(array, other)


@pytest.mark.usefixtures("no_conversion")
def test_a_gradient_in_fortran_order_fits_a_parameter_in_it():
    p = torch.nn.Parameter(torch.zeros(3, 4).t())
    p.grad = torch.arange(12.0).reshape(3, 4).t()
    optim.SGD([p], lr=1.0).step()
    assert torch.equal(p.detach(), -torch.arange(12.0).reshape(3, 4).t())


def test_a_gradient_in_another_order_takes_a_second_look():
    first, p, last = parameters(shapes=[(2,), (4, 3), (5,)])
    before = [each.detach().clone() for each in (first, p, last)]
    first.grad, last.grad = torch.ones(2), torch.ones(5)
    p.grad = torch.arange(12.0).reshape(3, 4).t()
    optim.SGD([first, p, last], lr=1.0).step()
    for each, old in zip((first, p, last), before, strict=True):
        assert torch.equal(each.detach(), old - each.grad)


def test_a_gradient_whose_negation_is_postponed():
    for n in (1, 3):
        grad = torch.complex(torch.zeros(n), torch.arange(1.0, n + 1)).conj().imag
        assert grad.is_neg()
        p = torch.nn.Parameter(torch.zeros(n))
        p.grad = grad
        optim.SGD([p], lr=1.0).step()
        assert torch.equal(p.detach(), torch.arange(1.0, n + 1))


@pytest.mark.parametrize("n", [1, 3])
def test_a_copy_of_a_gradient_is_not_set_to_zero_in_its_place(n):
    p = torch.nn.Parameter(torch.zeros(n))
    p.grad = torch.complex(torch.zeros(n), torch.arange(1.0, n + 1)).conj().imag
    before = p.grad.clone()
    optimizer = optim.SGD([p], lr=1.0)
    accumulator = optim.Accumulator(optim.SGD([torch.nn.Parameter(torch.zeros(n))], lr=1.0), every=2)
    for step in (lambda: optimizer.step(zero_grad=True), lambda: accumulator.step([p.grad], zero_grad=True)):
        with pytest.raises(ValueError, match="torch postpones, and cannot be set to zero"):
            step()
    assert torch.equal(p.grad, before)
    assert torch.equal(p.detach(), torch.zeros(n))
    assert accumulator.pending == 0


@pytest.mark.parametrize("n", [1, 3])
def test_a_parameter_whose_negation_is_postponed_by_new_data(n):
    p = torch.nn.Parameter(torch.ones(n))
    optimizer = optim.SGD([p], lr=1.0)
    p.data = torch._neg_view(p.data)
    with pytest.raises(TypeError, match="negative"):
        optimizer.step([torch.ones(n)])
    assert torch.equal(p.detach(), -torch.ones(n))


def test_memory_that_is_freed_in_the_middle_of_a_step(monkeypatch):
    """Muon runs Python there, where a signal may be handled."""
    from ravine.optim import muon

    p = torch.nn.Parameter(torch.zeros(300, 300))
    p.grad = torch.ones(300, 300)
    optimizer = optim.Muon([p], lr=0.1)
    make_orthogonal = muon._make_orthogonal

    def free(*arguments):
        p.grad.data = torch.zeros(1)
        with pytest.raises(RuntimeError, match="not resizable"):
            gradient.resize_(1 << 20)
        return make_orthogonal(*arguments)

    gradient = p.grad.detach()
    monkeypatch.setattr(muon, "_make_orthogonal", free)
    optimizer.step()
    expected = np.zeros((300, 300), np.float32)
    monkeypatch.setattr(muon, "_make_orthogonal", make_orthogonal)
    optim.Muon([expected], lr=0.1).step([np.ones((300, 300), np.float32)])
    np.testing.assert_array_equal(p.detach().numpy(), expected)


def test_what_is_to_end_the_program_is_not_forgotten():
    class Interrupted(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            raise KeyboardInterrupt

    p = torch.nn.Parameter(torch.zeros(3))
    optimizer, gradient = optim.SGD([p], lr=1.0), torch.ones(3)
    with pytest.raises(KeyboardInterrupt), Interrupted():
        optimizer.step([gradient])
    assert torch.equal(p.detach(), torch.zeros(3))


class Mine(torch.Tensor):
    """A subclass that shows its negative wherever Python looks."""

    def numpy(self):
        return -torch.Tensor.numpy(self.as_subclass(torch.Tensor))


@pytest.mark.parametrize("name", ["Mine", "Parameter"])
def test_a_subclass_is_asked_itself(name):
    Mine.__module__, Mine.__qualname__ = "torch.nn.parameter", name
    p = torch.nn.Parameter(torch.zeros(3))
    optim.SGD([p], lr=1.0).step([torch.ones(3).as_subclass(Mine)])
    assert torch.equal(p.detach(), torch.ones(3))


@pytest.mark.parametrize(
    ("gradient", "error", "message"),
    [
        (
            torch.ones(4),
            ValueError,
            r"params\[1\]: its gradient is float32, shape \(4,\); expected",
        ),
        (torch.ones(3, 1), ValueError, r"shape \(3, 1\)"),
        (torch.ones(3, dtype=torch.float64), ValueError, "float64"),
        (torch.ones(3, dtype=torch.bfloat16), TypeError, "params"),
        (torch.ones(3, dtype=torch.int32), ValueError, "int32"),
        (torch.ones(3, device="meta"), TypeError, "params"),
        (torch.ones(3, dtype=torch.complex64), ValueError, "complex64"),
    ],
    ids=["size", "dimensions", "float64", "bfloat16", "integers", "meta", "complex"],
)
def test_what_does_not_fit_is_refused(gradient, error, message):
    refused(torch.nn.Parameter(torch.zeros(3)), gradient, error, message)


def test_a_gradient_over_a_parameter_is_refused():
    p = torch.nn.Parameter(torch.zeros(3))
    refused(p, p.data, ValueError, "shares memory with")
    whole = torch.zeros(8)
    refused(torch.nn.Parameter(whole[:4]), whole[2:6], ValueError, "shares memory with")


@pytest.mark.parametrize("new", [torch.zeros(3), torch.zeros(2), torch.zeros(3, dtype=torch.float64)])
def test_replaced_data_are_refused(new):
    p = torch.nn.Parameter(torch.ones(3))
    optimizer = optim.SGD([p], lr=1.0)
    p.data = new
    with pytest.raises(ValueError, match="has been replaced since the optimizer was made"):
        optimizer.step([torch.ones(3)])


class Resizing:
    """A gradient that gives another one a new memory, shape or dtype while it is looked at."""

    def __init__(self, other, new):
        self.other, self.new = other, new

    @property
    def __array_interface__(self):
        self.other.data = self.new
        return np.ones(2, np.float32).__array_interface__


@pytest.mark.parametrize("resizing_is_first", [True, False])
def test_a_gradient_that_changes_while_others_are_looked_at(resizing_is_first):
    for new, fits in ((torch.full((3,), 5.0), True), (torch.ones(100), False)):
        grad = torch.ones(3)
        p, q = torch.nn.Parameter(torch.zeros(3)), torch.nn.Parameter(torch.zeros(2))
        order = [(q, Resizing(grad, new)), (p, grad)][:: 1 if resizing_is_first else -1]
        optimizer = optim.SGD([each for each, _ in order], lr=1.0)
        if fits:
            optimizer.step([each for _, each in order])
            assert torch.equal(p.detach(), torch.full((3,), -5.0))
        else:
            with pytest.raises(ValueError, match=r"shape \(100,\)"):
                optimizer.step([each for _, each in order])
            assert torch.equal(q.detach(), torch.zeros(2))


def capsule(table, name=b"dlpack_exchange_api"):
    new = ctypes.pythonapi.PyCapsule_New
    new.restype, new.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
    return new(ctypes.addressof(table), name, None)


_FUTURE = (ctypes.c_uint64 * 16)(2)  # a table of version 2.0, whose functions are nowhere
_WITHOUT = (ctypes.c_uint64 * 16)(1)  # of version 1.0, with functions left out, which the standard allows


@pytest.mark.parametrize("offered", [None, 3, capsule(_FUTURE), capsule(_WITHOUT), capsule(_FUTURE, b"something else")])
def test_a_table_that_cannot_be_used_is_left_alone(offered):
    class Other:
        __dlpack_c_exchange_api__ = offered

        def __init__(self, array):
            self.__array_interface__ = array.__array_interface__
            self.array = array

    p = np.zeros(3, np.float32)
    optim.SGD([p], lr=1.0).step([Other(np.ones(3, np.float32))])
    np.testing.assert_array_equal(p, -1)
