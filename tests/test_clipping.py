"""Norms of gradients and clipping in place: nn.utils."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from ravine import config, nn, optim
from ravine.nn.utils import clip_grad_norm_, clip_grad_value_, clip_grads_with_norm_, get_total_norm
from ravine.optim import SparseGrad
from ravine.reference import clipping

SHAPES = [(3,), (70, 130), (), (0,), (20_001,), (4096,), (2, 3, 1400)]
EACH_WAY = [(isa, threads) for isa in config.available_isas() for threads in (1, 2, 5)]
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])
each_p = pytest.mark.parametrize("p", [1, 2.0, np.inf, "inf", 0.5, 3])
# Each with arguments that clip.
CLIPS = {
    "clip_grad_norm_": lambda grads: clip_grad_norm_(grads, 0.5),
    "clip_grads_with_norm_": lambda grads: clip_grads_with_norm_(grads, 0.5, 3.0),
    "clip_grad_value_": lambda grads: clip_grad_value_(grads, 0.5),
}
each_clip = pytest.mark.parametrize("name", list(CLIPS))


def gradients(dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.standard_normal(shape), dtype) for shape in SHAPES]


def sparse(rows, values, shape):
    return SparseGrad(np.array(rows), values if isinstance(values, np.ndarray) else np.array(values), shape)


def misaligned(a):
    """Return a copy that begins a byte too late."""
    memory = np.empty(a.nbytes + 1, np.uint8)
    copy = memory[1:].view(a.dtype).reshape(a.shape)
    copy[...] = a
    return copy


def copies(grads):
    return [g.copy() for g in grads]


def plain_norm(grads, p):
    return np.linalg.norm(np.concatenate([g.ravel() for g in grads]).astype(np.float64), float(p))


@each_p
@each_dtype
def test_the_same_bits_everywhere(dtype, p):
    """As the specification has them; powers beside 1 and 2 are the C library's."""
    raw = gradients(dtype)
    expected = copies(raw)
    norm = clipping.clip_grad_norm(expected, 2.5, p)
    np.testing.assert_allclose(norm, plain_norm(raw, p), rtol=1e-12)
    if p in (0.5, 3):
        expected = copies(raw)
        first = clip_grad_norm_(expected, 2.5, p)
        np.testing.assert_allclose(first, norm, rtol=1e-12)
        norm = first
    for isa, threads in EACH_WAY:
        config.set_isa(isa)
        config.set_num_threads(threads)
        grads = copies(raw)
        assert get_total_norm(grads, p) == norm
        np.testing.assert_equal(grads, raw)
        found = clip_grad_norm_(grads, 2.5, p)
        assert type(found) is float
        assert found == norm
        np.testing.assert_equal(grads, expected, err_msg=f"{isa}, {threads} threads")
        grads = copies(raw)
        assert clip_grads_with_norm_(grads, 2.5, norm) is None
        np.testing.assert_equal(grads, expected)


@pytest.mark.parametrize("value", [0.3, 1, 1e-50, np.inf])
@each_dtype
def test_values_are_cut_off_with_the_same_bits_everywhere(dtype, value):
    raw = gradients(dtype)
    raw[0][:] = [np.nan, np.inf, -np.inf]
    expected = copies(raw)
    clipping.clip_grad_value(expected, value)
    for isa, threads in EACH_WAY:
        config.set_isa(isa)
        config.set_num_threads(threads)
        grads = copies(raw)
        assert clip_grad_value_(grads, value) is None
        np.testing.assert_equal(grads, expected)


@each_p
@each_dtype
def test_a_step_finds_the_same_norm_and_clips_to_the_same_bits(dtype, p):
    raw = [g for g in gradients(dtype) if g.ndim]
    table = sparse([4, 1, 4], np.array([[1, 2], [3, 4], [5, 6]], dtype), (6, 2))
    params = [np.zeros_like(g) for g in raw] + [np.zeros((6, 2), dtype)]
    optimizer = optim.SGD(params, lr=1.0)
    optimizer.step([*raw, table], max_norm=0.7, norm_type=p)
    grads = copies(raw)
    assert clip_grad_norm_([*grads, table], 0.7, p) == optimizer.last_step.norm
    for parameter, g in zip(params, grads, strict=False):
        np.testing.assert_array_equal(parameter, -g)
    np.testing.assert_allclose(params[-1], -table.to_dense(), rtol=1e-6)


def test_a_norm_below_the_greatest_leaves_every_byte():
    raw = gradients()
    grads = copies(raw)
    for most in (plain_norm(raw, 2) + 1, np.inf):
        norm = clip_grad_norm_(grads, most)
        clip_grads_with_norm_(grads, most, norm)
        np.testing.assert_equal(grads, raw)


