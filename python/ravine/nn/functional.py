"""What the layers do, without their state: `torch.nn.functional`'s names, and the backward passes beside them."""

from __future__ import annotations

import math
import operator
from typing import Any, Literal, NamedTuple

import numpy as np

from ravine import _core
from ravine._arrays import describe
from ravine._hyper import choice, flag, non_negative, shown, unit

Array = np.ndarray[Any, Any]
DropoutKind = Literal["element", "channel", "alpha"]

LAYOUTS = ("NCHW", "NHWC")
ACTIVATIONS = (None, "relu")

# What SELU tends to far to the left: -scale * alpha (Klambauer et al. 2017, equation 2).
_ALPHA = -1.7580993408473766


class BatchNormGradients(NamedTuple):
    """The gradients of a loss by the inputs of `batch_norm_forward`."""

    x: Array
    weight: Array
    bias: Array
    residual: Array | None


def batch_norm_forward(
    x: Array,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    weight: Array | None = None,
    bias: Array | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    layout: str = "NCHW",
    activation: str | None = None,
    residual: Array | None = None,
    out: Array | None = None,
) -> tuple[Array, _core.BatchNormContext]:
    """Normalise each channel of a batch; see `nn.BatchNorm1d` for the formula.

    Args:
        x: (N, C), (N, C, ...) or, with layout="NHWC", (N, ..., C); float32 or float64; in memory contiguous, or the
            other layout's view.
        running_mean: array of shape (C,), updated in training. Without it and running_var the batch's own statistics
            are used, whatever `training` says.
        running_var: array of shape (C,), likewise.
        weight: array of shape (C,), or None for ones.
        bias: array of shape (C,), or None for zeros.
        training: whether to use the statistics of the batch.
        momentum: the weight of the batch in the running statistics.
        eps: added to the variance.
        layout: where the channels are.
        activation: None or "relu".
        residual: an array like x, added before the activation.
        out: where to write the result: an array like x; x itself where there will be no backward pass.

    Returns:
        The result, and the context that `batch_norm_backward` takes.

    Raises:
        TypeError, ValueError: an argument does not fit; the message names it. Nothing has been changed.
    """
    where = "batch_norm: "
    if (running_mean is None) != (running_var is None):
        raise ValueError(f"{where}only one of running_mean and running_var is given; expected both or neither.")
    context = _core.BatchNormContext(
        {
            "owner": "batch_norm",
            "x": x,
            "out": out,
            "residual": residual,
            "weight": weight,
            "bias": bias,
            "running_mean": running_mean,
            "running_var": running_var,
            "tracked": None,
            "training": flag(where + "training", training) or running_mean is None,
            "momentum": unit(where + "momentum", momentum),
            "eps": non_negative(where + "eps", eps),
            "channels_last": choice(where + "layout", layout, LAYOUTS) == "NHWC",
            "relu": choice(where + "activation", activation, ACTIVATIONS) == "relu",
        }
    )
    return context.take_result(), context


def batch_norm_backward(
    dy: Array, context: _core.BatchNormContext, *, out: Array | None = None, residual_out: Array | None = None
) -> BatchNormGradients:
    """Propagate a gradient through `batch_norm_forward`.

    Args:
        dy: the gradient by its result: an array like it, in the same memory order.
        context: what it returned; x must not have been overwritten since.
        out: where to write the gradient by x; it may be dy, or x.
        residual_out: where to write the gradient by the residual; it may be dy.

    Raises:
        TypeError, ValueError: an argument does not fit; the message names it. Nothing has been changed.
    """
    _check_context("batch_norm_backward", context, _core.BatchNormContext, "batch_norm_forward")
    weight, bias = np.zeros(context.channels, context.dtype), np.zeros(context.channels, context.dtype)
    gradients = context.backward(dy, out, residual_out, weight, bias)
    dx, residual = gradients if isinstance(gradients, tuple) else (gradients, None)
    return BatchNormGradients(dx, weight, bias, residual)


def batch_norm(
    x: Array,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    weight: Array | None = None,
    bias: Array | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    layout: str = "NCHW",
    activation: str | None = None,
    residual: Array | None = None,
    out: Array | None = None,
) -> Array:
    """Return the result of `batch_norm_forward` alone: `torch.nn.functional.batch_norm`."""
    return batch_norm_forward(
        x,
        running_mean,
        running_var,
        weight,
        bias,
        training,
        momentum,
        eps,
        layout=layout,
        activation=activation,
        residual=residual,
        out=out,
    )[0]


