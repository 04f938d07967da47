"""A closure for LBFGS, and what a step changes."""

from __future__ import annotations

import pickle

import pytest
from closure_cases import LOSSES, rosenbrock

START = LOSSES["Rosenbrock 10"][1]
SEARCHES = [None, "strong_wolfe"]
each_search = pytest.mark.parametrize("search", SEARCHES)


def closure_of(x, loss=rosenbrock):
    """Return a closure for a plain array."""
    return lambda: (loss(x)[0], [loss(x)[1]])


def everything(optimizer, *arrays):
    """Return all that a failed step must leave alone, as bytes."""
    return pickle.dumps([optimizer.state_dict(), *arrays])
