"""The layers under measurement, who runs each of their passes, and the copy that moves as many bytes."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ravine import config, nn
from ravine._extras import require
from ravine.benchmark.memory import threads_for
from ravine.benchmark.numpy_layers import (
    EPS,
    MOMENTUM,
    Array,
    Batch,
    BatchNorm,
    BatchNormInPlace,
    Dropout,
    DropoutInPlace,
)
from ravine.benchmark.workloads import Shape
from ravine.nn.functional import LAYOUTS

CONTENDERS = ("ravine", "ravine_new", "numpy", "numpy_new", "torch")

# What may lie between two results, as part of the largest value, by the size of their type.
_TOLERANCES = {4: 1e-4, 8: 1e-10}
# Where y is nearer to 0, rounding (NumPy sums 400 000 float32 one by one) may decide what ReLU does; there, dy is 0.
_NEAR_ZERO = 1e-3

_BATCH_NORMS = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}


class WrongResultError(Exception):
    """A contender computes something else than NumPy."""


@dataclass(frozen=True)
class Contender:
    """Who runs a pass.

    Attributes:
        run: does it once.
        results: returns what was computed, in the layout of x, given what `run` returned.
    """

    run: Callable[[], Any]
    results: Callable[[Any], Sequence[Array]]


class Case(ABC):
    """One pass of a layer over one batch."""

    def __init__(self, batch: Batch, backward: bool) -> None:
        self.batch = batch
        self.backward = backward

    @abstractmethod
    def ravine(self) -> Contender:
        """Return ravine with `out=`."""

    @abstractmethod
    def ravine_new(self) -> Contender:
        """Return ravine with a new array as result."""

    @abstractmethod
    def numpy(self) -> Contender:
        """Return NumPy with `out=`."""

    @abstractmethod
    def numpy_new(self) -> Contender:
        """Return NumPy in the usual expressions."""

    @abstractmethod
    def torch(self) -> Contender:
        """Return torch, on as many threads as ravine; its result is always new.

        Raises:
            MissingExtraError: torch is not installed.
        """

    @abstractmethod
    def check(self, results: Sequence[Array]) -> None:
        """Raise WrongResultError unless these are a contender's results after a first run."""

    @abstractmethod
    def copy(self) -> list[Callable[[], object]]:
        """Return what moves the bytes that the pass has to move, in parts for as many threads as ravine uses."""

    def contender(self, name: str) -> Contender:
        """Return one of `CONTENDERS`, whose first run has been checked.

        Raises:
            WrongResultError: it does not compute what NumPy does.
            MissingExtraError: it is torch, which is not installed.
        """
        return self.checked(name, getattr(self, name)())

    def checked(self, name: str, contender: Contender) -> Contender:
        """Return a contender whose first run has been checked.

        Raises:
            WrongResultError: it does not compute what NumPy does; the message begins with the name.
        """
        try:
            self.check(contender.results(contender.run()))
        except WrongResultError as error:
            raise WrongResultError(f"{name}: {error}") from None
        return contender


