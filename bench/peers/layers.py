"""Who else runs each pass of the layers, beside ravine: NumPy and torch; and the copy that moves as many bytes."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from ravine import config
from ravine._extras import require
from ravine.benchmark import layers
from ravine.benchmark.layers import EPS, MOMENTUM, Contender
from ravine.benchmark.timing import interleaved, repeated

from .numpy_layers import BatchNorm, BatchNormInPlace, Dropout, DropoutInPlace
from .numpy_memory import threads_for
from .team import together

if TYPE_CHECKING:
    from ravine.benchmark.layers import Batch
    from ravine.benchmark.session import Effort
    from ravine.benchmark.workloads import Array, Shape

CONTENDERS = ("ravine", "ravine_new", "numpy", "numpy_new", "torch")

# What may lie between two results, as part of the largest value, by the size of their type.
_TOLERANCES = {4: 1e-4, 8: 1e-10}
# Where y is nearer to 0, rounding (NumPy sums 400 000 float32 one by one) may decide what ReLU does; there, dy is 0.
_NEAR_ZERO = 1e-3


class WrongResultError(Exception):
    """A contender computes something else than NumPy."""


class Case(ABC):
    """One pass of a layer over one batch, and everyone who runs it.

    Args:
        layer: one of `ravine.benchmark.layers.LAYERS`.
        batch: what it is run on.
        options: what the pass is.
    """

    def __init__(self, layer: str, batch: Batch, options: Mapping[str, Any]) -> None:
        self.batch = batch
        self.options = options
        self.backward = bool(options.get("backward"))
        self._ours = layers.LAYERS[layer].ours

    def ravine(self) -> Contender:
        """Return ravine with `out=`."""
        return self._ours(self.batch, self.batch.out, **self.options)

    def ravine_new(self) -> Contender:
        """Return ravine with a new array as result."""
        return self._ours(self.batch, None, **self.options)

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

    def __init__(self, layer: str, batch: Batch, options: Mapping[str, Any]) -> None:
        super().__init__(layer, batch, options)
        self.training: bool = options["training"]
        self.relu = bool(options.get("relu"))

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
            return whole.movedim(-1, 1) if batch.layout == "NHWC" else whole

        def array(result: Any) -> Array:
            whole: Array = (result.movedim(1, -1) if batch.layout == "NHWC" else result).numpy()
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

    def __init__(self, layer: str, batch: Batch, options: Mapping[str, Any]) -> None:
        super().__init__(layer, batch, options)
        self.p: float = options["p"]

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


# Those of real models.
SHAPES: dict[str, list[Shape]] = {
    "batch_norm": [
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
    "dropout": [(32, 512, 768), (128, 4096)],
}


def make(shape: Shape, layout: str, dtype: str) -> Batch:
    """Return what `ravine.benchmark.layers.make` returns, but such that results can be compared whoever computed them.

    Where ReLU is a matter of rounding, there is no gradient.
    """
    batch = layers.make(shape, layout, dtype)
    y = BatchNorm(batch, training=True, relu=False).forward()
    batch.dy[np.abs(y) < _NEAR_ZERO] = 0
    return batch


_CASES: dict[str, type[Case]] = {"batch_norm": BatchNormCase, "dropout": DropoutCase}
PASSES = [(layer, operation) for layer in _CASES for operation in layers.LAYERS[layer].passes]


def case(layer: str, operation: str, batch: Batch) -> Case:
    """Return one of `PASSES` over a batch."""
    return _CASES[layer](layer, batch, layers.LAYERS[layer].passes[operation])


def measure(
    case: Case, effort: Effort, torch: bool, others: Mapping[str, Contender] | None = None
) -> dict[str, list[float]]:
    """Return the times of all contenders and of the copy, round by round.

    Args:
        case: what to measure.
        effort: how long to measure.
        torch: whether to measure torch.
        others: who else is to be measured, by name.

    Raises:
        WrongResultError: a contender does not compute what NumPy does.
    """
    names = ["ravine", "ravine_new", "numpy", "numpy_new", *["torch"] * torch]
    runs = {name: case.contender(name).run for name in names}
    runs |= {name: case.checked(name, contender).run for name, contender in (others or {}).items()}
    timed = {name: repeated(run, effort.seconds) for name, run in runs.items()}
    parts = case.copy()
    timed["copy"] = together(parts, effort.seconds)
    return interleaved(timed, effort.rounds, settle=torch or bool(others) or len(parts) > 1)


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
