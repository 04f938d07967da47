"""Arrays that somebody changes in place between two calls: seen before anything is read or written."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from ravine import optim

CHANGED = r"has been resized, retyped or moved since the optimizer was made"


def to_int8(array):
    array.dtype = np.int8


def to_int32(array):
    array.dtype = np.int32


def to_complex(array):
    array.dtype = np.complex64


def byte_swapped(array):
    array.dtype = ">f4"


def larger(array):
    array.resize(1000, refcheck=False)


def reshaped(array):
    array.shape = (4, 2)


def transposed(array):
    array.strides = (4, 8)


CHANGES = [to_int8, to_int32, to_complex, byte_swapped, larger, reshaped, transposed]
OPTIMIZERS = [optim.SGD, optim.Adam, optim.LAMB, optim.Adafactor, optim.Muon, optim.SGDScheduleFree]


def matrix():
    return np.arange(8, dtype=np.float32).reshape(2, 4).copy()


@pytest.mark.filterwarnings("ignore:Setting the (shape|strides|dtype)")
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("make", OPTIMIZERS)
@pytest.mark.parametrize("when", ["at first", "stepped", "loaded", "copied"])
def test_a_changed_parameter_is_refused(make, change, when):
    p, q = matrix(), matrix()
    optimizer = make([p, q])
    g = np.ones((2, 4), np.float32)
    if when != "at first":
        optimizer.step([g, g])
    if when == "loaded":
        optimizer.load_state_dict(optimizer.state_dict())
    if when == "copied":
        optimizer = copy.deepcopy(optimizer)
        p, q = (param.data for param in optimizer.param_groups[0]["params"])
    before, saved = q.copy(), copy.deepcopy(optimizer.state_dict())
    change(p)
    bits = p.tobytes()
    for _ in range(2):
        with pytest.raises(ValueError, match=CHANGED):
            optimizer.step([g, g])
    assert p.tobytes() == bits
    np.testing.assert_array_equal(q, before)
    np.testing.assert_equal(optimizer.state_dict()["state"], saved["state"])


@pytest.mark.filterwarnings("ignore:Setting the (shape|strides|dtype)")
@pytest.mark.parametrize("change", CHANGES)
def test_lbfgs_too(change):
    p = matrix()
    optimizer = optim.LBFGS([p])
    change(p)
    with pytest.raises(ValueError, match=CHANGED):
        optimizer.step(lambda: (1.0, [np.ones((2, 4), np.float32)]))


@pytest.mark.filterwarnings("ignore:Setting the (shape|strides|dtype)")
@pytest.mark.parametrize("change", [to_int8, to_int32, to_complex, reshaped, transposed])
@pytest.mark.parametrize("loaded", [False, True])
def test_a_changed_state_is_refused(change, loaded):
    p = matrix()
    optimizer = optim.Adam([p])
    g = np.ones((2, 4), np.float32)
    optimizer.step([g])
    if loaded:
        optimizer.load_state_dict(optimizer.state_dict())
    before = p.copy()
    change(optimizer.state[p]["exp_avg"])
    with pytest.raises(ValueError, match=r"state 'exp_avg' of params\[0\]"):
        optimizer.step([g])
    np.testing.assert_array_equal(p, before)


@pytest.mark.filterwarnings("ignore:Setting the (shape|strides|dtype)")
@pytest.mark.parametrize("make", OPTIMIZERS)
@pytest.mark.parametrize("change", [reshaped, transposed, to_int32])
@pytest.mark.parametrize("refused", [False, True])
def test_there_and_back_is_no_change(make, change, refused):
    """A step goes on as if nothing had been, whether or not one was refused in between."""
    p, q = matrix(), matrix()
    optimizer, undisturbed = make([p]), make([q])
    g = np.arange(8, dtype=np.float32).reshape(2, 4)
    for _ in range(3):
        shape, strides, dtype = p.shape, p.strides, p.dtype
        change(p)
        if refused:
            with pytest.raises(ValueError, match=CHANGED):
                optimizer.step([g])
        p.dtype = dtype
        p.shape = shape
        p.strides = strides
        optimizer.step([g])
        undisturbed.step([g])
    np.testing.assert_array_equal(p, q)
