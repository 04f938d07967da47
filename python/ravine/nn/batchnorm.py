"""Batch normalisation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from ravine import _core
from ravine._arrays import SUPPORTED, describe
from ravine._hyper import at_least, choice, flag, non_negative, shown, unit, whole
from ravine.nn.functional import ACTIVATIONS, LAYOUTS
from ravine.nn.layer import Layer
from ravine.nn.parameter import Parameter

Array = np.ndarray[Any, Any]


class _BatchNorm(Layer):
    _ndims: ClassVar[tuple[int, ...]]
    _checks = {"num_batches_tracked": whole}

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        dtype: Any = np.float32,
        bias: bool = True,
        layout: str = "NCHW",
        activation: str | None = None,
    ) -> None:
        super().__init__()
        where = f"{type(self).__name__}: "
        self.num_features = at_least(1)(where + "num_features", num_features)
        self.eps = non_negative(where + "eps", eps)
        self.momentum = None if momentum is None else unit(where + "momentum", momentum)
        self.affine = flag(where + "affine", affine)
        self.track_running_stats = flag(where + "track_running_stats", track_running_stats)
        self.layout = choice(where + "layout", layout, LAYOUTS)
        self.activation = choice(where + "activation", activation, ACTIVATIONS)
        self.dtype = _float_type(where + "dtype", dtype)
        has_bias = flag(where + "bias", bias) and affine
        self.weight = Parameter(np.ones(num_features, self.dtype), name="weight") if affine else None
        self.bias = Parameter(np.zeros(num_features, self.dtype), name="bias") if has_bias else None
        self.running_mean = np.zeros(num_features, self.dtype) if track_running_stats else None
        self.running_var = np.ones(num_features, self.dtype) if track_running_stats else None
        self._tracked: Array = np.zeros((), np.int64)  # the compiled part advances it with the running statistics
        self._context: _core.BatchNormContext | None = None

    def __call__(self, x: Array, residual: Array | None = None, *, out: Array | None = None) -> Array:
        """Normalise a batch.

        Args:
            x: an array of the layer's dtype, in the layer's layout. In memory it may be contiguous or the
                other layout's view, such as `x.transpose(0, 3, 1, 2)` of a contiguous NHWC array.
            residual: an array like x that is added to the result, before the activation.
            out: where to write the result: an array like x, in the same memory order. x itself saves memory, but then
                `backward` cannot be called.

        Returns:
            The result; `out`, where that was given.

        Raises:
            TypeError, ValueError: an argument does not fit; the message names it. Nothing has been changed.
        """
        name = type(self).__name__
        channels_last = self.layout == "NHWC"
        x = self._as_array(x)
        shape = x.shape
        if len(shape) not in self._ndims:
            expected = " or ".join(str(ndim) for ndim in self._ndims)
            raise ValueError(f"{name}: x has {len(shape)} dimension(s), shape {shape}; expected {expected}.")
        if shape[-1 if channels_last else 1] != self.num_features:
            raise ValueError(
                f"{name}: x has shape {shape}, {shape[-1 if channels_last else 1]} channels in layout {self.layout}; "
                f"expected {self.num_features}, as num_features."
            )
        training = self._is_training()
        averages = training and self.running_mean is not None
        momentum = 0.0
        if averages:
            momentum = 1 / (self.num_batches_tracked + 1) if self.momentum is None else self.momentum
        context = _core.BatchNormContext(
            {
                "owner": name,
                "x": x,
                "out": out,
                "residual": residual,
                "weight": None if self.weight is None else self._parameter("weight").data,
                "bias": None if self.bias is None else self._parameter("bias").data,
                "running_mean": self.running_mean,
                "running_var": self.running_var,
                "tracked": self._tracked if averages else None,
                "training": training or self.running_mean is None,
                "momentum": momentum,
                "eps": self.eps,
                "channels_last": channels_last,
                "relu": self.activation == "relu",
            }
        )
        self._context = context
        return context.take_result()

    def backward(
        self, dy: Array, *, out: Array | None = None, residual_out: Array | None = None
    ) -> Array | tuple[Array, Array]:
        """Propagate a gradient through the last forward pass. `weight.grad` and `bias.grad` are added to.

        Args:
            dy: the gradient of the loss by the result: an array like it, in the same memory order.
            out: where to write the gradient by x: an array like x; it may be dy, or x where that is needed no more.
            residual_out: where to write the gradient by the residual; it may be dy.

        Returns:
            The gradient by x; where a residual was added, that and the gradient by the residual.

        Raises:
            RuntimeError: there was no forward pass.
            TypeError, ValueError: an argument does not fit, or x has been overwritten. Nothing has been changed.
        """
        if self._context is None:
            raise RuntimeError(f"{type(self).__name__}.backward: there was no forward pass. Call the layer first.")
        weight, bias = _gradient(self.weight), _gradient(self.bias)
        gradients: Array | tuple[Array, Array] = self._context.backward(dy, out, residual_out, weight, bias)
        for parameter, gradient in ((self.weight, weight), (self.bias, bias)):
            if parameter is not None and parameter.grad is None:
                parameter.grad = gradient
        return gradients

    @property
    def num_batches_tracked(self) -> int:
        """How many batches the running statistics have seen."""
        return int(self._tracked)

    @num_batches_tracked.setter
    def num_batches_tracked(self, count: int) -> None:
        self._tracked[...] = whole(f"{type(self).__name__}: num_batches_tracked", count)

    def reset_running_stats(self) -> None:
        """Set the running statistics to a mean of 0, a variance of 1, and none seen."""
        self._fill({"running_mean": 0, "running_var": 1})
        self.num_batches_tracked = 0

    def reset_parameters(self) -> None:
        """Set the weight to 1, the bias to 0, and reset the running statistics."""
        self._fill({"running_mean": 0, "running_var": 1, "weight": 1, "bias": 0})
        self.num_batches_tracked = 0

    def _fill(self, values: Mapping[str, float]) -> None:
        """Fill those of these arrays that the layer has, or raise where one cannot be."""
        state = {name: array for name, array in self._state().items() if name in values}
        for name, array in state.items():
            if not isinstance(array, np.ndarray) or not array.flags.writeable:
                came = "read-only" if isinstance(array, np.ndarray) else describe(array)
                raise TypeError(f"{type(self).__name__}: {name} is {came}; expected an array to write to.")
        for name, array in state.items():
            array.fill(values[name])

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield "weight" and "bias" with their `Parameter`s, where the layer has them."""
        for name in ("weight", "bias"):
            if getattr(self, name) is not None:
                yield name, self._parameter(name)

    def _parameter(self, name: str) -> Parameter:
        parameter = getattr(self, name)
        if not isinstance(parameter, Parameter):
            raise TypeError(f"{type(self).__name__}: {name} is {describe(parameter)}; expected a Parameter, or None.")
        return parameter

    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = {name: parameter.data for name, parameter in self.named_parameters()}
        if self.track_running_stats:
            state.update((name, getattr(self, name)) for name in ("running_mean", "running_var", "num_batches_tracked"))
        return state

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_context": None}  # a copy has made no forward pass

    def _repr_arguments(self) -> str:
        told = {name: getattr(self, name) for name in ("eps", "momentum", "affine")}
        told |= {"bias": self.bias is not None, "track_running_stats": self.track_running_stats}
        for name, usual in (("dtype", np.dtype(np.float32)), ("layout", "NCHW"), ("activation", None)):
            if getattr(self, name) != usual:
                told[name] = str(self.dtype) if name == "dtype" else getattr(self, name)
        return ", ".join([str(self.num_features), *(f"{name}={value!r}" for name, value in told.items())])


