"""Batch normalisation: bits equal to the reference, accuracy, gradients, and what the layers do."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from ravine import config, nn
from ravine.nn import functional
from ravine.reference.batchnorm import batch_norm, batch_norm_backward

DTYPES = [np.float32, np.float64]
THREADS = [("pool", 1), ("pool", 2), ("pool", 8), ("openmp", 3)]
THREADS = [(threading, threads) for threading, threads in THREADS if threading in config.available_threadings()]
EVERYWHERE = list(itertools.product(config.available_isas(), THREADS))

# (N, C, ...): every scheme, tile and remainder of plan/batch_norm.cpp, and what comes between.
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
LAYOUTS = ["NCHW", "NHWC"]
FUSED = [(None, False), ("relu", False), (None, True), ("relu", True)]


def tensors(shape, dtype, layout, count, seed=0):
    """Return arrays of a shape given as (N, C, ...) in the layout, with channels of very different sizes."""
    rng = np.random.default_rng(seed)
    channels = shape[1]
    scale = 10.0 ** rng.uniform(-2, 2, (channels, *(1,) * (len(shape) - 2)))
    shift = rng.standard_normal(scale.shape)
    found = [((rng.standard_normal(shape) + shift) * scale).astype(dtype) for _ in range(count)]
    return [np.ascontiguousarray(np.moveaxis(a, 1, -1)) if layout == "NHWC" else a for a in found]


def vectors(channels, dtype, count, seed=1):
    rng = np.random.default_rng(seed)
    return [(rng.random(channels) + 0.5).astype(dtype) for _ in range(count)]


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


class TestMemory:
    def test_other_layouts_views(self):
        """A view of the other layout's memory is taken as it lies, and the result lies like it."""
        x = np.random.default_rng(0).standard_normal((4, 6, 5, 7), np.float32)
        for layout, view in (
            ("NCHW", np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)),
            ("NHWC", x.transpose(0, 2, 3, 1)),
        ):
            y, context = functional.batch_norm_forward(view, training=True, layout=layout)
            assert y.strides == view.strides
            dx = functional.batch_norm_backward(view, context).x
            assert dx.strides == view.strides
            axes = (0, 2, 3) if layout == "NCHW" else (0, 1, 2)
            np.testing.assert_allclose(
                y, (view - view.mean(axes, keepdims=True)) / view.std(axes, keepdims=True), atol=1e-4
            )

    def test_axes_of_length_one_may_have_any_stride(self):
        x = np.lib.stride_tricks.as_strided(np.arange(12.0), (4, 3, 1), (24, 8, 1000))
        y = functional.batch_norm(x, training=True)
        np.testing.assert_array_equal(y[:, :, 0], functional.batch_norm(np.arange(12.0).reshape(4, 3), training=True))

    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize(("activation", "added"), FUSED)
    def test_exactly_in_place(self, layout, activation, added):
        x, z, dy = tensors((5, 20, 6, 7), np.float32, layout, 3)
        fused = {"layout": layout, "activation": activation, "residual": z if added else None, "training": True}
        expected, context = functional.batch_norm_forward(x, **fused)
        gradients = functional.batch_norm_backward(dy, context)
        ours = x.copy()
        assert functional.batch_norm(ours, **fused, out=ours) is ours
        np.testing.assert_array_equal(ours, expected)
        if added:
            ours = z.copy()
            np.testing.assert_array_equal(functional.batch_norm(x, **(fused | {"residual": ours}), out=ours), expected)
        for target in (dy.copy(), x):
            g = target if target is not x else dy
            again = functional.batch_norm_backward(g, context, out=target)
            assert again.x is target
            np.testing.assert_array_equal(target, gradients.x)
        if added:
            _, context = functional.batch_norm_forward(tensors((5, 20, 6, 7), np.float32, layout, 1)[0], **fused)
            g = dy.copy()
            again = functional.batch_norm_backward(g, context, residual_out=g)
            assert again.residual is g
            np.testing.assert_array_equal(again.x, gradients.x)
            np.testing.assert_array_equal(g, gradients.residual)

    def test_outputs_are_written_and_returned(self):
        x = np.random.default_rng(0).standard_normal((6, 4, 3))
        bn = nn.BatchNorm1d(4, dtype=np.float64)
        out, dx, dz = (np.full_like(x, 7) for _ in range(3))
        assert bn(x, x.copy(), out=out) is out
        assert [a is b for a, b in zip(bn.backward(x, out=dx, residual_out=dz), (dx, dz), strict=True)] == [True, True]
        np.testing.assert_array_equal(dz, x)


