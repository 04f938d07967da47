"""Whole training steps beside torch's, in turns, each in a process of its own: a table of ratios.

    python bench/whole_steps.py
    python bench/whole_steps.py --workloads mlp_tiny --threads 1 --kinds clip

Adam alone, after clipping by the global norm, and with an average of the weights renewed and the gradients set to zero
besides; gradients are made anew before each step, which is not in the time. `peers/whole.py` says what exactly is
timed. The limit is the time that the bytes of such a step take to move, by that of Adam's 28 (`peers/memory.py`; needs
numba).
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence

from peers import whole
from peers.machine import describe
from peers.measure import Contenders, Failure, Ratio
from peers.worker import LIMIT, PeerError, Task
from ravine.benchmark import workloads
from ravine.benchmark.session import FULL, QUICK, Effort

PEERS = ("torch_fused", LIMIT)
WORKLOADS = ("mlp_tiny", "mnist_mlp", "resnet50", "gpt2_small")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", nargs="+", choices=workloads.MODELS, default=list(WORKLOADS), metavar="NAME")
    parser.add_argument("--kinds", nargs="+", choices=list(whole.BYTES), default=list(whole.BYTES))
    parser.add_argument("--threads", nargs="+", type=int, choices=range(1, 1025), default=[2], metavar="N")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds, for a rough figure")
    arguments = parser.parse_args(argv)
    print(", ".join(f"{name}: {value}" for name, value in describe().items()))
    print("| threads | workload | step | ravine, µs | torch / ravine | quartiles | ravine / limit |")
    print("|---|---|---|---|---|---|---|")
    try:
        for threads in arguments.threads:
            rows(threads, arguments.workloads, arguments.kinds, QUICK if arguments.quick else FULL)
    except PeerError as error:
        print(f"bench.whole_steps: {error}", file=sys.stderr)
        return 1
    return 0


def rows(threads: int, names: Sequence[str], kinds: Sequence[str], effort: Effort) -> None:
    """Measure, and print a row for each workload and kind of step."""

    def failed(failure: Failure) -> None:
        print(f"{failure[0]}: {failure[1]}", file=sys.stderr)

    with Contenders(threads) as contenders:
        for workload in names:
            for kind in kinds:
                task = Task("adam", workload, effort.seconds, whole=kind)
                cells = [""] * 4
                for name, ravine, other in contenders.pairs("ravine", PEERS, task, effort.rounds, failed):
                    cells[0] = f"{1e6 * statistics.median(ravine):.1f}"
                    if name == LIMIT:
                        part = whole.BYTES["plain"] / whole.BYTES[kind]
                        cells[3] = f"{part * Ratio.of(ravine, other).median:.2f}"
                    else:
                        ratio = Ratio.of(other, ravine)
                        cells[1:3] = [f"{ratio.median:.2f}", f"{ratio.lower:.2f} to {ratio.upper:.2f}"]
                print(f"| {threads} | {workload} | {kind} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