class TestForms:
    def test_one_array(self):
        g = np.array([3.0, 4.0])
        assert clip_grad_norm_(g, 1.0) == 5
        np.testing.assert_allclose(g, [0.6, 0.8], rtol=1e-6)

    @pytest.mark.parametrize("form", [list, tuple, iter, lambda grads: dict(zip("ab", grads, strict=True))])
    def test_many(self, form):
        grads = [np.array([3.0]), np.array([[4.0]], np.float32)]
        assert get_total_norm(form(grads)) == 5
        assert clip_grad_norm_(form(grads), 1.0) == 5
        clip_grad_value_(form(grads), 0.7)
        assert [g.item() for g in grads] == [pytest.approx(0.6), np.float32(0.7)]

    def test_parameters(self):
        params = [nn.Parameter(np.full(3, 7.0)) for _ in range(3)]
        params[0].grad[:] = [3.0, 0, 0]
        params[1].grad = None
        params[2].grad = sparse([1], [4.0], (3,))
        assert clip_grad_norm_(params, 1.0) == 5
        np.testing.assert_allclose(params[0].grad, [0.6, 0, 0], rtol=1e-6)
        np.testing.assert_allclose(params[2].grad.to_dense(), [0, 0.8, 0], rtol=1e-6)
        assert clip_grad_norm_(params[0], 0.1) == pytest.approx(0.6, rel=1e-6)
        assert all((p.data == 7).all() for p in params)

    def test_none_is_no_gradient(self):
        g = np.array([3.0, 4.0])
        assert get_total_norm([None, g, None]) == 5
        assert clip_grad_norm_([None, g], 50.0) == 5

    def test_rows_named_twice_are_summed_for_the_norm(self):
        """Their values are multiplied where they are, so that their sums are clipped."""
        grad = sparse([2, 0, 2], [1.0, 4.0, 2.0], (3,))
        assert get_total_norm(grad) == get_total_norm([grad]) == 5
        assert clip_grad_norm_([grad, np.zeros(2)[::2]], 1.0) == 5
        assert grad.rows.tolist() == [2, 0, 2]
        np.testing.assert_allclose(grad.values, [0.2, 0.8, 0.4], rtol=1e-6)
        np.testing.assert_allclose(get_total_norm(grad), 1, rtol=1e-6)

    def test_rows_in_any_order_are_cut_off(self):
        grad = sparse([2, 0], [1.0, -4.0], (3,))
        clip_grad_value_(grad, 2.0)
        np.testing.assert_array_equal(grad.to_dense(), [-2, 0, 1])

    @pytest.mark.parametrize(
        "view",
        [
            lambda a: a[:, ::2],
            lambda a: a[::-1],
            lambda a: a.T,
            np.asfortranarray,
            lambda a: a[1:, 3:].T,
            lambda a: a.reshape(4, 10, 6).transpose(1, 2, 0),
            misaligned,
        ],
    )
    @each_clip
    @each_dtype
    def test_of_any_strides(self, dtype, name, view):
        """Each element once, and none that lies between."""
        buffer = np.random.default_rng(0).standard_normal((40, 6)).astype(dtype)
        g = view(buffer)
        outside = buffer.copy()
        view(outside)[...] = 0
        other = np.ones(3, dtype)
        expected = [g.copy(order="F" if g.flags.f_contiguous else "C"), other.copy()]
        CLIPS[name](expected)
        assert not np.array_equal(g, expected[0])
        assert get_total_norm([g, other]) == clipping.total_norm([g, other])
        CLIPS[name]([g, other])
        np.testing.assert_array_equal(g, expected[0])
        np.testing.assert_array_equal(other, expected[1])
        if np.shares_memory(g, buffer):
            view(buffer)[...] = 0
            np.testing.assert_array_equal(buffer, outside)

    @each_clip
    def test_that_lie_between_one_another(self, name):
        buffer = np.random.default_rng(0).standard_normal((40, 6))
        expected = buffer.copy()
        CLIPS[name]([expected])
        CLIPS[name]([buffer[:, :2], buffer[:, 5], buffer[:, 2:5]])
        np.testing.assert_allclose(buffer, expected, rtol=1e-14)

    def test_a_subclass_is_clipped_in_its_memory(self):
        class Sub(np.ndarray):
            pass

        g = np.array([3.0, 4.0]).view(Sub)
        clip_grad_norm_([g], 1.0)
        np.testing.assert_allclose(g, [0.6, 0.8], rtol=1e-6)


