"""Dropout: the random numbers, bits equal to the reference, and what the layers do."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from ravine import config, nn
from ravine.nn import functional
from ravine.reference.dropout import dropout, dropout_backward, keep_mask, philox4x32

DTYPES = [np.float32, np.float64]
THREADS = [("pool", 1), ("pool", 2), ("pool", 8), ("openmp", 3)]
THREADS = [(threading, threads) for threading, threads in THREADS if threading in config.available_threadings()]
EVERYWHERE = list(itertools.product(config.available_isas(), THREADS))
SIZES = [0, 1, 2, 7, 8, 15, 16, 17, 127, 128, 129, 1000, 8191, 8193, 100_003]


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_known_answers_of_random123(counter, key, expected):
    """The vectors published with Random123 for philox4x32, 10 rounds (kat_vectors)."""
    words = philox4x32(np.array([counter], np.uint64), key)[0]
    assert " ".join(f"{word:08x}" for word in words) == expected


def test_the_kernels_draw_these_numbers():
    """Each bit of the first known answers, found by moving the threshold: the kernels hold no other sequence."""
    half_words = np.array([0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8], "<u4").view("<u2").astype(int)
    for isa in config.available_isas():
        config.set_isa(isa)
        for threshold in sorted({*half_words, *(half_words + 1)}):
            _, context = functional.dropout_forward(np.ones(8), threshold / 65536, seed=0)
            kept = np.unpackbits(context.mask.view(np.uint8), bitorder="little")[:8].astype(bool)
            np.testing.assert_array_equal(kept, half_words >= threshold)


def everywhere():
    for isa, (threading, threads) in EVERYWHERE:
        config.set_isa(isa)
        config.set_threading(threading)
        config.set_num_threads(threads)
        yield f"{isa}, {threading} {threads}"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["element", "alpha"])
def test_bits_equal_the_reference(kind, dtype):
    rng = np.random.default_rng(0)
    for size, p in itertools.product(SIZES, (0.0, 0.1, 0.5, 1.0)):
        x, dy = rng.standard_normal((2, size)).astype(dtype)
        random = {"seed": 2**64 - 1 - size, "offset": 2**32 - 5}  # whose counter runs over 32 bits
        expected, mask = dropout(x, p, kind=kind, **random)
        for where in everywhere():
            y, context = functional.dropout_forward(x, p, kind=kind, **random)
            np.testing.assert_array_equal(y, expected, err_msg=f"{where}, {size}, {p}")
            dx = functional.dropout_backward(dy, context)
            np.testing.assert_array_equal(dx, dropout_backward(dy, mask, p, kind=kind), err_msg=f"{where}, {size}, {p}")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(
    "shape", [(3, 5, 7), (2, 16, 4, 4), (40, 33, 6, 8), (2, 3, 4, 5, 6), (4, 0, 3), (5, 3, 0)], ids=str
)
def test_bits_of_channels_equal_the_reference(shape, layout, dtype):
    x, dy = np.random.default_rng(0).standard_normal((2, *shape)).astype(dtype)
    for p in (0.3, 1.0):
        expected, mask = dropout(x, p, seed=5, offset=9, kind="channel", layout=layout)
        for where in everywhere():
            y, context = functional.dropout_forward(x, p, seed=5, offset=9, kind="channel", layout=layout)
            np.testing.assert_array_equal(y, expected, err_msg=where)
            dx = functional.dropout_backward(dy, context)
            np.testing.assert_array_equal(dx, dropout_backward(dy, mask, p), err_msg=where)


@pytest.mark.parametrize("dtype", DTYPES)
def test_streamed_results(dtype):
    """Larger than the last cache is taken to be, and not aligned."""
    n = (1 << 25) // np.dtype(dtype).itemsize + 1000
    x = np.random.default_rng(0).standard_normal(n).astype(dtype)
    mask = keep_mask(n, 0.5, 1, 0)
    for skip in (0, 1, 3):
        buffer = np.full(n + 4, 7, dtype)
        y, _ = functional.dropout_forward(x, seed=1, out=buffer[skip : skip + n])
        np.testing.assert_array_equal(y, np.where(mask, 2 * x, 0))
        assert (buffer[:skip] == 7).all()
        assert (buffer[skip + n :] == 7).all()


def test_how_often_elements_are_dropped():
    for p in (0.01, 0.1, 0.5, 0.9):
        n = 1_000_000
        y = functional.dropout(np.ones(n, np.float32), p, seed=3)
        dropped = (y == 0).mean()
        assert abs(dropped - p) < 5 * np.sqrt(p * (1 - p) / n) + 2**-17
        np.testing.assert_allclose(y.max(), 1 / (1 - p), rtol=1e-6)


def test_neighbours_and_streams_are_independent():
    masks = np.stack([keep_mask(200_000, 0.5, seed, 0) for seed in (0, 1, 1 << 32)]).astype(float) - 0.5
    bound = 4 * 5 / np.sqrt(masks.shape[1])
    for lag in (1, 2, 7, 8, 16, 128):
        assert abs(4 * (masks[0, lag:] * masks[0, :-lag]).mean()) < bound
    for a, b in itertools.combinations(masks, 2):
        assert abs(4 * (a * b).mean()) < bound


def test_what_is_dropped_is_zero_whatever_it_was():
    x = np.array([np.nan, np.inf, -np.inf, -0.0] * 8)
    y, context = functional.dropout_forward(x, seed=0)
    kept = np.unpackbits(context.mask.view(np.uint8), bitorder="little")[:32].astype(bool)
    assert (y[~kept] == 0).all()
    np.testing.assert_array_equal(y[kept], x[kept])
    assert np.signbit(y[kept & (x == 0)]).all()


class TestLayer:
    def test_alpha_keeps_mean_and_variance(self):
        x = np.random.default_rng(0).standard_normal(1_000_000)
        for p in (0.1, 0.5):
            y = nn.AlphaDropout(p, seed=0)(x)
            assert abs(y.mean()) < 0.01
            assert abs(y.var() - 1) < 0.01

    def test_evaluation_is_the_identity(self):
        x = np.arange(8.0)
        for layer in (nn.Dropout(0.5).eval(), nn.Dropout(0.0), nn.AlphaDropout().eval()):
            assert layer(x) is x
            assert layer.backward(x) is x
            out = np.empty_like(x)
            assert layer(x, out=out) is out
            np.testing.assert_array_equal(out, x)
            assert layer.backward(x, out=np.empty_like(x)) is not x

    def test_evaluation_forgets_the_pass_before(self):
        layer = nn.Dropout(seed=0)
        x = np.ones(100)
        layer(x)
        layer.eval()(x)
        assert layer.backward(x) is x

    def test_in_place(self):
        x = np.random.default_rng(0).standard_normal((50, 40))
        expected = nn.Dropout(seed=1)(x)
        layer = nn.Dropout(inplace=True, seed=1)
        ours = x.copy()
        assert layer(ours) is ours
        np.testing.assert_array_equal(ours, expected)
        dy = np.ones_like(x)
        assert layer.backward(dy, out=dy) is dy
        np.testing.assert_array_equal(dy, np.where(expected == 0, 0, 2))

    def test_each_pass_draws_another_mask(self):
        layer = nn.Dropout(seed=0)
        x = np.ones(1000, np.float32)
        first, second = layer(x).copy(), layer(x)
        assert (first != second).any()
        fresh = functional.dropout(x, seed=0, offset=layer.offset // 2)
        np.testing.assert_array_equal(second, fresh)

    def test_passes_follow_one_another(self):
        """Each begins where the numbers of the last end, which are drawn in blocks of 128: none serves two elements."""
        layer = nn.Dropout(seed=3)
        kept = [layer(np.ones(1000)) != 0 for _ in range(3)]
        whole = functional.dropout(np.ones(3 * 1024), seed=3) != 0
        for i, mask in enumerate(kept):
            np.testing.assert_array_equal(mask, whole[1024 * i :][:1000])

    def test_saving_and_resuming(self):
        x = np.ones((30, 7), np.float32)
        layer = nn.Dropout(seed=4)
        layer(x)
        other = nn.Dropout(seed=5)
        other.load_state_dict(layer.state_dict())
        for _ in range(3):
            np.testing.assert_array_equal(layer(x), other(x))

    def test_seeds(self):
        x = np.ones(1000)
        assert (nn.Dropout()(x) != nn.Dropout()(x)).any()
        np.testing.assert_array_equal(nn.Dropout(seed=7)(x), nn.Dropout(seed=np.int64(7))(x))
        rng = np.random.default_rng(0)
        assert nn.Dropout(seed=rng).seed != nn.Dropout(seed=rng).seed
        assert nn.Dropout(seed=np.random.default_rng(0)).seed == nn.Dropout(seed=np.random.default_rng(0)).seed

    def test_memory_order(self):
        """Elements count as they lie in memory; channels are found in either layout's view."""
        x = np.random.default_rng(0).standard_normal((4, 6, 5, 7))
        fortran = np.asfortranarray(x)
        y, context = functional.dropout_forward(fortran, seed=0)
        assert y.strides == fortran.strides
        np.testing.assert_array_equal(y.T, functional.dropout(np.ascontiguousarray(x.T), seed=0))
        assert functional.dropout_backward(fortran, context).strides == fortran.strides
        view = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        np.testing.assert_array_equal(nn.Dropout2d(seed=0)(view), nn.Dropout2d(seed=0)(x))

    def test_whole_channels(self):
        x = np.ones((5, 8, 3, 4))
        y = nn.Dropout2d(seed=0)(x)
        assert ((y == y[:, :, :1, :1]).all(axis=(2, 3))).all()
        assert set(np.unique(y)) == {0, 2}
        last = nn.Dropout2d(seed=0, layout="NHWC")(np.ones((5, 3, 4, 8)))
        np.testing.assert_array_equal(last.transpose(0, 3, 1, 2), y)

    def test_repr(self):
        assert repr(nn.Dropout(0.2)) == "Dropout(p=0.2, inplace=False)"
        assert repr(nn.Dropout3d(layout="NHWC")) == "Dropout3d(p=0.5, inplace=False, layout='NHWC')"


