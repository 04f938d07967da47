"""The layers beside torch's own, where torch is installed."""

from __future__ import annotations

import numpy as np
import pytest
from ravine import nn

torch = pytest.importorskip("torch")

LAYERS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


def tensor(array):
    return torch.from_numpy(np.ascontiguousarray(array).copy())


def close(ours, theirs, size=None):
    theirs = theirs.detach().numpy()
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12 * (np.abs(theirs).max() if size is None else size))


@pytest.mark.parametrize("seed", range(60))
def test_batch_norm_through_training_and_evaluation(seed):
    rng = np.random.default_rng(seed)
    dims = int(rng.integers(1, 4))
    channels = int(rng.integers(1, 20))
    settings = {
        "eps": 10.0 ** rng.integers(-6, -1),
        "momentum": [None, 0.1, 0.7][rng.integers(3)],
        "affine": bool(rng.integers(2)),
        "track_running_stats": bool(rng.integers(4)),
    }
    layout = ["NCHW", "NHWC"][rng.integers(2)]
    relu = bool(rng.integers(2))
    ours = LAYERS[dims](channels, **settings, dtype=np.float64, layout=layout, activation="relu" if relu else None)
    theirs = getattr(torch.nn, f"BatchNorm{dims}d")(channels, **settings, dtype=torch.float64)
    if settings["affine"]:
        for name in ("weight", "bias"):
            value = rng.standard_normal(channels)
            getattr(ours, name).data[...] = value
            getattr(theirs, name).data[...] = tensor(value)
    for step in range(5):
        if step == 3:
            ours.eval()
            theirs.eval()
        shape = (int(rng.integers(2, 6)), channels, *rng.integers(1, 14, dims))
        x, dy = rng.standard_normal((2, *shape)) * 3 + 1
        theirs_x = tensor(x).requires_grad_()
        theirs_y = theirs(theirs_x).relu() if relu else theirs(theirs_x)
        theirs_y.backward(tensor(dy))
        if layout == "NHWC":
            x, dy = (np.ascontiguousarray(np.moveaxis(a, 1, -1)) for a in (x, dy))
        back = (lambda a: np.moveaxis(a, -1, 1)) if layout == "NHWC" else lambda a: a
        close(back(ours(x)), theirs_y)
        inv = 1 / np.sqrt(np.moveaxis(back(x), 1, 0).reshape(channels, -1).var(1).min() + settings["eps"])
        close(back(ours.backward(dy)), theirs_x.grad, 10 * (1 + inv))
        if settings["affine"]:
            close(ours.weight.grad, theirs.weight.grad, np.abs(dy).sum() * (1 + inv))
            close(ours.bias.grad, theirs.bias.grad, np.abs(dy).sum())
        if settings["track_running_stats"]:
            close(ours.running_mean, theirs.running_mean)
            close(ours.running_var, theirs.running_var)
            assert ours.num_batches_tracked == theirs.num_batches_tracked


def test_torchs_state_dict_loads():
    theirs = torch.nn.BatchNorm2d(5)
    theirs(torch.randn(4, 5, 3, 3))
    ours = nn.BatchNorm2d(5)
    ours.load_state_dict(theirs.state_dict())
    assert ours.num_batches_tracked == 1
    np.testing.assert_array_equal(ours.running_mean, theirs.running_mean.numpy())
    theirs.load_state_dict({name: torch.as_tensor(value) for name, value in ours.state_dict().items()})


def test_arguments_and_defaults_are_torchs():
    for name in ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d"):
        mine = repr(getattr(nn, name)(7))
        assert mine == repr(getattr(torch.nn, name)(7))
    for name in ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout"):
        assert repr(getattr(nn, name)()) == repr(getattr(torch.nn, name)())


@pytest.mark.parametrize("name", ["Dropout", "AlphaDropout"])
@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_the_values_that_dropout_gives(name, p):
    """Masks differ, but the two values that a constant becomes are the same."""
    x = np.full(1000, 1.25)
    ours = np.unique(getattr(nn, name)(p, seed=0)(x))
    theirs = np.unique(getattr(torch.nn, name)(p)(tensor(x)).numpy())
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    dx = getattr(nn, name)(p, seed=0)
    dx(x)
    given = tensor(x).requires_grad_()
    getattr(torch.nn, name)(p)(given).sum().backward()
    np.testing.assert_allclose(np.unique(dx.backward(np.ones_like(x))), np.unique(given.grad.numpy()), rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "shape"), [("Dropout1d", (6, 50, 3)), ("Dropout2d", (6, 50, 3, 2)), ("Dropout3d", (6, 50, 1, 2, 2))]
)
def test_dropped_channels(name, shape):
    for y in (getattr(nn, name)(seed=0)(np.ones(shape)), getattr(torch.nn, name)()(torch.ones(shape)).numpy()):
        flat = y.reshape(6, 50, -1)
        assert (flat == flat[:, :, :1]).all()
        assert set(np.unique(y)) == {0.0, 2.0}
