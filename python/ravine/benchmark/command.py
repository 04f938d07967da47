"""The command `ravine bench`, for the optimizers."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ravine import config
from ravine.benchmark import layers, workloads
from ravine.benchmark.cases import CASES, Array
from ravine.benchmark.session import FULL, QUICK, Effort, RowT, add_options, readable, session, write
from ravine.benchmark.timing import interleaved, median_ratio, repeated

_WORKLOADS = ("mlp_tiny", "mnist_mlp", "resnet50")
_OPTIMIZERS = ("sgd", "momentum", "adagrad", "rmsprop", "adam", "adamw")

_LEGEND = """
On a machine that is busy with other things the figures mean little, above all those with several threads.
step       time of one step of ravine over all parameters, median
NumPy      that of the same update in plain NumPy, `ravine.reference`
vs NumPy   how many times faster"""


Arrays = tuple[list[Array], list[Array]]  # parameters and gradients


@dataclass(frozen=True)
class Result:
    """What was measured of one optimizer on one workload; the ratio is the median of ratios taken round by round."""

    workload: str
    optimizer: str
    step_seconds: float
    numpy_seconds: float
    vs_numpy: float

    def row(self) -> str:
        """Return it as a line of the table."""
        times = f"{readable(self.step_seconds):>10}{readable(self.numpy_seconds):>10}"
        return f"{self.optimizer:26}{times}{self.vs_numpy:9.1f}x"


def measure(workload: str, arrays: Arrays, optimizer: str, effort: Effort) -> Result:
    """Measure an optimizer against NumPy.

    Args:
        workload: its name.
        arrays: what `workloads.make` returned. Both contenders share them: nobody's time depends on the values.
        optimizer: one of `CASES`.
        effort: how long to measure.
    """
    case = CASES[optimizer]
    contenders = {
        "ravine": repeated(case.ravine(*arrays), effort.seconds),
        "numpy": repeated(case.reference(*arrays), effort.seconds),
    }
    times = interleaved(contenders, effort.rounds, settle=config.get_num_threads() > 1)
    return Result(
        workload,
        optimizer,
        step_seconds=statistics.median(times["ravine"]),
        numpy_seconds=statistics.median(times["numpy"]),
        vs_numpy=median_ratio(times["numpy"], times["ravine"]),
    )


def add_choices(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what to measure, and those that all measurements share."""
    parser.add_argument(
        "--workload",
        action="append",
        type=workload_name,
        metavar="NAME",
        help=f"{', '.join(workloads.MODELS)} (which takes 7 GB of memory), flat:N for one array of N elements, or "
        f"flat:KxN for K of them; may be repeated; default: {', '.join(_WORKLOADS)}",
    )
    parser.add_argument(
        "--optimizer",
        action="append",
        choices=CASES,
        metavar="NAME",
        help=f"{', '.join(CASES)}; may be repeated; default: {', '.join(_OPTIMIZERS)}",
    )
    add_options(parser)
    parser.set_defaults(dtype="float32")


def add_parser(commands: Any) -> None:
    """Add `bench` to the commands (what `ArgumentParser.add_subparsers` returned)."""
    parser = commands.add_parser(
        "bench",
        help="measure the optimizers, or the layers, on this machine",
        usage="ravine bench [OPTIONS]\n       ravine bench layers [OPTIONS]",
        description="Measure a step of each optimizer on this machine, against the same update in NumPy.",
    )
    add_choices(parser)
    parser.set_defaults(run=run)
    layers.add_parser(
        parser.add_subparsers(title="instead of the optimizers", metavar="COMMAND", prog="ravine bench"), parser
    )


def run(arguments: argparse.Namespace) -> None:
    """Measure what the command line asks for, and print a table.

    Raises:
        ValueError: the results cannot be written.
    """
    with session(arguments) as machine:
        print(f"\n{'':26}{'step':>10}{'NumPy':>10}{'vs NumPy':>10}")
        results = list(results_of(arguments, measure))
        print(_LEGEND)
    write(arguments, machine, results)


def results_of(arguments: argparse.Namespace, measure: Callable[[str, Arrays, str, Effort], RowT]) -> Iterator[RowT]:
    """Measure each optimizer on each workload that the command line asks for, printing each result as it comes."""
    for workload in arguments.workload or _WORKLOADS:
        arrays = workloads.make(workload, arguments.dtype)
        tensors = f"{len(arrays[0])} array{'s' * (len(arrays[0]) > 1)}"
        print(f"\n{workload}: {workloads.count(workload):,} parameters in {tensors}")
        for optimizer in arguments.optimizer or _OPTIMIZERS:
            result = measure(workload, arrays, optimizer, QUICK if arguments.quick else FULL)
            print(result.row(), flush=True)
            yield result


def workload_name(text: str) -> str:
    """Return the name of a workload, as the type of an option."""
    try:
        workloads.shapes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text
