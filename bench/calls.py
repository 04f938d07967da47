"""What a step costs beside its arithmetic: a call, each further tensor, each way of giving gradients, a changed lr.

    python bench/calls.py
    python bench/calls.py --optimizer SGD --threads 1
    python bench/calls.py --tables changes

Four tables, measured in turns: the same number of elements in more and more tensors; one tensor of more and more
elements; six tensors of 337 elements whose gradients come in different ways; and these with hyper-parameters that
change before every step, as they do under a schedule. There, what is written to the group was made beforehand, so that
the ratios are those of the step, but for the last line: that has the schedule's own time in it.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ravine import config, nn, optim
from ravine.benchmark import workloads
from ravine.benchmark.cases import CASES
from ravine.benchmark.timing import interleaved, median_ratio, ratios, repeated

Step = Callable[[], object]

ELEMENTS = 1 << 14  # shared out among tensors; one thread does them
TENSORS = [1 << k for k in range(11)]
SIZES = [1 << k for k in range(10, 26)]
FEW = "mlp_tiny"
OPTIMIZERS = sorted({case.optimizer.__name__ for case in CASES.values() if not case.matrices})
SAME = "the same lr, assigned"
TURNS = 1000


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


def changes(optimizer: str) -> dict[str, Step]:
    """Return a step of six small tensors for each way of changing hyper-parameters before it.

    All but the first assign to the group; the second, with which the others are compared, always the same object. An
    optimizer that can have momentum has it, since a step without is another rule.
    """
    make = getattr(optim, optimizer)
    params, grads = workloads.make(FEW, "float32")

    def new() -> Any:
        made = make([p.copy() for p in params])
        if "momentum" in made.defaults:
            made.param_groups[0]["momentum"] = 0.9
        made.step(grads)  # the states are made
        return made

    def assigning(keys: Sequence[str], values: Iterable[tuple[object, ...]]) -> Step:
        made, following = new(), iter(values)
        (group,) = made.param_groups
        if len(keys) == 1:
            (key,) = keys

            def step() -> None:
                (group[key],) = next(following)
                made.step(grads)
        else:
            first, second = keys

            def step() -> None:
                group[first], group[second] = next(following)
                made.step(grads)

        return step

    untouched, guide, driven = new(), new(), new()
    (group,) = guide.param_groups
    lr = group["lr"]
    keys = ["lr", *[key for key in ("betas", "momentum") if key in group]]
    schedule = functools.partial(optim.lr_scheduler.OneCycleLR, max_lr=lr, cycle_momentum=len(keys) > 1)
    # No step has the lr of the one before.
    short = schedule(guide, total_steps=TURNS)
    written = []
    for _ in range(TURNS):
        written.append(tuple(group[key] for key in keys))
        guide.step(grads)
        short.step()
    endless = schedule(driven, total_steps=10**8, anneal_strategy="linear")

    def scheduled() -> None:
        driven.step(grads)
        endless.step()

    return {
        "none": lambda: untouched.step(grads),
        SAME: assigning(["lr"], itertools.repeat((lr,))),
        "another lr": assigning(["lr"], itertools.cycle([(lr * (1 + k / TURNS),) for k in range(TURNS)])),
        "what OneCycleLR writes": assigning(keys, itertools.cycle(written)),
        "OneCycleLR.step()": scheduled,
    }


def measure(steps: Mapping[str, Step], arguments: argparse.Namespace) -> dict[str, list[float]]:
    """Return the times of each, taken in turn."""
    timed = {name: repeated(step, arguments.seconds) for name, step in steps.items()}
    return interleaved(timed, arguments.rounds, settle=False)


def print_tensors(arguments: argparse.Namespace) -> None:
    """Print the table of more and more tensors."""
    tensors = {count: f"flat:{count}x{ELEMENTS // count}" for count in TENSORS}
    times = measure({w: step_of(arguments.optimizer, w) for w in tensors.values()}, arguments)
    print(f"{'tensors':>10}{'of elements':>13}{'µs a step':>11}{'ns for each tensor more':>25}")
    for count, workload in tensors.items():
        line = f"{count:10,}{ELEMENTS // count:13,}{1e6 * statistics.median(times[workload]):11.2f}"
        if count > 1:
            fewer = times[tensors[count // 2]]
            more = [(b - a) / (count // 2) for a, b in zip(fewer, times[workload], strict=True)]
            line += f"{1e9 * statistics.median(more):25.0f}"
        print(line)


def print_sizes(arguments: argparse.Namespace) -> None:
    """Print the table of a larger and larger tensor."""
    print(f"{'elements':>12}{'µs a step':>12}{'times that of half':>20}{'ns an element':>15}")
    for half, size in itertools.pairwise([0, *SIZES]):
        pair = {f"flat:{n}": step_of(arguments.optimizer, f"flat:{n}") for n in (half, size) if n}
        times = measure(pair, arguments)
        whole = times[f"flat:{size}"]
        seconds = statistics.median(whole)
        line = f"{size:12,}{1e6 * seconds:12.2f}"
        line += f"{statistics.median(ratios(whole, times[f'flat:{half}'])):20.2f}" if half else " " * 20
        print(f"{line}{1e9 * seconds / size:15.3f}", flush=True)


def print_gradients(arguments: argparse.Namespace) -> None:
    """Print the table of ways to give gradients."""
    print(f"{'gradients':28}{'µs a step':>11}")
    for name, seen in measure(forms(arguments.optimizer), arguments).items():
        print(f"{name:28}{1e6 * statistics.median(seen):11.2f}")


def print_changes(arguments: argparse.Namespace) -> None:
    """Print the table of changed hyper-parameters."""
    print(f"{'changed before each step':28}{'µs a step':>11}{'times ' + SAME:>30}")
    times = measure(changes(arguments.optimizer), arguments)
    for name, seen in times.items():
        print(f"{name:28}{1e6 * statistics.median(seen):11.2f}{median_ratio(seen, times[SAME]):30.2f}")


TABLES = {"tensors": print_tensors, "sizes": print_sizes, "gradients": print_gradients, "changes": print_changes}


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--optimizer", default="Adam", choices=OPTIMIZERS, metavar="NAME", help=", ".join(OPTIMIZERS))
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES), help="default: all")
    parser.add_argument("--threads", type=int, default=config.get_num_threads())
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.01, help="the least length of a turn")
    arguments = parser.parse_args(argv)
    before = config.get_num_threads()
    config.set_num_threads(arguments.threads)
    print(f"{arguments.optimizer}, {arguments.threads} threads; medians over {arguments.rounds} rounds.")
    for name in arguments.tables:
        print()
        TABLES[name](arguments)
    config.set_num_threads(before)


if __name__ == "__main__":
    main()