class TestNotFinite:
    @pytest.mark.parametrize(
        ("value", "expected"), [(np.nan, [np.nan] * 3), (np.inf, [np.nan, 0, 0]), (-np.inf, [np.nan, 0, 0])]
    )
    def test_what_becomes_of_gradients(self, value, expected):
        for clip in (
            lambda g: clip_grad_norm_(g, 1.0),
            lambda g: clip_grads_with_norm_(g, 1.0, abs(value)),
        ):
            g = np.array([value, 1, 2])
            clip(g)
            np.testing.assert_array_equal(g, expected)

    @pytest.mark.parametrize("p", [1, 2, 3, "inf"])
    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_an_error_before_anything_changes(self, value, p):
        """In the last lane of the last gradient, behind others that are named in its place."""
        raw = gradients(np.float32)
        raw[-1].flat[-1] = value
        grads = copies(raw)
        message = rf"clip_grad_norm_: the norm is {value}: NaN or infinity in parameters\[6\]\. Leave this step out"
        with pytest.raises(RuntimeError, match=message):
            clip_grad_norm_(grads, 1.0, p, error_if_nonfinite=True)
        np.testing.assert_equal(grads, raw)
        with pytest.raises(RuntimeError, match=r"get_total_norm: the norm is .* in tensors\[6\]"):
            get_total_norm(iter(grads), p, error_if_nonfinite=True)
        named = {"w": np.ones(2), "b": np.array([value])}
        with pytest.raises(RuntimeError, match=r"in parameters\['b'\]\."):
            clip_grad_norm_(named, 1.0, p, error_if_nonfinite=True)
        assert clip_grad_norm_([np.ones(4)], 1.0, 1, error_if_nonfinite=True) == 4

    def test_positions_count_what_has_no_gradient_too(self):
        bad = nn.Parameter(np.ones(2), name="w")
        bad.grad[1] = np.inf
        with pytest.raises(RuntimeError, match=r"infinity in the gradient of parameters\[2\] \('w'\)\."):
            clip_grad_norm_([None, np.ones(2), bad], 1.0, error_if_nonfinite=True)

    def test_many_are_not_all_named(self):
        with pytest.raises(RuntimeError, match=r"infinity in tensors\[0\], .*, tensors\[4\], \.\.\.\. Leave"):
            get_total_norm([np.array([np.nan])] * 7, error_if_nonfinite=True)

    def test_a_norm_that_overflows(self):
        g = np.array([1e200, 1.0])
        with pytest.raises(RuntimeError, match="the norm is inf: it is too large for float64"):
            clip_grad_norm_(g, 1.0, error_if_nonfinite=True)
        assert g.tolist() == [1e200, 1]

    def test_infinity_as_the_greatest_norm_changes_nothing(self):
        g = np.array([np.nan, 1.0])
        assert math.isnan(clip_grad_norm_(g, np.inf))
        np.testing.assert_array_equal(g, [np.nan, 1])


def read_only():
    g = np.ones(3)
    g.flags.writeable = False
    return g


BAD_GRADIENTS = [
    (lambda: np.ones(3, np.int64), TypeError, "is int64, shape (3,); expected native float32 or float64. Convert it"),
    (lambda: np.ones(3, np.float16), TypeError, "is float16, shape (3,); expected native float32"),
    (lambda: np.ones(3, ">f8"), TypeError, "is >f8, shape (3,); expected native"),
    (lambda: np.ones(3, complex), TypeError, "is complex128"),
    (lambda: [1.0, 2.0], TypeError, "is list; expected an array or a SparseGrad, or None"),
    (lambda: 1.0, TypeError, "is float; expected an array"),
    (lambda: np.float64(1), TypeError, "is numpy.float64; expected an array"),
    (lambda: ("w", np.ones(3)), TypeError, "is tuple; expected an array"),
]
BAD_TO_WRITE = [
    *BAD_GRADIENTS,
    (read_only, ValueError, "is read-only, and is to be clipped in place. Pass a copy"),
    (lambda: np.broadcast_to(np.ones(1), (3,)), ValueError, "is read-only"),
    (lambda: sparse([1], read_only()[:1], (3,)), ValueError, "is read-only"),
]


