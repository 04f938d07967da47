"""The forms in which parameters come."""

from __future__ import annotations

import array
import copy

import numpy as np
import pytest
from arrays import ones
from cases import CASES
from ravine import nn, optim


class TestFormsOfParameters:
    """The same arrays in every form give the same update, in the very arrays that were given."""

    def expected(self):
        return [-1.0, -1.0]

    @pytest.mark.parametrize(
        "form",
        [
            lambda a, b: [a, b],
            lambda a, b: (a, b),
            lambda a, b: iter([a, b]),
            lambda a, b: {"a": a, "b": b},
            lambda a, b: {"a": a, "b": b}.items(),
            lambda a, b: [("a", a), ("b", b)],
            lambda a, b: [{"params": [a]}, {"params": [b]}],
            lambda a, b: [{"params": {"a": a}}, {"params": b}],
            lambda a, b: [nn.Parameter(a), nn.Parameter(b, name="b")],
            lambda a, b: [nn.Parameter(a), b],
        ],
    )
    def test_in_place(self, form):
        a, b = np.zeros(2), np.zeros((2, 2))
        optim.SGD(form(a, b), lr=1).step(ones(2, (2, 2)))
        assert a.tolist() == [-1, -1]
        assert b.tolist() == [[-1, -1], [-1, -1]]

    def test_buffers(self):
        values, raw = array.array("f", [0, 0]), bytearray(8)
        view = memoryview(raw).cast("f")
        optim.SGD([values, view], lr=1).step(ones(2, 2, dtype=np.float32))
        assert list(values) == [-1, -1]
        assert view.tolist() == [-1, -1]

    def test_objects_with_data_and_grad(self):
        class Weight:
            def __init__(self):
                self.data, self.grad = np.zeros(2), np.ones(2)

        weight = Weight()
        optimizer = optim.SGD([weight], lr=1)
        optimizer.step()
        assert weight.data.tolist() == [-1, -1]
        optimizer.zero_grad()
        assert weight.grad.tolist() == [0, 0]
        optimizer.zero_grad(set_to_none=True)
        assert weight.grad is None
        weight.data = np.zeros(2)
        with pytest.raises(ValueError, match=r"the data of params\[0\] has been replaced"):
            optimizer.step()
        with pytest.raises(ValueError, match=r"the data of params\[0\] has been replaced"):
            optimizer.step([np.ones(2)])

    def test_memory_maps(self, tmp_path):
        path = tmp_path / "weights"
        np.zeros(4, np.float32).tofile(path)
        mapped = np.memmap(path, np.float32, "r+")
        optim.SGD([mapped], lr=1).step([np.ones(4, np.float32)])
        mapped.flush()
        assert np.fromfile(path, np.float32).tolist() == [-1] * 4
        with pytest.raises(ValueError, match=r"params\[0\] \(float32, shape \(4,\)\) is read-only"):
            optim.SGD([np.memmap(path, np.float32, "r")])

    def test_a_list_that_changes_while_it_is_read(self):
        class Growing:
            """A gradient that changes the list it is in when it is looked at."""

            def __init__(self, grads):
                self.grads, self.values = grads, np.ones(2)

            @property
            def __array_interface__(self):
                self.grads.clear()
                return self.values.__array_interface__

        a, b = np.zeros(2), np.zeros(2)
        grads = []
        grads += [Growing(grads), np.ones(2)]
        optim.SGD([a, b], lr=1).step(grads)
        assert (a.tolist(), b.tolist(), grads) == ([-1, -1], [-1, -1], [])

    def test_axes_of_length_one_and_empty_arrays(self):
        column = np.zeros((4, 1))[::2][:1]
        empty = np.zeros((0, 3))[:, ::2]
        optim.SGD([column, empty], lr=1).step([np.ones((1, 1)), column[1:].repeat(2, axis=1)])
        assert column.tolist() == [[-1]]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("order", ["C", "F"])
def test_memory_orders(case, order):
    """Parameters in either order with gradients in either order, of any strides, or read-only: the same values."""
    rng = np.random.default_rng(0)
    # Optimizers that look at matrices take no stacks of them in any order.
    shape = (3, 4) if case.matrices or case.optimizer is optim.Adafactor else (3, 4, 5)
    start, gradient = rng.standard_normal((2, *shape))
    padded = np.zeros((3, 8, *shape[2:]))
    padded[:, ::2] = gradient
    packed = np.zeros(gradient.nbytes + 1, np.uint8)[1:].view(np.float64).reshape(gradient.shape)
    packed[...] = gradient
    read_only = gradient.copy()
    read_only.flags.writeable = False
    forms = [gradient, np.asfortranarray(gradient), padded[:, ::2], gradient[::-1].copy()[::-1], packed, read_only]
    expected = start.copy()
    optimizer = case.optimizer([expected])
    for _ in forms:
        optimizer.step([gradient])
    p = np.array(start, order=order)
    optimizer = case.optimizer([p])
    for form in forms:
        optimizer.step([form])
    if order == "F" and (case.norms or case.matrices):
        np.testing.assert_allclose(p, expected, rtol=1e-13)
    else:
        np.testing.assert_array_equal(p, expected)
    assert p.flags.f_contiguous == (order == "F")
    for name, value in optimizer.state[p].items():
        assert np.isscalar(value) or value.flags.f_contiguous == (order == "F") or 1 in value.shape, name


def test_parameter_behaves_like_its_array():
    w = np.arange(6, dtype=np.float32).reshape(2, 3)
    p = nn.Parameter(w, name="w")
    assert p.data is w
    assert (p.shape, p.ndim, p.size, p.dtype, len(p)) == ((2, 3), 2, 6, np.float32, 2)
    assert np.asarray(p) is w
    np.testing.assert_array_equal(np.ones((1, 2), np.float32) @ p, np.ones((1, 2), np.float32) @ w)
    assert np.array(p, np.float64).dtype == np.float64
    assert repr(p).startswith("Parameter(array") or "name='w'" in repr(p)
    fortran = nn.Parameter(np.zeros((2, 3), order="F"))
    assert fortran.grad.flags.f_contiguous


def test_parameters_may_share_a_name():
    """Layers call their parameters "weight" and "bias"; only gradients by name need to tell them apart."""
    first, second = nn.Parameter(np.zeros(1), name="weight"), nn.Parameter(np.zeros(1), name="weight")
    optimizer = optim.SGD([first, second], lr=1)
    optimizer.step(ones(1, 1))
    assert second.data.tolist() == [-1]
    optimizer.load_state_dict(optimizer.state_dict())
    with pytest.raises(ValueError, match="grads is a dict, but two parameters are named 'weight'"):
        optimizer.step({"weight": np.ones(1)})


class OfBytes:
    """A parameter whose `data` is a view made anew each time, as a torch parameter's is."""

    def __init__(self):
        self.memory, self.grad = bytearray(16), None

    @property
    def data(self):
        return np.frombuffer(self.memory, np.float64)


def test_a_copied_optimizer_updates_the_copied_parameters():
    weight = OfBytes()
    optimizer = optim.SGD([weight], lr=1)
    optimizer.step([np.ones(2)])
    copied = copy.deepcopy(optimizer)
    copied.step([np.ones(2)])
    assert copied.param_groups[0]["params"][0].data.tolist() == [-2, -2]
    assert weight.data.tolist() == [-1, -1]
