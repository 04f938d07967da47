"""Batch normalisation has the bits of the reference: every shape, layout, dtype, fused form and instruction set."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from batchnorm_cases import DTYPES, FUSED, LAYOUTS, tensors, vectors
from ravine import config
from ravine.nn import functional
from ravine.reference.batchnorm import batch_norm, batch_norm_backward

THREADS = [("pool", 1), ("pool", 2), ("pool", 8), ("openmp", 3)]
THREADS = [(threading, threads) for threading, threads in THREADS if threading in config.available_threadings()]
EVERYWHERE = list(itertools.product(config.available_isas(), THREADS))

# (N, C, ...): every scheme, tile and remainder of plan/normalization.cpp, and what comes between.
SHAPES = [
    (2, 1),  # the fewest values a channel can have
    (3, 5),
    (64, 32),
    (70, 1024),
    (130, 1030),  # more columns than are taken as one row, more rows than a segment
    (5, 3, 4),
    (2, 3, 127),  # the longest columns
    (2, 3, 128),  # the shortest planes
    (33, 40, 7, 7),  # tiles of sixteen channels, the last one cut
    (300, 2, 2, 2),  # many rows, folded, the last one cut
    (67, 20, 5, 5),
    (9, 35, 14, 14),  # planes that end within sixteen elements
    (8, 17, 33, 27),
    (100, 2, 13, 13),  # several segments of planes
    (1, 3, 200, 201),  # planes in pieces, and one sample
    (2, 2, 3, 4, 60),
    (1, 6, 1, 1, 700),
]


def compare_bits(shape, dtype, layout, activation, added, training):
    x, z, dy = tensors(shape, dtype, layout, 3)
    if not added:
        z = None
    weight, bias, mean, var = vectors(shape[1], dtype, 4)
    mean -= 1
    expected_mean, expected_var = mean.copy(), var.copy()
    fused = {"layout": layout, "activation": activation, "residual": z}
    expected, saved = batch_norm(x, weight, bias, expected_mean, expected_var, training=training, **fused)
    gradients = batch_norm_backward(dy, x, saved, **fused)
    for isa, (threading, threads) in EVERYWHERE:
        config.set_isa(isa)
        config.set_threading(threading)
        config.set_num_threads(threads)
        where = f"{isa}, {threading} {threads}"
        our_mean, our_var = mean.copy(), var.copy()
        y, context = functional.batch_norm_forward(x, our_mean, our_var, weight, bias, training, **fused)
        np.testing.assert_array_equal(y, expected, err_msg=where)
        np.testing.assert_array_equal(our_mean, expected_mean, err_msg=where)
        np.testing.assert_array_equal(our_var, expected_var, err_msg=where)
        ours = functional.batch_norm_backward(dy, context)
        for name, value in gradients._asdict().items():
            np.testing.assert_array_equal(getattr(ours, name), value, err_msg=f"{where}: {name}")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_bits_equal_the_reference(shape, dtype, layout):
    for activation, added in FUSED:
        compare_bits(shape, dtype, layout, activation, added, training=True)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 3), (33, 40, 7, 7), (8, 17, 33, 27), (1, 3, 200, 201)], ids=str)
def test_bits_in_evaluation(shape, dtype, layout):
    for activation, added in FUSED:
        compare_bits(shape, dtype, layout, activation, added, training=False)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("added", [False, True])
@pytest.mark.parametrize("shape", [(20, 3), (2, 3, 130)])  # columns and planes
def test_the_gradient_of_relu_is_0_at_0(shape, added, layout):
    x = np.resize([-1.0, 0.0, 2.0, -0.0, 3.0], shape)
    residual = np.zeros_like(x) if added else None
    channels = shape[-1 if layout == "NHWC" else 1]
    for isa in config.available_isas():
        config.set_isa(isa)
        y, context = functional.batch_norm_forward(
            x, np.zeros(channels), np.ones(channels), activation="relu", residual=residual, layout=layout
        )
        gradients = functional.batch_norm_backward(np.ones_like(x), context)
        np.testing.assert_array_equal(gradients.x != 0, x > 0)
        if added:
            np.testing.assert_array_equal(gradients.residual, x > 0)
        assert not np.signbit(y[x == 0]).any()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_streamed_results(layout):
    """Larger than the last cache is taken to be, in two planes of threads, and not aligned."""
    shape = (65, 129, 33, 33) if layout == "NCHW" else (65, 33, 33, 129)
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    buffer = np.empty(x.size + 3, np.float32)
    for skip in (0, 1, 3):
        y, context = functional.batch_norm_forward(
            x, training=True, layout=layout, activation="relu", out=buffer[skip : skip + x.size].reshape(shape)
        )
        expected, saved = batch_norm(x, layout=layout, activation="relu")
        np.testing.assert_array_equal(y, expected)
        dx = functional.batch_norm_backward(expected, context, out=y).x
        np.testing.assert_array_equal(dx, batch_norm_backward(expected, x, saved, layout=layout, activation="relu").x)