X = np.ones((4, 3, 6, 6), np.float32)


def read_only(array):
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def called():
    layer = nn.Dropout(seed=0)
    layer(X)
    return layer


def shifted():
    buffer = np.zeros(11)
    nn.Dropout()(buffer[1:], out=buffer[:-1])


def sharing_one_element():
    buffer = np.zeros(19)
    nn.Dropout()(buffer[9:], out=buffer[:10])


def shifted_backward():
    buffer = np.zeros(11)
    layer = nn.Dropout()
    layer(buffer[1:].copy())
    layer.backward(buffer[1:], out=buffer[:-1])


BAD_ARGUMENTS = [
    (lambda: nn.Dropout(1.5), ValueError, r"Dropout: p=1.5 is out of range; expected a number from 0 to 1"),
    (lambda: nn.Dropout(-0.1), ValueError, r"p=-0.1 is out of range"),
    (lambda: nn.Dropout(np.nan), ValueError, r"p=nan is not finite"),
    (lambda: nn.Dropout("half"), TypeError, r"p='half' is a str"),
    (lambda: nn.Dropout(inplace=2), TypeError, r"inplace=2; expected True or False"),
    (lambda: nn.Dropout(seed=-1), ValueError, r"seed=-1 is out of range; expected a whole number from 0 to 2\^64 - 1"),
    (lambda: nn.Dropout(seed=1.5), TypeError, r"seed=1.5 is a float"),
    (lambda: nn.Dropout2d(layout="HWC"), ValueError, r"layout='HWC'; expected 'NCHW' or 'NHWC'"),
    (lambda: nn.Dropout2d()(X[0]), ValueError, r"Dropout2d: x has 3 dimension\(s\), shape \(3, 6, 6\); expected 4"),
    (lambda: nn.Dropout()(X.astype(int)), TypeError, r"x is int64.*; expected native float32 or float64"),
    (lambda: nn.Dropout()([1.0, 2.0]), TypeError, r"x is a list; expected an array"),
    (lambda: nn.Dropout()(X[..., ::2]), ValueError, r"x \(.*\) is not contiguous. Pass np.ascontiguousarray\(x\)"),
    (lambda: nn.Dropout2d()(np.asfortranarray(X)), ValueError, r"contiguous neither channels-first nor channels-last"),
    (lambda: nn.Dropout()(X, out=X[:2]), ValueError, r"out is float32, shape \(2, 3, 6, 6\); expected"),
    (lambda: nn.Dropout().eval()(X, out=X[:2]), ValueError, r"out is float32, shape \(2, 3, 6, 6\); expected"),
    (lambda: nn.Dropout()(X, out=read_only(X)), ValueError, r"out is read-only"),
    (lambda: nn.Dropout(inplace=True)(read_only(X)), ValueError, r"out is read-only"),
    (shifted, ValueError, r"out shares memory with x but does not begin where it does"),
    (sharing_one_element, ValueError, r"Dropout: out shares memory with x but does not"),
    (shifted_backward, ValueError, r"Dropout.backward: out shares memory with dy but does not"),
    (lambda: nn.Dropout().backward(X), RuntimeError, r"Dropout.backward: there was no forward pass"),
    (lambda: called().backward(X[:2]), ValueError, r"Dropout.backward: dy is float32, shape \(2, 3, 6, 6\); expected"),
    (lambda: called().backward(X.astype(float)), ValueError, r"dy is float64"),
    (lambda: called().load_state_dict({"seed": 1}), ValueError, r"'offset' is missing"),
    (lambda: functional.dropout(X, seed=1, offset=-1), ValueError, r"dropout: offset=-1 is out of range"),
    (lambda: functional.dropout_forward(X, seed=1, kind="row"), ValueError, r"kind='row'; expected 'element'"),
    (lambda: functional.dropout(X, training="no", seed=1), TypeError, r"training='no'; expected True or False"),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD_ARGUMENTS, ids=[row[2][:50] for row in BAD_ARGUMENTS])
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
    assert (X == 1).all()


def test_a_refused_call_draws_nothing():
    layer = nn.Dropout(seed=0)
    state = layer.state_dict()
    with pytest.raises(ValueError, match="out is"):
        layer(X, out=X[:2])
    assert layer.state_dict() == state