class BatchNormCase(Case):
    """A pass of batch norm. Its results are y and the running statistics, or the gradients by x, weight and bias."""

    def __init__(self, batch: Batch, *, training: bool, backward: bool = False, relu: bool = False) -> None:
        super().__init__(batch, backward)
        self.training = training
        self.relu = relu

    def ravine(self) -> Contender:  # noqa: D102
        return self._ravine(self.batch.out)

    def ravine_new(self) -> Contender:  # noqa: D102
        return self._ravine(None)

    def _ravine(self, out: Array | None) -> Contender:
        batch = self.batch
        layer = _BATCH_NORMS[batch.x.ndim](
            batch.weight.size,
            EPS,
            MOMENTUM,
            dtype=batch.x.dtype,
            layout=LAYOUTS[batch.channels_last],
            activation="relu" if self.relu else None,
        ).train(self.training)
        layer.load_state_dict(
            {
                "weight": batch.weight,
                "bias": batch.bias,
                "running_mean": batch.running_mean,
                "running_var": batch.running_var,
                "num_batches_tracked": 0,
            }
        )
        if self.backward:
            layer(batch.x)
            return Contender(
                lambda: layer.backward(batch.dy, out=out),
                lambda dx: [dx, *(parameter.grad for parameter in layer.parameters() if parameter.grad is not None)],
            )
        state = layer.state_dict
        return Contender(
            lambda: layer(batch.x, out=out), lambda y: [y, state()["running_mean"], state()["running_var"]]
        )

    def numpy(self) -> Contender:  # noqa: D102
        form = BatchNormInPlace(self.batch, self.training, self.relu)
        if self.backward:
            form.forward()
            form.keep_result()
            return Contender(form.backward, lambda gradients: [self.batch.out, *gradients])
        return Contender(form.forward, lambda _: [self.batch.out, form.running_mean, form.running_var])

    def numpy_new(self) -> Contender:  # noqa: D102
        form = BatchNorm(self.batch, self.training, self.relu)
        if self.backward:
            form.forward()
            return Contender(form.backward, lambda gradients: gradients)
        return Contender(form.forward, lambda y: [y, form.running_mean, form.running_var])

    def torch(self) -> Contender:  # noqa: D102
        torch = _torch()
        batch = self.batch

        def tensor(array: Array) -> Any:
            """The batch in torch's shape; of channels-last memory, a view."""
            whole = torch.from_numpy(array)
            return whole.movedim(-1, 1) if batch.channels_last else whole

        def array(result: Any) -> Array:
            whole: Array = (result.movedim(1, -1) if batch.channels_last else result).numpy()
            return whole

        x, dy = tensor(batch.x), tensor(batch.dy)
        weight, bias = torch.from_numpy(batch.weight), torch.from_numpy(batch.bias)
        running = [torch.from_numpy(statistic.copy()) for statistic in (batch.running_mean, batch.running_var)]
        batch_norm, relu = torch.nn.functional.batch_norm, torch.nn.functional.relu_

        def forward() -> Any:
            return batch_norm(x, *running, weight, bias, self.training, MOMENTUM, EPS)

        def forward_relu() -> Any:
            return relu(batch_norm(x, *running, weight, bias, self.training, MOMENTUM, EPS))

        if not self.backward:
            return Contender(
                forward_relu if self.relu else forward, lambda y: [array(y), *(part.numpy() for part in running)]
            )
        y, mean, inv = torch.native_batch_norm(x, weight, bias, *running, self.training, MOMENTUM, EPS)
        y = relu(y)
        gradient, relu_gradient = torch.ops.aten.native_batch_norm_backward, torch.ops.aten.threshold_backward

        def backward() -> Any:
            return gradient(dy, x, weight, *running, mean, inv, self.training, EPS, [True, True, True])

        def backward_relu() -> Any:
            g = relu_gradient(dy, y, 0)
            return gradient(g, x, weight, *running, mean, inv, self.training, EPS, [True, True, True])

        return Contender(
            backward_relu if self.relu else backward,
            lambda gradients: [array(gradients[0]), gradients[1].numpy(), gradients[2].numpy()],
        )

    @cached_property
    def _expected(self) -> Sequence[Array]:
        reference = self.numpy_new()
        return reference.results(reference.run())

    def check(self, results: Sequence[Array]) -> None:  # noqa: D102
        names = ("dx", "dweight", "dbias") if self.backward else ("y", "running_mean", "running_var")
        for name, result, expected in zip(names, results, self._expected, strict=True):
            _compare(name, result, expected.reshape(result.shape))

    def copy(self) -> list[Callable[[], object]]:  # noqa: D102
        batch = self.batch
        return _in_parts(np.add, batch.x, batch.dy, batch.out) if self.backward else _copy(batch.x, batch.out)


class DropoutCase(Case):
    """A pass of dropout. Its results are what it returns, and an array that is not 0 where elements were kept."""

    def __init__(self, batch: Batch, *, p: float, backward: bool = False) -> None:
        super().__init__(batch, backward)
        self.p = p

    def ravine(self) -> Contender:  # noqa: D102
        return self._ravine(self.batch.out)

    def ravine_new(self) -> Contender:  # noqa: D102
        return self._ravine(None)

    def _ravine(self, out: Array | None) -> Contender:
        layer, x, dy = nn.Dropout(self.p, seed=0), self.batch.x, self.batch.dy
        if not self.backward:
            return Contender(lambda: layer(x, out=out), lambda y: [y, y])
        y = layer(x)
        return Contender(lambda: layer.backward(dy, out=out), lambda dx: [dx, y])

    def numpy(self) -> Contender:  # noqa: D102
        out = self.batch.out
        form = DropoutInPlace(self.p, np.random.default_rng(0), self.batch.x, self.batch.dy, out)
        if not self.backward:
            return Contender(form.forward, lambda _: [out, form.mask])
        form.forward()
        return Contender(form.backward, lambda _: [out, form.mask])

    def numpy_new(self) -> Contender:  # noqa: D102
        form = Dropout(self.p, np.random.default_rng(0))
        if not self.backward:
            return Contender(partial(form.forward, self.batch.x), lambda y: [y, form.mask])
        form.forward(self.batch.x)
        return Contender(partial(form.backward, self.batch.dy), lambda dx: [dx, form.mask])

    def torch(self) -> Contender:  # noqa: D102
        torch = _torch()
        x, dy = torch.from_numpy(self.batch.x), torch.from_numpy(self.batch.dy)
        dropout = torch.nn.functional.dropout
        if not self.backward:
            return Contender(lambda: dropout(x, self.p), lambda y: [y.numpy(), y.numpy()])
        # Autograd multiplies by this very array; torch's native_dropout, which keeps bits, is for GPUs.
        noise = dropout(torch.ones_like(x), self.p)
        return Contender(lambda: dy * noise, lambda dx: [dx.numpy(), noise.numpy()])

    def check(self, results: Sequence[Array]) -> None:  # noqa: D102
        result, kept = results[0], results[1] != 0
        source = self.batch.dy if self.backward else self.batch.x
        _compare("dx" if self.backward else "y", result, source * kept / (1 - self.p))
        # Six standard deviations, and what rounding p to 1/65536 does.
        leeway = 6 * math.sqrt(self.p * (1 - self.p) / kept.size) + 2**-17
        if abs(kept.mean() - (1 - self.p)) > leeway:
            raise WrongResultError(f"{kept.mean():.3%} of the elements are kept; expected {1 - self.p:.3%}.")

    def copy(self) -> list[Callable[[], object]]:  # noqa: D102
        return _copy(self.batch.dy if self.backward else self.batch.x, self.batch.out)


