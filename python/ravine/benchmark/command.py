"""The command `ravine bench`, for the optimizers."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ravine.benchmark import layers_command, workloads
from ravine.benchmark.cases import CASES, Array
from ravine.benchmark.memory import MemoryLimit
from ravine.benchmark.session import FULL, QUICK, Effort, add_options, readable, session, write
from ravine.benchmark.timing import interleaved, median_ratio, repeated

_WORKLOADS = ("mlp_tiny", "mnist_mlp", "resnet50")
_OPTIMIZERS = ("sgd", "momentum", "adagrad", "rmsprop", "adam", "adamw")

_LEGEND = """
On a machine that is busy with other things the figures mean little, above all those with several threads.
step          time of one step of ravine over all parameters, median
vs NumPy      how many times faster than the same update in NumPy, in place and in pieces that stay in the cache
memory limit  the time that the step's memory traffic takes by itself, as part of the step's; at 100 % nothing can be
              faster. Small models are bound by the cost of a call instead."""
_TORCH_LEGEND = (
    "\nvs torch      how many times faster than torch's fused optimizer, or its foreach one where it has none"
)


@dataclass(frozen=True)
class Result:
    """What was measured of one optimizer on one workload; ratios are medians of ratios taken round by round."""

    workload: str
    optimizer: str
    step_seconds: float
    vs_numpy: float
    memory_limit: float
    vs_torch: float | None

    def row(self) -> str:
        """Return it as a line of the table."""
        line = f"{self.optimizer:26}{readable(self.step_seconds):>10}{self.vs_numpy:9.1f}x{self.memory_limit:14.1%}"
        return line if self.vs_torch is None else f"{line}{self.vs_torch:10.2f}x"


def measure(
    workload: str, arrays: tuple[list[Array], list[Array]], optimizer: str, effort: Effort, torch: bool = False
) -> Result:
    """Measure an optimizer against NumPy, the memory limit and, if wanted, torch.

    Args:
        workload: its name.
        arrays: its parameters and gradients, as `workloads.make` returns them. All contenders share them: nobody's time
            depends on the values.
        optimizer: one of `CASES`.
        effort: how long to measure.
        torch: whether to measure torch.
    """
    case = CASES[optimizer]
    limit = MemoryLimit(sum(param.size for param in arrays[0]), case.states, arrays[0][0].dtype)
    contenders: dict[str, Callable[[], float]] = {
        "ravine": repeated(case.ravine(*arrays), effort.seconds),
        "numpy": repeated(case.numpy(*arrays), effort.seconds),
        "limit": lambda: limit.seconds(effort.seconds),
    }
    if torch and case.in_torch:
        contenders["torch"] = repeated(case.torch(*arrays), effort.seconds)
    times = interleaved(contenders, effort.rounds, settle=limit.threads > 1)
    return Result(
        workload,
        optimizer,
        step_seconds=statistics.median(times["ravine"]),
        vs_numpy=median_ratio(times["numpy"], times["ravine"]),
        memory_limit=median_ratio(times["limit"], times["ravine"]),
        vs_torch=median_ratio(times["torch"], times["ravine"]) if "torch" in times else None,
    )


def add_parser(commands: Any) -> None:
    """Add `bench` to the commands (what `ArgumentParser.add_subparsers` returned)."""
    parser = commands.add_parser(
        "bench",
        help="measure the optimizers, or the layers, on this machine",
        usage="ravine bench [OPTIONS]\n       ravine bench layers [OPTIONS]",
        description="Measure a step of each optimizer on this machine, against NumPy and against the speed of memory.",
    )
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
    parser.set_defaults(run=run, dtype="float32")
    layers_command.add_parser(
        parser.add_subparsers(title="instead of the optimizers", metavar="COMMAND", prog="ravine bench"), parser
    )


def run(arguments: argparse.Namespace) -> None:
    """Measure what the command line asks for, and print a table.

    Raises:
        MissingExtraError: torch is asked for and not installed.
        ValueError: the results cannot be written.
    """
    with session(arguments) as machine:
        print(f"\n{'':26}{'step':>10}{'vs NumPy':>10}{'memory limit':>14}" + f"{'vs torch':>11}" * arguments.torch)
        results = list(_results(arguments))
        print(_LEGEND + _TORCH_LEGEND * arguments.torch)
    write(arguments, machine, results)


def _results(arguments: argparse.Namespace) -> Iterator[Result]:
    """Measure, printing each result as it comes."""
    for workload in arguments.workload or _WORKLOADS:
        arrays = workloads.make(workload, arguments.dtype)
        tensors = f"{len(arrays[0])} array{'s' * (len(arrays[0]) > 1)}"
        print(f"\n{workload}: {workloads.count(workload):,} parameters in {tensors}")
        for optimizer in arguments.optimizer or _OPTIMIZERS:
            result = measure(workload, arrays, optimizer, QUICK if arguments.quick else FULL, arguments.torch)
            print(result.row(), flush=True)
            yield result


def workload_name(text: str) -> str:
    """Return the name of a workload, as the type of an option."""
    try:
        workloads.shapes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text
