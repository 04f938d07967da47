"""Compare two builds of ravine, each installed in a virtual environment of its own, in processes that take turns.

    python bench/builds.py before/bin/python after/bin/python
    python bench/builds.py before/bin/python after/bin/python --rules adam --workloads flat:1000000 --threads 1

Prints the time of a step with both, and the median of the ratios of neighbouring turns with their quartiles.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
from collections.abc import Sequence
from types import TracebackType

from ravine import config
from ravine.benchmark.cases import CASES
from ravine.benchmark.command import workload_name
from ravine.benchmark.session import readable
from ravine.benchmark.timing import interleaved, ratios

RULES = ("sgd", "momentum", "adagrad", "rmsprop", "adam", "lion")
WORKLOADS = ("mlp_tiny", "mnist_mlp", "flat:1000000", "resnet50")

# A line of three words makes a step of a rule, a workload and a dtype; a number says how often to do it.
_PROGRAM = """
import sys, time
from ravine.benchmark import workloads
from ravine.benchmark.cases import CASES
for line in sys.stdin:
    rule, *task = line.split()
    if task:
        step = CASES[rule].ravine(*workloads.make(*task))
        step()  # plans are made, memory is touched for the first time
    step()
    count = 1 if task else int(rule)
    begin = time.perf_counter()
    for _ in range(count):
        step()
    print((time.perf_counter() - begin) / count, flush=True)
"""


class Build:
    """A process with one of the builds, which sleeps until it is asked. Use it in a `with` statement."""

    def __init__(self, python: str, threads: int) -> None:
        self._process = subprocess.Popen(
            [python, "-c", _PROGRAM],
            env={**os.environ, "RAVINE_THREADS": str(threads)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Build:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()

    def seconds(self, task: str) -> float:
        """Return the time of a step of what the program is told."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{task}\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", help="the Python in whose environment the one build is installed")
    parser.add_argument("after", help="that of the other")
    parser.add_argument("--rules", nargs="+", choices=CASES, metavar="NAME", default=RULES, help=", ".join(CASES))
    parser.add_argument("--workloads", nargs="+", type=workload_name, metavar="NAME", default=WORKLOADS)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--threads", type=int, default=config.get_num_threads())
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.02, help="the length of a turn, or a single step")
    arguments = parser.parse_args(argv)
    print(f"{'':32}{'before':>10}{'after':>10}{'after / before':>17}")
    with Build(arguments.before, arguments.threads) as before, Build(arguments.after, arguments.threads) as after:
        for workload in arguments.workloads:
            for rule in arguments.rules:
                first = [build.seconds(f"{rule} {workload} {arguments.dtype}") for build in (before, after)]
                count = str(max(1, int(arguments.seconds / max(first))))
                times = interleaved(
                    {"before": lambda n=count: before.seconds(n), "after": lambda n=count: after.seconds(n)},  # type: ignore[misc]
                    arguments.rounds,
                    settle=False,
                )
                lower, median, upper = statistics.quantiles(ratios(times["after"], times["before"]), n=4)
                line = f"{workload + ' ' + rule:32}"
                line += "".join(f"{readable(statistics.median(seen)):>10}" for seen in times.values())
                print(f"{line}{median:10.3f} ({lower:.3f} to {upper:.3f})", flush=True)


if __name__ == "__main__":
    main()
