"""Batch normalisation is right: the values of torch, gradients by finite differences, and accuracy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from batchnorm_cases import DTYPES, FUSED, LAYOUTS, tensors, vectors
from ravine.nn import functional

GOLDEN = dict(np.load(Path(__file__).parent / "golden" / "layers" / "batchnorm.npz"))
CONFIGURATIONS = json.loads(str(GOLDEN["configurations"]))
GOLDEN_SHAPES = [shape for shape, *rest in CONFIGURATIONS if rest == CONFIGURATIONS[0][1:]]


def golden(kind, i):
    prefix = f"{kind}/{i}/"
    return {key.removeprefix(prefix): value.copy() for key, value in GOLDEN.items() if key.startswith(prefix)}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("i", range(len(CONFIGURATIONS)), ids=lambda i: "-".join(map(str, CONFIGURATIONS[i])))
def test_golden_values_of_torch(i, layout):
    """tests/golden/layers/generate.py made them with torch 2.13.0 in float64."""
    shape, training, affine, activation, added = CONFIGURATIONS[i]
    given = golden("given", GOLDEN_SHAPES.index(shape))
    # With two values a channel nearly all of the gradient cancels, so it is measured by what it is the difference of.
    deviation = np.moveaxis(given["x"], 1, 0).reshape(shape[1], -1).std(1).min()
    terms = np.abs(given["dy"]).max() * max(1, np.abs(given["weight"]).max()) / np.sqrt(deviation**2 + 1e-3)
    if layout == "NHWC":
        given = {k: np.ascontiguousarray(np.moveaxis(a, 1, -1)) if a.ndim > 1 else a for k, a in given.items()}
    mean, var = given["running_mean"], given["running_var"]
    weights = (given["weight"], given["bias"]) if affine else (None, None)
    fused = {"layout": layout, "activation": activation, "residual": given["residual"] if added else None}
    y, context = functional.batch_norm_forward(given["x"], mean, var, *weights, training, 0.3, 1e-3, **fused)
    gradients = functional.batch_norm_backward(given["dy"], context)
    ours = {"y": y, "mean": mean, "var": var} | {f"d{name}": value for name, value in gradients._asdict().items()}
    expected = golden("torch", i)
    assert {"y", "mean", "var", "dx"} <= expected.keys()
    for name, value in expected.items():
        mine = np.moveaxis(ours[name], -1, 1) if layout == "NHWC" and value.ndim > 1 else ours[name]
        size = terms if name == "dx" else np.abs(value).max()
        np.testing.assert_allclose(mine, value, rtol=1e-12, atol=1e-12 * size, err_msg=name)


class TestAccuracy:
    @pytest.mark.parametrize("shape", [(500, 8), (32, 6, 7, 7), (32, 4, 28, 28)], ids=str)
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_large_mean_and_small_deviation(self, shape, layout):
        """Mean 1e4, deviation 1e-2: float32 itself resolves 1e-3 here, so x is what is left after its rounding."""
        rng = np.random.default_rng(0)
        x = (1e4 + 1e-2 * rng.standard_normal(shape)).astype(np.float32)
        dy = rng.standard_normal(shape).astype(np.float32)
        if layout == "NHWC":
            x, dy = (np.ascontiguousarray(np.moveaxis(a, 1, -1)) for a in (x, dy))
        y, context = functional.batch_norm_forward(x, training=True, eps=0.0, layout=layout)
        axes = tuple(axis for axis in range(x.ndim) if axis != (x.ndim - 1 if layout == "NHWC" else 1))
        wide = x.astype(np.float64)
        centered = wide - wide.mean(axes, keepdims=True)
        inv = 1 / np.sqrt((centered**2).mean(axes, keepdims=True))
        np.testing.assert_allclose(y, centered * inv, rtol=0, atol=2e-6)
        dx = functional.batch_norm_backward(dy, context).x
        exact = dy - dy.mean(axes, keepdims=True, dtype=np.float64)
        exact = (exact - centered * inv**2 * (dy * centered).mean(axes, keepdims=True)) * inv
        np.testing.assert_allclose(dx, exact, rtol=0, atol=2e-6 * np.abs(exact).max())

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("shape", [(7, 3), (11, 3, 5), (5, 3, 17, 19)], ids=str)
    def test_constant_input_gives_the_bias(self, shape, dtype):
        bias = np.array([0.1, -2.3, 1e-5], dtype)
        for value in (0.1, -1e4 / 3, 1e30):
            y, context = functional.batch_norm_forward(
                np.full(shape, value, dtype), weight=np.array([3, 1, 0.1], dtype), bias=bias, training=True
            )
            assert (y == bias.reshape(3, *(1,) * (len(shape) - 2))).all()
            dx = functional.batch_norm_backward(np.ones(shape, dtype), context).x
            assert (dx == 0).all()

    @pytest.mark.parametrize("shape", [(10, 3), (4, 3, 6, 6), (3, 3, 20, 20)], ids=str)
    def test_huge_values_stay_finite(self, shape):
        x = np.random.default_rng(0).standard_normal(shape)
        x[0] = 1
        huge = (1e30 * x).astype(np.float32)
        y, context = functional.batch_norm_forward(huge, training=True)
        np.testing.assert_allclose(y, functional.batch_norm(x, training=True, eps=0), rtol=0, atol=2e-6)
        dy = np.random.default_rng(1).standard_normal(shape)
        _, exact = functional.batch_norm_forward(x, training=True, eps=0)
        expected = functional.batch_norm_backward(dy, exact).x
        dx = functional.batch_norm_backward(dy.astype(np.float32), context).x
        np.testing.assert_allclose(dx * 1e30, expected, rtol=0, atol=1e-5)

    def test_a_far_first_value_costs_no_accuracy(self):
        """Sums are taken about a value of the channel: one that lies far off is not chosen."""
        x = np.random.default_rng(0).standard_normal((1000, 2, 30))
        x[0, :, 0] = 1e8
        y = functional.batch_norm(x, training=True, eps=0)
        exact = x.astype(np.longdouble)
        exact = exact - exact.mean((0, 2), keepdims=True)
        exact /= np.sqrt((exact**2).mean((0, 2), keepdims=True))
        np.testing.assert_allclose(y, exact.astype(float), rtol=1e-11, atol=1e-13)

    def test_not_a_number_stays_in_its_channel(self):
        x = np.random.default_rng(0).standard_normal((4, 3, 20, 20))
        x[1, 1, 3, 3] = np.nan
        y = functional.batch_norm(x, training=True, activation="relu")
        assert np.isnan(y[:, 1]).all()
        assert np.isfinite(y[:, [0, 2]]).all()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("activation", "added"), FUSED)
@pytest.mark.parametrize("training", [True, False])
def test_gradients_are_those_of_finite_differences(layout, activation, added, training):
    x, z, dy = tensors((3, 2, 4), np.float64, layout, 3)
    if not added:
        z = None
    weight, bias, mean, var = vectors(2, np.float64, 4)

    def loss():
        y = functional.batch_norm(
            x,
            mean.copy(),
            var.copy(),
            weight,
            bias,
            training,
            layout=layout,
            activation=activation,
            residual=z,
        )
        return (y * dy).sum()

    _, context = functional.batch_norm_forward(
        x, mean.copy(), var.copy(), weight, bias, training, layout=layout, activation=activation, residual=z
    )
    gradients = functional.batch_norm_backward(dy, context)
    for array, gradient in zip((x, weight, bias, z), gradients, strict=True):
        if array is None:
            continue
        numeric = np.zeros_like(array)
        for i in np.ndindex(array.shape):
            before, step = array[i], 1e-6 * max(1.0, abs(array[i]))
            array[i] = before + step
            above = loss()
            array[i] = before - step
            numeric[i] = (above - loss()) / (2 * step)
            array[i] = before
        np.testing.assert_allclose(gradient, numeric, rtol=1e-5, atol=1e-6 * np.abs(dy).max())
