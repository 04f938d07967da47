"""The command `ravine bench layers`."""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ravine.benchmark.layers import LAYERS, Case, Contender, make
from ravine.benchmark.session import FULL, QUICK, Effort, add_options, readable, session, write
from ravine.benchmark.timing import interleaved, median_ratio, repeated, together
from ravine.benchmark.workloads import Shape

# Measured by default.
SHAPES = {
    "batch_norm": ["32x256x56x56", "32x256x14x14", "32x2048x7x7", "256x1024"],
    "dropout": ["32x512x768", "128x4096"],
}
_PLACES = {"NCHW": "channels first", "NHWC": "channels last"}

_LEGEND = """
On a machine that is busy with other things the figures mean little. All results were compared with NumPy's first.
out=       time of ravine writing to an array that is there, median
new        time of ravine returning a new array, median; a large one costs what it takes to get its pages
vs copy    how many times faster than a copy of the data, or for the backward pass of batch norm than an addition of two
           arrays, on as many threads: a read, or two, and a write. Batch norm reads its data twice, but for evaluation
           and where they stay in the cache meanwhile
vs NumPy   how many times faster than NumPy; beside out= with out= too, in pieces that stay in the cache; beside new in
           the usual expressions"""
_TORCH_LEGEND = "\nvs torch   how many times faster than torch, which returns a new array, in the same layout"


@dataclass(frozen=True)
class Result:
    """What was measured of one pass over one batch; ratios are medians of ratios taken round by round.

    Those that begin with "new" are of a new result, the others of `out=`.
    """

    layer: str
    shape: Shape
    layout: str
    operation: str
    seconds: float
    vs_copy: float
    vs_numpy: float
    vs_torch: float | None
    new_seconds: float
    new_vs_numpy: float
    new_vs_torch: float | None

    def row(self) -> str:
        """Return it as a line of the table."""
        line = f"{self.operation:18}{readable(self.seconds):>10}{self.vs_copy:9.2f}x{self.vs_numpy:9.1f}x"
        line += _torch_cell(self.vs_torch)
        return line + f"{readable(self.new_seconds):>13}{self.new_vs_numpy:9.1f}x" + _torch_cell(self.new_vs_torch)


def _torch_cell(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:9.1f}x"


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
        description="Measure batch norm and dropout on this machine, against NumPy and against copying the data.",
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument(
        "--layer",
        action="append",
        choices=LAYERS,
        metavar="NAME",
        default=None,
        help=f"{' or '.join(LAYERS)}; may be repeated; default: both",
    )
    parser.add_argument(
        "--shapes",
        nargs="+",
        type=_shape,
        metavar="NxCxHxW",
        default=None,
        help="of 2 to 5 dimensions, the channels second also where the layout is channels last; all: those of common "
        "models; default: "
        + "; ".join(f"{', '.join(shapes)} for {LAYERS[layer].title}" for layer, shapes in SHAPES.items()),
    )
    add_options(parser)

    def run_alone(arguments: argparse.Namespace) -> None:
        if arguments.workload or arguments.optimizer:
            optimizers.error("--workload and --optimizer are for the optimizers, not for the layers")
        run(arguments)

    parser.set_defaults(run=run_alone)


def run(arguments: argparse.Namespace) -> None:
    """Measure what the command line asks for, and print a table.

    Raises:
        MissingExtraError: torch is asked for and not installed.
        WrongResultError: a contender does not compute what NumPy does.
        ValueError: the results cannot be written.
    """
    with session(arguments) as machine:
        results = list(_results(arguments))
        print(_LEGEND + _TORCH_LEGEND * arguments.torch)
    write(arguments, machine, results)


def _results(arguments: argparse.Namespace) -> Iterator[Result]:
    """Measure, printing each result as it comes."""
    torch_column = f"{'vs torch':>10}" * arguments.torch
    for name in arguments.layer or LAYERS:
        layer = LAYERS[name]
        for shape in _chosen(name, arguments.shapes):
            for layout in layer.layouts(shape):
                place = f", {_PLACES[layout]}" if len(layer.layouts(shape)) > 1 else ""
                print(f"\n{layer.title}, {'x'.join(map(str, shape))} ({math.prod(shape):,} elements){place}")
                print(
                    f"{'':18}{'out=':>10}{'vs copy':>10}{'vs NumPy':>10}{torch_column}"
                    f"{'new':>13}{'vs NumPy':>10}{torch_column}"
                )
                batch = make(shape, layout, arguments.dtype)
                for operation, case in layer.passes.items():
                    times = measure(case(batch), QUICK if arguments.quick else FULL, arguments.torch)
                    torch = times.get("torch")
                    result = Result(
                        name,
                        shape,
                        layout,
                        operation,
                        seconds=statistics.median(times["ravine"]),
                        vs_copy=median_ratio(times["copy"], times["ravine"]),
                        vs_numpy=median_ratio(times["numpy"], times["ravine"]),
                        vs_torch=median_ratio(torch, times["ravine"]) if torch else None,
                        new_seconds=statistics.median(times["ravine_new"]),
                        new_vs_numpy=median_ratio(times["numpy_new"], times["ravine_new"]),
                        new_vs_torch=median_ratio(torch, times["ravine_new"]) if torch else None,
                    )
                    print(result.row(), flush=True)
                    yield result


def _chosen(layer: str, shapes: list[Shape | None] | None) -> Iterator[Shape]:
    """Yield the shapes on which to measure a layer; None among those asked for stands for all."""
    for shape in shapes or map(_shape, SHAPES[layer]):
        if shape is None:
            yield from LAYERS[layer].shapes
        else:
            yield shape


def _shape(text: str) -> Shape | None:
    """Return a shape, or None for "all"."""
    if text == "all":
        return None
    sizes = text.split("x")
    if not 2 <= len(sizes) <= 5 or not all(size.isdecimal() and int(size) for size in sizes):
        raise argparse.ArgumentTypeError(f"{text!r} is not a shape of 2 to 5 dimensions, such as 32x256x14x14")
    shape = tuple(map(int, sizes))
    if math.prod(shape) == shape[1]:
        raise argparse.ArgumentTypeError(f"{text!r} has one value a channel; training needs at least 2")
    return shape