def _float_type(where: str, dtype: Any) -> np.dtype[Any]:
    try:
        return SUPPORTED[SUPPORTED.index(np.dtype(dtype))]
    except (TypeError, ValueError):
        raise TypeError(f"{where}={shown(dtype)}; expected np.float32 or np.float64.") from None


def _gradient(parameter: Parameter | None) -> Array | None:
    if parameter is None:
        return None
    gradient: Array | None = parameter.grad
    return np.zeros_like(parameter.data) if gradient is None else gradient


class BatchNorm1d(_BatchNorm):
    """Normalise each channel of (N, C) or (N, C, L): `torch.nn.BatchNorm1d`.

        y = (x - mean) / sqrt(variance + eps) * weight + bias

    In training, mean and (biased) variance are those of the batch, for each channel, and the running statistics move
    towards them: running <- momentum * new + (1 - momentum) * running, the new variance being the unbiased one. In
    evaluation the running statistics are used. Sums are taken in float64; the result has the same bits with any number
    of threads and any instruction set.

    Ioffe & Szegedy 2015, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate
    Shift", algorithm 1; the gradients are derived in docs/batch-norm.md.

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: the weight of the newest batch in the running statistics; None for their plain average so far.
        affine: whether to have a weight, which starts at 1, and a bias, which starts at 0.
        track_running_stats: whether to keep running statistics. Without, those of the batch are used in evaluation too.
        dtype: np.float32 or np.float64, of x and of everything the layer keeps.
        bias: with False there is no bias, even where affine.
        layout: "NCHW" for channels first, as in torch, or "NHWC" for channels last: (N, L, C).
        activation: None or "relu": max(y, 0), in the same pass.

    Attributes:
        weight, bias: `Parameter`s of shape (C,), or None.
        running_mean, running_var: arrays of shape (C,), or None.
        num_batches_tracked: how many batches they have seen.

    Raises:
        TypeError, ValueError: an argument is out of range; the message names it.

    >>> bn = BatchNorm1d(2)
    >>> y = bn(np.array([[1, 10], [3, 30]], np.float32))
    >>> y.round(3).tolist(), bn.running_mean
    ([[-1.0, -1.0], [1.0, 1.0]], array([0.2, 2. ], dtype=float32))
    >>> dx = bn.backward(np.array([[1, 0], [0, 0]], np.float32))
    >>> dx.shape, bn.bias.grad.tolist()
    ((2, 2), [1.0, 0.0])
    """

    _ndims = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Normalise each channel of (N, C, H, W), or with layout="NHWC" of (N, H, W, C): `torch.nn.BatchNorm2d`.

    Formula, arguments, attributes and errors are those of `BatchNorm1d`.
    """

    _ndims = (4,)


class BatchNorm3d(_BatchNorm):
    """Normalise each channel of (N, C, D, H, W), or with layout="NHWC" of (N, D, H, W, C): `torch.nn.BatchNorm3d`.

    Formula, arguments, attributes and errors are those of `BatchNorm1d`.
    """

    _ndims = (5,)
