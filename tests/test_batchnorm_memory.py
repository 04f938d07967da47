"""Where batch normalisation reads and writes: views of the other layout, in place, into outputs that are given."""

from __future__ import annotations

import numpy as np
import pytest
from batchnorm_cases import FUSED, LAYOUTS, tensors
from ravine import nn
from ravine.nn import functional


def test_other_layouts_views():
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


def test_axes_of_length_one_may_have_any_stride():
    x = np.lib.stride_tricks.as_strided(np.arange(12.0), (4, 3, 1), (24, 8, 1000))
    y = functional.batch_norm(x, training=True)
    np.testing.assert_array_equal(y[:, :, 0], functional.batch_norm(np.arange(12.0).reshape(4, 3), training=True))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("activation", "added"), FUSED)
def test_exactly_in_place(layout, activation, added):
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


def test_outputs_are_written_and_returned():
    x = np.random.default_rng(0).standard_normal((6, 4, 3))
    bn = nn.BatchNorm1d(4, dtype=np.float64)
    out, dx, dz = (np.full_like(x, 7) for _ in range(3))
    assert bn(x, x.copy(), out=out) is out
    assert [a is b for a, b in zip(bn.backward(x, out=dx, residual_out=dz), (dx, dz), strict=True)] == [True, True]
    np.testing.assert_array_equal(dz, x)
