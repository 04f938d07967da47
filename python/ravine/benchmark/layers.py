"""Batch norm and dropout under measurement: each pass through ravine and `ravine.reference`; `ravine bench layers`."""

from __future__ import annotations

import argparse
import math
import statistics
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
from ravine.reference import batchnorm
from ravine.reference import dropout as reference_dropout

MOMENTUM = 0.1
EPS = 1e-5

_PLACES = {"NCHW": "channels first", "NHWC": "channels last"}

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
    def shape(self) -> Shape:
        """That of x with the channels second, also where they are last."""
        n, *others = self.x.shape
        return (n, others[-1], *others[:-1]) if self.layout == "NHWC" else (n, *others)


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


def batch_norm(
    batch: Batch, out: Array | None, *, training: bool, backward: bool = False, relu: bool = False
) -> Contender:
    """Return ravine's batch norm. Its results are y and the running statistics, or gradients by x, weight and bias."""
    layer = _BATCH_NORMS[batch.x.ndim](
        batch.weight.size,
        EPS,
        MOMENTUM,
        dtype=batch.x.dtype,
        layout=batch.layout,
        activation="relu" if relu else None,
    ).train(training)
    layer.load_state_dict(
        {
            "weight": batch.weight,
            "bias": batch.bias,
            "running_mean": batch.running_mean,
            "running_var": batch.running_var,
            "num_batches_tracked": 0,
        }
    )
    if backward:
        layer(batch.x)
        return Contender(
            lambda: layer.backward(batch.dy, out=out),
            lambda dx: [dx, *(parameter.grad for parameter in layer.parameters() if parameter.grad is not None)],
        )
    state = layer.state_dict
    return Contender(lambda: layer(batch.x, out=out), lambda y: [y, state()["running_mean"], state()["running_var"]])


def _batch_norm_in_numpy(batch: Batch, *, training: bool, backward: bool = False, relu: bool = False) -> Contender:
    running = [batch.running_mean.copy(), batch.running_var.copy()]
    arrays = (batch.x, batch.weight, batch.bias, *running)
    form: dict[str, Any] = {"layout": batch.layout, "activation": "relu" if relu else None}
    forward = partial(batchnorm.batch_norm, *arrays, **form, training=training, momentum=MOMENTUM, eps=EPS)
    if not backward:
        return Contender(forward, lambda result: [result[0], *running])
    _, saved = forward()
    run = partial(batchnorm.batch_norm_backward, batch.dy, batch.x, saved, **form)
    return Contender(run, lambda gradients: gradients[:3])


def dropout(batch: Batch, out: Array | None, *, p: float, backward: bool = False) -> Contender:
    """Return ravine's dropout. Its results are what it returns, and an array that is not 0 where elements were kept."""
    layer, x, dy = nn.Dropout(p, seed=0), batch.x, batch.dy
    if not backward:
        return Contender(lambda: layer(x, out=out), lambda y: [y, y])
    y = layer(x)
    return Contender(lambda: layer.backward(dy, out=out), lambda dx: [dx, y])


def _dropout_in_numpy(batch: Batch, *, p: float, backward: bool = False) -> Contender:
    forward = partial(reference_dropout.dropout, batch.x, p, seed=0)
    if not backward:
        return Contender(forward, lambda result: result)
    _, mask = forward()
    return Contender(partial(reference_dropout.dropout_backward, batch.dy, mask, p), lambda dx: [dx, mask])


@dataclass(frozen=True)
class Layer:
    """A layer under measurement.

    Attributes:
        title: its name in words.
        ours: returns ravine, given a batch, where to write to (None for a new array), and what a pass is.
        reference: returns plain NumPy likewise, whose results are new.
        passes: what each is, by name.
        shapes: those measured by default.
        has_layouts: whether it matters where the channels are.
    """

    title: str
    ours: Callable[..., Contender]
    reference: Callable[..., Contender]
    passes: Mapping[str, Mapping[str, Any]]
    shapes: Sequence[Shape]
    has_layouts: bool = False

    def layouts(self, shape: Shape) -> tuple[str, ...]:
        """Return the layouts in which a batch is measured."""
        return LAYOUTS if self.has_layouts and len(shape) > 2 else LAYOUTS[:1]