class TestLayer:
    def test_running_statistics(self):
        x = np.random.default_rng(0).standard_normal((10, 3, 8)) + 5
        mean, var = x.mean((0, 2)), x.var((0, 2), ddof=1)
        bn = nn.BatchNorm1d(3, momentum=0.3, dtype=np.float64)
        bn(x)
        np.testing.assert_allclose(bn.running_mean, 0.3 * mean, rtol=1e-14)
        np.testing.assert_allclose(bn.running_var, 0.7 + 0.3 * var, rtol=1e-14)
        assert bn.num_batches_tracked == 1

    def test_momentum_none_is_the_plain_average(self):
        rng = np.random.default_rng(0)
        batches = [rng.standard_normal((10, 3)) for _ in range(5)]
        bn = nn.BatchNorm1d(3, momentum=None, dtype=np.float64)
        for x in batches:
            bn(x)
        np.testing.assert_allclose(bn.running_mean, np.mean([x.mean(0) for x in batches], axis=0), rtol=1e-13)
        np.testing.assert_allclose(bn.running_var, np.mean([x.var(0, ddof=1) for x in batches], axis=0), rtol=1e-13)

    def test_evaluation_uses_and_keeps_the_running_statistics(self):
        x = np.random.default_rng(0).standard_normal((10, 3)).astype(np.float32)
        bn = nn.BatchNorm1d(3)
        bn(x)
        state = bn.state_dict()
        y = bn.eval()(x[:1])
        np.testing.assert_allclose(y, (x[:1] - bn.running_mean) / np.sqrt(bn.running_var + 1e-5), rtol=1e-5)
        for name, value in bn.state_dict().items():
            np.testing.assert_array_equal(value, state[name])
        dx = bn.backward(np.ones_like(y))
        np.testing.assert_allclose(dx[0], 1 / np.sqrt(bn.running_var + 1e-5), rtol=1e-6)

    def test_without_running_statistics_the_batch_counts_in_evaluation_too(self):
        x = np.random.default_rng(0).standard_normal((10, 3)).astype(np.float32)
        bn = nn.BatchNorm1d(3, track_running_stats=False)
        y = bn(x)
        np.testing.assert_array_equal(bn.eval()(x), y)
        assert bn.running_mean is None
        assert list(bn.state_dict()) == ["weight", "bias"]

    def test_gradients_accumulate(self):
        x = np.random.default_rng(0).standard_normal((10, 3)).astype(np.float32)
        bn = nn.BatchNorm1d(3)
        bn(x)
        bn.backward(x)
        once = bn.weight.grad.copy(), bn.bias.grad.copy()
        bn.backward(x)
        np.testing.assert_array_equal(bn.weight.grad, 2 * once[0])
        np.testing.assert_array_equal(bn.bias.grad, 2 * once[1])
        bn.zero_grad()
        assert not bn.weight.grad.any()
        bn.zero_grad(set_to_none=True)
        bn.backward(x)
        np.testing.assert_array_equal(bn.weight.grad, once[0])

    def test_without_weights(self):
        x = np.random.default_rng(0).standard_normal((10, 3)).astype(np.float32)
        plain, affine = nn.BatchNorm1d(3, affine=False), nn.BatchNorm1d(3)
        np.testing.assert_array_equal(plain(x), affine(x))
        np.testing.assert_array_equal(plain.backward(x), affine.backward(x))
        assert list(plain.parameters()) == []
        no_bias = nn.BatchNorm1d(3, bias=False)
        np.testing.assert_array_equal(no_bias(x), affine(x))
        np.testing.assert_array_equal(no_bias.backward(x), affine.backward(x))
        assert [name for name, _ in no_bias.named_parameters()] == ["weight"]

    def test_the_forward_pass_counts_even_if_the_weights_change_before_backward(self):
        x = np.random.default_rng(0).standard_normal((10, 3)).astype(np.float32)
        bn, other = nn.BatchNorm1d(3, activation="relu"), nn.BatchNorm1d(3, activation="relu")
        bn(x)
        other(x)
        bn.weight.data[...] = 100
        bn.bias.data[...] = -100
        np.testing.assert_array_equal(bn.backward(x), other.backward(x))

    def test_saving_and_resuming(self):
        rng = np.random.default_rng(0)
        x = rng.standard_normal((4, 10, 3)).astype(np.float32)
        bn, other = nn.BatchNorm1d(3, momentum=None), nn.BatchNorm1d(3, momentum=None)
        for batch in x[:2]:
            bn(batch)
        mean = other.running_mean
        other.load_state_dict(bn.state_dict())
        assert other.running_mean is mean
        for batch in x[2:]:
            np.testing.assert_array_equal(bn(batch), other(batch))
        for name, value in bn.state_dict().items():
            np.testing.assert_array_equal(value, other.state_dict()[name])

    def test_reset(self):
        bn = nn.BatchNorm1d(3)
        fresh = bn.state_dict()
        bn(np.random.default_rng(0).standard_normal((10, 3)).astype(np.float32))
        bn.weight.data[...] += 1
        bn.bias.data[...] += 1
        bn.reset_parameters()
        for name, value in bn.state_dict().items():
            np.testing.assert_array_equal(value, fresh[name])

    def test_repr(self):
        assert (
            repr(nn.BatchNorm2d(8))
            == "BatchNorm2d(8, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)"
        )
        layer = nn.BatchNorm3d(8, dtype=np.float64, layout="NHWC", activation="relu")
        assert repr(layer).endswith("dtype='float64', layout='NHWC', activation='relu')")

    def test_an_empty_batch_in_evaluation(self):
        bn = nn.BatchNorm2d(3).eval()
        x = np.zeros((0, 3, 4, 4), np.float32)
        assert bn(x).shape == x.shape
        assert bn.backward(x).shape == x.shape


