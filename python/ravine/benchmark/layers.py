"""Batch norm and dropout under measurement: each pass through ravine and `ravine.reference`; `ravine bench layers`."""

from __future__ import annotations

import argparse
import math
import statistics
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ravine import config, nn
from ravine.benchmark.session import FULL, QUICK, Effort, RowT, add_options, readable, session, write
from ravine.benchmark.timing import interleaved, median_ratio, repeated
from ravine.benchmark.workloads import Array, Shape
from ravine.nn.functional import LAYOUTS
from ravine.reference.batchnorm import batch_norm, batch_norm_backward
from ravine.reference.dropout import dropout, dropout_backward

MOMENTUM = 0.1
EPS = 1e-5

PLACES = {"NCHW": "channels first", "NHWC": "channels last"}

_BATCH_NORMS = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}

_LEGEND = """
On a machine that is busy with other things the figures mean little.
NumPy      time of the same in plain NumPy, `ravine.reference`, median; its sums have the order that gives the same bits
new        that of ravine returning a new array, as NumPy does; a large one costs what it takes to get its pages
out=       that of ravine writing to an array that is there
vs NumPy   how many times faster than NumPy"""


@dataclass(frozen=True)
class Batch:
    """What a layer is measured on. All contenders share x, dy and out, and keep statistics of their own.

    Attributes:
        x: (N, C), (N, C, ...) or, channels last, (N, ..., C).
        dy: the gradient by the result, like x.
        out: where to write results, like x.
        weight, bias, running_mean, running_var: of shape (C,).
        layout: one of `ravine.nn.functional.LAYOUTS`.
    """

    x: Array
    dy: Array
    out: Array
    weight: Array
    bias: Array
    running_mean: Array
    running_var: Array
    layout: str

    @property
    def channels_last(self) -> bool:
        """Whether the channels are the last axis."""
        return self.layout == "NHWC"


def make(shape: Shape, layout: str, dtype: str) -> Batch:
    """Return a batch of normal random numbers.

    Args:
        shape: (N, C, ...), also where the layout is channels last.
        layout: one of `ravine.nn.functional.LAYOUTS`.
        dtype: of all arrays.
    """
    rng = np.random.default_rng(0)
    stored = (shape[0], *shape[2:], shape[1]) if layout == "NHWC" else shape
    kind = np.float32 if dtype == "float32" else np.float64
    weight, bias, running_mean, running_var = (rng.standard_normal(shape[1], kind) for _ in range(4))
    x, dy = rng.standard_normal(stored, kind), rng.standard_normal(stored, kind)
    # A copy, not an empty array: whoever wrote first to pages that were never touched would pay for that.
    return Batch(x, dy, x.copy(), weight, bias, running_mean, np.abs(running_var) + kind(0.5), layout)


@dataclass(frozen=True)
class Contender:
    """Who runs a pass.

    Attributes:
        run: does it once.
        results: returns what was computed, in the layout of x, given what `run` returned.
    """

    run: Callable[[], Any]
    results: Callable[[Any], Sequence[Array]]


class Pass(ABC):
    """One pass of a layer over one batch."""

    def __init__(self, batch: Batch, backward: bool) -> None:
        self.batch = batch
        self.backward = backward

    @abstractmethod
    def ours(self, out: Array | None) -> Contender:
        """Return ravine, which writes to `out`, or to a new array."""

    @abstractmethod
    def reference(self) -> Contender:
        """Return plain NumPy, whose results are new."""


