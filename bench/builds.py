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
from ravine.benchmark.timing import interleaved, quartiles

RULES = ("sgd", "momentum", "adagrad", "rmsprop", "adam", "lion")
WORKLOADS = ("mlp_tiny", "mnist_mlp", "flat:1000000", "resnet50")

# A line says what to measure from then on: a rule, a workload, its dtype, and how long. An empty one takes a turn.
_PROGRAM = """
import sys
from ravine.benchmark import workloads
from ravine.benchmark.cases import CASES
from ravine.benchmark.timing import repeated
for line in sys.stdin:
    if task := line.split():
        rule, workload, dtype, seconds = task
        measure = repeated(CASES[rule].ravine(*workloads.make(workload, dtype)), float(seconds))
    print(measure(), flush=True)
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

    def measure(self, task: str = "") -> float:
        """Return the time of a step of the task, which is the one before where none is given."""
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
    parser.add_argument("--seconds", type=float, default=0.02, help="the least length of a turn")
    arguments = parser.parse_args(argv)
    print(f"{'':32}{'before':>10}{'after':>10}{'after / before':>17}")
    with Build(arguments.before, arguments.threads) as before, Build(arguments.after, arguments.threads) as after:
        for workload in arguments.workloads:
            for rule in arguments.rules:
                for build in (before, after):
                    build.measure(f"{rule} {workload} {arguments.dtype} {arguments.seconds}")
                times = interleaved({"before": before.measure, "after": after.measure}, arguments.rounds, settle=False)
                lower, median, upper = quartiles(times["after"], times["before"])
                line = f"{workload + ' ' + rule:32}"
                line += "".join(f"{readable(statistics.median(seen)):>10}" for seen in times.values())
                print(f"{line}{median:10.3f} ({lower:.3f} to {upper:.3f})", flush=True)


if __name__ == "__main__":
    main()