def dropout_forward(
    x: Array,
    p: float = 0.5,
    *,
    seed: int,
    offset: int = 0,
    kind: DropoutKind = "element",
    layout: str = "NCHW",
    out: Array | None = None,
    owner: str = "dropout",
) -> tuple[Array, _core.DropoutContext]:
    """Drop elements or channels at random; see `nn.Dropout`, `nn.Dropout1d` and `nn.AlphaDropout`.

    Args:
        x: float32 or float64, contiguous in any order of its axes. For kind="channel" (N, C, ...) or, with
            layout="NHWC", (N, ..., C).
        p: the probability of being dropped.
        seed: the key of the random numbers, below 2^64.
        offset: where in their sequence to begin, below 2^64; the next call should begin `context.counters` later.
        kind: what is dropped by itself: an "element", a "channel", or an element in the manner of "alpha" dropout.
        layout: where the channels are.
        out: where to write the result: an array like x; it may be x.
        owner: how error messages call the caller.

    Returns:
        The result, and the context that `dropout_backward` takes. `context.mask` has a bit for each element, or each
        channel of each sample (sample by sample, padded to 16 bits), that was kept.

    Raises:
        TypeError, ValueError: an argument does not fit; the message names it. Nothing has been changed.
    """
    where = owner + ": "
    p = unit(where + "p", p)
    kind = choice(where + "kind", kind, ("element", "channel", "alpha"))
    channels_last = choice(where + "layout", layout, LAYOUTS) == "NHWC"
    scale, shift, dropped = 0.0 if p == 1 else 1 / (1 - p), -0.0, 0.0  # x + -0.0 is x, whatever its sign
    if kind == "alpha" and p < 1:
        scale = 1 / math.sqrt((1 - p) * (1 + p * _ALPHA**2))
        shift = -scale * p * _ALPHA
        dropped = scale * _ALPHA + shift
    context = _core.DropoutContext(
        {
            "owner": owner,
            "x": x,
            "out": out,
            "seed": as_seed(where + "seed", seed),
            "counter": as_seed(where + "offset", offset),
            "threshold": round(p * 65536),
            "scale": scale,
            "shift": shift,
            "dropped": dropped,
            "of_channels": kind == "channel",
            "channels_last": channels_last,
        }
    )
    return context.take_result(), context


def dropout_backward(dy: Array, context: _core.DropoutContext, *, out: Array | None = None) -> Array:
    """Propagate a gradient through `dropout_forward`.

    Args:
        dy: the gradient by its result: an array like it, in the same memory order.
        context: what it returned.
        out: where to write the gradient by x; it may be dy.

    Raises:
        TypeError, ValueError: an argument does not fit; the message names it. Nothing has been changed.
    """
    _check_context("dropout_backward", context, _core.DropoutContext, "dropout_forward")
    return context.backward(dy, out)


def dropout(
    x: Array,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    seed: int,
    offset: int = 0,
    kind: DropoutKind = "element",
    layout: str = "NCHW",
    out: Array | None = None,
) -> Array:
    """Return the result of `dropout_forward` alone, or x where not `training`: `torch.nn.functional.dropout`."""
    target = x if out is None and flag("dropout: inplace", inplace) else out
    if not flag("dropout: training", training):
        return identity("dropout", x, target)
    return dropout_forward(x, p, seed=seed, offset=offset, kind=kind, layout=layout, out=target)[0]


def identity(owner: str, x: Array, out: Array | None) -> Array:
    """Return x, or `out` holding its values; checked as the arguments of `dropout_forward` are."""
    if out is None or out is x:
        return x
    return dropout_forward(x, 0.0, seed=0, out=out, owner=owner)[0]


def _check_context(where: str, context: object, kind: type, source: str) -> None:
    if not isinstance(context, kind):
        raise TypeError(f"{where}: context is {describe(context)}; expected the one that {source} returned.")


def as_seed(where: str, value: Any) -> int:
    """Return a seed or offset as a whole number from 0 to 2^64 - 1."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{where}={shown(value)} is a {type(value).__name__}; expected a whole number.") from None
    if not 0 <= number < 1 << 64:
        raise ValueError(f"{where}={shown(value)} is out of range; expected a whole number from 0 to 2^64 - 1.")
    return number