class BatchNormPass(Pass):
    """A pass of batch norm. Its results are y and the running statistics, or the gradients by x, weight and bias."""

    def __init__(self, batch: Batch, *, training: bool, backward: bool = False, relu: bool = False) -> None:
        super().__init__(batch, backward)
        self.training = training
        self.relu = relu

    def ours(self, out: Array | None) -> Contender:  # noqa: D102
        batch = self.batch
        layer = _BATCH_NORMS[batch.x.ndim](
            batch.weight.size,
            EPS,
            MOMENTUM,
            dtype=batch.x.dtype,
            layout=batch.layout,
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

    def reference(self) -> Contender:  # noqa: D102
        batch = self.batch
        running = [batch.running_mean.copy(), batch.running_var.copy()]
        form: dict[str, Any] = {"layout": batch.layout, "activation": "relu" if self.relu else None}
        forward = partial(
            batch_norm,
            *(batch.x, batch.weight, batch.bias, *running),
            **form,
            training=self.training,
            momentum=MOMENTUM,
            eps=EPS,
        )
        if not self.backward:
            return Contender(forward, lambda result: [result[0], *running])
        _, saved = forward()
        return Contender(
            partial(batch_norm_backward, batch.dy, batch.x, saved, **form), lambda gradients: gradients[:3]
        )


class DropoutPass(Pass):
    """A pass of dropout. Its results are what it returns, and an array that is not 0 where elements were kept."""

    def __init__(self, batch: Batch, *, p: float, backward: bool = False) -> None:
        super().__init__(batch, backward)
        self.p = p

    def ours(self, out: Array | None) -> Contender:  # noqa: D102
        layer, x, dy = nn.Dropout(self.p, seed=0), self.batch.x, self.batch.dy
        if not self.backward:
            return Contender(lambda: layer(x, out=out), lambda y: [y, y])
        y = layer(x)
        return Contender(lambda: layer.backward(dy, out=out), lambda dx: [dx, y])

    def reference(self) -> Contender:  # noqa: D102
        forward = partial(dropout, self.batch.x, self.p, seed=0)
        if not self.backward:
            return Contender(forward, lambda result: result)
        _, mask = forward()
        return Contender(partial(dropout_backward, self.batch.dy, mask, self.p), lambda dx: [dx, mask])


@dataclass(frozen=True)
class Layer:
    """A layer under measurement.

    Attributes:
        title: its name in words.
        shapes: those measured by default.
        passes: what makes each `Pass` over a batch.
        has_layouts: whether it matters where the channels are.
        make: makes a batch.
    """

    title: str
    shapes: Sequence[Shape]
    passes: Mapping[str, partial[Any]]
    has_layouts: bool
    make: Callable[[Shape, str, str], Batch] = make

    def layouts(self, shape: Shape) -> tuple[str, ...]:
        """Return the layouts in which a batch is measured."""
        return LAYOUTS if self.has_layouts and len(shape) > 2 else LAYOUTS[:1]


LAYERS = {
    "batch_norm": Layer(
        "batch norm",
        [(32, 256, 56, 56), (32, 256, 14, 14), (32, 2048, 7, 7), (256, 1024)],
        {
            "training": partial(BatchNormPass, training=True),
            "training, ReLU": partial(BatchNormPass, training=True, relu=True),
            "evaluation": partial(BatchNormPass, training=False),
            "backward": partial(BatchNormPass, training=True, backward=True),
            "backward, ReLU": partial(BatchNormPass, training=True, backward=True, relu=True),
        },
        has_layouts=True,
    ),
    "dropout": Layer(
        "dropout",
        [(32, 512, 768), (128, 4096)],
        {
            f"{name}, p={p}": partial(DropoutPass, p=p, backward=name == "backward")
            for p in (0.1, 0.5)
            for name in ("forward", "backward")
        },
        has_layouts=False,
    ),
}


@dataclass(frozen=True)
class Result:
    """What was measured of one pass over one batch; ratios are medians of ratios taken round by round.

    Those that begin with "new" are of a new result, the others of `out=`.
    """

    layer: str
    shape: Shape
    layout: str
    operation: str
    numpy_seconds: float
    new_seconds: float
    new_vs_numpy: float
    seconds: float
    vs_numpy: float

    def row(self) -> str:
        """Return it as a line of the table."""
        line = f"{self.operation:18}{readable(self.numpy_seconds):>10}"
        for seconds, ratio in ((self.new_seconds, self.new_vs_numpy), (self.seconds, self.vs_numpy)):
            line += f"{readable(seconds):>13}{ratio:9.1f}x"
        return line


def measure(case: Pass, effort: Effort) -> dict[str, list[float]]:
    """Return the times of ravine with `out=` and without, and of NumPy, round by round."""
    runs = {"ravine": case.ours(case.batch.out).run, "new": case.ours(None).run, "numpy": case.reference().run}
    timed = {name: repeated(run, effort.seconds) for name, run in runs.items()}
    return interleaved(timed, effort.rounds, settle=config.get_num_threads() > 1)


def shape_of(text: str) -> Shape:
    """Return a shape, as the type of an option."""
    sizes = text.split("x")
    if not 2 <= len(sizes) <= 5 or not all(size.isdecimal() and int(size) for size in sizes):
        raise argparse.ArgumentTypeError(f"{text!r} is not a shape of 2 to 5 dimensions, such as 32x256x14x14")
    shape = tuple(map(int, sizes))
    if math.prod(shape) == shape[1]:
        raise argparse.ArgumentTypeError(f"{text!r} has one value a channel; training needs at least 2")
    return shape


def add_parser(commands: Any, optimizers: argparse.ArgumentParser) -> None:
    """Add `layers` to the commands.

    Args:
        commands: what `ArgumentParser.add_subparsers` returned.
        optimizers: the parser they are part of. The options that both have may come before or after `layers`.
    """
    parser = commands.add_parser(
        "layers",
        help="batch norm and dropout; see `ravine bench layers --help`",
        usage="ravine bench layers [OPTIONS]",
        description="Measure batch norm and dropout on this machine, against NumPy.",
        argument_default=argparse.SUPPRESS,
    )
    add_choices(parser, LAYERS)

    def run_alone(arguments: argparse.Namespace) -> None:
        if arguments.workload or arguments.optimizer:
            optimizers.error("--workload and --optimizer are for the optimizers, not for the layers")
        run(arguments)

    parser.set_defaults(run=run_alone)


def add_choices(
    parser: argparse.ArgumentParser,
    layers: Mapping[str, Layer],
    shape: Callable[[str], object] = shape_of,
    more: str = "",
) -> None:
    """Add the options that say what to measure, and those that all measurements share.

    Args:
        parser: to add them to.
        layers: by name.
        shape: the type of `--shapes`.
        more: what its help says beside the default.
    """
    parser.add_argument(
        "--layer",
        action="append",
        choices=layers,
        metavar="NAME",
        default=None,
        help=f"{' or '.join(layers)}; may be repeated; default: both",
    )
    defaults = "; ".join(f"{', '.join(map(written, each.shapes))} for {each.title}" for each in layers.values())
    parser.add_argument(
        "--shapes",
        nargs="+",
        type=shape,
        metavar="NxCxHxW",
        default=None,
        help=f"of 2 to 5 dimensions, the channels second also where the layout is channels last; {more}default: "
        f"{defaults}",
    )
    add_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Measure what the command line asks for, and print a table.

    Raises:
        ValueError: the results cannot be written.
    """
    head = f"{'':18}{'NumPy':>10}{'new':>13}{'vs NumPy':>10}{'out=':>13}{'vs NumPy':>10}"
    with session(arguments) as machine:
        results = list(results_of(arguments, LAYERS, head, _result))
        print(_LEGEND)
    write(arguments, machine, results)


def _result(case: Pass, effort: Effort, about: Mapping[str, Any]) -> Result:
    times = measure(case, effort)
    return Result(
        **about,
        numpy_seconds=statistics.median(times["numpy"]),
        new_seconds=statistics.median(times["new"]),
        new_vs_numpy=median_ratio(times["numpy"], times["new"]),
        seconds=statistics.median(times["ravine"]),
        vs_numpy=median_ratio(times["numpy"], times["ravine"]),
    )


def results_of(
    arguments: argparse.Namespace,
    layers: Mapping[str, Layer],
    head: str,
    result_of: Callable[[Any, Effort, Mapping[str, Any]], RowT],
) -> Iterator[RowT]:
    """Measure each pass over each batch that the command line asks for, printing each result as it comes.

    Args:
        arguments: of the command line.
        layers: by name.
        head: of each table.
        result_of: measures a pass and returns its result, with the layer, shape, layout and operation that it is told.
    """
    for name in arguments.layer or layers:
        layer = layers[name]
        for shape in arguments.shapes or layer.shapes:
            for layout in layer.layouts(shape):
                place = f", {PLACES[layout]}" if len(layer.layouts(shape)) > 1 else ""
                print(f"\n{layer.title}, {written(shape)} ({math.prod(shape):,} elements){place}\n{head}")
                batch = layer.make(shape, layout, arguments.dtype)
                for operation, case in layer.passes.items():
                    about = {"layer": name, "shape": shape, "layout": layout, "operation": operation}
                    result = result_of(case(batch), QUICK if arguments.quick else FULL, about)
                    print(result.row(), flush=True)
                    yield result


def written(shape: Shape) -> str:
    """Return a shape as the command line has it."""
    return "x".join(map(str, shape))
