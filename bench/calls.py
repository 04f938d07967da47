"""What a step costs beside its arithmetic: a call, each further tensor, each way of giving gradients.

    python bench/calls.py
    python bench/calls.py --optimizer SGD --threads 1

Three tables, measured in turns: the same number of elements in more and more tensors; one tensor of more and more
elements; and six tensors of 337 elements whose gradients come in different ways.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
from collections.abc import Callable, Mapping, Sequence

from ravine import config, nn, optim
from ravine.benchmark import workloads
from ravine.benchmark.timing import interleaved, ratios, repeated

Step = Callable[[], object]

ELEMENTS = 1 << 14  # shared out among tensors; one thread does them
TENSORS = [1 << k for k in range(11)]
SIZES = [1 << k for k in range(10, 26)]
FEW = "mlp_tiny"


def step_of(optimizer: str, workload: str) -> Step:
    """Return a step of an optimizer with its defaults, its gradients always the same arrays."""
    params, grads = workloads.make(workload, "float32")
    made = getattr(optim, optimizer)(params)
    return lambda: made.step(grads)


def forms(optimizer: str) -> dict[str, Step]:
    """Return a step of six small tensors for each way of giving their gradients."""
    make = getattr(optim, optimizer)
    params, grads = workloads.make(FEW, "float32")
    names = [f"p{i}" for i in range(len(params))]
    listed, copied = make(params), make([p.copy() for p in params])
    named = make({name: p.copy() for name, p in zip(names, params, strict=True)})
    by_name = dict(zip(names, grads, strict=True))
    with_grad = [nn.Parameter(p.copy()) for p in params]
    for parameter, gradient in zip(with_grad, grads, strict=True):
        parameter.grad = gradient
    carried = make(with_grad)
    # Each is used once in three steps: neither the array nor its address is that of the step before.
    turns = itertools.cycle([[g.copy() for g in grads] for _ in range(3)])
    return {
        "the same arrays in a list": lambda: listed.step(grads),
        "other arrays each time": lambda: copied.step(next(turns)),
        "a dict by name": lambda: named.step(by_name),
        "Parameter.grad": carried.step,
    }


def measure(steps: Mapping[str, Step], rounds: int, seconds: float) -> dict[str, list[float]]:
    """Return the times of each, taken in turn."""
    return interleaved({name: repeated(step, seconds) for name, step in steps.items()}, rounds, settle=False)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--optimizer", default="Adam", choices=("Adam", "AdamW", "SGD", "Adagrad", "RMSprop"))
    parser.add_argument("--threads", type=int, default=config.get_num_threads())
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.01, help="the least length of a turn")
    arguments = parser.parse_args(argv)
    before = config.get_num_threads()
    config.set_num_threads(arguments.threads)
    print(f"{arguments.optimizer}, {arguments.threads} threads; medians over {arguments.rounds} rounds.\n")

    tensors = {count: f"flat:{count}x{ELEMENTS // count}" for count in TENSORS}
    times = measure({w: step_of(arguments.optimizer, w) for w in tensors.values()}, arguments.rounds, arguments.seconds)
    print(f"{'tensors':>10}{'of elements':>13}{'µs a step':>11}{'ns for each tensor more':>25}")
    for count, workload in tensors.items():
        line = f"{count:10,}{ELEMENTS // count:13,}{1e6 * statistics.median(times[workload]):11.2f}"
        if count > 1:
            fewer = times[tensors[count // 2]]
            more = [(b - a) / (count // 2) for a, b in zip(fewer, times[workload], strict=True)]
            line += f"{1e9 * statistics.median(more):25.0f}"
        print(line)

    print(f"\n{'elements':>12}{'µs a step':>12}{'times that of half':>20}{'ns an element':>15}")
    for half, size in itertools.pairwise([0, *SIZES]):
        pair = {f"flat:{n}": step_of(arguments.optimizer, f"flat:{n}") for n in (half, size) if n}
        times = measure(pair, arguments.rounds, arguments.seconds)
        whole = times[f"flat:{size}"]
        seconds = statistics.median(whole)
        line = f"{size:12,}{1e6 * seconds:12.2f}"
        line += f"{statistics.median(ratios(whole, times[f'flat:{half}'])):20.2f}" if half else " " * 20
        print(f"{line}{1e9 * seconds / size:15.3f}", flush=True)

    print(f"\n{'gradients':28}{'µs a step':>11}")
    for name, seen in measure(forms(arguments.optimizer), arguments.rounds, arguments.seconds).items():
        print(f"{name:28}{1e6 * statistics.median(seen):11.2f}")
    config.set_num_threads(before)


if __name__ == "__main__":
    main()