class TestErrors:
    """Each names what is wrong, and no gradient has changed."""

    @pytest.mark.parametrize(("make", "kind", "message"), BAD_TO_WRITE)
    @each_clip
    def test_gradients(self, name, make, kind, message):
        good = np.full(3, 5.0)
        with pytest.raises(kind, match=re.escape(f"{name}: parameters[1] {message}")):
            CLIPS[name]([good, make(), np.full(2, 5.0)])
        assert (good == 5).all()

    @pytest.mark.parametrize(("make", "kind", "message"), BAD_GRADIENTS)
    def test_gradients_that_are_read(self, make, kind, message):
        with pytest.raises(kind, match=re.escape(f"get_total_norm: tensors[1] {message}")):
            get_total_norm([np.ones(3), make()])

    def test_what_may_be_read(self):
        g = np.ones(2)
        assert get_total_norm([read_only(), np.broadcast_to(np.ones(1), (5,)), g, g[::-1], g]) == math.sqrt(14)

    def test_a_parameter_is_no_gradient(self):
        with pytest.raises(TypeError, match=r"get_total_norm: tensors\[0\] is ravine\S+Parameter; expected an array"):
            get_total_norm([nn.Parameter(np.ones(3))])

    @pytest.mark.parametrize("given", [5, None, object()])
    @pytest.mark.parametrize("name", [*CLIPS, "get_total_norm"])
    def test_what_is_no_list(self, name, given):
        call = CLIPS.get(name, get_total_norm)
        with pytest.raises(TypeError, match=rf"{name}: (parameters|tensors) is \S+; expected an array, or a list"):
            call(given)

    @pytest.mark.parametrize(
        ("make", "first", "second"),
        [
            (lambda g: [g, np.ones(2), g], 0, 2),
            (lambda g: [g[:3], g[2:]], 0, 1),
            (lambda g: [g[4:], g[::-2]], 0, 1),
            (lambda g: [np.ones(2), sparse([0], g[:1], (3,)), g], 1, 2),
        ],
    )
    @each_clip
    def test_shared_memory(self, name, make, first, second):
        g = np.full(5, 5.0)
        message = rf"{name}: parameters\[{first}\] and parameters\[{second}\] share memory, and would be clipped twice"
        with pytest.raises(ValueError, match=message):
            CLIPS[name](make(g))
        assert (g == 5).all()

    @each_clip
    def test_shared_memory_with_another_between(self, name):
        g = np.full((3, 6), 5.0)
        with pytest.raises(ValueError, match=r"parameters\[0\] and parameters\[2\] share memory"):
            CLIPS[name]([g[:, :2], g[:, 2:4], g[1:, 1]])
        assert (g == 5).all()

    @each_clip
    def test_one_parameter_twice(self, name):
        p = nn.Parameter(np.ones(2), name="w")
        p.grad[:] = 5
        with pytest.raises(ValueError, match=r"the gradient of parameters\[0\] \('w'\) and the gradient of param"):
            CLIPS[name]([p, p])
        assert (p.grad == 5).all()

    @pytest.mark.parametrize("given", [[], {}, iter([]), [None, None]])
    def test_no_gradient(self, given):
        """As there is no norm; where none is to be found, there is nothing to be done."""
        what = "each is None" if given == [None, None] else "it is empty"
        with pytest.raises(
            ValueError, match=f"clip_grad_norm_: parameters has no gradient to find the norm of: {what}"
        ):
            clip_grad_norm_(given, 1.0)
        with pytest.raises(ValueError, match="get_total_norm: tensors has no gradient"):
            get_total_norm(given)
        clip_grads_with_norm_(given, 1.0, 3.0)
        clip_grad_value_(given, 1.0)

    def test_no_parameter_has_a_gradient(self):
        with pytest.raises(ValueError, match="each is None"):
            clip_grad_norm_([nn.Parameter(np.ones(3), requires_grad=False)], 1.0)

    def test_sums_of_rows_are_not_cut_off(self):
        grad = sparse([2, 0, 2], [5.0, 5, 5], (3,))
        with pytest.raises(ValueError, match=r"clip_grad_value_: parameters\[0\] names rows more than once"):
            clip_grad_value_([grad], 1.0)
        assert (grad.values == 5).all()

    @pytest.mark.parametrize("value", [0, -1.0, np.nan, -np.inf, "1", None, [1.0], 1j])
    def test_numbers(self, value):
        g = np.full(3, 5.0)
        kind = TypeError if not isinstance(value, int | float) else ValueError
        for name, call in {
            "clip_grad_norm_: max_norm": lambda: clip_grad_norm_(g, value),
            "clip_grad_norm_: norm_type": lambda: clip_grad_norm_(g, 1.0, value),
            "get_total_norm: norm_type": lambda: get_total_norm(g, value),
            "clip_grads_with_norm_: max_norm": lambda: clip_grads_with_norm_(g, value, 2.0),
            "clip_grad_value_: clip_value": lambda: clip_grad_value_(g, value),
        }.items():
            with pytest.raises(kind, match=rf"^{name}=.*expected a number above 0"):
                call()
        assert (g == 5).all()

    @pytest.mark.parametrize("value", [-1.0, -np.inf, "inf", None])
    def test_a_norm_that_is_none(self, value):
        g = np.full(3, 5.0)
        with pytest.raises((TypeError, ValueError), match=r"clip_grads_with_norm_: total_norm=.*expected a norm, 0 or"):
            clip_grads_with_norm_(g, 1.0, value)
        assert (g == 5).all()

    def test_a_flag(self):
        with pytest.raises(TypeError, match="error_if_nonfinite='no'; expected True or False"):
            clip_grad_norm_(np.ones(3), 1.0, error_if_nonfinite="no")
        with pytest.raises(TypeError, match="get_total_norm: error_if_nonfinite=2"):
            get_total_norm(np.ones(3), error_if_nonfinite=2)