@dataclass(frozen=True)
class Layer:
    """A layer under measurement.

    Attributes:
        title: its name in words.
        shapes: those of real models.
        passes: what makes the case of each pass.
        has_layouts: whether it matters where the channels are.
    """

    title: str
    shapes: Sequence[Shape]
    passes: Mapping[str, Callable[[Batch], Case]]
    has_layouts: bool

    def layouts(self, shape: Shape) -> tuple[str, ...]:
        """Return the layouts in which a batch is measured."""
        return LAYOUTS if self.has_layouts and len(shape) > 2 else LAYOUTS[:1]


LAYERS = {
    "batch_norm": Layer(
        "batch norm",
        [
            (32, 64, 112, 112),
            (32, 64, 56, 56),
            (32, 256, 56, 56),
            (32, 128, 28, 28),
            (32, 512, 28, 28),
            (32, 256, 14, 14),
            (32, 1024, 14, 14),
            (32, 512, 7, 7),
            (32, 2048, 7, 7),
            (1, 64, 56, 56),
            (8, 17, 33, 27),
            (8, 3, 224, 224),
            (64, 32),
            (256, 1024),
            (128, 512),
        ],
        {
            "training": partial(BatchNormCase, training=True),
            "training, ReLU": partial(BatchNormCase, training=True, relu=True),
            "evaluation": partial(BatchNormCase, training=False),
            "backward": partial(BatchNormCase, training=True, backward=True),
            "backward, ReLU": partial(BatchNormCase, training=True, backward=True, relu=True),
        },
        has_layouts=True,
    ),
    "dropout": Layer(
        "dropout",
        [(32, 512, 768), (128, 4096)],
        {
            f"{name}, p={p}": partial(DropoutCase, p=p, backward=name == "backward")
            for p in (0.1, 0.5)
            for name in ("forward", "backward")
        },
        has_layouts=False,
    ),
}


def make(shape: Shape, layout: str, dtype: npt.DTypeLike) -> Batch:
    """Return a batch of normal random numbers, whose results can be compared whoever computed them.

    Args:
        shape: (N, C, ...), also where the layout is channels last.
        layout: one of `ravine.nn.functional.LAYOUTS`.
        dtype: of all arrays.
    """
    rng = np.random.default_rng(0)
    channels_last = layout == "NHWC"
    stored = (shape[0], *shape[2:], shape[1]) if channels_last else shape

    kind = np.float32 if np.dtype(dtype).itemsize == 4 else np.float64
    weight, bias, running_mean, running_var = (rng.standard_normal(shape[1], kind) for _ in range(4))
    x, dy = rng.standard_normal(stored, kind), rng.standard_normal(stored, kind)
    # A copy, not an empty array: whoever wrote first to pages that were never touched would pay for that.
    batch = Batch(x, dy, x.copy(), weight, bias, running_mean, np.abs(running_var) + kind(0.5), channels_last)
    y = BatchNorm(batch, training=True, relu=False).forward()
    dy[np.abs(y) < _NEAR_ZERO] = 0
    return batch


def _torch() -> Any:
    torch = require("torch", "oracles")
    torch.set_num_threads(config.get_num_threads())
    return torch


def _copy(source: Array, out: Array) -> list[Callable[[], object]]:
    return _in_parts(lambda part, out: np.copyto(out, part), source, out)


def _in_parts(function: Callable[..., object], *arrays: Array) -> list[Callable[[], object]]:
    threads = threads_for(sum(array.nbytes for array in arrays))
    parts = (np.array_split(array.reshape(-1), threads) for array in arrays)
    return [partial(function, *part) for part in zip(*parts, strict=True)]


def _compare(name: str, result: Array, expected: Array) -> None:
    difference = np.abs(result - expected)
    if not difference.max() <= _TOLERANCES[expected.itemsize] * np.abs(expected).max():  # nor if it is NaN
        raise WrongResultError(f"{name} differs from NumPy's by up to {difference.max():.3g}.")
