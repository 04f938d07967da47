"""What a step on a few rows of a large table costs: a batch has looked up rows of an embedding.

Every turn goes on with other rows, so that none is in a cache because of the turn before:

    python bench/sparse_steps.py
    python bench/sparse_steps.py --rows 100000 --width 1 --named 5000 --threads 1
    python bench/sparse_steps.py --torch

The limit is the same rule on as many elements that lie together, in one of many arrays whose turn it is.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from ravine import config, optim
from ravine._extras import require
from ravine.benchmark.timing import interleaved, median_ratio, repeated

Array = np.ndarray[Any, Any]
Step = Callable[[], object]
Entries = list[tuple[Array, Array]]

TURNS = 24
LR = 1e-3
OPTIMIZERS = {"sgd": "SGD", "adagrad": "Adagrad", "sparse-adam": "SparseAdam"}
CONTENDERS = ["limit", "ravine", "any order", "twice", "NumPy"]
TORCH = ["torch", "torch, any order"]


def entries(rows: int, width: int, named: int) -> Entries:
    """Return for each turn distinct rows, increasing, and their values; a table of width 1 is 1-d."""
    rng = np.random.default_rng(0)
    shape = (named, width) if width > 1 else (named,)
    return [
        (np.sort(rng.choice(rows, named, replace=False)), rng.standard_normal(shape, np.float32)) for _ in range(TURNS)
    ]


def any_order(given: Entries) -> Entries:
    """Return the same rows, each once, in any order."""
    rng = np.random.default_rng(1)
    return [(rng.permutation(rows), values) for rows, values in given]


def twice(given: Entries) -> Entries:
    """Return as many entries that name half of the rows, each twice, in any order."""
    rng = np.random.default_rng(2)
    return [(rng.permutation(np.resize(rows[: (len(rows) + 1) // 2], len(rows))), values) for rows, values in given]


def in_turn(step: Callable[[Any], object], gradients: Sequence[Any]) -> Step:
    """Return a function that makes a step with the next of the gradients."""
    following = itertools.cycle(gradients)
    return lambda: step(next(following))


def ravine(optimizer: str, table: Array, given: Entries) -> Step:
    """Return a function that does a step of ravine."""
    step = getattr(optim, OPTIMIZERS[optimizer])([table], lr=LR).step
    return in_turn(lambda grad: step([grad]), [optim.SparseGrad(rows, values, table.shape) for rows, values in given])


def limit(optimizer: str, given: Entries) -> Step:
    """Return a function that does ravine's step on an array of just the size of the rows named."""
    arrays = [np.ones_like(values) for _, values in given]
    step = getattr(optim, OPTIMIZERS[optimizer])(arrays, lr=LR).step
    gradients = [[values if i == k else None for i in range(TURNS)] for k, (_, values) in enumerate(given)]
    return in_turn(step, gradients)


def numpy(optimizer: str, table: Array, given: Entries) -> Step:
    """Return a function that does a step in NumPy, on distinct rows."""
    states = [np.zeros_like(table) for _ in range({"sgd": 0, "adagrad": 1, "sparse-adam": 2}[optimizer])]
    t = 0

    def step(entry: tuple[Array, Array]) -> None:
        nonlocal t
        t += 1
        rows, g = entry
        if optimizer == "sgd":
            table[rows] -= np.float32(LR) * g
        elif optimizer == "adagrad":
            (sums,) = states
            s = sums[rows]
            s += g * g
            sums[rows] = s
            table[rows] -= np.float32(LR) * g / (np.sqrt(s) + np.float32(1e-10))
        else:
            first, second = states
            m, v = first[rows], second[rows]
            m += np.float32(1 - 0.9) * (g - m)
            v *= np.float32(0.999)
            v += np.float32(1 - 0.999) * (g * g)
            first[rows], second[rows] = m, v
            lr = np.float32(LR / (1 - 0.9**t) * (1 - 0.999**t) ** 0.5)
            table[rows] -= lr * m / (np.sqrt(v) + np.float32(1e-8))

    return in_turn(step, given)


def torch(optimizer: str, table: Array, given: Entries, coalesced: bool) -> Step:
    """Return a function that does a step of torch; `coalesced` tells it that rows are distinct and increasing."""
    library = require("torch", "oracles")
    library.set_num_threads(config.get_num_threads())
    parameter = library.nn.Parameter(library.from_numpy(table))
    inner = getattr(library.optim, OPTIMIZERS[optimizer])([parameter], lr=LR)

    def step(grad: Any) -> None:
        parameter.grad = grad
        inner.step()

    # Optimizers of torch make sparse tensors without saying whether to check them, and it warns.
    library.sparse.check_sparse_tensor_invariants.disable()
    return in_turn(
        step,
        [
            library.sparse_coo_tensor(
                library.from_numpy(rows)[None],
                library.from_numpy(values),
                table.shape,
                is_coalesced=coalesced,
                check_invariants=False,
            )
            for rows, values in given
        ],
    )


def contender(name: str, optimizer: str, table: Array, given: Entries) -> Step:
    """Return a function that does a step, one of `CONTENDERS` and `TORCH`."""
    steps: Mapping[str, Callable[[], Step]] = {
        "limit": lambda: limit(optimizer, given),
        "ravine": lambda: ravine(optimizer, table, given),
        "any order": lambda: ravine(optimizer, table, any_order(given)),
        "twice": lambda: ravine(optimizer, table, twice(given)),
        "NumPy": lambda: numpy(optimizer, table, given),
        "torch": lambda: torch(optimizer, table, given, coalesced=True),
        "torch, any order": lambda: torch(optimizer, table, any_order(given), coalesced=False),
    }
    return steps[name]()


def new_table(rows: int, width: int) -> Array:
    """Return a table of float32, every page of which has been touched."""
    return np.ones((rows, width) if width > 1 else rows, np.float32)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--optimizer", choices=OPTIMIZERS, nargs="+", default=list(OPTIMIZERS))
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the table")
    parser.add_argument("--width", type=int, default=64, help="elements of a row")
    parser.add_argument("--named", type=int, default=10_000, help="rows that a gradient names")
    parser.add_argument("--threads", type=int, default=config.get_num_threads())
    parser.add_argument("--torch", action="store_true")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.05, help="the least length of a turn")
    arguments = parser.parse_args(argv)
    before = config.get_num_threads()
    config.set_num_threads(arguments.threads)
    names = CONTENDERS + TORCH * arguments.torch
    given = entries(arguments.rows, arguments.width, arguments.named)
    print(f"{arguments.named:,} of {arguments.rows:,} rows of {arguments.width} float32, threads: {arguments.threads}.")
    print("µs a step, median; in brackets as a multiple of ravine's on distinct, increasing rows.\n")
    print(f"{'':12}" + "".join(f"{name:>18}" for name in names))
    for optimizer in arguments.optimizer:
        # All update the same one, with states of their own: nobody's time depends on the values.
        table = new_table(arguments.rows, arguments.width)
        timed = {name: repeated(contender(name, optimizer, table, given), arguments.seconds) for name in names}
        times = interleaved(timed, arguments.rounds, settle=arguments.threads > 1)
        cells = [
            f"{statistics.median(seconds) * 1e6:.0f} ({median_ratio(seconds, times['ravine']):.2f})"
            for seconds in times.values()
        ]
        print(f"{optimizer:12}" + "".join(f"{cell:>18}" for cell in cells), flush=True)
    config.set_num_threads(before)


if __name__ == "__main__":
    main()
