"""What batch normalisation refuses, before anything has changed."""

from __future__ import annotations

import numpy as np
import pytest
from ravine import _core, nn
from ravine.nn import functional

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


def in_place_of_one_element():
    buffer = np.zeros(2 * X.size - 1, np.float32)
    functional.batch_norm(buffer[: X.size].reshape(X.shape), out=buffer[X.size - 1 :].reshape(X.shape))


def residual_out_over_x():
    x = X.copy()
    bn = nn.BatchNorm2d(3)
    bn(x, X)
    bn.backward(X, residual_out=x)


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
    (in_place_of_one_element, ValueError, r"out shares memory with x but does not begin where it does"),
    (residual_out_over_x, ValueError, r"BatchNorm2d.backward: residual_out shares memory with x"),
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


def test_a_resized_input_is_noticed():
    """Even where its first values are as they were."""
    x = np.ones((8, 3))
    bn = nn.BatchNorm1d(3, dtype=np.float64)
    bn(x)
    x.resize((4, 3), refcheck=False)
    with pytest.raises(ValueError, match="x has been"):
        bn.backward(np.ones((8, 3)))


RECORDS = {
    _core.BatchNormContext: {
        "owner": "layer",
        "x": X,
        "training": True,
        "momentum": 0.1,
        "eps": 1e-5,
        **dict.fromkeys(("out", "residual", "weight", "bias", "running_mean", "running_var", "tracked")),
        "channels_last": False,
        "relu": False,
    },
    _core.DropoutContext: {
        "owner": "layer",
        "x": X,
        "out": None,
        "seed": 1,
        "counter": 0,
        "threshold": 1 << 15,
        "scale": 2.0,
        "shift": -0.0,
        "dropped": 0.0,
        "of_channels": False,
        "channels_last": False,
    },
}


@pytest.mark.parametrize("context", RECORDS, ids=lambda context: context.__name__)
def test_a_context_takes_exactly_the_names_of_its_record(context):
    record = RECORDS[context]
    in_another_order = dict(reversed(record.items()))
    np.testing.assert_array_equal(context(record).take_result(), context(in_another_order).take_result())
    for name in record:
        with pytest.raises(TypeError, match=f"{name} is missing"):
            context({key: value for key, value in record.items() if key != name})
    with pytest.raises(TypeError, match=r"unknown name among .*'epsilon'"):
        context(record | {"epsilon": 1e-5})
    with pytest.raises(TypeError, match="channels_last='no' has another type"):
        context(record | {"channels_last": "no"})


@pytest.mark.parametrize("name", ["weight", "bias", "running_mean", "running_var"])
@pytest.mark.parametrize("value", [[1.0, 1.0, 1.0], 1.0, "abc", (1.0, 1.0, 1.0), np.float32(1)])
def test_what_is_no_array_is_refused_by_its_name(name, value):
    arrays = {"running_mean": np.zeros(3), "running_var": np.ones(3), name: value}
    with pytest.raises((TypeError, ValueError), match=name):
        functional.batch_norm(np.ones((4, 3)), **arrays)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("shape", [(2, 3, 0), (2, 0, 5), (0, 3, 4), (2, 0), (0, 0), (2, 3, 0, 4), (0, 200, 1, 300)])
@pytest.mark.parametrize("activation", [None, "relu"])
def test_empty_arrays(shape, layout, activation):
    """Nothing to normalise in evaluation; in training each channel needs values, if there is one."""
    channels = shape[-1] if layout == "NHWC" else shape[1]
    x = np.zeros(shape)
    statistics = [np.zeros(channels), np.ones(channels)]
    options = {"layout": layout, "activation": activation, "residual": x if activation else None}
    y, context = functional.batch_norm_forward(x, *statistics, np.ones(channels), np.ones(channels), **options)
    gradients = functional.batch_norm_backward(np.zeros(shape), context)
    assert y.shape == gradients.x.shape == shape
    assert (gradients.weight == 0).all()
    assert (gradients.bias == 0).all()
    values = (
        x.size // channels if channels else x.shape[0] * int(np.prod(shape[1:-1] if layout == "NHWC" else shape[2:]))
    )
    if values < 2:
        with pytest.raises(ValueError, match="training needs at least 2"):
            functional.batch_norm(x, *statistics, training=True, **options)
    else:
        assert functional.batch_norm(x, *statistics, training=True, **options).shape == shape
