"""A SparseGrad whose arrays somebody changes in place after it was made."""

from __future__ import annotations

import numpy as np
import pytest
from ravine import optim
from ravine.optim import SparseGrad


def retyped(rows, values):
    values.dtype = np.int8


def narrowed(rows, values):
    values.dtype = np.float32


def rows_retyped(rows, values):
    rows.dtype = np.int32


def values_resized(rows, values):
    values.resize(1, refcheck=False)


def rows_resized(rows, values):
    rows.resize(1, refcheck=False)


def out_of_range(rows, values):
    rows[0] = 1 << 40


CHANGES = [retyped, narrowed, rows_retyped, values_resized, rows_resized, out_of_range]
USES = {
    "coalesce": lambda g: g.coalesce(),
    "to_dense": lambda g: g.to_dense(),
    "add": lambda g: g + g,
    "add to another": lambda g: SparseGrad(np.array([0, 1]), np.ones((2, 4)), (5, 4)) + g,
    "LBFGS": lambda g: optim.LBFGS([np.ones((5, 4))]).step(lambda: (1.0, [g])),
    "step": lambda g: optim.SGD([np.ones((5, 4))], lr=0.1).step([g]),
}


@pytest.mark.filterwarnings("ignore:Setting the (shape|strides|dtype)")
@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("repeated", [False, True])
def test_it_is_refused(change, use, repeated):
    rows, values = np.array([3, 1, 3] if repeated else [0, 1, 3]), np.ones((3, 4))
    grad = SparseGrad(rows, values, (5, 4))
    change(grad.rows, grad.values)
    with pytest.raises((TypeError, ValueError), match=r"rows|values|gradient|cannot add one of"):
        USES[use](grad)
