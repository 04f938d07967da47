"""A step of each optimizer beside NumPy, the speed of memory and, if wanted, torch: in turns, as a table.

    python bench/steps.py --torch
    python bench/steps.py --workload resnet50 --workload flat:1000000 --optimizer adam --optimizer lion --threads 1

NumPy has some rules in place; some of the others take it seconds a step on large workloads.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from peers import competitors
from peers.numpy_memory import MemoryLimit
from ravine._extras import MissingExtraError, require
from ravine.benchmark.cases import CASES
from ravine.benchmark.command import Arrays, add_choices, results_of
from ravine.benchmark.session import Effort, readable, session, write
from ravine.benchmark.timing import interleaved, median_ratio, repeated

_LEGEND = """
On a machine that is busy with other things the figures mean little, above all those with several threads.
step          time of one step of ravine over all parameters, median
vs NumPy      how many times faster than the same update in NumPy: in place and in pieces that stay in the cache for
              {in_place}; in plain expressions, `ravine.reference`, for others
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


def measure(workload: str, arrays: Arrays, optimizer: str, effort: Effort, torch: bool = False) -> Result:
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
    limit = MemoryLimit(sum(param.size for param in arrays[0]), competitors.states(case), arrays[0][0].dtype)
    contenders: dict[str, Callable[[], float]] = {
        "ravine": repeated(case.ravine(*arrays), effort.seconds),
        "numpy": repeated(competitors.numpy(optimizer, *arrays), effort.seconds),
        "limit": lambda: limit.seconds(effort.seconds),
    }
    if torch and competitors.in_torch(case):
        contenders["torch"] = repeated(competitors.torch(case, *arrays), effort.seconds)
    times = interleaved(contenders, effort.rounds, settle=limit.threads > 1)
    return Result(
        workload,
        optimizer,
        step_seconds=statistics.median(times["ravine"]),
        vs_numpy=median_ratio(times["numpy"], times["ravine"]),
        memory_limit=median_ratio(times["limit"], times["ravine"]),
        vs_torch=median_ratio(times["torch"], times["ravine"]) if "torch" in times else None,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_choices(parser)
    parser.add_argument("--torch", action="store_true", help="compare with torch as well")
    arguments = parser.parse_args(argv)
    try:
        versions = {"torch": require("torch", "oracles").__version__} if arguments.torch else {}
        with session(arguments, **versions) as machine:
            print(f"\n{'':26}{'step':>10}{'vs NumPy':>10}{'memory limit':>14}" + f"{'vs torch':>11}" * arguments.torch)
            results = list(results_of(arguments, partial(measure, torch=arguments.torch)))
            print(_LEGEND.format(in_place=", ".join(competitors.IN_PLACE)) + _TORCH_LEGEND * arguments.torch)
        write(arguments, machine, results)
    except (MissingExtraError, ValueError) as error:
        print(f"steps.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