X = np.random.default_rng(0).standard_normal((4, 3, 6, 6)).astype(np.float32)


def read_only(array):
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def called(residual=None):
    bn = nn.BatchNorm2d(3)
    bn(X, residual)
    return bn


def in_place_by_one(bn):
    buffer = np.zeros(X.size + 1, np.float32)
    bn(buffer[1:].reshape(X.shape), out=buffer[:-1].reshape(X.shape))


def out_over_the_weights():
    buffer = np.ones(X.size, np.float32)
    functional.batch_norm(X, weight=buffer[:3], training=True, out=buffer.reshape(X.shape))


BAD_ARGUMENTS = [
    (lambda: nn.BatchNorm2d(0), ValueError, r"num_features=0; expected a whole number, 1 or more"),
    (lambda: nn.BatchNorm2d(2.5), ValueError, r"num_features=2.5; expected a whole number"),
    (lambda: nn.BatchNorm2d("8"), TypeError, r"num_features='8' is a str"),
    (lambda: nn.BatchNorm2d(3, eps=-1), ValueError, r"eps=-1 is negative"),
    (lambda: nn.BatchNorm2d(3, eps=np.nan), ValueError, r"eps=nan is not finite"),
    (lambda: nn.BatchNorm2d(3, momentum=1.5), ValueError, r"momentum=1.5 is out of range"),
    (lambda: nn.BatchNorm2d(3, dtype=np.int32), TypeError, r"dtype=.*int32.*; expected np.float32 or np.float64"),
    (lambda: nn.BatchNorm2d(3, layout="CHW"), ValueError, r"layout='CHW'; expected 'NCHW' or 'NHWC'"),
    (lambda: nn.BatchNorm2d(3, activation="gelu"), ValueError, r"activation='gelu'; expected None or 'relu'"),
    (lambda: nn.BatchNorm2d(3, affine=2), TypeError, r"affine=2; expected True or False"),
    (lambda: nn.BatchNorm2d(3).train("yes"), TypeError, r"mode='yes'; expected True or False"),
    (
        lambda: nn.BatchNorm2d(3)(X[0]),
        ValueError,
        r"BatchNorm2d: x has 3 dimension\(s\), shape \(3, 6, 6\); expected 4",
    ),
    (lambda: nn.BatchNorm1d(3)(X), ValueError, r"x has 4 dimension\(s\).*expected 2 or 3"),
    (lambda: nn.BatchNorm2d(6)(X), ValueError, r"x has shape \(4, 3, 6, 6\), 3 channels in layout NCHW; expected 6"),
    (lambda: nn.BatchNorm2d(3, layout="NHWC")(X), ValueError, r"6 channels in layout NHWC; expected 3"),
    (lambda: nn.BatchNorm2d(3)(X.astype(float)), TypeError, r"x is float64.*; expected float32, as weight"),
    (lambda: nn.BatchNorm2d(3)(X.astype(">f4")), TypeError, r"x is >f4.*; expected native float32 or float64"),
    (lambda: nn.BatchNorm2d(3)(X.astype(int)), TypeError, r"x is int64.*; expected native float32 or float64"),
    (lambda: nn.BatchNorm1d(3)([[1.0, 2, 3], [4, 5, 6]]), TypeError, r"x is a list; expected an array"),
    (
        lambda: nn.BatchNorm1d(3)(X[:1, :, 0, 0].copy()),
        ValueError,
        r"1 value\(s\) a channel; training needs at least 2",
    ),
    (lambda: nn.BatchNorm2d(3)(X[:0]), ValueError, r"0 value\(s\) a channel"),
    (
        lambda: nn.BatchNorm2d(3)(X[..., ::2]),
        ValueError,
        r"x \(.*\) is contiguous neither channels-first nor channels-last. Pass np.ascontiguousarray\(x\)",
    ),
    (lambda: nn.BatchNorm2d(3)(np.asfortranarray(X)), ValueError, r"contiguous neither channels-first nor"),
    (
        lambda: nn.BatchNorm2d(3)(X, X[:2]),
        ValueError,
        r"residual is float32, shape \(2, 3, 6, 6\); expected float32, shape \(4, 3, 6, 6\), as x",
    ),
    (lambda: nn.BatchNorm2d(3)(X, X.astype(float)), ValueError, r"residual is float64"),
    (lambda: nn.BatchNorm2d(3)(X, out=X[:2]), ValueError, r"out is float32, shape \(2, 3, 6, 6\); expected"),
    (lambda: nn.BatchNorm2d(3)(X, out=X.tolist()), TypeError, r"out is a list; expected a NumPy array to write to"),
    (
        lambda: nn.BatchNorm2d(3)(X, out=np.asfortranarray(X)),
        ValueError,
        r"out lies in memory with strides .*np.empty_like\(x\)",
    ),
    (lambda: nn.BatchNorm2d(3)(X, out=read_only(X)), ValueError, r"out is read-only"),
    (
        lambda: in_place_by_one(nn.BatchNorm2d(3)),
        ValueError,
        r"out shares memory with x but does not begin where it does",
    ),
    (out_over_the_weights, ValueError, r"out shares memory with weight, which is still needed"),
    (lambda: nn.BatchNorm2d(3).backward(X), RuntimeError, r"BatchNorm2d.backward: there was no forward pass"),
    (lambda: called().backward(X[:2]), ValueError, r"dy is float32, shape \(2, 3, 6, 6\); expected"),
    (lambda: called().backward(X, residual_out=X.copy()), ValueError, r"residual_out is given, but"),
    (lambda: called(X.copy()).backward(np.asfortranarray(X)), ValueError, r"dy lies in memory with strides"),
    (
        lambda: functional.batch_norm(X, np.zeros(3, np.float32)),
        ValueError,
        r"only one of running_mean and running_var",
    ),
    (
        lambda: functional.batch_norm(X, *2 * [np.zeros(4, np.float32)]),
        ValueError,
        r"running_mean is .*each of the 3 channels of x",
    ),
    (
        lambda: functional.batch_norm(X, weight=np.ones((3, 1), np.float32)),
        ValueError,
        r"weight is .*each of the 3 channels",
    ),
    (lambda: functional.batch_norm(X, weight=np.ones(6, np.float32)[::2]), ValueError, r"weight is not contiguous"),
    (lambda: functional.batch_norm(X[:, 0, 0, 0]), ValueError, r"expected at least 2 dimensions"),
    (lambda: functional.batch_norm(X, momentum=2), ValueError, r"momentum=2 is out of range"),
    (
        lambda: functional.batch_norm(X, *2 * [read_only(np.ones(3, np.float32))], training=True),
        ValueError,
        r"running_mean is read-only",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD_ARGUMENTS, ids=[row[2][:50] for row in BAD_ARGUMENTS])
def test_bad_arguments(call, error, message):
    before = X.copy()
    with pytest.raises(error, match=message):
        call()
    np.testing.assert_array_equal(X, before)


def test_nothing_changes_when_a_call_is_refused():
    bn = nn.BatchNorm2d(3)
    state = bn.state_dict()
    with pytest.raises(ValueError, match="residual"):
        bn(X, X[:2])
    with pytest.raises(RuntimeError, match="no forward pass"):
        bn.backward(X)
    bn(X, X)
    gradients = bn.weight.grad.copy()
    with pytest.raises(ValueError, match="shares memory"):
        bn.backward(X.copy(), out=(out := np.zeros_like(X)), residual_out=out)
    np.testing.assert_array_equal(bn.weight.grad, gradients)
    assert state.keys() == bn.state_dict().keys()


def test_an_overwritten_input_is_noticed():
    x = X.copy()
    bn = nn.BatchNorm2d(3)
    bn(x, out=x)
    with pytest.raises(ValueError, match=r"x has been overwritten by the forward pass \(out=x\)"):
        bn.backward(X)
    bn(x)
    x += 1
    with pytest.raises(ValueError, match="x has been overwritten since the forward pass"):
        bn.backward(X)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("bias"), "'bias' is missing"),
        (lambda state: state.update(scale=1), "'scale' is unknown"),
        (
            lambda state: state.update(weight=np.ones(4, np.float32)),
            r"'weight' is float32, shape \(4,\); expected float32, shape \(3,\)",
        ),
        (lambda state: state.update(running_var=np.ones(3)), "'running_var' is float64"),
        (lambda state: state.update(num_batches_tracked=1.5), "'num_batches_tracked' is 1.5; expected a whole number"),
        (lambda state: state.update(num_batches_tracked=-1), "'num_batches_tracked' is -1; expected a whole number"),
    ],
)
def test_states_that_do_not_fit(change, message):
    bn = called()
    before = bn.state_dict()
    state = nn.BatchNorm2d(3).state_dict()
    change(state)
    with pytest.raises(ValueError, match=message):
        bn.load_state_dict(state)
    for name, value in before.items():
        np.testing.assert_array_equal(bn.state_dict()[name], value)
