"""The memory of torch tensors, where torch is installed: pinned as long as it is needed, and read as torch means it."""

from __future__ import annotations

import numpy as np
import pytest
from ravine import nn, optim
from ravine.nn import functional

torch = pytest.importorskip("torch")


def negative():
    """A tensor whose memory holds the values with another sign."""
    tensor = torch.complex(torch.zeros(3, dtype=torch.float64), torch.tensor([1.0, 2.0, 3.0]).double()).conj().imag
    assert tensor.is_neg()
    return tensor


def test_a_gradient_with_the_lazy_negative_bit():
    p = np.zeros(3)
    optim.SGD([p], lr=1).step([negative()])
    np.testing.assert_array_equal(p, [1.0, 2.0, 3.0])


def test_a_parameter_with_the_lazy_negative_bit():
    with pytest.raises(TypeError, match="negative"):
        optim.SGD([negative()], lr=1)


def test_inputs_with_the_lazy_negative_bit():
    with pytest.raises(TypeError, match="negative"):
        functional.batch_norm(negative().reshape(3, 1), training=True)


def test_a_gradient_that_requires_a_gradient():
    p = np.zeros(3)
    optim.SGD([p], lr=1).step([torch.ones(3, dtype=torch.float64, requires_grad=True)])
    np.testing.assert_array_equal(p, -1)


@pytest.mark.parametrize(
    "change",
    [
        lambda p: setattr(p, "data", p.data[:2]),
        lambda p: setattr(p, "data", p.data.view(2, 2)),
        lambda p: setattr(p, "data", p.data.view(torch.int64)),
        lambda p: setattr(p, "data", p.data.view(torch.float64).as_strided((2,), (2,))),
    ],
    ids=["narrowed", "reshaped", "retyped", "strided"],
)
@pytest.mark.parametrize("stepped", [False, True])
def test_data_replaced_at_the_same_address(change, stepped):
    p = torch.nn.Parameter(torch.ones(4, dtype=torch.float64))
    memory = p.data
    optimizer = optim.Adam([p])
    if stepped:
        p.grad = torch.ones(4, dtype=torch.float64)
        optimizer.step()
    before = memory.clone()
    p.grad = None
    try:
        change(p)
    except RuntimeError:
        pytest.skip("torch does not allow that")
    with pytest.raises(ValueError, match="has been replaced"):
        optimizer.step([np.ones(4)])
    assert torch.equal(memory, before)


@pytest.mark.parametrize("what", ["parameter", "input"])
def test_memory_that_is_needed_cannot_be_freed(what):
    tensor = torch.ones(40_000, dtype=torch.float64).reshape(-1, 4)
    if what == "parameter":
        holder = optim.SGD([tensor], lr=1)
    else:
        holder = nn.BatchNorm1d(4, dtype=np.float64)
        holder(tensor)
    with pytest.raises(RuntimeError, match="not resizable"):
        tensor.resize_(1 << 22)
    del holder
