"""What is done to gradients in the pass of the rule gives the bits that passes of its own give."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from ravine import optim

ROOT = Path(__file__).parents[1]
COMPILER = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
SCALE = 12


def bits(optimizer, params):
    return [p.copy() for p in params], optimizer.state_dict()["state"]


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("length", [1, 7, 1500])
@pytest.mark.parametrize("rows", [[2, 5, 6], [6, 2, 2, 5], [0], []])
@pytest.mark.parametrize("name", ["SGD", "Adagrad", "SparseAdam"])
def test_sparse_gradients_too(name, rows, length, zero):
    rng = np.random.default_rng(0)
    p = rng.standard_normal((8, length)).astype(np.float32)
    q = p.copy()
    values = rng.standard_normal((len(rows), length)).astype(np.float32)
    optimizer, other = (getattr(optim, name)([array], lr=0.1) for array in (p, q))
    # Sums of repeated rows come first, the factor then: so does an optimizer that is given the sum.
    summed = optim.SparseGrad(np.array(rows, np.int64), values, p.shape).coalesce()
    other.step([optim.SparseGrad(summed.rows, np.float32(1 / SCALE) * summed.values, p.shape)])
    gradient = optim.SparseGrad(np.array(rows, np.int64), values.copy(), p.shape)
    optimizer.step([gradient], grad_scale=SCALE, zero_grad=zero)
    np.testing.assert_array_equal(p, q)
    np.testing.assert_equal(optimizer.state_dict()["state"], other.state_dict()["state"])
    np.testing.assert_array_equal(gradient.values, 0 * values if zero else values)


def test_a_gradient_in_another_order_is_set_to_zero_where_it_is():
    p = np.ones((3, 4))
    gradient = np.ones((4, 3)).T
    strided = np.ones((3, 8))
    optimizer = optim.SGD([p, np.ones((3, 4))], lr=0.5)
    optimizer.step([gradient, strided[:, ::2]], zero_grad=True)
    assert (p == 0.5).all()
    assert (gradient == 0).all()
    assert strided.sum() == 12  # what lies between is not the gradient's


@pytest.mark.parametrize(
    ("gradients", "message"),
    [
        (
            lambda g: [np.broadcast_to(g[:1], (3,)), g],
            r"params\[0\]: its gradient is read-only and cannot be set",
        ),
        (lambda g: [g, g], r"the gradients of params\[0\] and params\[1\] share memory, and cannot be set to zero"),
        (lambda g: [g[::-1], g], r"share memory, and cannot be set to zero"),
    ],
)
def test_what_cannot_be_set_to_zero_is_refused(gradients, message):
    p, q = np.ones(3), np.ones(3)
    optimizer = optim.Adam([p, q])
    given = gradients(np.ones(3))
    before = bits(optimizer, [p, q])
    with pytest.raises(ValueError, match=message):
        optimizer.step(given, zero_grad=True)
    np.testing.assert_equal(bits(optimizer, [p, q]), before)
    assert all((g == 1).all() for g in given)


def test_gradients_that_overlap_in_part_are_not_set_to_zero():
    buffer = np.ones(5)
    optimizer = optim.Adam([np.ones(3), np.ones(3)])
    with pytest.raises(ValueError, match="share memory, and cannot be set to zero"):
        optimizer.step([buffer[:3], buffer[2:]], zero_grad=True)
    assert (buffer == 1).all()


@pytest.mark.parametrize("shared", ["parameter", "state"])
def test_a_gradient_that_lies_in_what_is_written_is_not_set_to_zero(shared):
    p = np.arange(6.0).reshape(2, 3)
    optimizer = optim.Adam([p])
    optimizer.step([np.ones((2, 3))])
    array = p if shared == "parameter" else optimizer.state[p]["exp_avg"]
    before = bits(optimizer, [p])
    overlapping = array.reshape(3, 2).T  # another order of memory, so that the step would read a copy
    with pytest.raises(ValueError, match="its gradient shares memory with"):
        optimizer.step([overlapping], zero_grad=True)
    np.testing.assert_equal(bits(optimizer, [p]), before)


@pytest.mark.skipif(not COMPILER or not (ROOT / "cpp").is_dir(), reason="needs a C++ compiler and the sources")
def test_a_storage_type_is_a_stage(tmp_path):
    """States in bfloat16 need nothing of a rule: a program of the tests, which decodes and encodes around Adam's."""
    program = tmp_path / "bfloat16_states"
    flags = ["-std=c++17", "-O1", "-fopenmp-simd", "-ffp-contract=off", f"-I{ROOT / 'cpp'}"]
    source = Path(__file__).parent / "cpp/bfloat16_states.cpp"
    subprocess.run([COMPILER, *flags, source, "-o", program], check=True)
    assert subprocess.run([program], capture_output=True, text=True, check=True).stdout == "0 different of 5003\n"