LAYERS = {
    "batch_norm": Layer(
        "batch norm",
        batch_norm,
        _batch_norm_in_numpy,
        {
            "training": {"training": True},
            "training, ReLU": {"training": True, "relu": True},
            "evaluation": {"training": False},
            "backward": {"training": True, "backward": True},
            "backward, ReLU": {"training": True, "backward": True, "relu": True},
        },
        [(32, 256, 56, 56), (32, 256, 14, 14), (32, 2048, 7, 7), (256, 1024)],
        has_layouts=True,
    ),
    "dropout": Layer(
        "dropout",
        dropout,
        _dropout_in_numpy,
        {
            f"{name}, p={p}": {"p": p, "backward": name == "backward"}
            for p in (0.1, 0.5)
            for name in ("forward", "backward")
        },
        [(32, 512, 768), (128, 4096)],
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


def measure(batch: Batch, name: str, operation: str, effort: Effort) -> Result:
    """Measure a pass of one of `LAYERS`, with `out=` and without, against NumPy."""
    layer = LAYERS[name]
    options = layer.passes[operation]
    contenders = {
        "out": layer.ours(batch, batch.out, **options),
        "new": layer.ours(batch, None, **options),
        "numpy": layer.reference(batch, **options),
    }
    timed = {who: repeated(contender.run, effort.seconds) for who, contender in contenders.items()}
    times = interleaved(timed, effort.rounds, settle=config.get_num_threads() > 1)
    return Result(
        name,
        batch.shape,
        batch.layout,
        operation,
        numpy_seconds=statistics.median(times["numpy"]),
        new_seconds=statistics.median(times["new"]),
        new_vs_numpy=median_ratio(times["numpy"], times["new"]),
        seconds=statistics.median(times["out"]),
        vs_numpy=median_ratio(times["numpy"], times["out"]),
    )


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
    add_choices(parser)

    def run_alone(arguments: argparse.Namespace) -> None:
        if arguments.workload or arguments.optimizer:
            optimizers.error("--workload and --optimizer are for the optimizers, not for the layers")
        run(arguments)

    parser.set_defaults(run=run_alone)


def add_choices(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what to measure, and those that all measurements share."""
    parser.add_argument(
        "--layer",
        action="append",
        choices=LAYERS,
        metavar="NAME",
        default=None,
        help=f"{' or '.join(LAYERS)}; may be repeated; default: both",
    )
    defaults = "; ".join(f"{', '.join(map(_written, each.shapes))} for {each.title}" for each in LAYERS.values())
    parser.add_argument(
        "--shapes",
        nargs="+",
        type=_shape,
        metavar="NxCxHxW",
        default=None,
        help=f"of 2 to 5 dimensions, the channels second also where the layout is channels last; default: {defaults}",
    )
    add_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Measure what the command line asks for, and print a table.

    Raises:
        ValueError: the results cannot be written.
    """
    head = f"{'':18}{'NumPy':>10}{'new':>13}{'vs NumPy':>10}{'out=':>13}{'vs NumPy':>10}"
    with session(arguments) as machine:
        results = list(results_of(arguments, head, measure))
        print(_LEGEND)
    write(arguments, machine, results)


def results_of(
    arguments: argparse.Namespace,
    head: str,
    measure: Callable[[Batch, str, str, Effort], RowT],
    make: Callable[[Shape, str, str], Batch] = make,
    shapes: Mapping[str, Sequence[Shape]] | None = None,
) -> Iterator[RowT]:
    """Measure each pass over each batch that the command line asks for, printing each result as it comes.

    Args:
        arguments: of the command line.
        head: of each table.
        measure: returns the result for a batch, a layer, one of its passes, and an effort.
        make: makes a batch.
        shapes: those of each layer where the command line asks for none; by default the layer's own.
    """
    for name in arguments.layer or LAYERS:
        layer = LAYERS[name]
        for shape in arguments.shapes or (shapes[name] if shapes else layer.shapes):
            for layout in layer.layouts(shape):
                place = f", {_PLACES[layout]}" if len(layer.layouts(shape)) > 1 else ""
                print(f"\n{layer.title}, {_written(shape)} ({math.prod(shape):,} elements){place}\n{head}")
                batch = make(shape, layout, arguments.dtype)
                for operation in layer.passes:
                    result = measure(batch, name, operation, QUICK if arguments.quick else FULL)
                    print(result.row(), flush=True)
                    yield result


def _written(shape: Shape) -> str:
    """Return a shape as the command line has it."""
    return "x".join(map(str, shape))


def _shape(text: str) -> Shape:
    """Return a shape, as the type of an option."""
    sizes = text.split("x")
    if not 2 <= len(sizes) <= 5 or not all(size.isdecimal() and int(size) for size in sizes):
        raise argparse.ArgumentTypeError(f"{text!r} is not a shape of 2 to 5 dimensions, such as 32x256x14x14")
    shape = tuple(map(int, sizes))
    if math.prod(shape) == shape[1]:
        raise argparse.ArgumentTypeError(f"{text!r} has one value a channel; training needs at least 2")
    return shape
