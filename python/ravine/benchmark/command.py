"""The command `ravine bench`."""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ravine import config
from ravine._extras import require
from ravine.benchmark import workloads
from ravine.benchmark.cases import CASES, Array
from ravine.benchmark.memory import MemoryLimit
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
        line = f"{self.optimizer:26}{_readable(self.step_seconds):>10}{self.vs_numpy:9.1f}x{self.memory_limit:14.1%}"
        return line if self.vs_torch is None else f"{line}{self.vs_torch:10.2f}x"


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Attributes:
        rounds: turns of each contender.
        seconds: how long a turn takes at the least.
    """

    rounds: int
    seconds: float


_FULL = Effort(rounds=9, seconds=0.01)
_QUICK = Effort(rounds=3, seconds=0.001)


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
        help="measure the optimizers on this machine",
        description="Measure a step of each optimizer on this machine, against NumPy and against the speed of memory.",
    )
    parser.add_argument(
        "--workload",
        action="append",
        type=_workload,
        metavar="NAME",
        help=f"{', '.join(workloads.MODELS)} (which takes 7 GB of memory), or flat:N for one array of N elements; "
        f"may be repeated; default: {', '.join(_WORKLOADS)}",
    )
    parser.add_argument(
        "--optimizer",
        action="append",
        choices=CASES,
        metavar="NAME",
        help=f"{', '.join(CASES)}; may be repeated; default: {', '.join(_OPTIMIZERS)}",
    )
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32", help="default: float32")
    parser.add_argument("--threads", type=_threads, metavar="N", help="of ravine, the memory limit and torch")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds, for a rough figure")
    parser.add_argument("--torch", action="store_true", help="compare with torch as well")
    parser.add_argument("--json", type=_new_file, metavar="FILE", help="write the results to a file as well")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Measure what the command line asks for, and print a table.

    Raises:
        MissingExtraError: torch is asked for and not installed.
        ValueError: the results cannot be written.
    """
    machine = config.info()
    if arguments.torch:
        machine["torch"] = require("torch", "oracles").__version__
    before = config.get_num_threads()
    if arguments.threads:
        config.set_num_threads(arguments.threads)
        machine["threads"] = config.info()["threads"]
    try:
        _print_header(machine, arguments)
        results = list(_results(arguments))
        print(_LEGEND + _TORCH_LEGEND * arguments.torch)
    finally:
        if arguments.threads:
            config.set_num_threads(before)
    if arguments.json:
        content = {"machine": machine, "dtype": arguments.dtype, "results": [asdict(result) for result in results]}
        try:
            arguments.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise ValueError(f"bench: cannot write {arguments.json}: {error.strerror}.") from error


def _results(arguments: argparse.Namespace) -> Iterator[Result]:
    """Measure, printing each result as it comes."""
    for workload in arguments.workload or _WORKLOADS:
        arrays = workloads.make(workload, arguments.dtype)
        tensors = f"{len(arrays[0])} array{'s' * (len(arrays[0]) > 1)}"
        print(f"\n{workload}: {workloads.count(workload):,} parameters in {tensors}")
        for optimizer in arguments.optimizer or _OPTIMIZERS:
            result = measure(workload, arrays, optimizer, _QUICK if arguments.quick else _FULL, arguments.torch)
            print(result.row(), flush=True)
            yield result


def _print_header(machine: Mapping[str, str], arguments: argparse.Namespace) -> None:
    versions = ", ".join(
        f"{name} {machine[name]}" for name in ("ravine", "python", "numpy", "torch") if name in machine
    )
    print(f"{versions}; {machine['platform']}")
    print(f"{arguments.dtype}, instruction set {machine['instruction set']}, threads {machine['threads']}")
    print(f"\n{'':26}{'step':>10}{'vs NumPy':>10}{'memory limit':>14}" + f"{'vs torch':>11}" * arguments.torch)


def _readable(seconds: float) -> str:
    """Return a time with three figures, in the unit that suits it."""
    unit, factor = ("ms", 1e3) if seconds >= 1e-3 else ("µs", 1e6)
    value = seconds * factor
    return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2}f} {unit}"


# --- arguments


def _workload(text: str) -> str:
    try:
        workloads.shapes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _threads(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, 1 or more")
    return int(text)


def _new_file(text: str) -> Path:
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():  # found out before measuring, not after
        raise argparse.ArgumentTypeError(f"{text!r} is a folder, or in one that does not exist")
    return path
