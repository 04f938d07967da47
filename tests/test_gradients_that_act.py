"""Gradients that run code while they are read: whatever it does is seen before the first byte changes."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from ravine import nn, optim
from ravine.optim import SparseGrad


class Acting:
    """A gradient that does something when it is converted to an array."""

    def __init__(self, array, act):
        self.array, self.act = array, act

    @property
    def __array_interface__(self):
        self.act()
        return self.array.__array_interface__


class ActingRows(SparseGrad):
    """A sparse gradient that does something when its rows are read."""

    act = staticmethod(lambda: None)

    @property
    def rows(self):
        self.act()
        return super().rows


def grow(array):
    """Return a function that takes an array's memory away, or where it is another's, makes something else of it."""

    def act():
        if array.base is None:
            array.resize(array.size + 4096, refcheck=False)
        else:
            array.dtype = np.int64

    return act


@pytest.mark.filterwarnings("ignore:Setting the dtype")
@pytest.mark.parametrize("which", ["parameter", "another parameter", "state", "another's gradient"])
@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_what_a_gradient_resizes_is_seen(which, kind):
    params = [np.ones((3, 2)) for _ in range(3)]
    optimizer = optim.Adagrad(params)
    optimizer.step([np.ones((3, 2))] * 3)
    states = [optimizer.state[p]["sum"] for p in params]
    other = np.ones((3, 2))
    target = {"parameter": params[1], "another parameter": params[0], "state": states[0], "another's gradient": other}
    before = [a.copy() for a in (*params, *states) if a is not target[which]]
    if kind == "dense":
        acting = Acting(np.ones((3, 2)), grow(target[which]))
    else:
        acting = ActingRows(np.array([0, 2]), np.ones((2, 2)), (3, 2))
        acting.act = grow(target[which])
    with pytest.raises(ValueError, match=r"resized|its gradient is"):
        optimizer.step([other, acting, np.ones((3, 2))])
    after = [a for a in (*params, *states) if a is not target[which]]
    for a, b in zip(after, before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert all(optimizer.state[p]["step"] == 1 for p in params)


class Holding(np.ndarray):
    """An array that can refer to others."""


@pytest.mark.parametrize("make", [optim.SGD, optim.Muon, optim.LBFGS, optim.AdamW])
def test_an_array_that_holds_its_optimizer_is_collected(make):
    p = np.ones((3, 3)).view(Holding)
    p.optimizer = make([p])
    p.optimizer.step(lambda: (1.0, [np.ones((3, 3))])) if make is optim.LBFGS else p.optimizer.step([np.ones((3, 3))])
    alive = weakref.ref(p)
    del p
    gc.collect()
    assert alive() is None


def test_an_input_that_holds_its_layer_is_collected():
    x = np.ones((4, 3)).view(Holding)
    x.layer = nn.BatchNorm1d(3, dtype=np.float64)
    x.layer(x)
    alive = weakref.ref(x)
    del x
    gc.collect()
    assert alive() is None


class ActingNumber:
    """A hyper-parameter that does something when it is read."""

    def __init__(self, act):
        self.act = act

    def __float__(self):
        self.act()
        return 0.01


@pytest.mark.parametrize("size", [0, 1000])
@pytest.mark.parametrize("make", [optim.SGD, optim.Adam, optim.Adafactor, optim.Muon, optim.LAMB])
@pytest.mark.parametrize("stepped", [False, True])
def test_what_a_hyper_parameter_resizes_is_seen(make, size, stepped):
    p, q = np.ones((3, 2)), np.ones((3, 2))
    optimizer = make([q, p])
    grads = [np.ones((3, 2)), np.ones((3, 2))]
    if stepped:
        optimizer.step(grads)
    before = q.copy()
    optimizer.param_groups[0]["weight_decay"] = ActingNumber(lambda: p.resize((3, size), refcheck=False))
    with pytest.raises(ValueError, match="has been resized"):
        optimizer.step(grads)
    np.testing.assert_array_equal(q, before)
